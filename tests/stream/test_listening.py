"""Strangers are only let in on purpose, and what TLS needs is there before anything is started."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from stream.cli import EXIT_USAGE, main
from stream.errors import ConfigError
from stream.listening import address_to_open, check_server, is_loopback, tls_context
from stream.server_config import ServerConfig, TlsConfig
from tests.support.certificates import Authority

pytestmark = pytest.mark.usefixtures("logging_as_before")

TOKEN = "0123456789abcdef-view"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_this_machine_alone(host: str) -> None:
    assert is_loopback(host)
    if host.islower() and not host.startswith("["):
        check_server(ServerConfig(host=host, port=0))


@pytest.mark.parametrize(
    ("host", "opened"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/"),
        ("192.0.2.2", "http://192.0.2.2:8080/"),
        ("::1", "http://[::1]:8080/"),
        ("0.0.0.0", "http://127.0.0.1:8080/"),
        ("::", "http://[::1]:8080/"),
    ],
)
def test_what_a_browser_here_opens(host: str, opened: str) -> None:
    assert address_to_open("http", host, 8080) == opened


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.2", "camera-server", "localhost.example", "127.1.x"]
)
def test_all_else_needs_tokens_or_the_word_that_it_is_open(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError) as refused:
        check_server(ServerConfig(host=host, port=0, admin_tokens=(TOKEN,)))
    for part in (host, "server.tokens", "`syncvis-online token`", "server.open: true"):
        assert part in str(refused.value)


@pytest.mark.parametrize("said", [{"tokens": (TOKEN,)}, {"open": True}])
def test_with_either_the_network_is_let_in(said: dict[str, Any]) -> None:
    check_server(ServerConfig(host="0.0.0.0", port=0, **said))


def test_the_command_line_is_held_to_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "demo", "--host", "0.0.0.0", "--port", "0"]) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == 1
    assert "server.tokens" in err


def test_a_certificate_that_is_good(tmp_path: Path) -> None:
    tls = files(tmp_path)
    Authority(tmp_path).issue(Path(tls.certificate), Path(tls.key))
    tls_context(tls)


def files(folder: Path) -> TlsConfig:
    return TlsConfig(certificate=str(folder / "certificate.pem"), key=str(folder / "key.pem"))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", r"server\.tls\.key .*key\.pem: No such file"),
        ("unreadable", r"server\.tls\.certificate .*certificate\.pem: Is a directory"),
        ("junk", "no certificate and key in PEM"),
        ("password", "the key without a password"),
        ("another's", "the key is not the certificate's"),
    ],
)
def test_one_that_is_not_is_named_before_the_port_is_taken(fault: str, words: str, tmp_path: Path) -> None:
    tls = files(tmp_path)
    certificate, key = Path(tls.certificate), Path(tls.key)
    Authority(tmp_path).issue(certificate, key, password=b"hunter2" if fault == "password" else None)
    if fault == "missing":
        key.unlink()
    elif fault == "unreadable":
        certificate.unlink()
        certificate.mkdir()
    elif fault == "junk":
        key.write_text("junk")
    elif fault == "another's":
        Authority(tmp_path).issue(tmp_path / "other.pem", key)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match=words) as refused:
            check_server(ServerConfig(port=taken.getsockname()[1], tls=tls))
    assert len(str(refused.value).splitlines()) == 1
