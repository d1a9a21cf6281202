"""From another project's tensors to a model: the config is read off their shapes, and every key is accounted for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from syncvis_online.backbones import BACKBONES, build_backbone
from syncvis_online.checkpoint import save_model
from syncvis_online.config import ModelConfig, TrackerConfig
from syncvis_online.conversion.files import FILES_OF_A_FOLDER, read_tensors
from syncvis_online.conversion.labels import KNOWN_LABELS
from syncvis_online.conversion.layouts import DERIVED, LAYOUTS, Rule, renamed
from syncvis_online.errors import ConfigError, ModelError
from syncvis_online.model import PIXEL_MEAN, PIXEL_STD, SyncVIS

HEAD_CHANNELS = 32
"""Channels of an attention head in every published Mask2Former."""
SHORT_SIDE = 480


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a set of tensors: a config and the tensors for it, and the names of the others.

    `unused`: there is no place for them here; `derived`: they hold no weights (indices, counters, constants).
    """

    layout: str
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    unused: tuple[str, ...]
    derived: tuple[str, ...]


def convert_tensors(tensors: Mapping[str, Tensor], labels: Sequence[str] | None = None) -> Conversion:
    """Mask2Former's tensors, by their names in transformers or detectron2, as this model's.

    `labels`: the class names, in the order of the logits; needed where their number does not tell the data set.
    The video branch shares the layers and starts from the frame queries, lambda is 0: its answer on one frame is
    Mask2Former's. Raises ModelError when the tensors are not a Mask2Former's, or do not fit together.
    """
    _check_normalisation(tensors)
    layout, names = _recognised(tensors)
    others = [name for name in tensors if name not in names]
    found = _fused(_by_our_names(tensors, names))
    for kind in ("query", "position"):
        if f"decoder.frame_{kind}" in found:
            found[f"decoder.video_{kind}"] = found[f"decoder.frame_{kind}"]
    config = _config_of(found, labels)
    wanted = SyncVIS(config).state_dict()
    problems = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    missing = [name for name in wanted if name not in found and not _is_ours(name)]
    homeless = found.keys() - wanted.keys()
    unused = [name for name in others if not DERIVED.fullmatch(name)]
    unused += [name for name, ours in names.items() if ours in homeless]
    if missing or problems:
        what = problems[0] if problems else f"{len(missing)} tensors are missing, {missing[0]} first"
        raise ModelError(f"not a complete Mask2Former in the layout of {layout}: {what}")
    derived = tuple(name for name in others if DERIVED.fullmatch(name))
    used = {k: v for k, v in found.items() if k in wanted}
    return Conversion(layout, config, used, tuple(unused), derived)


def _check_normalisation(tensors: Mapping[str, Tensor]) -> None:
    """Weights for pictures of another scale or channel order would answer, and answer wrongly."""
    for kind, ours in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        theirs = tensors.get(kind)
        if theirs is not None and not torch.allclose(
            theirs.flatten().double(), torch.tensor(ours).double(), atol=0.01
        ):
            values = ", ".join(f"{x:g}" for x in theirs.flatten().tolist()[:6])
            raise ModelError(
                f"made for pictures of another {kind} ({values}) than {', '.join(map(str, ours))}"
            )


def _recognised(tensors: Mapping[str, Tensor]) -> tuple[str, dict[str, str]]:
    """The layout that knows most of the names, and our name for each that it knows."""

    def known(rules: Sequence[Rule]) -> dict[str, str]:
        names = ((name, renamed(name, rules)) for name in tensors)
        return {name: ours for name, ours in names if ours is not None}

    layout, names = max(
        ((layout, known(rules)) for layout, rules in LAYOUTS.items()), key=lambda pair: len(pair[1])
    )
    if not names:
        raise ModelError(f"no tensor has a name that a Mask2Former has ({next(iter(tensors))} is the first)")
    return layout, names


