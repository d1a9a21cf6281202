"""What a server and its reader processes hold at a moment: counted from outside, by /proc and by its own metrics."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

KINDS = {"socket:": "socket", "pipe:": "pipe", "anon_inode:": "event", "/memfd:": "memory file"}
"""What the link of a descriptor begins with; all else is a file or a device."""


@dataclass(frozen=True, slots=True)
class Census:
    """`counts`: threads, tasks, descriptors by kind, ... ; `memory_kib`: PSS, and what of it is nobody else's, of the
    server and of its readers; `sets`: the label sets of all its series; `connections`: the server's, as text.
    """

    counts: dict[str, int]
    memory_kib: dict[str, int]
    sets: frozenset[str]
    connections: tuple[str, ...] = ()


def memory_kib(pids: Iterable[int]) -> tuple[int, int]:
    """The proportional set size of processes together, and their private memory, in KiB; without those that have
    just ended.
    """
    sizes = Counter[str]()
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            for name, size in re.findall(
                r"^(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
            ):
                sizes[name] += int(size)
    return sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"]


def memory_of(pid: int, readers: Iterable[int]) -> dict[str, int]:
    """What a server and its readers have, by name, in KiB."""
    (pss, private), (pss_readers, private_readers) = memory_kib((pid,)), memory_kib(readers)
    return {
        "PSS of the server": pss,
        "PSS of its readers": pss_readers,
        "private memory of the server": private,
        "private memory of its readers": private_readers,
    }


def connections(pid: int) -> tuple[str, ...]:
    """The TCP connections of a process, and the sockets that listen: which one is left, when one is."""
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).net_connections("tcp")
        return tuple(sorted(f"{each.laddr} - {each.raddr or ''} {each.status}" for each in found))
    return ()


def _sockets(pid: int) -> dict[str, str]:
    """The protocol of each socket in the process's network, by inode."""
    found = {}
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            found[line.split()[9]] = name.removesuffix("6").upper()
    return found


def _links(pid: int) -> Iterator[str]:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield os.readlink(descriptor)


def descriptors(pid: int) -> Counter[str]:
    """The open descriptors of a process by kind, sockets by protocol."""
    protocols, found = _sockets(pid), Counter[str]()
    for link in _links(pid):
        kind = next((kind for start, kind in KINDS.items() if link.startswith(start)), "file")
        if kind == "socket":
            kind = f"{protocols.get(link.partition('[')[2].rstrip(']'), 'Unix')} socket"
        found[kind] += 1
    return found


def _value(metrics: str, name: str) -> int:
    return int(sum(map(float, re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE))))


def readers_of(pid: int) -> list[int]:
    """The processes that a server has started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def census(pid: int, metrics: str) -> Census:
    """Count what a process holds, of which `metrics` are the answer of its /metrics."""
    readers = readers_of(pid)
    counts = {
        "processes": 1 + len(readers),
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "tasks": _value(metrics, "syncvis_asyncio_tasks"),
        "WebRTC sessions": _value(metrics, "syncvis_webrtc_sessions"),
        "subscribers": _value(metrics, "syncvis_subscribers"),
    }
    held = descriptors(pid)
    of_readers = Counter[str]()
    for reader in readers:
        with suppress(FileNotFoundError):
            of_readers += descriptors(reader)
    counts |= {
        f"{kind}s": held[kind]
        for kind in ("TCP socket", "UDP socket", "Unix socket", "pipe", "event", "file", "memory file")
    }
    counts["descriptors of readers"] = of_readers.total()
    series = frozenset(re.findall(r"^\w+(?:\{[^}]*\})?(?= )", metrics, re.MULTILINE))
    return Census(counts, memory_of(pid, readers), series, connections(pid))


async def take_census(http: httpx.AsyncClient, pid: int) -> Census:
    """Ask a server for its metrics, and count."""
    answer = await http.get("/metrics")
    answer.raise_for_status()
    return census(pid, answer.text)
