"""Properties of the encoder and the synchronized decoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from syncvis_online.config import ModelConfig
from syncvis_online.decoder import DecoderOutput, blocked_by, confidence, most_confident
from syncvis_online.model import SyncVIS
from tests.syncvis_online.models import TINY, pictures, tiny_model


def batch(count: int, seed: int = 0) -> torch.Tensor:
    frames = pictures(count, seed, size=(64, 96))
    return torch.stack([torch.from_numpy(f).permute(2, 0, 1) for f in frames])


def test_batched_windows_equal_single_windows() -> None:
    model = tiny_model()
    with torch.inference_mode():
        features = model.encode(batch(6))
        index = torch.tensor([[0, 1, 2], [3, 4, 5], [1, 3, 5]])
        together = model.decode(features.windows(index))
        for b in range(3):
            alone = model.decode(features.windows(index[b : b + 1]))
            for x, y in zip(together.layers, alone.layers, strict=True):
                torch.testing.assert_close(x.video.logits[b], y.video.logits[0])
                torch.testing.assert_close(x.frame.embeds[b], y.frame.embeds[0])
            torch.testing.assert_close(together.video_queries[b], alone.video_queries[0])


def test_shapes_and_depths() -> None:
    model = tiny_model()
    with torch.inference_mode():
        features = model.encode(batch(4))
        output = model.decode(features.windows(torch.tensor([[0, 1], [2, 3]])))
    assert features.sizes == ((2, 3), (4, 6), (8, 12))
    assert features.mask_features.shape == (4, 8, 16, 24)
    assert len(output.layers) == TINY.layers + 1
    assert output.layers[0].frame.logits.shape == (2, 2, TINY.queries, len(TINY.labels) + 1)
    assert output.layers[0].video.embeds.shape == (2, TINY.queries, TINY.mask_channels)


def test_mask_features_at_half_size_start_as_those_at_a_quarter() -> None:
    coarse, fine = tiny_model(), tiny_model(config=replace(TINY, mask_stride=2))
    fine.load_state_dict(coarse.state_dict(), strict=False)
    with torch.inference_mode():
        a, b = coarse.encode(batch(2)), fine.encode(batch(2))
        enlarged = torch.nn.functional.interpolate(
            a.mask_features, scale_factor=2, mode="bilinear", align_corners=False
        )
        torch.testing.assert_close(b.mask_features, enlarged)
        fine.pixel_decoder.detail.addition.weight.fill_(0.1)  # type: ignore[union-attr, operator]
        moved = fine.encode(batch(2)).mask_features
    assert not torch.allclose(moved, enlarged)


def test_resized_mask_features_give_the_resized_masks() -> None:
    """Bilinear resizing commutes with the product over channels, so the cheap attention masks are exact."""
    model = tiny_model()
    with torch.inference_mode():
        features = model.encode(batch(1))
        embeds = torch.randn(5, TINY.mask_channels, dtype=torch.float64)
        full = torch.einsum("nc,chw->nhw", embeds, features.mask_features[0])
        for size, maps in zip(features.sizes, features.level_masks, strict=True):
            late = torch.nn.functional.interpolate(
                full[None], size=size, mode="bilinear", align_corners=False
            )
            torch.testing.assert_close(embeds @ maps[0], late[0].flatten(1))


def test_without_synchronization_a_branch_does_not_see_the_other() -> None:
    """lambda = 0: changing the video queries leaves the frame predictions alone, and only then."""
    for weight, same in ((0.0, True), (0.2, False)):
        model = tiny_model(config=replace(TINY, synchronize_weight=weight))
        with torch.inference_mode():
            features = model.encode(batch(2)).windows(torch.tensor([[0, 1]]))
            v = model.decoder.video_query[None]
            a, b = model.decode(features, v), model.decode(features, v + 1.0)
        assert torch.equal(a.layers[-1].frame.logits, b.layers[-1].frame.logits) is same
        assert not torch.equal(a.layers[-1].video.logits, b.layers[-1].video.logits)


def test_one_frame_sees_only_itself_without_synchronization() -> None:
    model = tiny_model(config=replace(TINY, synchronize_weight=0.0))
    with torch.inference_mode():
        features = model.encode(batch(3))
        ab = model.decode(features.windows(torch.tensor([[0, 1]])))
        ac = model.decode(features.windows(torch.tensor([[0, 2]])))
    torch.testing.assert_close(ab.layers[-1].frame.logits[0, 0], ac.layers[-1].frame.logits[0, 0])
    assert not torch.equal(ab.layers[-1].video.logits, ac.layers[-1].video.logits)


def test_one_set_of_weights_serves_both_branches() -> None:
    """On a window of one frame, lambda = 0 and equal queries, both branches say the same."""
    model = tiny_model(config=replace(TINY, synchronize_weight=0.0))
    decoder = model.decoder
    with torch.inference_mode():
        decoder.video_position.copy_(decoder.frame_position)
        output = model.decode(model.encode(batch(1)).windows(torch.tensor([[0]])), decoder.frame_query[None])
    torch.testing.assert_close(output.layers[-1].frame.embeds[:, 0], output.layers[-1].video.embeds)


def test_aggregation_takes_the_stated_share() -> None:
    """v <- (1 - lambda) v + lambda MHA(FFN_v(v), R_f, R_f), with R_f the top Nk of every frame."""
    model = tiny_model()
    layer, config = model.decoder.layers[0], model.config
    torch.manual_seed(1)
    f, v = torch.randn(1, 2, 10, 16, dtype=torch.float64), torch.randn(1, 10, 16, dtype=torch.float64)
    logits = torch.randn(1, 2, 10, 7, dtype=torch.float64)
    with torch.inference_mode():
        chosen = []
        for t in range(2):
            score = logits[0, t].softmax(-1)[:, :-1].sort(-1).values[:, -2:].sum(-1)
            chosen.append(f[0, t][score.argsort(descending=True)[: config.synchronize_top_k]])
        reference = torch.cat(chosen)[None]
        wanted = 0.8 * v + 0.2 * layer.frame_to_video(layer.video_ffn(v), reference, reference)
        torch.testing.assert_close(layer.aggregate_frames(f, v, logits), wanted)


@torch.inference_mode()
def decoded(config: ModelConfig, frames: int = 2) -> DecoderOutput:
    model = tiny_model(config=config)
    return model.decode(model.encode(batch(frames)).windows(torch.arange(frames)[None]))


def sharing(config: ModelConfig, other: SyncVIS) -> SyncVIS:
    """A model of another structure with the tensors of `other` that it has."""
    model = tiny_model(config=config)
    fitting = {k: v for k, v in other.state_dict().items() if k in model.state_dict()}
    model.load_state_dict(fitting, strict=False)
    return model


@torch.inference_mode()
def test_the_structures_are_parts_of_each_other() -> None:
    """Without exchange, the synchronous branches are those that run alone; a cascade's frames run alone always."""
    whole = tiny_model(config=replace(TINY, synchronize_weight=0.0))
    window = whole.encode(batch(2)).windows(torch.arange(2)[None])
    apart = whole.decode(window)
    alone = sharing(replace(TINY, structure="video_only"), whole).decode(window)
    cascade = sharing(replace(TINY, structure="cascade"), whole).decode(window)
    assert len(alone.layers) == len(cascade.layers) == len(apart.layers)
    torch.testing.assert_close(alone.video_queries, apart.video_queries)
    assert all(layer.frame is None for layer in alone.layers)
    for a, b in zip(cascade.layers, apart.layers, strict=True):
        assert a.frame is not None
        assert b.frame is not None
        torch.testing.assert_close(a.frame.logits, b.frame.logits)
    assert not torch.allclose(cascade.video_queries, apart.video_queries)


