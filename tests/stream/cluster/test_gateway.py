"""One front door: what a single machine answers a gateway answers, wherever the camera is, in its owner's words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.cluster.cameras import SKIPPED_IDS
from stream.config import ServeConfig, parse_config
from stream.wire import WireFrame, decode
from tests.stream.cluster.local import LEASE_S, LocalCluster, local_cluster
from tests.stream.viewer_frames import until

ADMIN, VIEW = "0123456789abcdef-admin", "0123456789abcdef-viewer"
CAMERA = {"url": "synthetic:7?size=160x96&fps=10"}


def config_of(cluster: dict[str, Any] | None = None, **server: Any) -> ServeConfig:
    """No cameras of its own."""
    tokens = {"admin_tokens": [ADMIN]}
    return parse_config({"server": tokens | server, "cluster": cluster or {}, "state_dir": None}, "test")


async def added(cluster: LocalCluster, *names: str) -> None:
    """Cameras that are up, and that the gateway knows to be."""
    for name in names:
        cluster.book.put(name, CAMERA)
    await cluster.beat_until(
        lambda: all(
            (o := cluster.owner(n)) and (c := o.service.cameras.get(n)) and c.hub.latest for n in names
        )
    )
    known: dict[str, Any] = {}
    while not all(known.get("cameras", {}).get(name) for name in names):
        await cluster.beat()
        known = (await cluster.http.get("/healthz")).json()


async def next_frames(socket: Any, count: int) -> list[WireFrame]:
    return [decode(await socket.recv()) for _ in range(count)]


def socket_of(cluster: LocalCluster, path: str, token: str = "") -> connect:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return connect(f"ws{cluster.address[4:]}{path}", additional_headers=headers)


async def test_cameras_are_added_changed_and_removed_by_any_gateway() -> None:
    async with local_cluster(config_of(max_cameras=2), token=ADMIN) as cluster:
        new = {"name": "door", **CAMERA}
        answer = await cluster.http.post("/api/cameras", json=new)
        assert (answer.status_code, answer.headers["location"]) == (201, "/api/cameras/door")
        assert (await cluster.http.post("/api/cameras", json=new)).status_code == 409
        assert (
            await cluster.http.post("/api/cameras", json={"name": "b", "url": "nonsense"})
        ).status_code == 422
        local = {"name": "b", "url": "rtsp://u:secret@127.0.0.1/x"}
        refused = await cluster.http.post("/api/cameras", json=local)
        assert refused.status_code == 422
        assert "secret" not in refused.text
        await cluster.beat_until(lambda: cluster.owner("door") is not None)
        owner = cluster.owner("door")
        assert owner is not None
        await cluster.beat_until(lambda: "door" in owner.service.cameras)
        changed = {**CAMERA, "min_score": 0.5}
        assert (await cluster.http.put("/api/cameras/door", json=changed)).status_code == 200
        await cluster.beat_until(lambda: owner.service.cameras.settings("door").min_score == 0.5)
        assert (await cluster.http.get("/api/cameras/door/config")).json()["min_score"] == 0.5
        assert (await cluster.http.put("/api/cameras/other", json=changed)).status_code == 404
        cluster.book.put("second", CAMERA)
        assert (await cluster.http.post("/api/cameras", json={"name": "third", **CAMERA})).status_code == 503
        assert (await cluster.http.delete("/api/cameras/door")).status_code == 204
        assert (await cluster.http.delete("/api/cameras/door")).status_code == 404
        await cluster.beat_until(lambda: "door" not in owner.service.cameras)


async def test_cameras_of_all_workers_are_answered_as_on_one_machine() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door", "yard")
        assert {owner.name for name in ("door", "yard") if (owner := cluster.owner(name))} == {"w0", "w1"}
        reports = (await cluster.http.get("/api/cameras")).json()
        assert [(report["name"], report["state"]) for report in reports] == [("door", "up"), ("yard", "up")]
        picture = await cluster.http.get("/api/cameras/yard/snapshot.jpg")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:2] == b"\xff\xd8"
        assert (await cluster.http.get("/api/cameras/none/snapshot.jpg")).status_code == 404
        frames = (await cluster.http.get("/api/tracks")).json()
        assert {frame["camera"]: frame["epoch"] for frame in frames} == {"door": 1, "yard": 1}
        (only,) = (await cluster.http.get("/api/tracks", params={"camera": "yard"})).json()
        assert only["camera"] == "yard"
        born: set[tuple[str, int]] = set()
        while born != {("door", 1), ("yard", 1)}:
            events = (await cluster.http.get("/api/events", params={"event": "born"})).json()
            born |= {(event["camera"], event["epoch"]) for event in events}
        assert (await cluster.http.get("/api/cameras/door/zones")).json()["zones"] == []
        found = (await cluster.http.get("/api/cluster/targets")).json()
        assert {t for each in found for t in each["targets"]} == {
            worker.address.removeprefix("http://") for worker in cluster.workers.values()
        }
        metrics = (await cluster.http.get("/metrics")).text
        assert 'syncvis_cluster_cameras{state="assigned"} 2.0' in metrics
        page = await cluster.http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        async with cluster.http.stream(
            "GET", "/api/tracks", headers={"Accept": "text/event-stream"}
        ) as stream:
            told: set[str] = set()
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    told.add(json.loads(line[6:])["camera"])
                if told == {"door", "yard"}:
                    break
        async with socket_of(cluster, "/api/cameras/door/pictures") as pictures:
            assert len(await pictures.recv()) > 1000


async def test_a_reader_stays_when_its_camera_moves_and_ids_go_on() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door")
        leaving = cluster.owner("door")
        assert leaving is not None
        async with socket_of(cluster, "/api/cameras/door/tracks") as socket:
            before = await next_frames(socket, 3)
            cluster.book.drain(leaving.name)
            await cluster.beat_until(lambda: cluster.owner("door") not in (None, leaving))
            frames = before
            async with cluster.beating():
                while frames[-1].epoch != 2 or sum(f.epoch == 2 for f in frames) < 3:
                    frames += await next_frames(socket, 1)
        order = [(frame.epoch, frame.seq) for frame in frames]
        assert order == sorted(set(order))
        ids = [{track.id for track in frame.tracks} for frame in frames]
        assert ids[2]
        assert ids[-1] >= ids[2], "a tracker that goes on knows them"
        assert max(ids[-1]) < SKIPPED_IDS, "it was a move in good order"
        assert "door" not in leaving.service.cameras


def epochs(cluster: LocalCluster) -> dict[str, tuple[str, int]]:
    """Who has each camera, and in which epoch."""
    owners = cluster.book.table().cameras.items()
    return {name: ("", 0) if owner is None else (owner.worker, owner.epoch) for name, owner in owners}


async def test_a_reader_of_all_has_one_connection_a_worker_whatever_moves_comes_and_goes() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "a", "b", "c", "d")
        workers = list(cluster.workers.values())
        frames: list[WireFrame] = []
        async with socket_of(cluster, "/api/tracks") as socket, cluster.beating():
            while {frame.camera for frame in frames} != set("abcd"):
                frames += await next_frames(socket, 1)
            assert [worker.sockets for worker in workers] == [1, 1]
            cluster.book.drain("w0")
            cluster.book.put("late", CAMERA)
            cluster.book.remove("d")
            last: dict[str, int] = {}
            while epochs(cluster) != {name: ("w1", last.get(name, -1)) for name in ("a", "b", "c", "late")}:
                frames += await next_frames(socket, 1)
                last[frames[-1].camera] = frames[-1].epoch or 0
            await until(lambda: [worker.sockets for worker in workers] == [0, 1])
        for camera in "abcd":
            order = [(frame.epoch, frame.seq) for frame in frames if frame.camera == camera]
            assert order == sorted(set(order))
        await until(lambda: [worker.sockets for worker in workers] == [0, 0])
        async with socket_of(cluster, "/api/tracks?camera=a&camera=b") as socket, cluster.beating():
            assert {frame.camera for frame in await next_frames(socket, 10)} == {"a", "b"}
            assert [worker.sockets for worker in workers] == [0, 2]


async def test_a_worker_that_was_cut_off_stops_by_itself_and_is_not_heard() -> None:
    async with local_cluster(config_of()) as cluster:
        await added(cluster, "door")
        lost = cluster.owner("door")
        assert lost is not None
        async with socket_of(cluster, "/api/cameras/door/tracks") as socket:
            await cluster.beat_until(lambda: cluster.book._cameras.can_go_on("door"))
            before = (await next_frames(socket, 3))[-1]
            lost.silent = True
            lost.offset_s += 2 * LEASE_S  # it hears nothing for that long
            metrics = lost.service.registry
            await until(lambda: metrics.get_sample_value(
                "syncvis_frames_dropped_total", {"camera": "door", "cause": "not_ours"}
            ))  # fmt: skip
            published = metrics.get_sample_value("syncvis_frames_published_total", {"camera": "door"})
            cluster.ahead_s += 2 * LEASE_S
            await cluster.beat_until(lambda: cluster.owner("door") not in (None, lost))
            frames: list[WireFrame] = []
            async with cluster.beating():
                while not frames or frames[-1].epoch != 2 or not frames[-1].tracks:
                    frames += await next_frames(socket, 1)
        assert metrics.get_sample_value("syncvis_frames_published_total", {"camera": "door"}) == published
        assert {track.id for track in before.tracks} <= {track.id for track in frames[-1].tracks}
        lost.silent = False
        await cluster.beat_until(lambda: "door" not in lost.service.cameras)
        assert cluster.owner("door") is not lost


async def test_what_runs_goes_on_while_the_controller_is_away() -> None:
    async with local_cluster(config_of(), token=ADMIN) as cluster:
        await added(cluster, "door")
        cluster.away = True
        async with socket_of(cluster, "/api/tracks") as socket:
            assert (await next_frames(socket, 2))[-1].camera == "door"
        answer = await cluster.http.post("/api/cameras", json={"name": "yard", **CAMERA})
        assert answer.status_code == 503
        assert "controller does not answer" in answer.text
        assert (await cluster.http.get("/api/cameras/door/tracks")).status_code == 200
        while (await cluster.http.get("/healthz")).json()["status"] != "degraded":  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_only_those_who_may_are_let_in() -> None:
    async with local_cluster(config_of(tokens=[VIEW])) as cluster:
        await added_quietly(cluster)
        for path in ("/api/cameras", "/api/tracks", "/api/cluster", "/api/cameras/door/snapshot.jpg"):
            assert (await cluster.http.get(path)).status_code == 401
            assert (await cluster.http.get(path, headers=bearer(VIEW))).status_code in (200, 503)
        assert (await cluster.http.post("/api/cameras", json={}, headers=bearer(VIEW))).status_code == 403
        assert (await cluster.http.post("/whep/door", content=b"")).status_code == 401
        with pytest.raises(InvalidStatus):
            async with socket_of(cluster, "/api/cameras/door/tracks"):
                pass
        async with socket_of(cluster, "/api/cameras/door/tracks", VIEW) as socket:
            assert (await next_frames(socket, 1))[0].camera == "door"
        owner = cluster.owner("door")
        assert owner is not None
        assert (await cluster.http.get(f"{owner.address}/api/cameras")).status_code == 401
        assert (
            await cluster.http.get(f"{owner.address}/api/cameras", headers=bearer(VIEW))
        ).status_code == 401
        drain = f"/api/cluster/workers/{owner.name}/drain"
        assert (await cluster.http.post(drain, headers=bearer(VIEW))).status_code == 403
        assert (await cluster.http.post(drain, headers=bearer(ADMIN))).status_code == 202
        assert (await cluster.http.post(drain[:-5] + "x/drain", headers=bearer(ADMIN))).status_code == 404


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def added_quietly(cluster: LocalCluster) -> None:
    """For those who may not ask."""
    cluster.book.put("door", CAMERA)
    await cluster.beat_until(
        lambda: (o := cluster.owner("door")) and (c := o.service.cameras.get("door")) and c.hub.latest
    )


@pytest.mark.parametrize("way", ["proxy", "redirect"])
async def test_webrtc_is_answered_for_the_worker_or_sent_there(way: str) -> None:
    async with local_cluster(config_of({"whep": way})) as cluster:
        await added(cluster, "door")
        owner = cluster.owner("door")
        assert owner is not None
        answer = await cluster.http.post(
            "/whep/door?masks=data", content=b"no offer", headers={"Content-Type": "application/sdp"}
        )
        if way == "redirect":
            assert answer.status_code == 307
            assert answer.headers["location"] == f"{owner.address}/whep/door?masks=data"
            assert (await cluster.http.get(f"{owner.address}/api/cameras")).status_code == 200
        else:
            assert answer.status_code == 400, "the worker has read the offer"
            assert (await cluster.http.get("/whep/door")).headers["allow"] == "OPTIONS, POST"
            assert (await cluster.http.options("/whep/door")).headers["accept-post"] == "application/sdp"
            assert (await cluster.http.delete("/whep/door/sessions/none")).status_code == 404
        assert (await cluster.http.post("/whep/none", content=b"")).status_code == 404
