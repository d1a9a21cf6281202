"""A config file that is read again: cameras are as it says, but for what was changed while they ran."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.cluster.book import Book
from stream.cluster.reload import reload
from stream.cluster.spec import Spec
from stream.commands.cluster import GatewayReload
from stream.config import ServeConfig, parse_config
from stream.errors import ConfigError
from tests.stream.cluster.local import SECRET, LocalCluster, local_cluster
from tests.stream.cluster.test_gateway import ADMIN, added
from tests.support.played_worker import MemoryStorage

FILES = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([{"url": "x:1"}, {"url": "x:2"}]))


def book_of(cameras: dict[str, dict[str, str]]) -> Book:
    book = Book(MemoryStorage(), 3.0, 0.0)
    for name, settings in cameras.items():
        book.put(name, settings)
    return book


@given(FILES, FILES, FILES)
def test_each_camera_is_as_the_file_says_or_was_changed_by_somebody(
    before: dict[str, Any], now: dict[str, Any], there: dict[str, Any]
) -> None:
    book = book_of(there)
    stayed = reload(book, before, now)
    found = book.cameras()
    for camera in "abcd":
        if there.get(camera) == before.get(camera):
            assert found.get(camera) == now.get(camera), "nobody changed it"
        elif before.get(camera) != now.get(camera):
            assert found.get(camera) == there.get(camera), "it stays"
            assert (camera in stayed) == (there.get(camera) != now.get(camera))
        else:
            assert found.get(camera) == there.get(camera), "the file says nothing new of it"
    assert reload(book, before, now) == stayed, "another gateway has nothing left to do"
    assert book.cameras() == found


def config_with(cameras: dict[str, str], **sections: Any) -> ServeConfig:
    urls = {name: {"url": url} for name, url in cameras.items()}
    server = {"admin_tokens": [ADMIN]}
    return parse_config({"cameras": urls, "server": server, "state_dir": None} | sections, "test")


URL = "synthetic:7?size=160x96&fps=10"
OTHER = "synthetic:8?size=160x96&fps=10"


def again(cluster: LocalCluster, config: ServeConfig, load: Callable[[], ServeConfig]) -> GatewayReload:
    return GatewayReload(config, load, Spec(config, SECRET), cluster, lambda: None)


async def test_cameras_of_workers_are_as_the_file_says(caplog: pytest.LogCaptureFixture) -> None:
    config = config_with({"door": URL, "yard": URL, "gate": URL})
    files = [
        config_with({"yard": OTHER, "gate": OTHER, "new": URL}, log={"level": "debug"}),
        config_with(
            {"yard": URL}, model={"name": "hidden"}, server={"admin_tokens": [ADMIN], "tokens": [ADMIN]}
        ),
    ]
    caplog.set_level(logging.INFO)
    async with local_cluster(config, token=ADMIN) as cluster:
        await added(cluster, "door", "yard", "gate")
        door = cluster.owner("door")
        mine = {"url": URL, "min_score": 0.5}
        assert (await cluster.http.put("/api/cameras/gate", json=mine)).status_code == 200
        do = again(cluster, config, lambda: files.pop(0))
        await do()
        assert cluster.book.cameras() == {"yard": {"url": OTHER}, "gate": mine, "new": {"url": URL}}
        assert "camera gate: what was changed while it ran stays" in caplog.text
        assert "needs a restart: log.level" in caplog.text
        await cluster.beat_until(lambda: door is not None and "door" not in door.service.cameras)
        caplog.clear()
        await do()
        assert "nothing has changed: the cluster was started with another model, server.tokens" in caplog.text
        assert "hidden" not in caplog.text
        assert set(cluster.book.cameras()) == {"yard", "gate", "new"}
        assert cluster.book.cameras()["yard"] == {"url": OTHER}


async def test_a_file_with_a_mistake_and_a_controller_that_is_away_change_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = config_with({"door": URL})

    def mistaken() -> ServeConfig:
        raise ConfigError("serve.yaml: line 3")

    other = config_with({"yard": URL})
    async with local_cluster(config) as cluster:
        await added(cluster, "door")
        await again(cluster, config, mistaken)()
        assert "nothing has changed: serve.yaml: line 3" in caplog.text
        do = again(cluster, config, lambda: other)
        cluster.away = True
        await do()
        assert "try once more: the cluster's controller: no answer" in caplog.text
        assert set(cluster.book.cameras()) == {"door"}
        cluster.away = False
        await do()
        assert set(cluster.book.cameras()) == {"yard"}
