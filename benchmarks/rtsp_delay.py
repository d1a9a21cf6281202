"""How late H.264 pictures are decoded, by FFmpeg's parser and by ours: one command, no arguments needed.

    python -m benchmarks.rtsp_delay [--seconds 8] [--json FILE] [--plot FILE]

Serves clips from a GStreamer RTSP server on loopback, which sends picture i at a known time, and reads each twice, one
way after the other in this process: with FFmpeg's parser before the decoder, and with `stream.sources.h264_reading`.
The pictures carry their index and are compared, all of them, with those that the clip's own bytes give: what is not the
same to the last bit is counted. `late` is from the time at which a picture was due at the server until it is decoded;
`cpu`: of this process, a picture, depacketizing and decoding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.report import add_outputs, bars
from stream.sources.damage import DamageLog
from stream.sources.h264_reading import H264Reading
from tests.faults.stage import Clip
from tests.support.rtsp_server import Mount, RtspServer, encode_access_units, read_index, write_access_units

OPTIONS = {"fpsprobesize": "0", "analyzeduration": "100000", "probesize": "32"}
UDP_OPTIONS = {"max_delay": "100000", "buffer_size": str(8 << 20)}
SETTLED = 30
"""Pictures before those that are counted: what is learned about a camera, and what had waited for the opening."""


@dataclass(frozen=True)
class Case:
    """One stream: `codec` as the tests' server names them, `mtu` in bytes."""

    width: int
    height: int
    codec: str
    transport: str
    mtu: int

    @property
    def clip(self) -> Clip:
        """What is sent."""
        return Clip(self.width, self.height, seconds=2.56, codec=self.codec)


CASES = (
    Case(640, 360, "h264", "tcp", 1400),
    Case(640, 360, "h264", "udp", 1400),
    Case(640, 360, "h264-slices", "tcp", 1400),
    Case(640, 360, "h264", "tcp", 60_000),
    Case(640, 360, "h264-b", "tcp", 1400),
    Case(1920, 1080, "h264", "tcp", 1400),
    Case(1920, 1080, "h264-slices", "tcp", 600),
    Case(1920, 1080, "h264-slices", "udp", 1400),
)


@dataclass(frozen=True)
class Delay:
    """What one reading of one stream showed; times in milliseconds."""

    pictures: int
    late_p50_ms: float
    late_p95_ms: float
    cpu_ms: float
    missing: int
    """Not there, of those between the first and the last."""
    wrong: int
    """Not as the clip's own bytes give them."""
    damaged: int


Decoded = tuple[Any, bool]
"""A frame and whether it is said to be damaged."""


def parsed(container: Any, stream: Any, damage: DamageLog) -> Iterator[list[Decoded]]:
    """The frames of each of the parser's packets."""
    for packet in container.demux(stream):
        frames = packet.decode()
        damaged = damage.of("h264", keyframe=packet.is_keyframe)
        yield [(frame, damaged) for frame in frames]


def unparsed(container: Any, stream: Any, damage: DamageLog) -> Iterator[list[Decoded]]:
    """The frames that each RTP packet gave."""
    reading = H264Reading(stream.codec_context, damage, stream.time_base)
    for packet in container.demux(stream):
        shown = list(reading.push(packet, time.time()))
        yield [(frame, coded.damaged) for coded in shown for frame in coded.frames]


Way = Callable[[Any, Any, DamageLog], Iterator[list[Decoded]]]
WAYS: dict[str, tuple[Way, dict[str, str]]] = {
    "parser": (parsed, {}),
    "units": (unparsed, {"fflags": "+noparse"}),
}


def digest(frame: Any) -> str:
    """Of all its planes."""
    return hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()


def true_digests(units: list[bytes]) -> list[str]:
    """Of the clip's pictures, in the order in which they are shown."""
    decoder = av.CodecContext.create("h264", "r")
    frames = [frame for unit in units for frame in decoder.decode(av.Packet(unit))]
    return [digest(frame) for frame in [*frames, *decoder.decode(None)]]


