"""Between gateways and workers goes nothing that others can read, and no worker is believed that has another's name."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

from stream.cluster.gateway.workers import trusted
from stream.config import ClusterTlsConfig
from stream.errors import ConfigError
from stream.listening import tls_context
from tests.stream.cluster.local import local_cluster
from tests.stream.cluster.test_gateway import added, config_of, next_frames, socket_of
from tests.support.certificates import Authority


def tls_of(folder: Path, name: str = "") -> dict[str, str]:
    """A `cluster.tls` whose certificate is for this name, or for 127.0.0.1."""
    authority, certificate, key = Authority(folder), folder / "worker.pem", folder / "worker.key"
    authority.issue(certificate, key, name=name)
    named = {"server_name": name} if name else {}
    return {"certificate": str(certificate), "key": str(key), "ca": str(authority.file), **named}


@pytest.mark.parametrize("name", ["", "workers.test"])
async def test_all_that_a_gateway_asks_of_workers_is_by_tls(tmp_path: Path, name: str) -> None:
    async with local_cluster(config_of({"tls": tls_of(tmp_path, name)})) as cluster:
        await added(cluster, "door", "yard")
        for worker in cluster.workers.values():
            assert worker.address.startswith("https://")
            async with httpx.AsyncClient() as stranger:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await stranger.get(f"{worker.address}/healthz")
        assert {each["state"] for each in (await cluster.http.get("/api/cameras")).json()} == {"up"}
        assert (await cluster.http.get("/api/cameras/door/snapshot.jpg")).content[:2] == b"\xff\xd8"
        assert (await cluster.http.get("/whep/door")).headers["allow"] == "OPTIONS, POST"
        assert {frame["camera"] for frame in (await cluster.http.get("/api/tracks")).json()} == {
            "door",
            "yard",
        }
        async with socket_of(cluster, "/api/tracks") as socket:
            assert {frame.camera for frame in await next_frames(socket, 8)} == {"door", "yard"}
        async with socket_of(cluster, "/api/cameras/door/pictures") as pictures:
            assert len(await pictures.recv()) > 1000
        targets = (await cluster.http.get("/api/cluster/targets")).json()
        assert {each["labels"]["__scheme__"] for each in targets} == {"https"}


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_who_is_not_known_by_its_certificate_is_not_asked(tmp_path: Path, wrong: str) -> None:
    tls = tls_of(tmp_path, "workers.test")
    if wrong == "name":
        tls["server_name"] = "others.test"
    else:
        (tmp_path / "other").mkdir()
        tls["ca"] = str(Authority(tmp_path / "other").file)
    async with local_cluster(config_of({"tls": tls})) as cluster:
        cluster.book.put("door", {"url": "synthetic:7?size=160x96&fps=10"})
        await cluster.beat_until(lambda: cluster.owner("door") is not None)
        owner = cluster.owner("door")
        assert owner is not None
        await cluster.beat_until(lambda: (c := owner.service.cameras.get("door")) and c.hub.latest)
        answer = await cluster.http.get("/api/cameras/door/snapshot.jpg")
        while answer.status_code == 404:  # it has not heard of it yet
            answer = await cluster.http.get("/api/cameras/door/snapshot.jpg")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the camera's worker does not answer")
        assert (await cluster.http.get("/api/tracks")).json() == []


def test_a_certificate_that_cannot_be_used_is_named_by_its_key(tmp_path: Path) -> None:
    good = tls_of(tmp_path)
    assert isinstance(trusted(ClusterTlsConfig(**good)), ssl.SSLContext)
    with pytest.raises(ConfigError, match=r"cluster\.tls\.certificate /none: No such file"):
        tls_context(ClusterTlsConfig(**good | {"certificate": "/none"}))
    with pytest.raises(ConfigError, match=r"cluster\.tls\.ca /none: No such file"):
        trusted(ClusterTlsConfig(**good | {"ca": "/none"}))
    with pytest.raises(ConfigError, match=r"cluster\.tls\.ca .*worker\.key: no certificates in PEM"):
        trusted(ClusterTlsConfig(**good | {"ca": good["key"]}))
