"""`serve` with TLS: pages, WebSockets and cookies by HTTPS alone, and a certificate that is renewed while it runs."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from websockets.asyncio.client import connect

from stream.client import subscribe
from stream.tokens import hashed
from tests.integration.processes import COMMAND, ServeProcess, write_config
from tests.stream.viewer_frames import until
from tests.support.certificates import Authority

pytestmark = pytest.mark.integration

TOKEN = "0123456789abcdef-view"
MINE = {"Authorization": f"Bearer {TOKEN}"}


def serial_of(address: str) -> int:
    """The serial number of the certificate that is shown to who connects now."""
    host, port = address.removeprefix("https://").split(":")
    return x509.load_pem_x509_certificate(
        ssl.get_server_certificate((host, int(port))).encode()
    ).serial_number


async def test_all_of_it_is_by_tls_and_a_renewed_certificate_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, certificate, key = Authority(tmp_path), tmp_path / "chain.pem", tmp_path / "key.pem"
    first = authority.issue(certificate, key)
    tls = {"certificate": str(certificate), "key": str(key)}
    section = {"port": 0, "tls": tls, "tokens": [hashed(TOKEN)]}
    config = write_config(tmp_path, {"a": "synthetic:3?fps=5&size=160x96"}, server=section)
    trusted = ssl.create_default_context(cafile=authority.file)
    with ServeProcess(config) as server:
        assert server.address.startswith("https://")
        async with httpx.AsyncClient(base_url=server.address, verify=trusted) as http:
            answer = await http.post("/session", headers=MINE)
            assert "; Secure" in answer.headers["set-cookie"]
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert (await http.get("/api/cameras")).status_code == 200, "by its cookie"
        url = server.address.replace("https", "wss") + "/api/tracks"
        async with connect(url, ssl=trusted, additional_headers=MINE) as socket:
            assert await socket.recv()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        async for frame in subscribe(server.address, token=TOKEN):
            assert frame.camera == "a"
            break
        async with httpx.AsyncClient() as plain:
            with pytest.raises(httpx.RemoteProtocolError):
                await plain.get(server.address.replace("https", "http"))

        assert serial_of(server.address) == first
        second = authority.issue(certificate, key)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: serial_of(server.address) == second)
        certificate.write_text("junk")
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "the certificate was not loaded again" in server.errors())
        assert serial_of(server.address) == second
        assert (await asyncio.to_thread(server.end))[0] == 0
    assert TOKEN not in server.errors()


def test_a_certificate_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    tls = {"certificate": str(tmp_path / "none.pem"), "key": str(tmp_path / "none.key")}
    config = write_config(tmp_path, {"a": "synthetic:3"}, server={"port": 0, "tls": tls})
    done = subprocess.run([*COMMAND, "serve", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "server.tls.certificate" in done.stderr
    assert "none.pem: No such file" in done.stderr
