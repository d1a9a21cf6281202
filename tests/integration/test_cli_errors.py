"""Whatever goes wrong at the command line: one line that says what and where, no stack trace, no password."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.cli import EXIT_FAILED, EXIT_USAGE, main
from tests.integration.processes import COMMAND, write_checkpoint, write_config
from tests.support.rtsp_server import RtspServer, index_frames

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("logging_as_before")]

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_checkpoint(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A camera that wants a password; its URL with the right one."""
    with RtspServer(tmp_path_factory.mktemp("camera")) as server:
        yield server.serve_clip(index_frames(25), fps=25, gop=25, user="me", password=PASSWORD)


Complaint = Callable[..., str]


@pytest.fixture
def complaint(capfd: pytest.CaptureFixture[str]) -> Complaint:
    """Runs a command line that must fail; checks the form of its complaint and gives it."""

    def run(*arguments: str, code: int) -> str:
        assert main(arguments) == code
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("syncvis-online: error: "), err
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1, err
        assert PASSWORD not in err
        return err

    return run


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_nobody_answers(complaint: Complaint, model: str) -> None:
    url = f"rtsp://me:{PASSWORD}@127.0.0.1:{free_port()}/x"
    message = complaint("track", url, "--model", model, code=EXIT_FAILED)
    assert url.replace(PASSWORD, "***") in message
    assert "connection refused" in message


def test_wrong_host(complaint: Complaint, model: str) -> None:
    url = f"rtsp://me:{PASSWORD}@no-such-host.invalid/x"
    message = complaint("track", url, "--model", model, code=EXIT_FAILED)
    assert "no-such-host.invalid" in message


def test_wrong_path(complaint: Complaint, model: str, camera: str) -> None:
    message = complaint("track", camera + "/elsewhere", "--model", model, code=EXIT_FAILED)
    assert "/elsewhere" in message
    assert "not found" in message


def test_wrong_password(complaint: Complaint, model: str, camera: str) -> None:
    url = camera.replace(PASSWORD, f"not{PASSWORD}")
    message = complaint("track", url, "--model", model, code=EXIT_FAILED)
    assert "wrong user name or password" in message


