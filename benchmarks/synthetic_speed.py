"""How fast the synthetic camera renders on one core: `python benchmarks/synthetic_speed.py [--level medium]`.

Prints a line for each picture size, with and without ground truth: frames a second of wall and of processor
time over several seeds, and the time to build a world.
"""

from __future__ import annotations

import argparse
import time

import cv2

from syncvis_online.data.synthetic import LevelConfig, SyntheticWorld, load_level

_SIZES = ((360, 640), (192, 320))


def measure(level: LevelConfig, size: tuple[int, int], seeds: int, frames: int, *, masks: bool) -> str:
    built = time.perf_counter()
    worlds = [SyntheticWorld(level, seed, size=size) for seed in range(seeds)]
    built = (time.perf_counter() - built) / seeds
    wall, cpu = time.perf_counter(), time.process_time()
    for world in worlds:
        for _ in range(frames):
            world.step(masks=masks)
    count = seeds * frames
    wall, cpu = count / (time.perf_counter() - wall), count / (time.process_time() - cpu)
    truth = "with masks   " if masks else "without masks"
    speed = f"{wall:7.1f} frames/s ({cpu:.1f} a processor second)"
    return f"{size[1]}x{size[0]} {truth} {speed}, {built:.2f} s a world"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--level", default="medium")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=100)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    level = load_level(options.level)
    for size in _SIZES:
        for masks in (True, False):
            print(measure(level, size, options.seeds, options.frames, masks=masks), flush=True)


if __name__ == "__main__":
    main()