@pytest.mark.parametrize("structure", ["synchronous", "cascade", "video_only"])
@pytest.mark.parametrize("weight", [0.0, 0.2])
@pytest.mark.parametrize("order", ["frame_first", "video_first"])
@torch.inference_mode()
def test_a_tracker_is_told_the_same_with_less_work(structure: str, weight: float, order: str) -> None:
    """Keys and values projected once a frame, and of the frame branch only what the video branch hears."""
    config = replace(TINY, structure=structure, synchronize_weight=weight, synchronize_order=order)
    model = tiny_model(config=config)
    features = model.encode(batch(2))
    frames = torch.arange(2)[None]
    whole = model.decode(features.windows(frames))
    answer = model.decode(model.decoder.project(features).windows(frames), answer_only=True)
    assert (answer.layers[-1].frame is None) is (structure != "cascade")
    assert (answer.layers[1].frame is None) is (
        structure == "video_only" or (structure, weight) == ("synchronous", 0.0)
    )
    said, wanted = answer.layers[-1].video, whole.layers[-1].video
    torch.testing.assert_close((said.logits, said.embeds), (wanted.logits, wanted.embeds))
    torch.testing.assert_close(answer.video_queries, whole.video_queries)


@torch.inference_mode()
def test_a_cascade_sees_the_pictures_through_the_finished_frame_queries_only() -> None:
    """Its video stage has layers of its own, whose keys and values are all frames' queries after the last layer."""
    model = tiny_model(config=replace(TINY, structure="cascade"))
    features = model.encode(batch(2)).windows(torch.arange(2)[None])
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in model.decoder.video_layers:

        def watching(x, position, keys, values, blocked, own=layer.alone):  # type: ignore[no-untyped-def]
            assert blocked is None
            seen.append((keys, values))
            return own(x, position, keys, values, blocked)

        layer.alone = watching  # type: ignore[method-assign, assignment]
    finished: list[torch.Tensor] = []
    last = model.decoder.layers[-1]
    own = last.alone

    def noting(*arguments):  # type: ignore[no-untyped-def]
        finished.append(own(*arguments))
        return finished[-1]

    last.alone = noting  # type: ignore[method-assign, assignment]
    model.decode(features)
    (frames,) = finished
    assert len(seen) == TINY.layers
    tokens, places = frames.flatten(0, 1)[None], (frames + model.decoder.frame_position).flatten(0, 1)[None]
    for (keys, values), layer in zip(seen, model.decoder.video_layers, strict=True):
        torch.testing.assert_close(values, layer.cross_attention.value(tokens))
        torch.testing.assert_close(keys, layer.cross_attention.key(places))


