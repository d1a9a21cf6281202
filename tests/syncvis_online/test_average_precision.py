"""Average precision: hand-computed tubes, and equality with the COCO tools where both are defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from syncvis_online.evaluation.average_precision import Candidates, class_figures, tube_average_precision
from syncvis_online.evaluation.tubes import (
    PredictedTube,
    VideoResult,
    area,
    intersections,
    predicted_tubes,
    tube_intersections,
)
from syncvis_online.types import FrameTracks, Track, box_of_mask, decode_mask
from tests.syncvis_online.tube_data import HEIGHT, WIDTH, box, random_video, track, truth, video

seeds = st.integers(0, 2**32 - 1)


def _coco_figures(results: list[VideoResult]) -> Any:
    """COCOeval over videos of one frame, as pictures."""
    labels = sorted(set().union(*(result.labels for result in results)))
    images, annotations, detections = [], [], []
    for i, result in enumerate(results, start=1):
        images.append({"id": i, "height": HEIGHT, "width": WIDTH})
        for tube in result.ground_truth:
            mask = decode_mask(tube.masks[0])  # type: ignore[arg-type]
            x0, y0, x1, y1 = box_of_mask(mask)
            entry = {"id": len(annotations) + 1, "image_id": i, "category_id": labels.index(tube.label) + 1}
            entry |= {"iscrowd": 0, "area": float(mask.sum()), "bbox": [x0, y0, x1 - x0, y1 - y0]}
            annotations.append(entry | {"segmentation": tube.masks[0]})
        for predicted in result.predicted:
            entry = {
                "image_id": i,
                "category_id": labels.index(predicted.label) + 1,
                "score": predicted.score,
            }
            detections.append(entry | {"segmentation": predicted.masks[0]})
    coco = COCO()
    categories = [{"id": k, "name": label} for k, label in enumerate(labels, start=1)]
    coco.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(detections), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


@pytest.mark.parametrize("seed", range(6))
def test_one_frame_videos_give_the_figures_of_the_coco_tools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    results: list[VideoResult] = []
    while len(results) < 12:
        result = random_video(rng, length=1)
        if result.ground_truth and result.predicted:
            results.append(result)
    ours, theirs = tube_average_precision(results), _coco_figures(results)
    assert 0.05 < theirs[0] < 0.95
    for key, index in (("AP", 0), ("AP50", 1), ("AP75", 2), ("AR1", 6), ("AR10", 7)):
        assert ours[key] == pytest.approx(theirs[index], abs=1e-9)


def test_tube_iou_is_the_sum_of_intersections_over_the_sum_of_unions() -> None:
    predicted = [track(1, [(0, 0, 10, 10), (0, 0, 10, 10), None])]
    objects = [truth(1, [(0, 0, 10, 5), None, (0, 0, 4, 5)])]
    common, of_predicted, of_truth = tube_intersections(predicted, objects)
    assert (common[0, 0], of_predicted[0], of_truth[0]) == (50, 200, 70)


def test_tubes_of_any_length_are_judged() -> None:
    """Two minutes of video: more masks in a tube than fit into a byte."""
    frames = 1200
    boxes = [(0, 0, 4, 4)] * frames
    result = video([truth(1, boxes)], [track(1, boxes)])
    assert tube_average_precision([result])["AP"] == pytest.approx(1.0)
    masks = result.predicted[0].masks
    assert area([mask for mask in masks if mask is not None]).tolist() == [16.0] * frames
    assert area([]).shape == (0,)


def test_a_hand_computed_ranking() -> None:
    # Hit, miss, hit, of three objects: precision 1 up to recall 1/3, then 2/3 up to recall 2/3.
    hit_a, miss, hit_b = [1.0, 0, 0], [0.2, 0.2, 0.2], [0, 0.6, 0]
    sample = Candidates(np.array([0.9, 0.8, 0.7]), np.array([hit_a, miss, hit_b]), np.zeros(3, np.bool_))
    figures = class_figures([sample], np.array([0.5, 0.75]))
    assert figures is not None
    assert figures.precision[0] == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert figures.precision[1] == pytest.approx(34 / 101)
    assert figures.recall.tolist() == pytest.approx([2 / 3, 1 / 3])


def test_ignored_regions_swallow_detections_and_are_never_missed() -> None:
    overlap = np.array([[0.0, 0.9], [0.9, 0.9], [0.0, 0.7], [0.9, 0.0]])
    sample = Candidates(np.array([0.9, 0.8, 0.7, 0.1]), overlap, np.array([False, True]))
    figures = class_figures([sample], np.array([0.5]))
    assert figures is not None
    assert (figures.precision[0], figures.recall[0]) == (1.0, 1.0)
    only_ignored = Candidates(np.array([0.5]), np.ones((1, 1)), np.array([True]))
    assert class_figures([only_ignored]) is None


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_perfect_predictions_give_one_and_none_give_zero(seed: int) -> None:
    result = random_video(np.random.default_rng(seed))
    perfect = [PredictedTube(tube.track_id, tube.label, 0.5, tube.masks) for tube in result.ground_truth]
    figures = tube_average_precision([video(result.ground_truth, perfect)])
    nothing = tube_average_precision([video(result.ground_truth, [])])
    for key in ("AP", "AP50", "AP75", "AR10"):
        assert figures[key] == (1.0 if result.ground_truth else 0.0)
        assert nothing[key] == 0.0


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_worse_extra_track_never_helps_and_unlabelled_classes_are_not_judged(seed: int) -> None:
    result = random_video(np.random.default_rng(seed))
    before = tube_average_precision([result])
    labels = sorted(result.labels)
    wrong = track(
        999, [(50, 30, 60, 40)] * 6, result.ground_truth[0].label if result.ground_truth else labels[0], 1.0
    )
    after = tube_average_precision([video(result.ground_truth, [*result.predicted, wrong], labels)])
    assert after["AP"] <= before["AP"]  # type: ignore[operator]
    other = track(999, [(0, 0, 10, 10)] * 6, "zebra", 1.0)
    assert tube_average_precision([video(result.ground_truth, [*result.predicted, other], labels)]) == before


def _answers(*frames: list[tuple[int, str, float]]) -> list[FrameTracks]:
    mask = box((0, 0, 5, 5))
    assert mask is not None
    return [
        FrameTracks(t, tuple(Track(i, label, score, mask, (0, 0, 5, 5)) for i, label, score in tracks))
        for t, tracks in enumerate(frames)
    ]


def test_a_tube_has_the_mean_score_and_the_label_of_most_score() -> None:
    answers = _answers([(7, "car", 0.9)], [(7, "dog", 0.5), (3, "person", 0.4)], [], [(7, "dog", 0.5)])
    person, dog = predicted_tubes(answers, 4, (HEIGHT, WIDTH))
    assert (person.track_id, person.label, person.score) == (3, "person", 0.4)
    assert (dog.track_id, dog.label) == (7, "dog")
    assert dog.score == pytest.approx((0.9 + 0.5 + 0.5) / 3)
    assert [mask is not None for mask in dog.masks] == [True, True, False, True]


def test_answers_that_cannot_be_judged_are_refused() -> None:
    good = _answers([(1, "car", 0.9)], [(1, "car", 0.9)])
    with pytest.raises(ValueError, match="1 of 2 frames"):
        predicted_tubes(good[:1], 2, (HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="frame 1 is answered where 0 is due"):
        predicted_tubes(good[1:], 2, (HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="twice on frame 0"):
        predicted_tubes(_answers([(1, "car", 0.9), (1, "dog", 0.3)]), 1, (HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="mask of"):
        predicted_tubes(good, 2, (HEIGHT, WIDTH + 1))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_intersections_on_run_lengths_are_those_of_arrays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = [sorted(rng.integers(0, 61, 2)) + sorted(rng.integers(0, 41, 2)) for _ in range(6)]
    masks = [box((int(x0), int(y0), int(x1), int(y1))) for x0, x1, y0, y1 in corners]
    rles = [mask for mask in masks if mask is not None]
    arrays = [decode_mask(rle) for rle in rles]
    expected = [[(a & b).sum() for b in arrays[3:]] for a in arrays[:3]]
    assert intersections(rles[:3], rles[3:]).tolist() == expected
