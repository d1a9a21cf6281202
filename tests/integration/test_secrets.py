"""No password, token or secret comes out of a real `serve`: all that it says, in good times and bad, is searched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest
import yaml
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from stream.server import ServerOptions, create_app
from tests.integration.processes import COMMAND, ServeProcess, write_config
from tests.stream.viewer_frames import make_service, until
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("logging_as_before")]

WORD = "Xyzzy"
"""In every secret, so that also a part of one is found."""
SECRETS = {
    "CAMERA": f"{WORD}cam4711",
    "FAR": f"{WORD}/f@r:#?&'\"%",
    "VIEW": f"{WORD}-view-0123456789",
    "PUBLISH": f"{WORD}-publish-0123456789",
    "ADMIN": f"{WORD}-admin-0123456789",
    "TURN": f"{WORD}turn0815",
    "MQTT": f"{WORD}mqtt0815",
}


def forms(secret: str) -> set[str]:
    """How it could be written, too: escaped, in Basic credentials, hashed."""
    basic = {base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("me", "syncvis")}
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        hashlib.sha256(secret.encode()).hexdigest(),
    } | basic


def leaks_of(texts: dict[str, str]) -> list[tuple[str, str]]:
    """Which of the texts hold which secret."""
    wanted = {form for secret in SECRETS.values() for form in forms(secret)} | {WORD, WORD.lower()}
    return [(where, form) for where, text in texts.items() for form in wanted if form in text]


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[name]}"}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A config that knows all secrets, by the environment, with a camera that wants its password."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(f"SECRET_{name}", secret)
    with RtspServer(tmp_path) as rtsp:
        url = rtsp.serve_clip(index_frames(25), fps=25, gop=25, user="me", password=SECRETS["CAMERA"])
        cameras = {
            "near": url.replace(SECRETS["CAMERA"], "${SECRET_CAMERA}"),
            "far": f"rtsp://me:${{SECRET_FAR}}@127.0.0.1:{closed_port}/x",
            "mine": "whip:",
        }
        server = {
            "port": 0,
            "tokens": ["${SECRET_VIEW}"],
            "publish_tokens": ["${SECRET_PUBLISH}"],
            "admin_tokens": ["${SECRET_ADMIN}"],
            "webrtc": {"turn": {"url": "turn:127.0.0.1:9", "secret": "${SECRET_TURN}"}},
        }
        mqtt = {"host": "127.0.0.1", "port": closed_port, "username": "syncvis", "password": "${SECRET_MQTT}"}
        log = {"level": "debug"}
        yield write_config(tmp_path, cameras, server=server, mqtt=mqtt, log=log, persist_cameras=True)


EVERYBODY = ("none", "wrong", "VIEW", "PUBLISH", "ADMIN")


async def all_answers(http: httpx.AsyncClient, names: Sequence[str] = EVERYBODY) -> dict[str, str]:
    """What every route says to everybody: without a token, with a wrong one, with each."""
    paths = create_app(make_service(), ServerOptions()).openapi()["paths"]
    found = {}
    for path, methods in paths.items():
        for method in methods.keys() - {"delete"}:
            for name in names:
                headers = {"wrong": {"Authorization": f"Bearer {'x' * 20}"}, "none": {}}.get(name)
                where = path.format(camera="near", session="x", name="tracks")
                answer = await http.request(
                    method, where, headers=bearer(name) if headers is None else headers
                )
                # The session's cookie is the browser's own; it is no token, which is what is looked for in it.
                found[f"{method} {path} {name}"] = f"{answer.headers}\n{answer.text}"
                http.cookies.clear()
    return found


async def provoked(http: httpx.AsyncClient) -> dict[str, str]:
    """What it says to bodies that are wrong, secrets in them."""
    far = quote(SECRETS["FAR"], safe="")
    bodies: list[Any] = [
        {"name": "x", "url": f"rtsp://me:{SECRETS['CAMERA']}@127.0.0.1/x"},
        {"name": "x", "url": f"rtsp://me:{far}@192.0.2.9/x", "fps": SECRETS["CAMERA"]},
        {"name": "x", "url": f"rtsp:/me:{SECRETS['CAMERA']}@192.0.2.9/x"},
        {"name": "x", "url": f"http://me:{SECRETS['FAR']}@192.0.2.9/x"},
        {"name": "x", "url": [SECRETS["CAMERA"]]},
        {"name": "x", "url": f"/tmp/me:{SECRETS['CAMERA']}@x"},
        {"name": "x", "url": f"rtsp://me:{SECRETS['CAMERA']}@no-such-host.invalid/x"},
        {"name": SECRETS["VIEW"] + "/", "url": "synthetic:1"},
        SECRETS["CAMERA"],
    ]
    found = {}
    for i, body in enumerate(bodies):
        for method, path in (("POST", "/api/cameras"), ("PUT", "/api/cameras/near")):
            if method == "PUT" and "invalid" in str(body):
                continue
            answer = await http.request(method, path, json=body, headers=bearer("ADMIN"))
            assert answer.status_code < 500
            found[f"{method} body {i}"] = f"{answer.headers}\n{answer.text}"
    for name, path in (("VIEW", "/whep/near"), ("PUBLISH", "/whip/mine")):
        headers = {"Content-Type": "application/sdp", **bearer(name)}
        answer = await http.post(path, content=f"v=0\r\n{SECRETS[name]}", headers=headers)
        found[path] = f"{answer.headers}\n{answer.text}"
    return found


def command_lines(server: ServeProcess) -> dict[str, str]:
    """As `ps` shows them: of the server and of all that it started."""
    process = psutil.Process(server.pid)
    return {f"ps {each.pid}": str(each.cmdline()) for each in (process, *process.children(recursive=True))}


async def state_of(http: httpx.AsyncClient, camera: str) -> dict[str, Any]:
    answer = await http.get(f"/api/cameras/{camera}", headers=bearer("VIEW"))
    return dict(answer.json())


async def crashed_reader(http: httpx.AsyncClient, server: ServeProcess) -> None:
    """Let the process that decodes a camera crash, and wait until the camera is back."""
    received = 0
    while not received:
        received = (await state_of(http, "near"))["received"]
    readers = psutil.Process(server.pid).children(recursive=True)
    readers = [each for each in readers if "reader_process" in str(each.cmdline())]
    assert readers
    limits = {each.rlimit(resource.RLIMIT_CORE) for each in readers}
    assert limits == {(0, 0)}, "no image of a reader's memory is left on the disk"
    held = {f"environment of {each.pid}": str(each.environ()) for each in readers}
    assert leaks_of(held) == [], "who decodes what a camera sends knows nothing of the others"
    # The deepest: those above it fork such processes.
    for each in readers:
        if not each.children():
            each.send_signal(signal.SIGSEGV)
    reconnects = 0
    while not reconnects:
        reconnects = (await state_of(http, "near"))["reconnects"]


async def reloaded(config: Path, server: ServeProcess) -> None:
    """Let it read a config with a mistake, and one in which a secret is another."""

    async def read_again(text: str, told: str) -> None:
        await asyncio.to_thread(config.write_text, text)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: told in server.errors())

    good = await asyncio.to_thread(config.read_text)
    await read_again(f"{good}\nserver: {SECRETS['ADMIN']}\n", "nothing has changed")
    await read_again(good.replace("${SECRET_MQTT}", SECRETS["VIEW"]), "needs a restart: mqtt.password")


async def test_a_server_that_knows_secrets_tells_none(config: Path) -> None:
    texts: dict[str, str] = {}
    with ServeProcess(config) as server:
        async with httpx.AsyncClient(base_url=server.address) as http:
            await crashed_reader(http, server)
            texts |= command_lines(server)
            texts |= await all_answers(http)
            texts |= await provoked(http)
            for address in ("/api/tracks", "/nowhere"):
                with pytest.raises(InvalidStatus):
                    async with connect(
                        f"ws{server.address[4:]}{address}", additional_headers=bearer("ADMIN")
                    ):
                        pass
            await reloaded(config, server)
            late = await all_answers(http, ("VIEW", "ADMIN"))
            texts |= {f"late {key}": text for key, text in late.items()}
            texts |= command_lines(server)
        assert (await asyncio.to_thread(server.end))[0] == 0
    texts["log"] = server.errors()
    assert "camera far: " in texts["log"], "what could hold a password was said"
    assert "mqtt: " in texts["log"]
    assert "process died" in texts["log"] or "reader" in texts["log"]
    assert 'camera="near"' in texts["get /metrics none"]
    assert leaks_of(texts) == []
    (stored,) = (config.parent / "state").glob("cameras.json")
    assert SECRETS["CAMERA"] in stored.read_text(), "what is added is kept, for its owner alone"
    assert stored.stat().st_mode & 0o777 == 0o600


def mistakes() -> list[dict[str, Any] | str]:
    camera, token = SECRETS["CAMERA"], SECRETS["VIEW"]
    url = f"rtsp://me:{camera}@192.0.2.1/x"
    return [
        {"cameras": {"a": {"url": [url]}}},
        {"cameras": {"a": {"url": url, "transport": camera}}},
        {"cameras": {"a": url}},
        {"cameras": {"a": {"url": url.replace("rtsp", "http")}}, "state_dir": None},
        {"cameras": {"a": {"url": url}}, "server": {"tokens": token}},
        {"cameras": {"a": {"url": url}}, "server": {"tokens": [f"{token} "]}},
        {"cameras": {"a": {"url": url}}, "server": {"tokens": [f"sha256:{token}"]}},
        {"cameras": {"a": {"url": url}}, "mqtt": {"host": "x", "password": SECRETS["MQTT"]}},
        f"cameras: {{a: {{url: *{WORD}}}}}",
        f"cameras: {{a: {{url: !{WORD} x}}}}",
        f"cameras: {{a: {{url: &{WORD} x, b: [{camera}}}}}",
        f"cameras: {{a: {{url: 'rtsp://me:{camera}@x}}}}",
        f'cameras: {{a: {{url: "rtsp://me:{camera}\\Xyzzy@x"}}}}',
        f"cameras: {{a: {{url: {url}, url: {url}}}}}",
        f"%{WORD}\n---\ncameras: {{}}",
        f"cameras: {{a: {{url: {url}\t- @{WORD}",
    ]


@pytest.mark.parametrize("mistake", mistakes(), ids=range(len(mistakes())))
def test_a_config_with_a_mistake_is_one_line_without_them(
    mistake: dict[str, Any] | str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from stream.cli import main

    path = tmp_path / "serve.yaml"
    path.write_text(mistake if isinstance(mistake, str) else yaml.safe_dump(mistake), encoding="utf-8")
    assert main(["serve", str(path), "--port", "0"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert leaks_of({"stderr": err}) == []


def test_a_defect_at_the_start_shows_its_trace_without_them(config: Path) -> None:
    """The trace of a real one: the checkpoint's reader is made to fail with what it was given."""
    code = (
        "import stream.commands.serve as serve, stream.cli, sys\n"
        "def fail(config, load=None): raise KeyError(config.cameras['near'].url, config.cameras['far'].url)\n"
        "serve.serve = fail\n"
        "sys.exit(stream.cli.main(['serve', sys.argv[1]]))\n"
    )
    done = subprocess.run([COMMAND[0], "-c", code, str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "***" in done.stderr
    assert leaks_of({"stderr": done.stderr}) == []
