"""The difficulty of a synthetic world: numbers read from `configs/synthetic/<name>.yaml`.

Owns the list of the keys and their ranges. Knows nothing about how they are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from syncvis_online.errors import ConfigError
from syncvis_online.paths import find_config
from syncvis_online.types import LABELS

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class LevelConfig:
    """Everything that defines how hard a world is.

    `size` is (height, width) in pixels; `objects` bounds the objects that can be seen at once;
    `height_fraction` bounds the height of a whole silhouette over the picture's height; `far_share` is the
    share of objects put far away (below a quarter of the largest height). Speeds are in metres per second on
    the ground. `shake_px` and `noise_sigma` are for a picture 360 pixels high and for 8-bit values.
    `lighting_amplitude` is the relative swing of the brightness. Raises ConfigError when a value is out of
    its range.
    """

    name: str
    fps: float
    size: tuple[int, int]
    objects: tuple[int, int]
    height_fraction: Range
    far_share: float
    class_weights: tuple[float, ...]
    walk_speed_mps: Range
    ride_speed_mps: Range
    drive_speed_mps: Range
    fly_speed_mps: Range
    stop_rate_per_s: float
    turn_rate_per_s: float
    stop_duration_s: Range
    lookalike_probability: float
    group_probability: float
    occluders: tuple[int, int]
    shake_px: float
    noise_sigma: float
    lighting_amplitude: float
    cloud_amplitude: float

    def __post_init__(self) -> None:
        checks = {
            "fps": 0 < self.fps <= 240,
            "size": 32 <= self.size[0] <= 4320 and 32 <= self.size[1] <= 7680,
            "objects": self.objects[0] >= 1 and self.objects[0] + 3 <= self.objects[1] <= 64,
            "height_fraction": self.height_fraction[0] >= 0.01
            and self.height_fraction[1] <= 0.9
            and self.height_fraction[1] >= 4 * self.height_fraction[0],
            "far_share": 0 <= self.far_share <= 1,
            "class_weights": len(self.class_weights) == len(LABELS)
            and min(self.class_weights) >= 0
            and sum(self.class_weights) > 0,
            "occluders": 0 <= self.occluders[0] <= self.occluders[1] <= 40,
            "shake_px": 0 <= self.shake_px <= 20,
            "noise_sigma": 0 <= self.noise_sigma <= 40,
        }
        for key in (
            "walk_speed_mps",
            "ride_speed_mps",
            "drive_speed_mps",
            "fly_speed_mps",
            "stop_duration_s",
        ):
            low, high = getattr(self, key)
            checks[key] = 0 < low <= high <= 60
        for key in (
            "stop_rate_per_s",
            "turn_rate_per_s",
            "lookalike_probability",
            "group_probability",
            "lighting_amplitude",
            "cloud_amplitude",
        ):
            checks[key] = 0 <= getattr(self, key) <= 1
        for key, good in checks.items():
            if not good:
                raise ConfigError(
                    f"synthetic level '{self.name}': {key} is out of range: {getattr(self, key)}"
                )


def load_level(name_or_path: str) -> LevelConfig:
    """Read a level by name (`configs/synthetic/<name>.yaml`) or from a YAML file.

    Raises ConfigError naming the file and the key when a key is unknown, missing, or of the wrong kind.
    """
    path = find_config("synthetic", name_or_path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to numbers")
    known = {field.name: str(field.type) for field in fields(LevelConfig) if field.name != "name"}
    for key in raw:
        if key not in known:
            raise ConfigError(f"{path}: unknown key '{key}'")
    for key in known:
        if key not in raw:
            raise ConfigError(f"{path}: key '{key}' is missing")
    values = {key: _convert(path, key, kind, raw[key]) for key, kind in known.items()}
    try:
        return LevelConfig(name=path.stem, **values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _convert(path: Path, key: str, kind: str, value: Any) -> Any:
    if key == "class_weights":
        return _class_weights(path, value)
    if kind == "float":
        return float(_number(path, key, value))
    if not isinstance(value, list) or len(value) != 2:
        raise ConfigError(f"{path}: key '{key}' must be a list of two numbers, not {value!r}")
    low, high = (_number(path, key, v) for v in value)
    if kind != "tuple[int, int]":
        return (float(low), float(high))
    if not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"{path}: key '{key}' must be two whole numbers, not {value!r}")
    return (int(low), int(high))


def _class_weights(path: Path, value: Any) -> tuple[float, ...]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: key 'class_weights' must map classes to numbers")
    for label in value:
        if label not in LABELS:
            raise ConfigError(f"{path}: unknown key 'class_weights.{label}' (classes: {', '.join(LABELS)})")
    return tuple(float(_number(path, f"class_weights.{label}", value.get(label, 0.0))) for label in LABELS)


def _number(path: Path, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{path}: key '{key}' must be a number, not {value!r}")
    return value
