"""Losses: what they count, what they do not, and that they can be driven to nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from syncvis_online.criterion import Criterion, CriterionConfig, no_assignments
from syncvis_online.decoder import BranchPrediction, DecoderOutput, LayerPrediction
from syncvis_online.features import FrameFeatures
from syncvis_online.targets import Targets
from syncvis_online.training.objective import carried_loss, clip_loss, sub_clips
from tests.syncvis_online.models import TINY, tiny_model

SIZE = (16, 24)
CRITERION = Criterion(CriterionConfig(points=0))


def targets(windows: int = 2, instances: int = 3, frames: int = 2, seed: int = 0) -> Targets:
    """Rectangles on a 16x24 grid that drift to the right; the last instance is hidden on the last frame."""
    rng = np.random.default_rng(seed)
    masks = torch.zeros(windows, instances, frames, *SIZE)
    for b in range(windows):
        for i in range(instances):
            y, x = rng.integers(0, 8), rng.integers(0, 12)
            for t in range(frames):
                masks[b, i, t, y : y + 6, x + t : x + t + 8] = 1
    masks[:, -1, -1] = 0
    return Targets(
        masks, torch.from_numpy(rng.integers(0, 6, (windows, instances))), torch.ones(windows, frames, *SIZE)
    )


def perfect(wanted: Targets) -> tuple[FrameFeatures, DecoderOutput]:
    """Features and predictions that say exactly the targets, with queries to spare."""
    B, count, T = wanted.masks.shape[:3]
    maps = (wanted.masks.transpose(1, 2) * 2 - 1) * 50
    coarse = (
        torch.nn.functional.adaptive_avg_pool2d(maps.flatten(0, 1), (8, 12)).flatten(2).unflatten(0, (B, T))
    )
    embeds = torch.eye(count).expand(B, count, count)
    logits = torch.full((B, count + 2, 7), -20.0)
    for b in range(B):
        for i in range(count):
            logits[b, i, wanted.labels[b, i]] = 20.0
    logits[:, count:, 6] = 20.0
    embeds = torch.cat((embeds, torch.zeros(B, 2, count)), dim=1)
    frame_logits = logits[:, None].repeat(1, T, 1, 1)
    hidden = ~wanted.present()
    for b, i, t in hidden.nonzero().tolist():
        frame_logits[b, t, i] = torch.tensor([-20.0] * 6 + [20.0])
    frame = BranchPrediction(frame_logits, embeds[:, None].expand(-1, T, -1, -1))
    features = FrameFeatures((), ((2, 3), (4, 6), (8, 12)), maps, (coarse, coarse, coarse))
    layer = LayerPrediction(frame, BranchPrediction(logits, embeds))
    return features, DecoderOutput((layer, layer), torch.zeros(B, count + 2, 4))


def test_a_perfect_prediction_costs_nothing() -> None:
    wanted = targets()
    losses, held = CRITERION(*perfect(wanted), wanted)
    assert set(losses) == {
        f"{t}.{b}.{d}" for t in ("label", "bce", "dice") for b in ("frame", "video") for d in (0, 1)
    }
    assert float(torch.stack(list(losses.values())).sum()) < 1e-3
    assert (held[:, :, :3] == np.arange(3)).all()


def test_deep_supervision_counts_larger_cells_and_the_answer_the_finest() -> None:
    wanted = targets()
    features, output = perfect(wanted)
    shift = torch.zeros_like(features.mask_features)
    shift[..., -1, -1] = 60.0  # a cell that no instance has; its mean with its neighbours stays outside
    wrong = replace(features, mask_features=features.mask_features + shift)
    pooling = Criterion(CriterionConfig(points=0, auxiliary_pool=2))
    (right, _), (pooled, _) = pooling(features, output, wanted), pooling(wrong, output, wanted)
    fine, _ = CRITERION(wrong, output, wanted)
    assert float(pooled["bce.video.1"]) == float(fine["bce.video.1"]) > 0.1
    assert float(fine["bce.video.0"]) > 0.1
    assert float(pooled["bce.video.0"]) == pytest.approx(float(right["bce.video.0"]), abs=1e-4)


def test_each_mistake_costs_in_its_own_term() -> None:
    wanted = targets()
    features, output = perfect(wanted)
    video = output.layers[1].video
    wrong = BranchPrediction(video.logits.roll(1, dims=-1), video.embeds)
    layers = (output.layers[0], LayerPrediction(output.layers[1].frame, wrong))
    losses, _ = CRITERION(features, DecoderOutput(layers, output.video_queries), wanted)
    assert float(losses["label.video.1"]) > 1.0
    assert float(losses["label.video.0"]) < 1e-3
    assert float(losses["bce.video.1"]) < 1e-3


def test_padding_and_pixels_that_do_not_count_change_nothing() -> None:
    wanted = targets()
    features, output = perfect(wanted)
    embeds = output.layers[0].video.embeds
    noisy = BranchPrediction(
        output.layers[0].video.logits + torch.randn(2, 5, 7), embeds + 0.3 * torch.randn_like(embeds)
    )
    output = DecoderOutput((LayerPrediction(output.layers[0].frame, noisy),), output.video_queries)
    plain, _ = CRITERION(features, output, wanted)
    padded = Targets(
        torch.cat((wanted.masks, torch.rand(2, 2, 2, *SIZE)), dim=1),
        torch.cat((wanted.labels, torch.full((2, 2), -1)), dim=1),
        wanted.valid,
    )
    with_padding, _ = CRITERION(features, output, padded)
    for key, value in plain.items():
        torch.testing.assert_close(with_padding[key], value)
    valid = wanted.valid.clone()
    valid[..., :4] = 0
    hidden = Targets(wanted.masks, wanted.labels, valid)
    scribbled = Targets(wanted.masks.clone(), wanted.labels, valid)
    scribbled.masks[:, :2, :, :, :3] = 1 - scribbled.masks[:, :2, :, :, :3]
    for key, value in CRITERION(features, output, hidden)[0].items():
        if ".video." in key:
            torch.testing.assert_close(CRITERION(features, output, scribbled)[0][key], value)


def test_an_absent_instance_asks_its_query_for_no_object_and_no_mask() -> None:
    wanted = targets(windows=1)
    features, output = perfect(wanted)
    held = no_assignments(2, 1, 5)
    held[:, 0, :3] = [0, 1, 2]
    gone = Targets(
        wanted.masks * torch.tensor([1.0, 1.0, 0.0])[None, :, None, None, None], wanted.labels, wanted.valid
    )
    losses, after = CRITERION(features, output, gone, held)
    assert after[0, 0, 2] == 2, "it keeps its query"
    assert float(losses["label.video.1"]) > 0.5, "still saying its class is now wrong"
    assert float(losses["bce.video.1"]) < 1e-3


def test_pilot_asks_the_heads_for_the_instances_from_their_own_pixels() -> None:
    """Heads that give each instance's class and mask for the mean of its tokens pay nothing; others pay."""
    wanted = targets()
    B, count = wanted.labels.shape
    features, _ = perfect(wanted)
    tokens = torch.nn.functional.adaptive_avg_pool2d(wanted.masks.transpose(1, 2).flatten(0, 1), (8, 12))
    tokens = tokens.flatten(2).unflatten(0, (B, 2)).transpose(-1, -2)  # (B, T, S, I): which instance is here
    features = replace(features, levels=(tokens, tokens, tokens))
    criterion = Criterion(CriterionConfig(points=0, pilot=1.0))

    def heads(pooled: torch.Tensor) -> BranchPrediction:
        own = torch.nn.functional.one_hot(torch.arange(count), count).float().expand(B, -1, -1)
        assert (pooled.argmax(-1) == torch.arange(count)).all(), "pooled where the instance is"
        logits = torch.full((B, count, 7), -20.0).scatter(2, wanted.labels[..., None], 20.0)
        return BranchPrediction(logits, own)

    losses = criterion.pilot(features, wanted, heads)
    assert set(losses) == {"label.pilot.0", "bce.pilot.0", "dice.pilot.0"}
    assert float(losses["label.pilot.0"]) < 1e-3
    assert float(losses["bce.pilot.0"]) < 1e-3

    def confused(pooled: torch.Tensor) -> BranchPrediction:
        right = heads(pooled)
        return BranchPrediction(right.logits.roll(1, 1), right.embeds.roll(1, 1))

    assert float(criterion.pilot(features, wanted, confused)["bce.pilot.0"]) > 1.0


