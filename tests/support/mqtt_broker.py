"""A real mosquitto on loopback, with a password and TLS where wanted. It can be stopped and started again."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

USER, PASSWORD = "syncvis", "a password of the tests"


class Broker:
    """mosquitto on a port of its own. `tls`: a pair of certificate and key files."""

    def __init__(self, folder: Path, *, password: bool = False, tls: tuple[Path, Path] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._config, self._log = folder / "mosquitto.conf", folder / "mosquitto.log"
        lines = [f"listener {self.port} 127.0.0.1", f"allow_anonymous {'false' if password else 'true'}"]
        lines += ["user root", "log_dest stderr", "persistence false"]
        if password:
            passwords = folder / "passwords"
            passwords.touch(mode=0o600)
            subprocess.run(
                ["mosquitto_passwd", "-b", str(passwords), USER, PASSWORD], check=True, stderr=subprocess.PIPE
            )
            lines.append(f"password_file {passwords}")
        if tls:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns once it listens."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(["mosquitto", "-c", str(self._config)], stdout=log, stderr=log)
        for _ in range(600):
            assert self._process.poll() is None, self._log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise AssertionError(f"mosquitto does not listen: {self._log.read_text()}")

    def stop(self) -> None:
        """Kill it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
