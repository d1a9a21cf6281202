"""What a cluster runs: one config for all workers, and what they are reached with.

Owns what of a single machine's config a worker has. Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from stream.config import ServeConfig
from stream.errors import ConfigError
from stream.metrics import package_version
from stream.server_config import LimitsConfig, ServerConfig

APART = {"cameras", "log", "state_dir", "persist_cameras"}
"""What of a config may differ from one gateway to another."""


@dataclass(frozen=True, slots=True)
class Spec:
    """`config`: as the first who started the cluster had it. `secret`: the bearer token by which gateways ask workers,
    known to nobody else; the key of browsers' cookies comes of it too, so that each gateway knows those of the others.
    """

    config: ServeConfig
    secret: str = field(repr=False)

    def packed(self) -> PackedSpec:
        """For another process, which may be of another version."""
        return package_version(), self.config.model_dump_json(), self.secret

    @property
    def cookie_key(self) -> bytes:
        """By which gateways sign cookies."""
        return hashlib.sha256(b"cookies " + self.secret.encode()).digest()

    def check(self, config: ServeConfig) -> None:
        """Raises ConfigError where the cluster runs another config in what workers have of it."""
        ours, theirs = _comparable(config), _comparable(self.config)
        if other := sorted(key for key in ours if ours[key] != theirs[key]):
            raise ConfigError(
                f"the cluster was started with another {', '.join(other)}: "
                "stop it (--stop-cluster) to have it as this config says"
            )

    def worker_config(self, host: str, worker: str) -> ServeConfig:
        """The config of a worker that listens on `host`."""
        config = self.config
        mqtt = config.mqtt
        if mqtt is not None and mqtt.client_id:
            mqtt = mqtt.model_copy(update={"client_id": f"{mqtt.client_id}-{worker}"})
        server = self._worker_server(config.server, host)
        apart: dict[str, Any] = {"cameras": {}, "state_dir": None, "persist_cameras": False}
        return config.model_copy(update={**apart, "server": server, "mqtt": mqtt})

    def _worker_server(self, server: ServerConfig, host: str) -> ServerConfig:
        """As the front door's, but for who may ask: gateways, and where they send viewers here, those too. Cameras are
        the controller's to change.
        """
        redirects = self.config.cluster.whep == "redirect"
        update: dict[str, Any] = {
            "host": host,
            "port": 0,
            "tls": self.config.cluster.tls,
            "admin_tokens": (),
            "allowed_hosts": ("*",),
            "drain_s": 0.0,
            "tokens": (self.secret,),
            "publish_tokens": (self.secret,) if server.publish_tokens else (),
            "limits": LimitsConfig(
                requests_per_s=100_000, burst=1_000_000, connections=100_000, sessions=10_000
            ),
        }
        if redirects:
            update["limits"] = server.limits
            update["tokens"] = (*server.tokens, self.secret) if server.tokens else ()
            update["publish_tokens"] = (*server.publish_tokens, *update["publish_tokens"])
        return server.model_copy(update=update)


PackedSpec = tuple[str, str, str]
"""By which version, the config as JSON, which only that one knows to read, and the secret."""


def unpacked(packed: PackedSpec) -> Spec:
    """Raises ConfigError where it is of another version than this process."""
    version, config, secret = packed
    if version != package_version():
        raise ConfigError(
            f"the cluster runs version {version}, and this is {package_version()}: "
            "update this machine, or stop the cluster (--stop-cluster) and start it with this version"
        )
    return Spec(ServeConfig.model_validate_json(config), secret)


def _comparable(config: ServeConfig) -> dict[str, str]:
    sections = config.model_dump(mode="json", exclude=APART | {"server"})
    sections["server.webrtc"] = config.server.webrtc.model_dump(mode="json")
    sections["server.tokens"] = sorted(config.server.tokens)
    return {key: json.dumps(value, sort_keys=True) for key, value in sections.items()}