@pytest.mark.parametrize("points", [0, 64])
def test_gradients_reach_every_parameter_through_carried_windows(points: int) -> None:
    model = tiny_model().float().train()
    wanted = targets(frames=4)
    torch.manual_seed(0)
    features = model.encode(torch.randint(0, 255, (8, 3, 64, 96)))
    losses = carried_loss(model, Criterion(CriterionConfig(points=points)), features, wanted, 2, 3, 1)
    torch.stack(list(losses.values())).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without
    assert model.propagate.weight.grad is not None
    assert model.propagate.weight.grad.abs().sum() > 0


def test_an_empty_clip_trains_the_classes_only() -> None:
    model = tiny_model().float().train()
    empty = Targets(torch.zeros(1, 1, 2, *SIZE), torch.full((1, 1), -1), torch.ones(1, 2, *SIZE))
    features = model.encode(torch.randint(0, 255, (2, 3, 64, 96)))
    losses = carried_loss(model, CRITERION, features, empty, 2, 1, 1)
    torch.stack(list(losses.values())).sum().backward()
    assert float(losses["bce.video.3"].detach()) == 0.0
    assert model.decoder.class_head.weight.grad is not None
    assert model.decoder.class_head.weight.grad.abs().sum() > 0


def test_similarity_asks_for_the_frame_query_of_the_same_instance() -> None:
    wanted = targets()
    features, output = perfect(wanted)
    same = torch.eye(5).expand(2, 2, 5, 5) * 30.0  # query i is instance i in both branches
    criterion = Criterion(CriterionConfig(points=0, similarity=0.5))

    def loss(similarity: torch.Tensor) -> float:
        layers = tuple(replace(layer, similarity=similarity) for layer in output.layers)
        losses, _ = criterion(features, replace(output, layers=layers), wanted)
        return float(losses["similarity.both.1"])

    assert loss(same) < 1e-6
    assert loss(torch.zeros(2, 2, 5, 5)) == pytest.approx(0.5 * np.log(5))
    assert loss(same.roll(1, dims=2)) > 5.0
    hidden = same.clone()
    hidden[:, -1, :, 2] = -same[
        :, -1, :, 2
    ]  # the third instance is not on the last frame: nothing is asked there
    assert loss(hidden) < 1e-6


