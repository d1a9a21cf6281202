"""What a training run is told: a YAML file, validated once, frozen after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.criterion import CriterionConfig
from syncvis_online.errors import ConfigError
from syncvis_online.paths import find_config

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StageConfig:
    """A part of the run with one shape of sample. `until` is the share of all steps at which it ends.

    `windows` consecutive windows of `window_frames` frames with carried queries (docs/model.md);
    one window is training without carrying. `strides`: drawn from for each step. `sub_clips` > 0 also decodes
    the adjacent sub-clips of that many frames, and `random_sub_clips` random ones, of each window, by themselves
    (synchronized embedding optimization); then `windows` must be 1.
    """

    until: float
    batch: int
    window_frames: int = 2
    windows: int = 1
    strides: tuple[int, ...] = (1,)
    spacings: tuple[int, ...] = (1, 2)
    sub_clips: int = 0
    random_sub_clips: int = 4
    shares: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Relative shares of synthetic videos, photographs with slight motion, and pasted clips."""

    def frames(self, stride: int) -> int:
        """Frames of a clip for this stride."""
        return self.window_frames + (self.windows - 1) * stride


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where clips come from. `photographs` is the folder of the photographs ("" for none)."""

    size: tuple[int, int] = (192, 320)
    photographs: str = ""
    level: str = "medium"
    seeds: tuple[int, int] = (0, 999)
    """First and last seed of the synthetic world; evaluation must use others."""
    video_frames: int = 20
    cache: str = "runs/rendered"
    """Folder in which rendered videos are kept; made when it is not there."""
    workers: int = 1


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW. The rate warms up, stays, and falls linearly to zero from `decay_from` (a share of all steps) on."""

    rate: float = 1e-4
    backbone_factor: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 0.01
    warmup_steps: int = 100
    decay_from: float = 0.6
    bf16: bool = True
    """bfloat16 autocast, on devices that multiply it themselves."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All of a run."""

    name: str
    seed: int
    steps: int
    model: ModelConfig
    tracker: TrackerConfig
    criterion: CriterionConfig
    data: DataConfig
    optimizer: OptimizerConfig
    stages: tuple[StageConfig, ...]
    initialize: str = ""
    """A checkpoint, by path or by the name of one that ships, whose tensors a run starts from where they fit; ""
    starts from random ones. A run that resumes goes on from its own state."""
    processes: int = 1
    """Processes that share each batch and average their gradients; on two cores, two of one thread each train
    faster than one of two."""

    def stage_at(self, step: int) -> StageConfig:
        """The stage that step (from 0) belongs to."""
        return next((s for s in self.stages if step < s.until * self.steps), self.stages[-1])


def _build(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: must be a mapping")
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown key '{unknown[0]}' (known: {', '.join(sorted(known))})")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from None


def load_training_config(name_or_path: str, *, steps: int | None = None) -> TrainingConfig:
    """Read `configs/training/<name>.yaml` or a file. Raises ConfigError naming file and key."""
    path = find_config("training", name_or_path)
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping")
    known = {
        "seed",
        "steps",
        "model",
        "tracker",
        "criterion",
        "data",
        "optimizer",
        "stages",
        "processes",
        "initialize",
    }
    unknown, missing = sorted(set(raw) - known), sorted({"seed", "steps", "stages"} - set(raw))
    if unknown or missing:
        raise ConfigError(
            f"{path}: " + (f"unknown key '{unknown[0]}'" if unknown else f"key '{missing[0]}' is missing")
        )
    if not isinstance(raw["stages"], list) or not raw["stages"]:
        raise ConfigError(f"{path}: 'stages' must be a list of at least one stage")
    return TrainingConfig(
        name=Path(path).stem,
        seed=int(raw["seed"]),
        processes=int(raw.get("processes", 1)),
        initialize=str(raw.get("initialize", "")),
        steps=int(raw["steps"]) if steps is None else steps,
        model=ModelConfig.from_mapping(raw.get("model", {}), f"{path} (model)"),
        tracker=TrackerConfig.from_mapping(raw.get("tracker", {}), f"{path} (tracker)"),
        criterion=_build(CriterionConfig, raw.get("criterion", {}), f"{path} (criterion)"),
        data=_build(DataConfig, raw.get("data", {}), f"{path} (data)"),
        optimizer=_build(OptimizerConfig, raw.get("optimizer", {}), f"{path} (optimizer)"),
        stages=tuple(_build(StageConfig, s, f"{path} (stage {i})") for i, s in enumerate(raw["stages"], 1)),
    )
