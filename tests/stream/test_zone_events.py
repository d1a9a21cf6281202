"""What happens at zones and lines is told by every way, counted in metrics, and is where the API says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import cv2
import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from prometheus_client import generate_latest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream import subscribe_events
from stream.app import Service
from stream.config import parse_config
from stream.events import EVENT_KINDS, TrackEvent, decode_event
from stream.overlay import draw_overlay
from stream.programs import schema_of
from stream.server import ServerOptions, create_app
from stream.zone_overlay import AMBER
from stream.zones import LineView, Regions, ZoneView
from tests.stream.frames import SquareEngine
from tests.stream.viewer_frames import serving, until
from tests.stream.walks import standing_at, walking

TOKEN = "0123456789abcdef"
POLYGON = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
POINTS = [[0.5, 1.0], [0.5, 0.2]]
SETTINGS = {
    "zones": {"half": {"polygon": POLYGON, "dwell_s": 1.0, "settle_s": 0}},
    "lines": {"door": {"points": POINTS, "settle_s": 0}},
}


@pytest.fixture
def service() -> Service:
    cameras = {"yard": {"url": "synthetic:1"} | SETTINGS, "street": {"url": "synthetic:1"}}
    return Service(parse_config({"cameras": cameras}, "test"), SquareEngine())


@pytest.fixture
async def address(service: Service) -> AsyncIterator[str]:
    async with serving(create_app(service)) as (_, address):
        yield address


def walk(service: Service) -> None:
    """A person comes from the right, stays on the left for 2 s, and goes back; a dog stays on the left."""
    xs = [0.8] + [0.2] * 20 + [0.8]
    for seq, x in enumerate(xs):
        dog = standing_at(0.3, 0.5, 2, "dog")
        service.hub("yard").publish(walking(seq, standing_at(x, 0.8), dog))


TOLD = [
    ("born", 1, None, None),
    ("born", 2, None, None),
    ("enter", 2, "half", None),
    ("enter", 1, "half", None),
    ("cross", 1, "door", "backward"),
    ("dwell", 2, "half", None),
    ("dwell", 1, "half", None),
    ("leave", 1, "half", None),
    ("cross", 1, "door", "forward"),
]


def short(event: TrackEvent) -> tuple[str, int, str | None, str | None]:
    return event.event, event.id, event.zone or event.line, event.direction


def value(service: Service, name: str, **labels: str) -> float | None:
    return service.registry.get_sample_value(f"syncvis_{name}", {"camera": "yard", **labels})


async def test_events_come_by_every_way_as_the_schema_says(service: Service, address: str) -> None:
    async with (
        aclosing(subscribe_events(address, camera="yard", event=["enter", "leave"])) as some,
        connect(f"ws{address[4:]}/api/cameras/yard/events?event=cross") as socket,
    ):
        first = asyncio.create_task(anext(some))
        await until(lambda: service.events.subscribers == 2)
        walk(service)
        assert [short(await first)] + [short(await anext(some)) for _ in range(2)] == [
            event for event in TOLD if event[0] in ("enter", "leave")
        ]
        crossed = [decode_event(await socket.recv()) for _ in range(2)]
        assert [short(event) for event in crossed] == [event for event in TOLD if event[0] == "cross"]
    async with httpx.AsyncClient(base_url=address) as http:
        sent = (await http.get("/api/events")).json()
        assert [short(TrackEvent(**event)) for event in sent] == TOLD
        schema = Draft202012Validator(schema_of("events"))
        for event in sent:
            schema.validate(event)
            told = {"zone", "line", "direction", "dwell_s"} & event.keys()
            assert told == {
                "born": set(),
                "enter": {"zone"},
                "dwell": {"zone", "dwell_s"},
                "leave": {"zone", "dwell_s"},
                "cross": {"line", "direction"},
            }.get(event["event"]), event["event"]
        (left,) = (await http.get("/api/events?event=leave")).json()
        assert left["dwell_s"] == pytest.approx(2.0)
        assert (await http.get("/api/cameras/street/events?event=enter")).json() == []
        assert (await http.get("/api/events?event=vanish")).status_code == 422


async def test_who_asks_for_a_kind_of_event_that_there_is_not_is_refused(address: str) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(f"ws{address[4:]}/api/events?event=vanish"):
            pass


async def test_the_api_says_where_they_are_and_what_was_counted(service: Service, address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        before = (await http.get("/api/cameras/yard/zones")).json()
        walk(service)
        after = (await http.get("/api/cameras/yard/zones")).json()
        assert before == {
            "version": 1,
            "zones": [{"name": "half", "polygon": POLYGON, "count": 0, "counts": {}}],
            "lines": [{"name": "door", "points": POINTS, "crossed": {"forward": 0, "backward": 0}}],
        }
        assert after["zones"][0] | {"polygon": POLYGON} == {
            "name": "half",
            "polygon": POLYGON,
            "count": 1,
            "counts": {"dog": 1},
        }
        assert after["lines"][0]["crossed"] == {"forward": 1, "backward": 1}
        empty = (await http.get("/api/cameras/street/zones")).json()
        assert empty == {"version": 1, "zones": [], "lines": []}
        assert (await http.get("/api/cameras/nowhere/zones")).status_code == 404


async def test_they_are_for_those_who_may_watch(service: Service) -> None:
    async with (
        serving(create_app(service, ServerOptions(tokens=(TOKEN,)))) as (_, address),
        httpx.AsyncClient(base_url=address) as http,
    ):
        assert (await http.get("/api/cameras/yard/zones")).status_code == 401
        shown = {"Authorization": f"Bearer {TOKEN}"}
        assert (await http.get("/api/cameras/yard/zones", headers=shown)).status_code == 200


async def test_metrics_count_what_is_told_and_go_with_their_camera(service: Service) -> None:
    walk(service)
    person, dog = {"zone": "half", "label": "person"}, {"zone": "half", "label": "dog"}
    assert (value(service, "zone_inside", **person), value(service, "zone_inside", **dog)) == (0, 1)
    assert value(service, "zone_enters_total", **person) == 1
    assert value(service, "zone_dwell_seconds_sum", zone="half") == pytest.approx(2.0)
    for direction in ("forward", "backward"):
        crossed = {"line": "door", "direction": direction, "label": "person"}
        assert value(service, "line_crossings_total", **crossed) == 1
    assert value(service, "track_events_total", event="cross") == 2
    assert service.cameras["yard"].statistics.status().dropped == {}
    service.cameras["yard"].statistics.remove()
    assert 'camera="yard"' not in generate_latest(service.registry).decode()


async def test_the_series_of_a_zone_that_is_taken_out_go_and_the_others_stay(service: Service) -> None:
    walk(service)
    statistics = service.cameras["yard"].statistics
    statistics.remove_zone("half")
    text = generate_latest(service.registry).decode()
    assert 'zone="half"' not in text
    assert 'line="door"' in text
    statistics.remove_line("door")
    assert 'line="door"' not in generate_latest(service.registry).decode()


async def test_who_is_gone_leaves_first(service: Service) -> None:
    walk(service)
    service.hub("yard").publish(walking(99, at_s=1000.0 + 99))
    assert [(event.event, event.id) for event in service.events.history[len(TOLD) :]] == [
        *(("lost", 1), ("gone", 1)),
        *(("lost", 2), ("leave", 2), ("gone", 2)),
    ]
    (left,) = [event for event in service.events.history if event.event == "leave" and event.id == 2]
    assert left.dwell_s == pytest.approx(left.seen_at_s - 1000)


def test_every_kind_of_event_is_in_the_schema() -> None:
    kinds = schema_of("events")["properties"]["event"]["enum"]
    assert set(kinds) == set(EVENT_KINDS)
    assert json.dumps(sorted(EVENT_KINDS)) == json.dumps(
        sorted(["born", "lost", "found", "gone", "enter", "leave", "dwell", "cross"])
    )


# Drawn

GREY = np.full((360, 640, 3), 90, np.uint8)
SHOWN = Regions(
    (ZoneView("gate", ((0.1, 0.2), (0.6, 0.2), (0.6, 0.9), (0.1, 0.9)), {"dog": 2}),),
    (LineView("door", ((0.8, 0.9), (0.8, 0.3)), 3, 1),),
)


def amber(picture: np.ndarray) -> np.ndarray:
    near: np.ndarray = np.abs(picture.astype(int) - AMBER).max(axis=2) < 60
    return near


def test_outlines_are_where_the_config_says_and_hide_little() -> None:
    drawn = draw_overlay(GREY, (), regions=SHOWN)
    marks = amber(drawn)
    for x, y in ((0.35, 0.9), (0.6, 0.5), (0.1, 0.6), (0.8, 0.5)):
        row, column = round(y * 360), round(x * 640)
        assert marks[row - 3 : row + 4, column - 3 : column + 4].any(), (x, y)
    assert marks.mean() < 0.02
    middle = drawn[200, 250].astype(int)
    assert 0 < np.abs(middle - 90).max() < 20, "a tint that hides nothing"
    assert np.array_equal(draw_overlay(GREY, (), regions=Regions()), GREY)


def test_the_arrow_points_to_where_forward_goes() -> None:
    """Along a line that points up, the right is the right."""
    marks = amber(draw_overlay(GREY, (), regions=Regions((), SHOWN.lines)))
    row, column = round(0.6 * 360), round(0.8 * 640)
    assert marks[row, column + 4 : column + 12].all()
    assert not marks[row, column - 12 : column - 3].any()


@pytest.mark.parametrize("size", [(1, 1), (17, 31), (1080, 1920)])
def test_they_are_drawn_on_pictures_of_any_size(size: tuple[int, int]) -> None:
    corners = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
    regions = Regions((ZoneView("a" * 63, corners, {}),), (LineView("b", (corners[1], corners[3]), 0, 0),))
    drawn = draw_overlay(np.zeros((*size, 3), np.uint8), (), regions=regions)
    assert drawn.shape == (*size, 3)


async def test_the_snapshot_and_the_stream_show_them(service: Service, address: str) -> None:
    walk(service)
    async with httpx.AsyncClient(base_url=address) as http:
        pictures = [
            cv2.imdecode(
                np.frombuffer(
                    (await http.get(f"/api/cameras/yard/snapshot.jpg?overlay={o}")).content, np.uint8
                ),
                cv2.IMREAD_COLOR_RGB,
            )
            for o in ("true", "false")
        ]
    assert amber(pictures[0])[100:800, 795:806].any()
    assert not amber(pictures[1]).any()
