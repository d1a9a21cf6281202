"""How long a published picture takes: from the publisher's hands to the pipeline, by WHIP on loopback.

    python benchmarks/whip_latency.py [--pictures 300] [--codec H264] [--buffer aiortc]

Pictures with their numbers drawn into them are published at 30 a second, by aiortc, in the server's own process; each
is timed from being handed to the publisher's encoder to the moment that its frame is given to the engine.
So the figure holds encoding, the way, putting together, decoding and the hand-over. `--buffer aiortc` puts pictures
together as aiortc's jitter buffer does: complete when the next one begins. One line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from av import VideoFrame

sys.path.insert(0, str(Path(__file__).parents[1]))

from stream.stamp import read_stamp
from stream.types import EngineAnswer, Window
from stream.webrtc import assembly
from tests.stream.frames import SquareEngine
from tests.stream.published import Publisher, Stamped, published
from tests.stream.viewer_frames import until

SENT_S: dict[int, float] = {}
SEEN_S: dict[int, float] = {}


class Timed(Stamped):
    """Notes when each picture is handed over."""

    async def recv(self) -> VideoFrame:
        """See `Stamped`."""
        frame = await super().recv()
        SENT_S[self.count - 1] = time.perf_counter()
        return frame


def note(engine: SquareEngine) -> None:
    """Note when each picture is seen by the engine."""
    process = engine.process

    def timed(window: Window) -> EngineAnswer:
        now_s = time.perf_counter()
        number = read_stamp(window.frames[-1].image)
        if window.frames[-1].camera == "cam" and number is not None:
            SEEN_S.setdefault(number, now_s)
        return process(window)

    engine.process = timed  # type: ignore[method-assign]


def late_by_one() -> None:
    """Complete a picture when the next one begins."""
    use = assembly.PictureAssembler._use

    def without_marker(self: assembly.PictureAssembler, packet: object, arrival_s: float) -> None:
        packet.marker = 0  # type: ignore[attr-defined]
        use(self, packet, arrival_s)  # type: ignore[arg-type]

    assembly.PictureAssembler._use = without_marker  # type: ignore[method-assign]


async def measure(pictures: int, codec: str) -> dict[str, float]:
    """Percentiles in ms."""
    async with published() as server:
        note(server.engine)
        async with Publisher(server.http) as publisher:
            publisher.sender.replaceTrack(Timed())
            await publisher.publish(codec)
            await until(lambda: len(SEEN_S) >= pictures)
    delays = sorted(1000 * (SEEN_S[number] - SENT_S[number]) for number in SEEN_S)
    at = {f"p{p}": round(delays[min(len(delays) - 1, p * len(delays) // 100)], 1) for p in (50, 95, 99)}
    return {**at, "pictures": len(delays)}


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--codec", choices=("H264", "VP8"), default="H264")
    parser.add_argument("--buffer", choices=("own", "aiortc"), default="own")
    arguments = parser.parse_args()
    if arguments.buffer == "aiortc":
        late_by_one()
    figures = asyncio.run(measure(arguments.pictures, arguments.codec))
    print(json.dumps({"codec": arguments.codec, "buffer": arguments.buffer, "ms": figures}))


if __name__ == "__main__":
    main()
