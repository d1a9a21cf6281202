"""Imported Mask2Former weights give what transformers' own model gives; nothing in a file is ever run."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
    SwinConfig,
)

from syncvis_online.checkpoint import load_model
from syncvis_online.conversion import Conversion, convert_tensors, import_weights
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.errors import ModelError
from syncvis_online.features import FrameFeatures
from syncvis_online.model import SyncVIS
from syncvis_online.online import load_tracker

STAGES = ["stage1", "stage2", "stage3", "stage4"]
SIZES = ((128, 160), (160, 96))
LABELS = [f"class {i}" for i in range(7)]


@dataclass(frozen=True)
class Pair:
    """transformers' model, what it was converted to, and our model of that."""

    theirs: Mask2FormerForUniversalSegmentation
    conversion: Conversion
    ours: SyncVIS


def reference(backbone: str) -> Mask2FormerForUniversalSegmentation:
    """transformers' model in its published size, all parameters and statistics random, float64."""
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=ResNetConfig(out_features=STAGES)
        if backbone == "resnet50"
        else SwinConfig(embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], out_features=STAGES),
        num_labels=len(LABELS),
        num_queries=100,
    )
    model = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases, which start as ones and zeros
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "sampling_offsets" in name or "attention_weights" in name:  # start at zero
                parameter.normal_(std=0.05)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return model.double().eval()


@pytest.fixture(scope="module", params=["resnet50", "swin_tiny"])
def pair(request: pytest.FixtureRequest) -> Pair:
    theirs = reference(request.param)
    conversion = convert_tensors(theirs.state_dict(), LABELS)
    assert conversion.config.backbone == request.param
    ours = SyncVIS(conversion.config).double().eval()
    ours.load_state_dict(dict(conversion.tensors), strict=False)
    return Pair(theirs, conversion, ours)


