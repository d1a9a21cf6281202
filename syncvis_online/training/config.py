"""What a training run is told: a YAML file, validated once, frozen after."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.criterion import CriterionConfig
from syncvis_online.errors import ConfigError
from syncvis_online.paths import find_config
from syncvis_online.validation import STRICT, read_yaml, require, validated


@dataclass(frozen=True, slots=True)
class StageConfig:
    """A part of the run with one shape of sample. `until` is the share of all steps at which it ends.

    `windows` consecutive windows of `window_frames` frames with carried queries (docs/model.md);
    one window is training without carrying. `strides`: drawn from for each step. `sub_clips` > 0 also decodes
    the adjacent sub-clips of that many frames, and `random_sub_clips` random ones (null: all there are), of each
    window, by themselves (synchronized embedding optimization); then `windows` must be 1.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    until: float
    batch: int
    shares: dict[str, float]
    """Relative shares of the sources, by their names in `data.sources`."""
    window_frames: int = 2
    windows: int = 1
    ahead: tuple[int, ...] = (0,)
    """Windows before them that are decoded without gradient, drawn from for each step: what the queries carry then
    is as old as in a stream, for a third of a window's cost (truncated back-propagation through time)."""
    strides: tuple[int, ...] = (1,)
    spacings: tuple[int, ...] = (1, 2)
    covered: float = 0.0
    """Share of the clips in which instances go behind a board for some frames (`data/clips_covered.py`)."""
    forget: float = 0.0
    """Odds with which an instance loses its query between two windows of a rollout, and must be found anew."""
    train_encoder: bool = True
    """False: backbone and pixel decoder stay as they are, and only the decoder learns, in half the time a step."""
    sub_clips: int = 0
    random_sub_clips: int | None = 4

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(0.0 < self.until <= 1.0, "until must be in (0, 1]")
        for name in ("batch", "window_frames", "windows"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1")
        for name in ("strides", "spacings"):
            values = getattr(self, name)
            require(len(values) > 0 and min(values) >= 1, f"{name} must name whole numbers from 1 on")
        require(max(self.strides) <= self.window_frames, "strides must not be longer than window_frames")
        require(
            len(self.ahead) > 0 and min(self.ahead) >= 0,
            "ahead must name whole numbers, none of them negative",
        )
        for name in ("covered", "forget"):
            require(0.0 <= getattr(self, name) <= 1.0, f"{name} must be in [0, 1]")
        require(min(self.sub_clips, self.random_sub_clips or 0) >= 0, "sub-clips must not be negative")
        require(
            not self.sub_clips
            or (self.windows == 1 and max(self.ahead) == 0 and self.sub_clips < self.window_frames),
            "sub_clips needs windows: 1 and ahead: [0], and must be shorter than window_frames",
        )
        require(
            min(self.shares.values(), default=0) >= 0 and sum(self.shares.values()) > 0,
            "the shares of a stage must not be negative, nor all zero",
        )

    def frames(self, stride: int, ahead: int = 0) -> int:
        """Frames of a clip for this stride, and as many windows ahead."""
        return self.window_frames + (ahead + self.windows - 1) * stride


@dataclass(frozen=True, slots=True)
class SyntheticSource:
    """Videos of the synthetic world, rendered once into `cache`. `seeds`: first and last; evaluate on others."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["synthetic"]
    seeds: tuple[int, int]
    level: str = "medium"
    frames: int = 20
    fps: float | None = None
    """Frames a second; null: the level's own. Fewer let a video of as many frames span longer occlusions."""
    cache: str = "runs/rendered"
    crop_odds: float = 0.5
    """Share of the clips that are cut to a window and mirrored half the time; the others show the whole picture."""
    crop_share: float = 0.6
    """Least side of that window, as a share of the largest that fits (`random_crop`)."""
    photometric: float = 0.6
    """Strength of the changes of light, colour and quality; 0: none, 1: as for real pictures (`photometric_jitter`)."""

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(0 <= self.seeds[0] <= self.seeds[1], "seeds must be the first and the last, from 0 on")
        require(self.frames >= 1, "frames must be at least 1")
        require(self.fps is None or self.fps > 0, "fps must be greater than 0")
        require(0.0 <= self.crop_odds <= 1.0, "crop_odds must be in [0, 1]")
        _check_augmentation(self.photometric, self.crop_share)


@dataclass(frozen=True, slots=True)
class PhotographSource:
    """COCO-format photographs as clips: "photographs" under a slightly moving camera, "pasted" cut-outs of them on
    paths over others of them. `annotations` and `images` lie in `folder`; `split`: "train" leaves every fifth out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["photographs", "pasted"]
    folder: str
    annotations: str = "instances.json"
    images: str = "images"
    split: Literal["train", "all"] = "train"
    classes: dict[str, str] = field(default_factory=dict)
    """The model's label that an annotated class counts as, where its name is another one."""
    motion: tuple[float, float] = (0.2, 1.0)
    """Least and most of the camera's motion over "photographs"; 1 is slight, "pasted" is always at 1 (`photo_clip`)."""
    objects: tuple[int, int] = (1, 5)
    """Fewest and most paths of "pasted" cut-outs (`pasted_clip`)."""
    photometric: float = 1.0
    """As of a synthetic source."""

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(0.0 <= self.motion[0] <= self.motion[1], "motion must be the least and the most, from 0 on")
        require(0 <= self.objects[0] <= self.objects[1], "objects must be the fewest and the most, from 0 on")
        _check_augmentation(self.photometric)


@dataclass(frozen=True, slots=True)
class YouTubeVISSource:
    """Videos of a YouTube-VIS JSON (2019, 2021, 2022, OVIS). `images`: where file names start; "": beside it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["youtube_vis"]
    annotations: str
    images: str = ""
    crop_share: float = 0.6
    photometric: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        _check_augmentation(self.photometric, self.crop_share)


@dataclass(frozen=True, slots=True)
class DavisSource:
    """A DAVIS folder. `sequences`: a list of names ("" takes all); its objects, which have no classes, are `label`."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    kind: Literal["davis"]
    folder: str
    label: str
    sequences: str = ""
    crop_share: float = 0.6
    photometric: float = 1.0

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        _check_augmentation(self.photometric, self.crop_share)


def _check_augmentation(photometric: float, crop_share: float = 1.0) -> None:
    require(photometric >= 0, "photometric must not be negative")
    require(0.0 < crop_share <= 1.0, "crop_share must be in (0, 1]")


SourceConfig = SyntheticSource | PhotographSource | YouTubeVISSource | DavisSource


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where clips come from, by names that stages refer to, and their size (height, width).

    `scales`: one is drawn for each step, and multiplies `size` (the sides stay multiples of 32).
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    sources: dict[str, Annotated[SourceConfig, Field(discriminator="kind")]]
    size: tuple[int, int] = (192, 320)
    scales: tuple[float, ...] = (1.0,)
    workers: int = 1
    """Processes that load clips, for each process that trains."""

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        require(
            min(self.size) >= 32 and all(side % 32 == 0 for side in self.size),
            "size must be two multiples of 32",
        )
        require(
            len(self.scales) > 0 and min(self.scales) * min(self.size) >= 32,
            "scales must name at least one, and leave each side at least 32",
        )
        require(self.workers >= 0, "workers must not be negative")


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """AdamW. The rate warms up, stays, and falls linearly to zero from `decay_from` (a share of all steps) on; or, with
    `decay_at` (shares of all steps), to a tenth at each of them.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    rate: float = 1e-4
    backbone_factor: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 0.01
    warmup_steps: int = 100
    decay_from: float = 0.6
    decay_at: tuple[float, ...] = ()
    freeze_norm: bool = False
    """Leave the backbone's batch normalisation as it is initialized: for few pictures a step (FrozenBN)."""
    bf16: bool = True
    """bfloat16 autocast, on devices that multiply it themselves."""
    average: float = 0.0
    """Decay, from step to step, of the exponential moving average of the weights that the checkpoint holds (Polyak and
    Juditsky, 1992); 0: the newest weights themselves."""

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be."""
        for name in ("rate", "backbone_factor", "weight_decay", "warmup_steps"):
            require(getattr(self, name) >= 0, f"{name} must not be negative")
        require(self.clip_norm > 0, "clip_norm must be greater than 0")
        require(0.0 <= self.decay_from < 1.0, "decay_from must be in [0, 1)")
        require(0.0 <= self.average < 1.0, "average must be in [0, 1)")
        require(all(0.0 < share < 1.0 for share in self.decay_at), "decay_at must name shares in (0, 1)")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """All of a run. A YAML file holds these keys, but for `name`, which is the file's."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    name: str
    seed: int
    steps: int
    stages: tuple[StageConfig, ...]
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    criterion: CriterionConfig = field(default_factory=CriterionConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    initialize: str = ""
    """A checkpoint, by path or by the name of one that ships, whose tensors a run starts from where they fit; ""
    starts from random ones. A run that resumes goes on from its own state."""
    processes: int = 1
    """Processes that share each batch and average their gradients; on two cores, two of one thread each train
    faster than one of two. A launcher's number goes before it."""
    picture_steps: int = 500
    """Steps from one sample picture to the next; 0: none."""

    def __post_init__(self) -> None:
        """Raise ValueError when a value cannot be, or does not fit another."""
        require(self.seed >= 0, "seed must not be negative")
        require(self.steps >= 1, "steps must be at least 1")
        require(self.processes >= 1, "processes must be at least 1")
        require(self.picture_steps >= 0, "picture_steps must not be negative")
        require(len(self.stages) > 0, "stages must name at least one stage")
        ends = [stage.until for stage in self.stages]
        require(ends == sorted(set(ends)) and ends[-1] == 1.0, "stages: 'until' must grow and end with 1.0")
        require(
            self.model.similarity == (self.criterion.similarity > 0),
            "model.similarity and criterion.similarity must both be there, or neither",
        )
        for i, stage in enumerate(self.stages):
            require(stage.batch % self.processes == 0, f"stages.{i}: batch must be a multiple of processes")
            for name in stage.shares:
                self._check_source(i, stage, name)

    def _check_source(self, i: int, stage: StageConfig, name: str) -> None:
        require(
            name in self.data.sources,
            f"stages.{i}.shares: no source '{name}' in data.sources (there are: {', '.join(self.data.sources)})",
        )
        source = self.data.sources[name]
        most = max(stage.frames(stride, max(stage.ahead)) for stride in stage.strides)
        require(
            not isinstance(source, SyntheticSource) or most <= source.frames,
            f"stages.{i}: its clips of {most} frames are longer than data.sources.{name}.frames",
        )
        require(
            not isinstance(source, DavisSource) or source.label in self.model.labels,
            f"data.sources.{name}.label: is none of the model's labels",
        )

    def stage_at(self, step: int) -> StageConfig:
        """The stage that step (from 0) belongs to."""
        return next((s for s in self.stages if step < s.until * self.steps), self.stages[-1])


def load_training_config(
    name_or_path: str, *, steps: int | None = None, processes: int | None = None
) -> TrainingConfig:
    """Read `configs/training/<name>.yaml` or a file; `steps` and `processes` override the file's.

    `extends: NAME` at the top of a file takes over the keys of another one: mappings are merged key by key,
    anything else is replaced. Raises ConfigError naming file and key.
    """
    path = Path(find_config("training", name_or_path))
    values = {**_extended(path, ()), "name": path.stem}
    overrides = {"steps": steps, "processes": processes}
    values |= {key: value for key, value in overrides.items() if value is not None}
    return validated(TrainingConfig, values, str(path))


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[Any, Any]:
    """The keys of a file on top of those of the file that it extends."""
    if path in seen:
        raise ConfigError(f"{path}: extends itself")
    values = read_yaml(path)
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: extends: input should be the name of a config")
    return _merged(_extended(Path(find_config("training", base)), (*seen, path)), values)


def _merged(below: dict[Any, Any], above: dict[Any, Any]) -> dict[Any, Any]:
    result = dict(below)
    for key, value in above.items():
        mergeable = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if mergeable else value
    return result
