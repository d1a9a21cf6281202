"""A process that is set up looks for garbage among what came since, and often; what is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys

GARBAGE = """
import sys, weakref
from collections import deque
import torch  # makes what a server holds for as long as it lives
from stream.memory import settle

class Knot:
    def __init__(self):
        self.parts = [[self] for _ in range(1000)]

if sys.argv[1] == "settled":
    assert settle() > 50_000
held = deque(maxlen=10)  # so that they are old when they are let go
alive, most = weakref.WeakSet(), 0
for _ in range(300):
    held.append(Knot())
    alive.add(held[-1])
    most = max(most, len(alive) - len(held))
print(most)
"""
HOLES = """
import asyncio, threading
from pathlib import Path
from stream.memory import trimmed

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) // 256

def fill():
    blocks.extend(bytearray(60_000) for _ in range(2000))

async def main():
    thread = threading.Thread(target=fill)  # in a heap of its own
    thread.start(); thread.join()
    del blocks[::2]; del blocks[:-1]  # the last one holds the end of the heap
    before = resident_mib()
    async with trimmed(0.01), asyncio.timeout(60):
        while resident_mib() > before - 80:
            await asyncio.sleep(0.01)
    print(before)

blocks = []
asyncio.run(main())
"""
HEAPS = """
import sys, threading
from pathlib import Path
from stream.memory import share_heaps

def allocate():
    blocks.append(bytearray(60_000))
    barrier.wait()

if sys.argv[1] == "shared":
    share_heaps()
blocks, barrier = [], threading.Barrier(13)
threads = [threading.Thread(target=allocate) for _ in range(12)]
for each in threads: each.start()
barrier.wait()
for each in threads: each.join()
reserved = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines()]
print(sum(int(first, 16) % (1 << 26) == 0 for first, _ in reserved))
"""


def run(script: str, *arguments: str) -> int:
    """The number that a program prints, in a process of its own: what it does is for the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout)


def test_knots_that_nobody_holds_are_gone_soon() -> None:
    assert run(GARBAGE, "settled") < 40 < 70 < run(GARBAGE, "as it is")


def test_what_is_free_between_what_is_not_goes_back() -> None:
    assert run(HOLES) > 100


def test_many_threads_have_two_heaps_together() -> None:
    assert run(HEAPS, "shared") < 4 < run(HEAPS, "as it is")
