"""The wire form gives back what it was given, and refuses everything else in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import DataError
from stream.types import TrackedFrame
from stream.wire import VERSION, WireFrame, decode, encode
from syncvis_online.colors import color_of
from syncvis_online.types import LABELS, Track, box_of_mask, decode_mask, encode_mask
from tests.stream.viewer_frames import make_picture

finite = st.floats(0, 2e9, allow_nan=False)


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, np.bool_).reshape(height, width)
    track_id, label = draw(st.integers(1, 2**53)), draw(st.sampled_from(LABELS))
    return Track(
        track_id,
        label,
        draw(st.floats(0, 1)),
        encode_mask(mask),
        box_of_mask(mask),
        draw(finite),
        draw(st.sampled_from(["confirmed", "lost"])),
    )


@st.composite
def frames(draw: st.DrawFn) -> TrackedFrame:
    return TrackedFrame(
        camera=draw(st.text(min_size=1, max_size=20)),
        seq=draw(st.integers(0, 2**53)),
        pts=draw(st.integers(-(2**53), 2**53)),
        time_base=draw(st.fractions(Fraction(1, 10**6), Fraction(1), max_denominator=10**6)),
        captured_at_s=draw(finite),
        clock=draw(st.sampled_from(("rtcp", "arrival", "media"))),
        tracks=tuple(draw(st.lists(tracks(), max_size=4))),
        image=np.zeros((draw(st.integers(1, 9)), draw(st.integers(1, 9)), 3), np.uint8),
        flags=tuple(draw(st.lists(st.text(max_size=8), max_size=2))),
        published_at_s=draw(finite),
    )


@settings(deadline=None, max_examples=60)
@given(frames())
def test_decoding_gives_back_what_was_encoded(frame: TrackedFrame) -> None:
    wire = decode(encode(frame))
    assert tuple(track.to_track() for track in wire.tracks) == frame.tracks
    for name in ("camera", "seq", "pts", "captured_at_s", "published_at_s", "clock", "flags"):
        assert getattr(wire, name) == getattr(frame, name)
    assert wire.seconds_per_pts == frame.time_base
    assert (wire.height, wire.width) == frame.image.shape[:2]


def test_names_units_and_colours_are_those_of_version_1() -> None:
    frame = make_picture(7)
    message = json.loads(encode(frame))
    assert set(message) == {
        *("version", "camera", "seq", "pts", "time_base", "captured_at_s", "published_at_s", "clock"),
        *("width", "height", "flags", "tracks"),
    }
    assert message["version"] == VERSION == 1
    assert message["time_base"] == "1/90000"
    track = message["tracks"][0]
    assert set(track) == {"id", "label", "score", "box", "mask", "color", "age_s", "state"}
    assert track["color"] == "#{:02x}{:02x}{:02x}".format(*color_of(1))
    mask = decode_mask(track["mask"])
    assert mask.shape == (message["height"], message["width"])
    assert list(box_of_mask(mask)) == track["box"]


def test_stages_are_milliseconds_and_left_out_where_they_are_not_known() -> None:
    frame = make_picture(0)
    assert "stages_ms" not in json.loads(encode(frame))
    told = json.loads(encode(replace(frame, stages_s={"receive": 0.0123456, "queue": 0.0})))
    assert told["stages_ms"] == {"receive": 12.35, "queue": 0.0}


def test_unknown_keys_of_a_later_server_are_ignored() -> None:
    message = json.loads(encode(make_picture(1)))
    message["zones"] = []
    assert decode(json.dumps(message)) == WireFrame.of(make_picture(1))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"version": 2}, "version"),
        ({"seq": -1}, "seq"),
        ({"tracks": None}, "tracks"),
        ({"clock": "x"}, "clock"),
    ],
)
def test_anything_else_is_refused_in_one_line(change: dict[str, object], where: str) -> None:
    message = json.loads(encode(make_picture(1))) | change
    with pytest.raises(DataError, match=f"version 1: {where}") as refusal:
        decode(json.dumps(message))
    assert "\n" not in str(refusal.value)


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.text(), st.binary()))
def test_no_text_makes_the_reader_fail_in_another_way(text: str | bytes) -> None:
    with pytest.raises(DataError):
        decode(text)