def test_a_cascade_learns_similarity_too_and_video_queries_alone_cannot() -> None:
    said = decoded(replace(TINY, structure="cascade", similarity=True)).layers[-1].similarity
    assert said is not None
    assert said.shape == (1, 2, TINY.queries, TINY.queries)
    with pytest.raises(ValueError, match="similarity needs a structure with frame queries"):
        replace(TINY, structure="video_only", similarity=True)


def test_directions_and_order_of_the_exchange() -> None:
    none = decoded(replace(TINY, synchronize_weight=0.0))
    to_video = decoded(replace(TINY, synchronize="frame_to_video"))
    to_frame = decoded(replace(TINY, synchronize="video_to_frame"))
    first, second = (decoded(replace(TINY, synchronize_order=o)) for o in ("frame_first", "video_first"))  # type: ignore[arg-type]

    def moved(a: DecoderOutput, b: DecoderOutput) -> tuple[bool, bool]:
        """Whether the branches differ after the first layer: frame, video."""
        x, y = a.layers[1], b.layers[1]
        assert x.frame is not None
        assert y.frame is not None
        return (
            not torch.allclose(x.frame.logits, y.frame.logits),
            not torch.allclose(x.video.logits, y.video.logits),
        )

    assert moved(to_video, none) == (False, True)
    assert moved(to_frame, none) == (True, False)
    # What comes first sees the other as it was; what comes second sees what the first has made.
    assert moved(first, to_video) == (True, False)
    assert moved(second, to_frame) == (False, True)
    assert moved(first, second) == (True, True)


def test_confidence_kinds() -> None:
    logits = torch.tensor([[0.6, 0.3, 0.05, 0.05]]).log()
    assert float(confidence(logits, "top2")) == pytest.approx(0.9)
    assert float(confidence(logits, "top1")) == pytest.approx(0.6)
    queries = torch.arange(4.0)[:, None]
    sure = torch.tensor([[9.0, 0, 0], [0, 0, 9], [5, 0, 0], [0, 0, 0]])
    assert most_confident(queries, sure, 2, "top1").flatten().tolist() == [0.0, 2.0]


def test_a_row_that_blocks_everything_is_opened() -> None:
    mask = blocked_by(torch.tensor([[-1.0, -2.0, -3.0], [-1.0, 2.0, -3.0]]))
    assert mask.tolist() == [[False, False, False], [True, False, True]]


def test_first_window_starts_from_the_carried_learned_query() -> None:
    model: SyncVIS = tiny_model()
    with torch.inference_mode():
        features = model.encode(batch(1)).windows(torch.tensor([[0]]))
        q = model.decoder.video_query
        wanted = (q + q @ model.propagate.weight.T)[None]
        torch.testing.assert_close(model.initial_queries(features), wanted)


def test_input_size_keeps_the_shape_of_the_picture() -> None:
    model = SyncVIS(replace(TINY, short_side=192))
    assert model.input_size(360, 640) == (192, 320)
    assert model.input_size(480, 640) == (192, 256)
    assert model.input_size(640, 480) == (256, 192)
    assert model.input_size(100, 4000) == (192, 384)
    assert model.input_size(360, 640, 128) == (128, 224)
