"""The YAML of `syncvis-online serve`: its models, and how it is read.

Owns names, defaults and limits of every setting. Validated once, unknown keys refused, immutable after.
Secrets come from the environment (`${NAME}` in any value). Does not know what the settings do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, model_validator

from stream.camera_config import CameraConfig, Name
from stream.errors import ConfigError
from stream.server_config import Seconds, Section, ServerConfig, TlsConfig
from stream.sources.urls import PUBLISHED
from stream.types import Break, Policy
from syncvis_online.validation import first_problems, read_yaml


class ModelSection(Section):
    """`name`: a model that ships, or the path of a checkpoint. `device`: auto is cuda where there is one. `engine`:
    what computes the network; auto is openvino on a processor where the extra `openvino` is installed and can do the
    model, else torch. `precision`: of the network; auto is bfloat16 where the hardware has it, else float32.
    `threads`: of the processor (torch's choice). `overlap`: encode the next pictures while windows are answered (on a
    GPU); on a processor, with fewer threads than it has cores, more frames of several cameras, each a little later.
    """

    name: str = "default"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    engine: Literal["auto", "torch", "openvino"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    overlap: bool | None = None


class PipelineConfig(Section):
    """`ring_frames`: the frames of a camera that may wait for the engine (default: twice the stride, at least
    2).

    `max_gap_s`: a longer pause between two frames is a gap, as is a reconnect. `on_gap`, `on_resize`, `on_cut` (another
    scene, by `cut_difference`: the mean change of pixel values) and `on_stale` (the picture moves again after it was
    frozen for `stale_s`) say what becomes of identities: keep (no time has passed), age (it has: what was not seen for
    long is retired) or reset (all are new). `stride`: a new window starts every so
    many frames (default: the model's), 1 to the model's window.
    """

    ring_frames: Annotated[int, Field(ge=1, le=1024)] | None = None
    max_gap_s: Seconds = 1.0
    on_gap: Policy = "age"
    on_resize: Policy = "age"
    on_cut: Policy = "reset"
    on_stale: Policy = "age"
    cut_difference: Annotated[float, Field(gt=0, le=255)] = 40.0
    stale_s: Seconds = 2.0
    stride: Annotated[int, Field(ge=1)] | None = None

    @property
    def policies(self) -> dict[Break, Policy]:
        """What each break does to identities."""
        return {
            "gap": self.on_gap,
            "resize": self.on_resize,
            "cut": self.on_cut,
            "stale": self.on_stale,
        }


class EventsConfig(Section):
    """`gone_after_s`: a track that was not seen for longer is gone; left out, the tracker's `reidentify_s`,
    after which it never comes back.
    """

    gone_after_s: Seconds | None = None


class MqttConfig(Section):
    """An MQTT broker that gets the events (extra `mqtt`). `port`: left out, 1883, with `tls` 8883. `ca_file`: the
    certificates that sign the broker's; left out, the system's. `topic_prefix`: of every topic, see docs/programs.md.
    `queue_events`: how many events may wait while the broker is away or slow; the oldest go first, counted.
    """

    host: str = Field(min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    tls: bool = False
    ca_file: Annotated[str, Field(min_length=1)] | None = None
    username: str = ""
    password: str = Field(default="", repr=False)
    client_id: str = Field(default="", max_length=128)
    topic_prefix: str = Field(default="syncvis", pattern=r"^[^/#+$\s]+(/[^/#+\s]+)*$", max_length=200)
    qos: Literal[0, 1, 2] = 1
    keepalive_s: Annotated[float, Field(ge=5, le=3600)] = 30.0
    timeout_s: Seconds = 10.0
    queue_events: Annotated[int, Field(ge=1, le=1_000_000)] = 1024

    @property
    def broker_port(self) -> int:
        """The port that is asked."""
        return self.port or (8883 if self.tls else 1883)

    @model_validator(mode="after")
    def _fits_together(self) -> MqttConfig:
        if self.password and not self.username:
            raise ValueError("a password needs a username")
        if self.ca_file and not self.tls:
            raise ValueError("ca_file is of no use without tls: true")
        return self


class TracingConfig(Section):
    """An OpenTelemetry collector that gets traces of frames (extra `tracing`), by OTLP over HTTP. `ratio`: of how many
    frames. `headers`: what it asks for, a token for example. `service`: `service.name` of the traces.
    """

    endpoint: str = Field(pattern=r"^https?://[^\s@]+$")
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.01
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    service: str = Field(default="syncvis-online", min_length=1, max_length=200)
    timeout_s: Seconds = 10.0


class ClusterTlsConfig(TlsConfig):
    """Gateways ask workers by HTTPS: the files of a worker's certificate and key, on its machine, read again each hour.
    `ca`: the certificates of who signs them, on gateways' machines. `server_name`: the name that all of them are for;
    left out, each is for the address of its worker.
    """

    where: ClassVar[str] = "cluster.tls"

    ca: Annotated[str, Field(min_length=1)]
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$", max_length=253)] | None = None


class ClusterConfig(Section):
    """How it runs on a Ray cluster (`serve --cluster`, extra `cluster`, docs/scale.md). On each node are as many
    workers of `worker_cpus` and `worker_gpus` as it has room for, `workers_per_node` at most; each listens at a port of
    its own, of `worker_ports` where given. `lease_s`: for so long a worker publishes that hears nothing of the cluster,
    and so long a camera of a dead node waits. `most_workers`: Ray's autoscaler is asked for room for more workers where
    cameras want them, up to so many; where there have been too many for `fewer_after_s`, some are ended, down to
    `least_workers`, so that it takes their nodes away. `whep`: who watches is answered for its worker ("proxy"), or
    sent there ("redirect"), which it then has to reach. `tls`: between gateways and workers; left out, HTTP.
    """

    worker_cpus: Annotated[float, Field(ge=0.01, le=1024)] = 1.0
    worker_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    workers_per_node: Annotated[int, Field(ge=1, le=256)] = 1
    worker_ports: (
        tuple[Annotated[int, Field(ge=1024, le=65535)], Annotated[int, Field(ge=1024, le=65535)]] | None
    ) = None
    lease_s: Annotated[float, Field(ge=1, le=60)] = 3.0
    most_workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    least_workers: Annotated[int, Field(ge=1, le=10_000)] = 1
    fewer_after_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    whep: Literal["proxy", "redirect"] = "proxy"
    tls: ClusterTlsConfig | None = None

    @model_validator(mode="after")
    def _has_room(self) -> ClusterConfig:
        if self.most_workers is not None and self.least_workers > self.most_workers:
            raise ValueError("least_workers are more than most_workers")
        return self


class LogConfig(Section):
    """What is logged to stderr, and whether as lines of text or as JSON: docs/logs.md."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class ServeConfig(Section):
    """A whole config file. `tracker` holds settings of the model's tracker, checked where the model is
    loaded.

    `state_dir`: the folder in which it is kept which track ids each camera was given, so that none is given again after
    a restart; "auto" is systemd's StateDirectory or ~/.local/state/syncvis-online. null keeps nothing: ids begin with 1
    each time. `persist_cameras`: cameras that are added, changed and removed while it runs are so after a restart too
    (`cameras.json` there, with their passwords; only its owner can read it).
    """

    cameras: dict[Name, CameraConfig] = Field(default_factory=dict)
    model: ModelSection = ModelSection()
    tracker: dict[str, Any] = Field(default_factory=dict)
    pipeline: PipelineConfig = PipelineConfig()
    server: ServerConfig = ServerConfig()
    events: EventsConfig = EventsConfig()
    mqtt: MqttConfig | None = None
    log: LogConfig = LogConfig()
    tracing: TracingConfig | None = None
    cluster: ClusterConfig = ClusterConfig()
    state_dir: Annotated[str, Field(min_length=1)] | None = "auto"
    persist_cameras: bool = False

    @model_validator(mode="after")
    def _has_cameras(self) -> ServeConfig:
        count, most = len(self.cameras), self.server.max_cameras
        if not count and not self.server.admin_tokens:
            raise ValueError("cameras: at least 1 is needed, or server.admin_tokens for who adds some")
        if count > most:
            raise ValueError(f"cameras: {count} are more than server.max_cameras ({most})")
        if self.persist_cameras and self.state_dir is None:
            raise ValueError("persist_cameras needs a state_dir")
        return self

    @model_validator(mode="after")
    def _may_be_published(self) -> ServeConfig:
        published = [name for name, camera in self.cameras.items() if camera.url.lower() == PUBLISHED]
        if published and not self.server.publish_tokens:
            raise ValueError(f"camera {published[0]} is published: server.publish_tokens must say by whom")
        return self


def load_config(path: str | Path, environ: Mapping[str, str] = os.environ) -> ServeConfig:
    """Read and validate a config file.

    Raises ConfigError, in one line, that names the file, the line or the key, and what is wrong with it.
    Values are never repeated: they may be secrets.
    """
    data = read_yaml(path)
    try:
        expanded = _expand(data, environ, str(path), ())
    except RecursionError as error:
        raise ConfigError(f"{path}: an alias refers to itself") from error
    return parse_config(expanded, str(path))


def parse_config(data: Mapping[str, Any], where: str) -> ServeConfig:
    """Validate settings that are parsed already; `where` names their origin. Raises ConfigError in one
    line.
    """
    try:
        return ServeConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError("; ".join(f"{where}: {line}" for line in first_problems(error, 3))) from error


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_USER_PART = re.compile(r"(?<=://)[^/]*(?=@)")


def _expand(value: Any, environ: Mapping[str, str], where: str, key: tuple[str, ...]) -> Any:
    """`value` with every ${NAME} in its strings replaced; escaped where it stands in the user part of a
    URL.
    """
    if isinstance(value, dict):
        return {name: _expand(item, environ, where, (*key, str(name))) for name, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, environ, where, (*key, str(i))) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            raise ConfigError(f"{where}: {'.'.join(key)}: the environment variable {name} is not set")
        return environ[name]

    def escape(user_part: re.Match[str]) -> str:
        return _VARIABLE.sub(lambda match: quote(look_up(match), safe=""), user_part.group())

    return _VARIABLE.sub(look_up, _USER_PART.sub(escape, value))