def test_not_a_video(complaint: Complaint, model: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video\n" * 100)
    message = complaint("track", str(text), "--model", model, code=EXIT_FAILED)
    assert str(text) in message
    assert "not a video" in message


def test_missing_file(complaint: Complaint, model: str, tmp_path: Path) -> None:
    message = complaint("track", str(tmp_path / "gone.mp4"), "--model", model, code=EXIT_FAILED)
    assert f"{tmp_path / 'gone.mp4'}: no such file" in message


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"PK\x03\x04 not a checkpoint"])
def test_broken_checkpoint(complaint: Complaint, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    message = complaint("track", "synthetic:1", "--model", str(path), code=EXIT_FAILED)
    assert str(path) in message


def test_truncated_checkpoint(complaint: Complaint, tmp_path: Path, model: str) -> None:
    path = tmp_path / "half.safetensors"
    whole = Path(model).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    message = complaint("track", "synthetic:1", "--model", str(path), code=EXIT_FAILED)
    assert str(path) in message


def test_unknown_model(complaint: Complaint) -> None:
    message = complaint("track", "synthetic:1", "--model", "gpt", code=EXIT_FAILED)
    assert "'gpt'" in message


def test_unknown_config_key(complaint: Complaint, tmp_path: Path) -> None:
    url = f"rtsp://me:{PASSWORD}@127.0.0.1/x"
    path = write_config(tmp_path, {"yard": url}, pipelin={"stride": 1})
    message = complaint("serve", str(path), code=EXIT_USAGE)
    assert f"{path}: pipelin: unknown key" in message


def test_unknown_tracker_setting(complaint: Complaint, tmp_path: Path) -> None:
    path = write_config(tmp_path, {"yard": "synthetic:1"}, tracker={"birth_skore": 1})
    message = complaint("serve", str(path), code=EXIT_USAGE)
    assert "birth_skore" in message


def test_missing_config(complaint: Complaint, tmp_path: Path) -> None:
    message = complaint("serve", str(tmp_path / "none.yaml"), code=EXIT_USAGE)
    assert f"{tmp_path / 'none.yaml'}: No such file" in message
    assert "'nowhere'" in complaint("serve", "nowhere", code=EXIT_USAGE)


def test_wrong_address_in_a_config(complaint: Complaint, tmp_path: Path) -> None:
    path = write_config(tmp_path, {"yard": f"ftp://me:{PASSWORD}@127.0.0.1/x"})
    message = complaint("serve", str(path), code=EXIT_USAGE)
    assert "ftp://me:***@127.0.0.1/x" in message


def test_port_in_use(complaint: Complaint, tmp_path: Path) -> None:
    path = write_config(tmp_path, {"yard": "synthetic:1"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        message = complaint("serve", str(path), "--port", port, code=EXIT_USAGE)
    assert port in message
    assert "in use" in message


@pytest.mark.parametrize("option", ["--output", "--video"])
@pytest.mark.parametrize("name", ["nowhere/out.mp4", "."])
def test_outputs_that_cannot_be_written_are_refused_before_any_work(
    complaint: Complaint, tmp_path: Path, option: str, name: str
) -> None:
    # Nothing answers at the source, and there is no such model: neither is come to.
    target = tmp_path / name
    message = complaint("track", "rtsp://127.0.0.1:9/", "--model", "x", option, str(target), code=EXIT_USAGE)
    assert str(target) in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (f"rtsp://me:{PASSWORD}@127.0.0.1/x",),
        ("track",),
        ("track", "synthetic:1", "--duration", "-3"),
        ("track", "synthetic:1", f"rtsp://me:{PASSWORD}@127.0.0.1/x"),
        ("serve", "demo", "--port", "99999"),
        ("eval",),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    assert ended.value.code == EXIT_USAGE
    assert out == ""
    assert err.startswith("syncvis-online: error: ")
    assert len(err.splitlines()) == 1
    assert PASSWORD not in err


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--association", "guess"), ("association", "propagate_iou")),
        (("--tracker", "max_lost_s"), ("--tracker", "'max_lost_s'", "KEY=VALUE")),
        (("--tracker", "max_lost_s=[1"), ("--tracker", "KEY=VALUE")),
        (("--tracker", "max_lost_s=-1"), ("max_lost_s must not be negative",)),
        (("--tracker", "max_found_s=1"), ("max_found_s", "unknown key")),
        (("--association", "bytetrack", "--mode", "offline"), ("bytetrack", "offline")),
    ],
)
def test_eval_says_what_of_the_tracker_cannot_be(
    complaint: Complaint, model: str, tmp_path: Path, options: tuple[str, ...], names: tuple[str, ...]
) -> None:
    target = tmp_path / "figures.json"
    data = ("--data", "synthetic:easy?seeds=1-1&frames=2", "--json", str(target))
    message = complaint("eval", *data, "--model", model, *options, code=EXIT_USAGE)
    assert all(name in message for name in names), message
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_leaves_no_half_written_file(
    complaint: Complaint, model: str, tmp_path: Path
) -> None:
    before = tmp_path / "tracks.jsonl"
    before.write_text("of an earlier run\n")
    outputs = ["--output", str(before), "--video", str(tmp_path / "overlay.mp4")]
    complaint("track", str(tmp_path / "gone.mp4"), "--model", model, *outputs, code=EXIT_FAILED)
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.jsonl"]
    assert before.read_text() == "of an earlier run\n"


def test_the_process_itself_says_one_line_and_fails(model: str, tmp_path: Path) -> None:
    command = [*COMMAND, "track", str(tmp_path / "gone.mp4"), "--model", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (EXIT_FAILED, "")
    assert done.stderr == f"syncvis-online: error: {tmp_path / 'gone.mp4'}: no such file\n"


def test_the_summary_is_one_line_of_json(model: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "synthetic:3?frames=8&size=160x96", "--model", model]) == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 1
    assert "Traceback" not in err
    summary = json.loads(out)
    assert (summary["received"], summary["processed"], summary["dropped"]) == (8, 8, {})
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"] <= summary["latency_ms"]["p99"]
    assert summary["fps"] > 0
    assert summary["tracks"] >= 0
