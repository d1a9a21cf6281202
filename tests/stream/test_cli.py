"""The command line says what it can do at once, and its exit codes mean what they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from stream.cli import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, build_parser, main
from stream.commands import serve, track
from stream.config import ServeConfig, parse_config
from stream.errors import ConfigError, ModelError, SourceUnavailable
from stream.tokens import hashed

COMMANDS = ("demo", "serve", "drain", "token", "track", "train", "eval")


def test_help_needs_neither_torch_nor_a_decoder() -> None:
    code = "import sys; from stream.cli import build_parser; build_parser(); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout
    for heavy in ("torch", "av", "cv2", "numpy", "fastapi", "pydantic", "aiortc"):
        assert f"'{heavy}'" not in modules


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"syncvis-online {command}" in capsys.readouterr().out


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == EXIT_USAGE
    err = capsys.readouterr().err
    assert all(command in err for command in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("syncvis-online ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), EXIT_USAGE),
        (ModelError("x"), EXIT_FAILED),
        (SourceUnavailable("rtsp://me:hunter2@cam/1\nrefused"), EXIT_FAILED),
        (KeyboardInterrupt(), EXIT_INTERRUPTED),
    ],
)
def test_errors_become_exit_codes_and_one_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(track, "run", fail)
    assert main(["track", "synthetic:1"]) == code
    err = capsys.readouterr().err
    assert len(err.splitlines()) == (0 if code == EXIT_INTERRUPTED else 1)
    assert "hunter2" not in err


def test_a_defect_shows_its_stack_trace_and_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise KeyError("rtsp://me:hunter2@cam/1")

    monkeypatch.setattr(track, "run", fail)
    assert main(["track", "synthetic:1"]) == EXIT_FAILED
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "rtsp://me:***@cam/1" in err
    assert "hunter2" not in err


def served_config(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> ServeConfig:
    """The config that a command line would serve."""
    seen: list[ServeConfig] = []

    def take(config: ServeConfig, load: Callable[[], ServeConfig] | None = None) -> int:
        assert load is None or load() == config, "at SIGHUP it is read again, with the same options"
        seen.append(config)
        return 0

    monkeypatch.setattr(serve, "serve", take)
    assert main(arguments) == 0
    return seen[0]


def test_the_demo_shows_the_synthetic_camera_here_only(monkeypatch: pytest.MonkeyPatch) -> None:
    config = served_config(["demo"], monkeypatch)
    assert [camera.url for camera in config.cameras.values()] == ["synthetic:7?fps=15"]
    assert config.server.host == "127.0.0.1"


def test_the_demo_shows_a_camera_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["demo", "--camera", "rtsp://me:hunter2@cam/1", "--port", "0"]
    config = served_config(arguments, monkeypatch)
    assert [camera.url for camera in config.cameras.values()] == ["rtsp://me:hunter2@cam/1"]
    assert config.server.port == 0
    assert "hunter2" not in repr(config)


def test_host_and_port_override_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    config = served_config(["serve", "demo", "--host", "0.0.0.0", "--port", "9000"], monkeypatch)
    assert (config.server.host, config.server.port) == ("0.0.0.0", 9000)
    assert parse_config(config.model_dump(), "test") == config


def test_numbers_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    for value in ("0", "-1", "nan", "inf", "x"):
        with pytest.raises(SystemExit):
            parser.parse_args(["track", "synthetic:1", f"--duration={value}"])
        with pytest.raises(SystemExit):
            parser.parse_args(["track", "synthetic:1", f"--threads={value}"])
        with pytest.raises(SystemExit):
            parser.parse_args(["eval", "--data", "synthetic:easy", f"--rate={value}"])
    assert len(capsys.readouterr().err.splitlines()) == 15


def test_the_demo_s_camera_can_come_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """So `make demo` hands it on: what is in arguments, a list of processes shows."""
    monkeypatch.setenv("SYNCVIS_CAMERA", "rtsp://me:hunter2@cam/1")
    config = served_config(["demo"], monkeypatch)
    assert [camera.url for camera in config.cameras.values()] == ["rtsp://me:hunter2@cam/1"]


def test_a_demo_on_the_network_makes_a_token_unless_it_is_open(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = served_config(["demo", "--host", "0.0.0.0"], monkeypatch)
    token = capsys.readouterr().out.rsplit(" ", 1)[1].strip()
    assert config.server.tokens == (hashed(token),)
    config = served_config(["demo", "--host", "0.0.0.0", "--open"], monkeypatch)
    assert (config.server.tokens, config.server.open) == ((), True)
    assert served_config(["demo"], monkeypatch).server.tokens == ()
    assert capsys.readouterr().out == ""


def test_the_command_line_decides_how_it_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served_config(["serve", "demo", "--log-format", "json"], monkeypatch).log.format == "json"
    assert served_config(["serve", "demo"], monkeypatch).log.format == "text"