def _by_our_names(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, ours in names.items():
        if ours in found:
            raise ModelError(f"two tensors are {ours}; {name} is the second")
        found[ours] = tensors[name]
    return found


def _fused(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value taken apart, or put together, as this model keeps them."""
    result = {}
    for name, tensor in found.items():
        stem, _, last = name.rpartition(".")
        if last == "in_proj":
            layer, _, kind = stem.rpartition(".")
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                result[f"{layer}.{part}.{kind}"] = third
        elif last in ("q", "k", "v"):
            parts = [found.get(f"{stem}.{each}") for each in "qkv"]
            if any(part is None for part in parts):
                raise ModelError(f"{stem}: query, key and value are not all there")
            result[stem] = torch.cat([part for part in parts if part is not None])
        else:
            result[name] = tensor
    return result


def _is_ours(name: str) -> bool:
    """Tensors that no Mask2Former has: synchronization (unused at lambda 0), propagation (zero), counters."""
    ours = r"decoder\.layers\.\d+\.(video_ffn|frame_ffn|frame_to_video|video_to_frame)\..+|propagate\.weight"
    return re.fullmatch(ours, name) is not None or DERIVED.fullmatch(name) is not None


def _count(found: Mapping[str, Tensor], pattern: str) -> int:
    numbers = [int(m[1]) for name in found if (m := re.match(pattern, name))]
    return max(numbers, default=-1) + 1


def _backbone_of(found: Mapping[str, Tensor]) -> str:
    """The published backbone with these blocks and channels."""
    blocks = tuple(_count(found, rf"backbone\.stages\.{i}\.(\d+)\.") for i in range(4))
    embed = found.get("backbone.patch_embed.weight")
    for name in BACKBONES:
        if name.startswith("swin") != (embed is not None) or name == "resnet18":
            continue
        with torch.device("meta"):
            candidate = build_backbone(name)
        depths = tuple(len(list(stage.children())) for stage in candidate.stages)
        if depths == blocks and (embed is None or candidate.channels[4] == len(embed)):
            return name
    raise ModelError(f"its backbone, of {blocks} blocks, is none that is known here ({', '.join(BACKBONES)})")


def _config_of(found: Mapping[str, Tensor], labels: Sequence[str] | None) -> ModelConfig:
    try:
        classes = len(found["decoder.class_head.bias"]) - 1
        queries, channels = found["decoder.frame_query"].shape
        config = ModelConfig(
            labels=_labels(classes, labels),
            backbone=_backbone_of(found),
            pixel_decoder="deformable",
            pixel_decoder_layers=_count(found, r"pixel_decoder\.layers\.(\d+)\."),
            pixel_decoder_ffn_channels=len(found["pixel_decoder.layers.0.ffn.0.bias"]),
            channels=channels,
            mask_channels=len(found["pixel_decoder.mask_features.bias"]),
            queries=queries,
            layers=_count(found, r"decoder\.layers\.(\d+)\."),
            heads=channels // HEAD_CHANNELS,
            ffn_channels=len(found["decoder.layers.0.ffn.0.bias"]),
            synchronize_weight=0.0,
            synchronize_top_k=min(10, queries),
            short_side=SHORT_SIDE,
        )
    except KeyError as error:
        raise ModelError(f"not a complete Mask2Former: {error.args[0]} is missing") from None
    except ValueError as error:
        raise ModelError(f"not a Mask2Former that is known here: {error}") from None
    return config


def _labels(classes: int, labels: Sequence[str] | None) -> tuple[str, ...]:
    if labels is None:
        if classes not in KNOWN_LABELS:
            raise ModelError(f"it has {classes} classes: name them, in order, with --labels")
        return KNOWN_LABELS[classes]
    if len(labels) != classes:
        raise ModelError(f"it has {classes} classes, and {len(labels)} labels are given")
    return tuple(labels)


def _model_of(conversion: Conversion) -> SyncVIS:
    torch.manual_seed(0)  # for what no Mask2Former has: the same file for the same source
    model = SyncVIS(conversion.config)
    model.load_state_dict(dict(conversion.tensors), strict=False)
    return model.eval()


def _located(source: str) -> Path:
    """A file, the weights of a local folder, or those of a model on the Hugging Face hub."""
    path = Path(source)
    if path.is_dir():
        for name in FILES_OF_A_FOLDER:
            if (path / name).is_file():
                return path / name
        raise ModelError(f"{source}: holds none of {', '.join(FILES_OF_A_FOLDER)}")
    if path.is_file():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or path.suffix in (
        ".pkl",
        ".pth",
        ".safetensors",
        ".bin",
    ):
        raise ModelError(f"{source}: no such file")
    return _download(source)


def _download(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError:
        raise ModelError(f"{name}: is no file here; for names of the hub, install huggingface_hub") from None
    try:
        hf_hub_download(name, "config.json")
        return Path(hf_hub_download(name, "model.safetensors"))
    except RepositoryNotFoundError:
        raise ModelError(f"{name}: neither a file here nor a model on the Hugging Face hub") from None
    except LocalEntryNotFoundError:
        raise ModelError(
            f"{name}: is no file here, and the Hugging Face hub cannot be reached (nor was it fetched before)"
        ) from None
    except EntryNotFoundError:
        raise ModelError(f"{name}: the model on the hub has no model.safetensors and config.json") from None
    except Exception as error:  # whatever a network can do
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{name}: is no file here, and the Hugging Face hub cannot be reached ({reason})"
        ) from None


def _labels_beside(path: Path) -> tuple[str, ...] | None:
    """The class names in the config.json beside a Hugging Face file."""
    config = path.with_name("config.json")
    if not config.is_file():
        return None
    try:
        names = json.loads(config.read_text(encoding="utf-8"))["id2label"]
        return tuple(str(names[str(i)]) for i in range(len(names)))
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(f"{config}: has no list of class names under 'id2label'") from None


def import_weights(source: str, output: Path, labels: Sequence[str] | None = None) -> Conversion:
    """Convert `source` (a file, a folder, or a hub name) and write a checkpoint in float32, all or nothing.

    Raises ModelError naming the source and what is wrong with it; `output` is then left as it was.
    """
    path = _located(source)
    try:
        conversion = convert_tensors(read_tensors(path), labels or _labels_beside(path))
        for name, tensor in conversion.tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ModelError(f"{name} holds values that are not finite")
    except (ModelError, ConfigError) as error:
        raise ModelError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    tracker = TrackerConfig(
        window_frames=1, association="cosine", birth_score=0.5, keep_score=0.3, max_lost_s=2.0
    )
    provenance = {
        "imported": source,
        "layout": conversion.layout,
        "unused": list(conversion.unused),
    }
    save_model(output, _model_of(conversion), tracker, provenance, dtype=torch.float32)
    return conversion
