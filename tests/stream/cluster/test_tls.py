"""Between gateways and workers goes nothing that others can read, and no worker is believed that has another's name."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from fastapi import FastAPI

from stream.cluster import worker
from stream.cluster.gateway.workers import trusted
from stream.cluster.spec import Spec
from stream.commands.web import WebServer
from stream.config import ClusterTlsConfig
from stream.errors import ConfigError
from stream.listening import tls_context
from tests.stream.cluster.local import SECRET, local_cluster
from tests.stream.cluster.test_gateway import added, config_of, next_frames, socket_of
from tests.stream.viewer_frames import serving, until
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
        for each in cluster.workers.values():
            assert each.address.startswith("https://")
            async with httpx.AsyncClient() as stranger:
                with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await stranger.get(f"{each.address}/healthz")
        assert {camera["state"] for camera in (await cluster.http.get("/api/cameras")).json()} == {"up"}
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
        assert {target["labels"]["__scheme__"] for target in targets} == {"https"}


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


async def serial_of(address: str) -> int:
    """The serial number of the certificate that is shown to who connects now."""
    host, port = address.removeprefix("https://").split(":")
    shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


async def test_a_worker_uses_a_renewed_certificate_and_goes_on_with_the_one_before_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "RENEWED_EVERY_S", 0.01)
    authority, certificate, key = Authority(tmp_path), tmp_path / "worker.pem", tmp_path / "worker.key"
    first = authority.issue(certificate, key)
    config = config_of({"tls": {"certificate": str(certificate), "key": str(key), "ca": str(authority.file)}})
    web = WebServer(Spec(config, SECRET).worker_config("127.0.0.1", "w0").server, None)
    async with serving(FastAPI(), tls=web._tls) as (_, address):
        assert await serial_of(address) == first
        renewing = asyncio.create_task(worker._renew_certificate(web))
        second = authority.issue(certificate, key)
        while await serial_of(address) != second:
            pass
        certificate.write_text("damaged")
        await until(lambda: "the certificate was not loaded again: cluster.tls " in caplog.text)
        assert await serial_of(address) == second
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


def test_a_certificate_that_cannot_be_used_is_named_by_its_key(tmp_path: Path) -> None:
    good = tls_of(tmp_path)
    assert isinstance(trusted(ClusterTlsConfig(**good)), ssl.SSLContext)
    with pytest.raises(ConfigError, match=r"cluster\.tls\.certificate /none: No such file"):
        tls_context(ClusterTlsConfig(**good | {"certificate": "/none"}))
    with pytest.raises(ConfigError, match=r"cluster\.tls\.ca /none: No such file"):
        trusted(ClusterTlsConfig(**good | {"ca": "/none"}))
    with pytest.raises(ConfigError, match=r"cluster\.tls\.ca .*worker\.key: no certificates in PEM"):
        trusted(ClusterTlsConfig(**good | {"ca": good["key"]}))