def pictures(size: tuple[int, int]) -> torch.Tensor:
    rng = torch.Generator().manual_seed(sum(size))
    coarse = torch.rand(2, 3, size[0] // 8, size[1] // 8, generator=rng, dtype=torch.float64)
    return 255 * torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


@torch.inference_mode()
def answers(model: SyncVIS, images: torch.Tensor) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Class and mask logits of both branches, every picture a window of its own."""
    features = model.encode(images)
    windows = features.windows(torch.arange(len(images))[:, None])
    last = model.decode(windows).layers[-1]
    frame_masks = torch.einsum("bnc,bchw->bnhw", last.frame.embeds[:, 0], features.mask_features)
    video_masks = torch.einsum("bnc,bchw->bnhw", last.video.embeds, features.mask_features)
    return {"frame": (last.frame.logits[:, 0], frame_masks), "video": (last.video.logits, video_masks)}


@torch.inference_mode()
def wanted(
    theirs: Mask2FormerForUniversalSegmentation, ours: SyncVIS, images: torch.Tensor
) -> list[torch.Tensor]:
    output = theirs(pixel_values=(images - ours.pixel_mean) / ours.pixel_std)
    return [output.class_queries_logits, output.masks_queries_logits]


@pytest.mark.parametrize("size", SIZES)
def test_logits_agree_in_double_precision(pair: Pair, size: tuple[int, int]) -> None:
    images = pictures(size)
    expected = wanted(pair.theirs, pair.ours, images)
    assert float(expected[1].std()) > 1e-3, "masks that say something"
    for branch, got in answers(pair.ours, images).items():
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(
                a, b, rtol=0, atol=1e-8, msg=lambda text, branch=branch: f"{branch}: {text}"
            )


class Injected:
    """Gives our decoder the reference's attention masks, and counts the bits that ours would have had otherwise."""

    def __init__(self, model: SyncVIS, masks: Sequence[torch.Tensor], *, inject: bool) -> None:
        self.masks, self.inject = iter(masks), inject
        self.flipped = self.bits = 0
        self._own = model.decoder._blocked_frames

    @classmethod
    @contextmanager
    def into(cls, model: SyncVIS, masks: Sequence[torch.Tensor], *, inject: bool) -> Iterator[Injected]:
        """Stand in for the decoder's own attention masks while inside."""
        injected = cls(model, masks, inject=inject)
        model.decoder._blocked_frames = injected  # type: ignore[method-assign, assignment]
        try:
            yield injected
        finally:
            model.decoder._blocked_frames = injected._own  # type: ignore[method-assign]

    def __call__(self, embeds: torch.Tensor, features: FrameFeatures, level: int) -> torch.Tensor:
        own = self._own(embeds, features, level)
        theirs = next(self.masks).unflatten(0, (own.shape[0], -1))[:, 0]  # the same for every head
        theirs = theirs & ~theirs.all(-1, keepdim=True)
        self.flipped += int((own != theirs).sum())
        self.bits += theirs.numel()
        return theirs if self.inject else own


@dataclass(frozen=True)
class Single:
    """Both models in single precision; by size of the pictures: what the reference answers, and its attention masks."""

    theirs: Mask2FormerForUniversalSegmentation
    ours: SyncVIS
    told: dict[tuple[int, int], tuple[list[torch.Tensor], list[torch.Tensor]]] = field(default_factory=dict)

    def wanted(self, size: tuple[int, int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        if size not in self.told:
            masks: list[torch.Tensor] = []
            hook = self.theirs.model.transformer_module.decoder.mask_predictor.register_forward_hook(
                lambda module, given, output: masks.append(output[1])
            )
            expected = wanted(self.theirs, self.ours, pictures(size).float())
            hook.remove()
            self.told[size] = expected, masks
        return self.told[size]

    def differences(self, size: tuple[int, int], *, inject: bool) -> tuple[Injected, list[torch.Tensor]]:
        """Absolute differences of class and mask logits, (B, N, ...) each."""
        expected, masks = self.wanted(size)
        with Injected.into(self.ours, masks, inject=inject) as injected:
            got = answers(self.ours, pictures(size).float())["frame"]
        return injected, [(a - b).abs() for a, b in zip(got, expected, strict=True)]


@pytest.fixture(scope="module")
def single(pair: Pair) -> Single:
    return Single(deepcopy(pair.theirs).float(), deepcopy(pair.ours).float())


@pytest.mark.parametrize("size", SIZES)
def test_logits_agree_in_single_precision_with_the_same_attention_masks(
    single: Single, size: tuple[int, int]
) -> None:
    _, differences = single.differences(size, inject=True)
    for difference in differences:
        assert float(difference.max()) < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_in_single_precision_hardly_any_query_is_told_apart(
    single: Single, size: tuple[int, int], record_property: Callable[[str, object], None]
) -> None:
    """Attention masks flip where a mask's probability is 0.5 but for rounding, and change a whole query's row."""
    injected, differences = single.differences(size, inject=False)
    share = injected.flipped / injected.bits
    record_property("flipped_mask_bits", share)
    print(f"{size}: {injected.flipped} of {injected.bits} bits of attention masks flipped, {share:.2e}")
    assert share < 1e-3
    for difference in differences:
        same = (difference.flatten(2).amax(-1) < 1e-4).float().mean()
        assert float(same) >= 0.999


def detectron2_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' tensors by the names, and in the pieces, of the Mask2Former repository."""
    found = dict(tensors)
    for name in [k for k in found if ".q_proj." in k]:
        parts = [found.pop(name.replace("q_proj", f"{x}_proj")) for x in "qkv"]
        stem = name.replace("q_proj.weight", "in_proj_weight").replace("q_proj.bias", "in_proj_bias")
        found[stem.replace("attention.in_proj_", "attn.qkv.") if "encoder" in name else stem] = torch.cat(
            parts
        )
    renames = (
        (r"model\.pixel_level_module\.encoder\.embedder\.embedder\.convolution", "backbone.stem.conv1"),
        (
            r"model\.pixel_level_module\.encoder\.embedder\.embedder\.normalization",
            "backbone.stem.conv1.norm",
        ),
        (r"model\.pixel_level_module\.encoder\.encoder\.stages\.(\d)\.layers", "backbone.res{0+2}"),
        (r"\.layer\.(\d)\.convolution", ".conv{0+1}"),
        (r"\.layer\.(\d)\.normalization", ".conv{0+1}.norm"),
        (r"shortcut\.convolution", "shortcut"),
        (r"shortcut\.normalization", "shortcut.norm"),
        (
            r"model\.pixel_level_module\.encoder\.swin\.embeddings\.patch_embeddings\.projection",
            "backbone.patch_embed.proj",
        ),
        (r"model\.pixel_level_module\.encoder\.swin\.embeddings\.norm", "backbone.patch_embed.norm"),
        (r"model\.pixel_level_module\.encoder\.swin\.encoder\.layers", "backbone.layers"),
        (r"model\.pixel_level_module\.encoder\.hidden_states_norms\.stage(\d)", "backbone.norm{0-1}"),
        (r"layernorm_before", "norm1"),
        (r"layernorm_after", "norm2"),
        (r"attention\.o_proj", "attn.proj"),
        (r"attention\.relative_position_bias\.", "attn."),
        (
            r"model\.pixel_level_module\.decoder\.level_embed",
            "sem_seg_head.pixel_decoder.transformer.level_embed",
        ),
        (r"model\.pixel_level_module\.decoder\.input_projections", "sem_seg_head.pixel_decoder.input_proj"),
        (r"model\.pixel_level_module\.decoder\.mask_projection", "sem_seg_head.pixel_decoder.mask_features"),
        (r"model\.pixel_level_module\.decoder\.(adapter_1|layer_1)\.0", r"sem_seg_head.pixel_decoder.\1"),
        (
            r"model\.pixel_level_module\.decoder\.(adapter_1|layer_1)\.1",
            r"sem_seg_head.pixel_decoder.\1.norm",
        ),
        (r"(model\.pixel_level_module\.decoder\.encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
        (r"(model\.pixel_level_module\.decoder\.encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
        (r"(model\.pixel_level_module\.decoder\.encoder\.layers\.\d+)\.fc", r"\1.linear"),
        (r"model\.pixel_level_module\.decoder\.encoder", "sem_seg_head.pixel_decoder.transformer.encoder"),
        (r"model\.transformer_module\.queries_features", "sem_seg_head.predictor.query_feat"),
        (r"model\.transformer_module\.queries_embedder", "sem_seg_head.predictor.query_embed"),
        (r"model\.transformer_module\.level_embed", "sem_seg_head.predictor.level_embed"),
        (r"model\.transformer_module\.decoder\.layernorm", "sem_seg_head.predictor.decoder_norm"),
        (
            r"model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0",
            r"sem_seg_head.predictor.mask_embed.layers.\1",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.cross_attn_layer_norm",
            r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.norm",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.self_attn_layer_norm",
            r"sem_seg_head.predictor.transformer_self_attention_layers.\1.norm",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.final_layer_norm",
            r"sem_seg_head.predictor.transformer_ffn_layers.\1.norm",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.cross_attn",
            r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.multihead_attn",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.self_attn",
            r"sem_seg_head.predictor.transformer_self_attention_layers.\1.self_attn",
        ),
        (
            r"model\.transformer_module\.decoder\.layers\.(\d+)\.fc",
            r"sem_seg_head.predictor.transformer_ffn_layers.\1.linear",
        ),
        (r"^class_predictor", "sem_seg_head.predictor.class_embed"),
    )

    def shifted(form: str) -> Callable[[re.Match[str]], str]:
        def replace(found: re.Match[str]) -> str:
            counted = re.sub(r"\{0([+-]\d)\}", lambda m: str(int(found[1]) + int(m[1])), form)
            return found.expand(counted)

        return replace

    result = {}
    for name, tensor in found.items():
        for pattern, form in renames:
            name = re.sub(pattern, shifted(form), name)
        if not re.search("num_batches_tracked|empty_weight|swin.layernorm", name):
            result[name] = tensor
    return result


def test_the_layout_of_detectron2_gives_the_same(pair: Pair) -> None:
    theirs = detectron2_tensors(pair.theirs.state_dict())
    assert not [name for name in theirs if not name.startswith(("backbone.", "sem_seg_head."))]
    again = convert_tensors(theirs, LABELS)
    assert again.layout == "detectron2"
    assert again.unused == ()
    assert again.config == pair.conversion.config
    for name, tensor in again.tensors.items():
        assert torch.equal(tensor, pair.conversion.tensors[name]), name


def test_old_names_of_both_projects_are_known(pair: Pair) -> None:
    given, conversion = pair.theirs.state_dict(), pair.conversion
    old = {
        re.sub(
            r"attention\.([qkv])_proj",
            lambda m: f"attention.self.{dict(q='query', k='key', v='value')[m[1]]}",
            name.replace("encoder.swin.", "encoder.")
            .replace("attention.o_proj", "attention.output.dense")
            .replace("attention.relative_position_bias.", "attention.self.")
            .replace("mlp.fc1", "intermediate.dense")
            .replace("mlp.fc2", "output.dense"),
        ): tensor
        for name, tensor in given.items()
    }
    older = {
        name.replace("predictor.query_feat", "predictor.static_query").replace("pixel_decoder.", ""): tensor
        for name, tensor in detectron2_tensors(given).items()
    }
    for tensors in (old, older):
        again = convert_tensors(tensors, LABELS)
        assert again.config == conversion.config
        for name, tensor in again.tensors.items():
            assert torch.equal(tensor, conversion.tensors[name]), name


@pytest.fixture(scope="module")
def small() -> dict[str, torch.Tensor]:
    """The tensors of a Mask2Former with the smallest published backbone and little else."""
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=SwinConfig(
            embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], out_features=STAGES
        ),
        num_labels=len(LABELS),
        num_queries=12,
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        num_attention_heads=1,
        encoder_layers=1,
        decoder_layers=4,
        dim_feedforward=64,
        encoder_feedforward_dim=64,
    )
    state: dict[str, torch.Tensor] = Mask2FormerForUniversalSegmentation(config).state_dict()
    return state


def test_every_form_of_file_is_read_and_names_what_it_did_not_use(
    small: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    theirs = {**detectron2_tensors(small), "vita_module.query.weight": torch.zeros(2)}
    with (tmp_path / "a.pkl").open("wb") as file:
        pickle.dump({"model": {k: v.numpy() for k, v in theirs.items()}, "__author__": "x"}, file)
    torch.save({"model": theirs, "iteration": 7}, tmp_path / "a.pth")
    save_file({k: v.contiguous() for k, v in theirs.items()}, tmp_path / "a.safetensors")
    (tmp_path / "folder").mkdir()
    save_file({k: v.contiguous() for k, v in small.items()}, tmp_path / "folder" / "model.safetensors")
    names = {str(i): name for i, name in enumerate(LABELS)}
    (tmp_path / "folder" / "config.json").write_text(json.dumps({"id2label": names}))
    checksums = set()
    for source in ("a.pkl", "a.pth", "a.safetensors", "folder"):
        output = tmp_path / f"{source}.out.safetensors"
        labels = None if source == "folder" else LABELS
        conversion = import_weights(str(tmp_path / source), output, labels)
        if source == "folder":
            assert all("swin.layernorm" in name for name in conversion.unused)
        else:
            assert conversion.unused == ("vita_module.query.weight",)
        loaded = load_model(str(output))
        assert loaded.model.config.labels == tuple(LABELS)
        assert loaded.tracker.association == "cosine"
        checksums.add(sum(float(p.detach().double().abs().sum()) for p in loaded.model.parameters()))
    assert len(checksums) == 1, "the same weights, float32 as they were"


def test_pictures_of_another_normalisation_are_refused(small: dict[str, torch.Tensor]) -> None:
    theirs = detectron2_tensors(small)
    ours = {"pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)}
    assert "pixel_mean" in convert_tensors({**theirs, **ours}, LABELS).derived
    bgr = {"pixel_mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1)}
    with pytest.raises(ModelError, match=r"another pixel_mean \(103.53, 116.28, 123.675\)"):
        convert_tensors({**theirs, **bgr}, LABELS)


def test_every_name_is_accounted_for(small: dict[str, torch.Tensor]) -> None:
    """Used, without a place here, or without weights in it: nothing goes by without a word."""
    index = "model.pixel_level_module.encoder.layers.0.attention.relative_position_index"
    given = {**small, "extra.thing": torch.zeros(1), index: torch.zeros(1, dtype=torch.int64)}
    conversion = convert_tensors(given, LABELS)
    told = set(conversion.unused) | set(conversion.derived)
    assert "extra.thing" in conversion.unused
    assert index in conversion.derived
    taken = [name for name in given if name not in told]
    # Queries and their positions serve both branches; query, key and value of a backbone are one tensor here.
    assert len(conversion.tensors) - 2 <= len(taken)


def test_an_imported_model_tracks_a_clip(small: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """With association cosine, on the way that `track --model` goes: a slot keeps its id on a picture that stays."""
    save_file({k: v.contiguous() for k, v in detectron2_tensors(small).items()}, tmp_path / "a.safetensors")
    import_weights(str(tmp_path / "a.safetensors"), tmp_path / "out.safetensors", LABELS)
    seeing = {"birth_score": 0.0, "keep_score": 0.0, "duplicate_iou": 1.0, "min_area": 1, "short_side": 128}
    tracker = load_tracker(str(tmp_path / "out.safetensors"), settings=seeing)
    picture = SyntheticWorld(load_level("easy"), 1).step().image
    answers = list(tracker.track_video([picture] * 3, 10.0))
    ids = [[(track.track_id, track.mask["counts"]) for track in answer.tracks] for answer in answers]
    assert ids[0]
    assert ids[0] == ids[1] == ids[2]


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch exploded",))


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_code_in_a_file_is_refused_and_never_run(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(pickle.dumps({"model": Bomb()}))
    with pytest.raises(ModelError, match=f"bomb{suffix}: cannot be read"):
        import_weights(str(path), tmp_path / "out.safetensors", LABELS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_what_is_no_mask2former_is_said_and_nothing_is_written_over(
    small: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    output = tmp_path / "out.safetensors"
    output.write_text("precious")
    without = {k: v for k, v in small.items() if "decoder.layers.1.fc1" not in k}
    wrong = {**small, "class_predictor.weight": torch.zeros(8, 16)}
    broken = {k: v.clone() for k, v in small.items()}
    broken["class_predictor.bias"][0] = float("nan")
    cases = {
        "other": ({"encoder.weight": torch.zeros(3)}, LABELS, "no tensor has a name that a Mask2Former has"),
        "without": (without, LABELS, "are missing"),
        "wrong": (wrong, LABELS, r"decoder.class_head.weight is \(8, 16\), not \(8, 32\)"),
        "broken": (broken, LABELS, "not finite"),
        "labels": (small, LABELS[:3], "it has 7 classes, and 3 labels are given"),
        "unnamed": (small, None, "it has 7 classes: name them"),
    }
    for name, (tensors, labels, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)
        with pytest.raises(ModelError, match=message) as caught:
            import_weights(str(path), output, labels)
        assert str(path) in str(caught.value)
    for source, message in (("nothing.pkl", "no such file"), (str(tmp_path), "holds none of")):
        with pytest.raises(ModelError, match=message):
            import_weights(source, output, LABELS)
    (tmp_path / "short.safetensors").write_bytes((tmp_path / "broken.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"short\.safetensors: cannot be read"):
        import_weights(str(tmp_path / "short.safetensors"), output, LABELS)
    assert output.read_text() == "precious"


def test_a_hub_name_without_a_network_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="the Hugging Face hub cannot be reached") as caught:
        import_weights("somebody/mask2former-nowhere", tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value)
