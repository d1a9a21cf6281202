"""`syncvis-online track SOURCE`: track one source, write tracks and overlay, end with a summary in JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream.commands.arguments import Subparsers, add_model_arguments, positive_seconds
from stream.errors import ModelError

if TYPE_CHECKING:
    from stream.commands.outputs import Output
    from stream.statistics import CameraStatus
    from stream.tracker_api import TrackerStream
    from stream.types import TrackedFrame

INTERRUPTED = 130


def add_parser(commands: Subparsers) -> None:
    """The arguments of `track`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "track",
        help="track one source and write what was seen",
        description=__doc__.partition(":")[2].strip(),
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="rtsp://, rtsps://, a file, a device, or synthetic:SEED"
    )
    parser.add_argument(
        "--duration", type=positive_seconds, metavar="S", help="end after S seconds of the source"
    )
    parser.add_argument(
        *("--output", "--out"),
        type=Path,
        metavar="FILE",
        help="tracks as JSON lines, e.g. tracks.jsonl, or, where it ends in .json, as YouTube-VIS JSON",
    )
    parser.add_argument("--video", type=Path, metavar="FILE", help="overlay as H.264, e.g. overlay.mp4")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="play a file at its own pace, not as fast as it can be tracked",
    )
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp", help="of RTSP (tcp)")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Track to the end of the source, of --duration, or to Ctrl-C; print the summary on stdout.

    What was tracked is kept, also after Ctrl-C or when the source fails on the way. Raises ConfigError,
    ModelError and StreamError, the last after the summary.
    """
    from stream.commands.outputs import close_outputs, open_outputs
    from stream.log import set_up_logging
    from stream.tracker_api import open_tracker

    set_up_logging("warning")
    tracker = open_tracker(
        arguments.source,
        arguments.model,
        realtime=arguments.realtime,
        transport=arguments.transport,
        device=arguments.device,
        engine=arguments.engine,
        precision=arguments.precision,
        threads=arguments.threads,
        duration_s=arguments.duration,
    )
    outputs = open_outputs(arguments.output, arguments.video)
    job = _Job(tracker, outputs, arguments.duration)
    try:
        asyncio.run(job.run())
    finally:
        close_outputs(outputs, keep=job.frames > 0)
        if job.frames:
            print(json.dumps(job.summary()), flush=True)
    status = tracker.status()
    if status.received and not status.processed:
        raise ModelError(f"the model failed on every frame: {status.last_error}")
    return INTERRUPTED if job.interrupted else 0


class _Job:
    """One run of the tracker over one source, and what is counted on the way."""

    def __init__(self, tracker: TrackerStream, outputs: list[Output], duration_s: float | None) -> None:
        self.frames = 0
        self.interrupted = False
        self._tracker = tracker
        self._outputs = outputs
        self._duration_s = duration_s
        self._tracks = self._newest_id = 0
        self._started_s = self._ended_s = 0.0
        self._captured_s = 0.0

    async def run(self) -> None:
        """Track to the end, or to a signal."""
        from tqdm import tqdm

        from stream.commands.signals import on_signals

        bar: Any = tqdm(total=self._duration_s, unit="s" if self._duration_s else " frames", disable=None)
        # One thread for all files: encoding never runs on the event loop, and frames stay in order.
        with (
            bar,
            ThreadPoolExecutor(1, thread_name_prefix="outputs") as executor,
            on_signals(self._interrupt),
        ):
            async with self._tracker as frames:
                async for frame in frames:
                    if self._outputs:
                        await asyncio.get_running_loop().run_in_executor(executor, self._write, frame)
                    self._count(frame, bar)

    def _interrupt(self) -> None:
        self.interrupted = True
        self._tracker.stop()

    def _write(self, frame: TrackedFrame) -> None:
        for output in self._outputs:
            output.write(frame)

    def _count(self, frame: TrackedFrame, bar: Any) -> None:
        now = time.monotonic()
        if not self.frames:
            self._started_s, self._captured_s = now, frame.captured_at_s
        self.frames += 1
        self._ended_s = now
        # Ids only grow, so that nothing need be kept of those that were: a stream never ends.
        new = {track.track_id for track in frame.tracks if track.track_id > self._newest_id}
        self._tracks += len(new)
        self._newest_id = max(new, default=self._newest_id)
        if self._duration_s:
            bar.update(max(0.0, round(frame.captured_at_s - self._captured_s - bar.n, 2)))
            bar.set_postfix_str(f"{len(frame.tracks)} tracks", refresh=False)
        else:
            bar.update()

    def summary(self) -> dict[str, Any]:
        """The counts of the run. `fps` is of answered frames, from the first answer to the last.

        `latency_ms` is from capture to result. A file read as fast as possible has no capture: there it is
        from the moment that the frame was decoded, so it holds the wait for the frames before it.
        """
        status: CameraStatus = self._tracker.status()
        elapsed_s = self._ended_s - self._started_s
        latency = status.latency_ms
        return {
            "source": status.url,
            "received": status.received,
            "processed": status.processed,
            "dropped": dict(status.dropped),
            "fps": round((self.frames - 1) / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            "latency_ms": {key: getattr(latency, key, None) for key in ("p50", "p95", "p99")},
            "tracks": self._tracks,
            "reconnects": status.reconnects,
        }
