"""A real Redis on loopback with a password, that writes down what it is told before it answers.

Owns its process, and killing and restarting it on its port with what it had written.
"""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PASSWORD = "0123456789abcdef-redis"


class RedisServer:
    """`with RedisServer(folder) as redis: ... redis.address`, HOST:PORT."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.address = f"127.0.0.1:{self._port}"
        self._folder = folder
        # As docs/scale.md says; the password is not on the command line, where others would see it.
        (folder / "redis.conf").write_text(
            f"bind 127.0.0.1\nport {self._port}\nrequirepass {PASSWORD}\ndir {folder}\n"
            "appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nsave ''\n"
        )

    def __enter__(self) -> Self:
        with (self._folder / "redis.log").open("a") as log:
            self._process = subprocess.Popen(
                ["redis-server", str(self._folder / "redis.conf")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 30.0
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1.0).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"Redis does not start: {(self._folder / 'redis.log').read_text()}")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
