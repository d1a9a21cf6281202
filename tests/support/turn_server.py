"""A real coturn on loopback, which gives no credentials of its own: they are derived from a shared secret."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECRET = "shared by the test and coturn"


@contextmanager
def turn_server(folder: Path) -> Iterator[int]:
    """coturn for UDP; gives its port. Its log is `folder`/coturn.log."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "coturn.log"
    arguments = [
        *("turnserver", "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--allow-loopback-peers", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test"),
        *("--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--no-tcp-relay", "--verbose"),
        *("--log-file=stdout", "--simple-log", f"--pidfile={folder / 'coturn.pid'}"),
        *("--min-port=43000", "--max-port=43200", f"--userdb={folder / 'coturn.db'}"),
    ]
    with log.open("w") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, cwd=folder)
    try:
        _wait_for_answer(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask with STUN binding requests (RFC 8489, section 6) until there is an answer."""
    request = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"syncvis-test"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        for _ in range(150):
            if process.poll() is not None:
                break
            asking.sendto(request, ("127.0.0.1", port))
            try:
                if asking.recv(1500)[8:20] == b"syncvis-test":
                    return
            except (TimeoutError, ConnectionRefusedError):
                continue
    raise AssertionError(f"coturn does not answer: {log.read_text()[-2000:]}")