def read(way: str, url: str, transport: str, seconds: float) -> tuple[list[tuple[float, Any, bool]], float]:
    """Frames, each after when it was there and before whether it is damaged; and processor seconds a frame."""
    frames_of, more = WAYS[way]
    options = OPTIONS | more | {"rtsp_transport": transport} | (UDP_OPTIONS if transport == "udp" else {})
    found: list[tuple[float, Any, bool]] = []
    with DamageLog() as damage, av.open(url, options=options, timeout=20.0) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        damage.forget()
        ends_s, began_cpu_s = time.monotonic() + seconds, time.process_time()
        for frames in frames_of(container, stream, damage):
            found += [(time.time(), frame, damaged) for frame, damaged in frames]
            if time.monotonic() > ends_s:
                break
        return found, (time.process_time() - began_cpu_s) / max(1, len(found))


def judge(
    found: list[tuple[float, Any, bool]], cpu_s: float, t0_s: float, clip: Clip, truth: list[str]
) -> Delay:
    """Compare with what is known of the clip."""
    late, numbers, wrong = [], [], 0
    for there_s, frame, _ in found[SETTLED:]:
        index = read_index(frame.to_ndarray(format="gray")) % clip.count
        loops = int(((there_s - t0_s) * clip.fps - index) // clip.count)
        numbers.append(index + loops * clip.count)
        late.append(1000 * (there_s - t0_s - numbers[-1] / clip.fps))
        wrong += digest(frame) != truth[index]
    expected = numbers[-1] - numbers[0] + 1
    p50, p95 = (round(float(np.percentile(late, share)), 1) for share in (50, 95))
    damaged = sum(damaged for _, _, damaged in found[SETTLED:])
    missing = expected - len(set(numbers))
    return Delay(len(numbers), p50, p95, round(1000 * cpu_s, 2), missing, wrong, damaged)


def measure(case: Case, seconds: float) -> dict[str, Any]:
    """Both ways, one after the other; and how large the largest picture is."""
    clip = case.clip
    units = encode_access_units(clip.pictures(), fps=clip.fps, gop=clip.gop, codec=case.codec)
    truth = true_digests(units)
    with tempfile.TemporaryDirectory() as folder, RtspServer(Path(folder)) as server:
        media = Path(folder) / "clip.units"
        write_access_units(media, units)
        mount = Mount(
            "/clip",
            str(media),
            case.codec,
            clip.fps,
            case.width,
            case.height,
            mtu=case.mtu,
            config_interval=0,  # FFmpeg's parser takes each slice of an IDR picture for a picture else
        )
        url = server.add(mount)
        delays = {}
        for way in WAYS:
            found, cpu_s = read(way, url, case.transport, seconds)
            delays[way] = asdict(judge(found, cpu_s, server.t0_s, clip, truth))
    return {"case": asdict(case), "largest_bytes": max(map(len, units)), "ways": delays}


def name_of(case: dict[str, Any]) -> str:
    """A stream in few words."""
    return "{codec} {width}x{height} {transport} mtu {mtu}".format(**case)


def main() -> None:
    """Measure all streams and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each reading")
    add_outputs(parser)
    arguments = parser.parse_args()
    print(
        "stream                                       way     pictures  late p50  p95 ms  cpu ms  missing  wrong"
    )
    results = []
    for case in CASES:
        results.append(measure(case, arguments.seconds))
        name = f"{name_of(asdict(case))}, {results[-1]['largest_bytes'] >> 10} KiB"
        for way, delay in results[-1]["ways"].items():
            print(
                f"{name:44s} {way:7s} {delay['pictures']:8d} {delay['late_p50_ms']:9.1f} {delay['late_p95_ms']:7.1f}"
                f" {delay['cpu_ms']:7.2f} {delay['missing']:8d} {delay['wrong']:6d}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    if arguments.plot:
        late = {
            f"{name_of(result['case'])}, {way}": delay["late_p50_ms"]
            for result in results
            for way, delay in result["ways"].items()
        }
        bars(late, arguments.plot, x="due at the server to decoded, p50, ms")


if __name__ == "__main__":
    main()