def test_sub_clips_are_adjacent_and_at_most_so_many_others() -> None:
    clips = sub_clips(4, 2, 2, np.random.default_rng(0))
    assert clips[:3] == [(0, 1), (1, 2), (2, 3)]
    assert len(clips) == 5
    assert set(clips[3:]) <= {(0, 2), (0, 3), (1, 3)}
    assert sub_clips(3, 2, 4, np.random.default_rng(0)) == [(0, 1), (1, 2), (0, 2)]
    assert len(sub_clips(8, 3, 4, np.random.default_rng(0))) == 6 + 4
    assert len(sub_clips(8, 3, None, np.random.default_rng(0))) == 56


def test_every_sub_clip_is_decoded_by_itself_with_half_weight() -> None:
    model = tiny_model().float()
    wanted = targets(frames=3)
    with torch.no_grad():
        features = model.encode(torch.randint(0, 255, (6, 3, 64, 96)))
        losses = clip_loss(model, CRITERION, features, wanted, [(0, 1), (1, 2), (0, 2)])
        index = torch.tensor([[1, 2], [4, 5]])
        alone, _ = CRITERION(
            features.windows(index), model.decode(features.windows(index)), wanted.frames([1, 2])
        )
    assert len(losses) == 6 * (TINY.layers + 1) + 3 * 3 * (TINY.layers + 1)
    torch.testing.assert_close(losses["dice.video.3.1-2"], 0.5 * alone["dice.video.3"])
    assert "dice.frame.3.whole" in losses
    assert "dice.frame.3.1-2" not in losses


