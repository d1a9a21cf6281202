"""What viewers say of when they showed pictures: the error is bounded as stated, and nothing hostile gets in."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from stream.webrtc.encoder import EncodedPicture
from stream.webrtc.glass import LABEL, MAX_MESSAGE, MOST_SENT, GlassReports, PeerClock, ShownPicture
from tests.stream.test_webrtc import Viewer, watched
from tests.stream.viewer_frames import until

delays = st.floats(0, 2)


@given(st.floats(-1e6, 1e6), st.lists(st.tuples(delays, delays, delays), min_size=1, max_size=40))
def test_the_clock_is_never_further_off_than_stated(
    offset_s: float, ways: list[tuple[float, float, float]]
) -> None:
    clock, now_s = PeerClock(), 1000.0
    for there_s, thinks_s, back_s in ways:
        came_s = now_s + there_s - offset_s
        clock.add(now_s, came_s, came_s + thinks_s, now_s + there_s + thinks_s + back_s)
        now_s += 5.0
    best = clock.best
    assert best is not None
    assert abs(best.offset_s - offset_s) <= best.error_s + 1e-6
    assert best.error_s <= min(there + back for there, _, back in ways[-16:]) / 2 + 1e-6


class Channel:
    """A data channel's end, as aiortc has it, whose peer keeps what it is sent."""

    label, readyState, bufferedAmount = LABEL, "open", 0  # noqa: N815  # aiortc's names

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    def on(self, event: str, tell: object) -> None:
        """The test calls what would be called."""

    def send(self, text: str) -> None:
        self.said.append(json.loads(text))


class Peer:
    """A viewer that has been sent pictures, with a clock of its own. Time goes on by itself, 1 s a message."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0
        self.shown: list[ShownPicture] = []
        self.refused: Counter[str] = Counter()
        self.reports = GlassReports(
            self.shown.append,
            lambda reason: self.refused.update([reason]),
            clock=lambda: self.now_s,
            monotonic=lambda: self.now_s,
        )
        self.channel: Any = Channel()
        self.reports.take(self.channel)

    def send(self, number: int) -> None:
        picture = EncodedPicture(number, number, True, [b""], captured_at_s=self.now_s)
        self.reports.sent(number, picture)

    def say(self, message: object, *, wait_s: float = 1.0) -> None:
        self.now_s += wait_s
        self.reports.hear(message)

    def answer(self) -> None:
        """Answer what was asked last, at once; this clock shows milliseconds from the test's beginning."""
        ms = 1000 * (self.now_s - 1_700_000_000.0)
        self.reports.hear(json.dumps({"pong": self.channel.said[-1]["ping"], "came": ms, "answered": ms}))

    def in_step(self) -> Peer:
        self.say('{"shown": []}')
        self.answer()
        return self


def test_a_picture_is_reported_once_and_its_time_is_the_capture_s() -> None:
    peer = Peer().in_step()
    peer.send(7)
    shown_ms = 1000 * (peer.now_s - 1_700_000_000.0) + 80
    for _ in range(2):
        peer.say(json.dumps({"shown": [[7, shown_ms]]}))
    (shown,) = peer.shown
    assert shown.seq == 7
    assert math.isclose(shown.latency_s, 0.08, abs_tol=1e-6)
    assert peer.refused == {"unknown_picture": 1}


def test_what_cannot_be_is_refused_and_counted() -> None:
    peer = Peer()
    peer.send(1)
    peer.say('{"shown": [[1, 5]]}')
    assert peer.refused.pop("no_clock") == 1
    peer.answer()
    for at_ms in (-1e9, 1e12):
        peer.send(2)
        peer.say(json.dumps({"shown": [[2, at_ms]]}))
    assert peer.refused.pop("implausible") == 2
    peer.say("x" * (MAX_MESSAGE + 1))
    assert peer.refused.pop("too_long") == 1
    wrong = [
        b"\x00",
        "",
        "[",
        "1",
        "null",
        "[]",
        "{}",
        '{"shown": 1}',
        '{"shown": [[1]]}',
        '{"shown": [["1", 2]]}',
    ]
    wrong += ['{"shown": [[1, NaN]]}', '{"shown": [[1, Infinity]]}', '{"shown": [[1, true]]}', '{"pong": 99}']
    wrong += ['{"pong": [], "came": 1}', '{"shown": ' + "[" * 2000, json.dumps({"shown": [[1, 1]] * 65})]
    for message in wrong:
        peer.say(message)
        assert peer.refused.pop("malformed") == 1, message
    assert not peer.refused
    assert not peer.shown


def test_a_flood_is_refused_and_nothing_grows() -> None:
    peer = Peer().in_step()
    for number in range(3 * MOST_SENT):
        peer.send(number)
    assert len(peer.reports._sent) == MOST_SENT
    for _ in range(1000):
        peer.say('{"shown": []}', wait_s=0.0)
    assert peer.refused["too_many"] > 900
    assert len(peer.channel.said) < 100
    assert len(peer.reports._asked) <= 16


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["shown", "pong", "came", "answered"])


@given(st.lists(st.dictionaries(fields, json_values, max_size=4), max_size=10))
def test_nothing_that_is_said_raises(messages: list[dict[str, Any]]) -> None:
    peer = Peer().in_step()
    for number, message in enumerate(messages):
        peer.send(number)
        peer.say(json.dumps(message))
    assert all(0 <= shown.latency_s <= 60 and shown.error_s >= 0 for shown in peer.shown)


async def test_a_viewer_without_a_browser_can_report_too() -> None:
    async with watched() as server:
        viewer = GlassViewer(server.http)
        async with viewer:
            assert (await viewer.watch("H264")).status_code == 201
            await until(lambda: viewer.answered >= 4)
            value = server.service.registry.get_sample_value
            refused = {"camera": "cam", "reason": "unknown_picture"}
            viewer.channel.send('{"shown": [[1, 1]]}')
            await until(lambda: value("syncvis_glass_reports_refused_total", refused) == 1)
            await until(lambda: "overlay" in server.service.cameras["cam"].status().stages_ms)
            report = (await server.http.get("/api/cameras/cam")).json()
    assert report["glass_ms"] is None
    assert "overlay" in report["stages_ms"]


class GlassViewer(Viewer):
    """A WHEP client that says what time it is, and has shown nothing."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        super().__init__(http)
        self.answered = 0
        self.channel = self.peer.createDataChannel(LABEL)
        self.channel.on("open", lambda: self.channel.send('{"shown": []}'))
        self.channel.on("message", self.answer)

    def answer(self, text: str) -> None:
        self.answered += 1
        self.channel.send(json.dumps({"pong": json.loads(text)["ping"], "came": 5, "answered": 5}))
