"""Systems take fair turns, and ratios are of rounds; the two Mask2Formers that are compared say the same."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import report
from benchmarks.side_by_side import Ratio, Spent, Stopwatch, in_turn, summary
from benchmarks.transformers_mask2former import OURS, THEIRS, Imported, random_weights, stage_times, systems
from syncvis_online.data.synthetic import SyntheticWorld, load_level
from syncvis_online.types import decode_mask

SECONDS = (1.0, 2.0, 8.0)


def test_no_system_always_comes_after_another() -> None:
    order: list[str] = []

    def once(name: str) -> Spent:
        order.append(name)
        return Spent(1, 1.0, 1.0)

    spent = in_turn({name: partial(once, name) for name in "abc"}, 3)
    assert "".join(order) == "abccbaabc"
    assert {name: len(each) for name, each in spent.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_ratio_is_of_rounds_and_not_of_medians_of_different_ones() -> None:
    ours = [Spent(10, s, s) for s in SECONDS]
    theirs = [Spent(5, 1.5 * s, 2 * s) for s in SECONDS]
    assert Ratio.of(theirs, ours, "cpu_ms") == Ratio(4.0, 4.0, 4.0)
    assert Ratio.of(theirs, ours, "frames_per_s") == Ratio(0.333, 0.333, 0.333)
    assert str(Ratio.of(theirs[::-1], ours, "wall_ms")) == "3.00 (0.38 to 24.00)"
    with pytest.raises(ValueError, match="argument"):
        Ratio.of(theirs[:2], ours, "wall_ms")


def test_a_summary_counts_all_frames_and_takes_medians_of_a_frame() -> None:
    told = summary([Spent(10, s, 0.5 * s) for s in SECONDS])
    assert told == {"rounds": 3, "frames": 30, "wall_ms": 200.0, "cpu_ms": 100.0, "frames_per_s": 5.0}
    assert Spent(0, 1.0, 1.0).wall_ms == float("inf")


def test_stages_are_those_of_the_modules_and_end_with_the_measurement() -> None:
    module = torch.nn.Linear(400, 400)
    with stage_times({"linear": module}) as spent:
        for _ in range(20):
            module(torch.ones(400, 400))
    measured = spent["linear"]
    assert measured > 0
    module(torch.ones(400, 400))
    assert spent["linear"] == measured


def test_both_mask2formers_answer_the_same_masks() -> None:
    """The first frame, on which neither has anything to match: those of one threshold, and the same pixels."""
    world = SyntheticWorld(load_level("medium"), 1, size=(128, 160))
    image = world.step(masks=False).image
    sizes = {"num_queries": 40, "decoder_layers": 4, "encoder_layers": 1}
    found = systems(random_weights("swin_tiny", **sizes), image, short_side=128)
    theirs, ours = found[THEIRS](image), found[OURS](image)
    assert isinstance(found[OURS], Imported)
    assert len(ours) >= 3
    for a, b in zip(*(sorted(each, key=lambda track: track.score) for each in (theirs, ours)), strict=True):
        assert a.label == b.label
        assert a.score == pytest.approx(b.score, abs=1e-4)
        differing = np.count_nonzero(decode_mask(a.mask) != decode_mask(b.mask))
        assert differing <= 1e-3 * image.shape[0] * image.shape[1]


class Spinning:
    def work(self, rounds: int) -> int:
        return sum(i * i for i in range(rounds))

    def fail(self) -> None:
        raise ValueError("no")


def test_a_stopwatch_counts_what_calls_take_and_changes_nothing_else() -> None:
    watched, alike, spent = Spinning(), Spinning(), Stopwatch()
    spent.watch(watched, "work", "some")
    spent.watch(watched, "fail")
    assert watched.work(200_000) == alike.work(200_000)
    once = spent.seconds["some"]
    assert once > 0
    watched.work(200_000)
    assert spent.seconds["some"] > once
    with pytest.raises(ValueError, match="no"):
        watched.fail()
    assert set(spent.seconds) == {"some", "fail"}
    spent.reset()
    assert not spent.seconds


def test_figures_are_drawn_with_all_their_names(tmp_path: Path) -> None:
    """As SVG with text as text, in which they can be read."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none"}):
        report.lines(
            {"ours": [(1, 2.0), (4, 3.0)]}, tmp_path / "lines.svg", x="cameras", y="ms", doubling=True
        )
        report.stacked({"torch": {"encode": 2.0, "decode": 1.0}}, tmp_path / "stacked.svg", x="ms")
        report.bars({"theirs": 2.5}, tmp_path / "bars.svg", x="frames/s")
        report.labelled({"small": (1.0, 0.5)}, tmp_path / "labelled.svg", x="ms", y="HOTA")
    wanted = {
        "lines": ["ours", "cameras", "ms", ">1<", ">4<"],
        "stacked": ["torch", "encode", "decode", "ms"],
        "bars": ["theirs", "2.5", "frames/s"],
        "labelled": ["small", "ms", "HOTA"],
    }
    for name, texts in wanted.items():
        drawn = (tmp_path / f"{name}.svg").read_text()
        assert all(text in drawn for text in texts), name