def firing(where: tuple[slice, slice], label: int, wanted: Targets) -> tuple[FrameFeatures, DecoderOutput]:
    """The perfect prediction, and a spare query that sees an object of `label` at `where`."""
    features, output = perfect(wanted)
    maps = torch.full((2, 2, 1, *SIZE), -50.0)
    maps[..., where[0], where[1]] = 50.0
    coarse = (
        torch.nn.functional.adaptive_avg_pool2d(maps.flatten(0, 1), (8, 12)).flatten(2).unflatten(0, (2, 2))
    )
    more = FrameFeatures(
        (),
        features.sizes,
        torch.cat((features.mask_features, maps), dim=2),
        tuple(torch.cat((x, coarse), dim=2) for x in features.level_masks),
    )
    video = output.layers[0].video
    logits, embeds = video.logits.clone(), torch.nn.functional.pad(video.embeds, (0, 1))
    logits[:, -1], logits[:, -1, label] = -20.0, 20.0
    embeds[:, -1] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    frame = output.layers[0].frame
    assert frame is not None
    whole_frame = BranchPrediction(frame.logits, torch.nn.functional.pad(frame.embeds, (0, 1)))
    layer = LayerPrediction(whole_frame, BranchPrediction(logits, embeds))
    return more, DecoderOutput((layer,), output.video_queries)


def test_what_is_found_where_nothing_is_known_is_no_mistake() -> None:
    wanted = targets()
    where = (slice(10, 16), slice(0, 8))
    said = firing(where, 2, wanted)
    assert float(CRITERION(*said, wanted)[0]["label.video.0"]) > 0.5
    valid = wanted.valid.clone()
    valid[:, :, where[0], where[1]] = 0
    assert float(CRITERION(*said, replace(wanted, valid=valid))[0]["label.video.0"]) < 1e-3
    valid[:, :, where[0], 2:8] = 1  # three quarters of it are known to be background
    assert float(CRITERION(*said, replace(wanted, valid=valid))[0]["label.video.0"]) > 0.5


def test_a_class_that_a_clip_does_not_label_is_no_mistake_there() -> None:
    wanted = replace(targets(), labels=torch.tensor([[0, 1, 3], [0, 1, 3]]))
    said = firing((slice(10, 16), slice(0, 8)), 2, wanted)
    labelled = torch.ones(2, 6, dtype=torch.bool)
    assert float(CRITERION(*said, replace(wanted, labelled=labelled))[0]["label.video.0"]) > 0.5
    labelled[:, 2] = False
    assert float(CRITERION(*said, replace(wanted, labelled=labelled))[0]["label.video.0"]) < 1e-3
    assert labelled.all(-1).sum() == 0


def test_sub_clips_have_terms_of_the_video_branch_only_with_their_weight() -> None:
    model = tiny_model()
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 64, 96), generator=rng).double()
    features = model.encode(images)
    wanted = targets(windows=1, frames=3)
    clips = [(0, 1), (0, 2)]
    by_weight = {}
    for weight in (0.5, 1.0):
        criterion = Criterion(CriterionConfig(points=0, sub_clip=weight))
        by_weight[weight] = clip_loss(model, criterion, features, wanted, clips)
    half, whole = by_weight[0.5], by_weight[1.0]
    assert {key.split(".")[1] for key in half if not key.endswith(".whole")} == {"video"}
    assert {key.rsplit(".", 1)[1] for key in half} == {"whole", "0-1", "0-2"}
    for key, value in half.items():
        torch.testing.assert_close(value * (1 if key.endswith(".whole") else 2), whole[key])
