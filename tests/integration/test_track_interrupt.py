"""Ctrl-C during `track`: no stack trace, and what was tracked until then is kept, whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import av
import pytest

from stream.cli import EXIT_INTERRUPTED
from stream.wire import decode
from tests.integration.processes import COMMAND, write_checkpoint

pytestmark = pytest.mark.integration


def wait_for_output(process: subprocess.Popen[str], part: Path, size: int) -> None:
    """Until the process has written so many bytes of its temporary file."""
    deadline = time.monotonic() + 90
    while not any(path.stat().st_size > size for path in part.parent.glob(f".{part.name}.*")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_tracked_is_kept(tmp_path: Path) -> None:
    tracks, video = tmp_path / "tracks.jsonl", tmp_path / "overlay.mp4"
    model = write_checkpoint(tmp_path)
    source = "synthetic:3?size=160x96"
    command = [
        *COMMAND,
        "track",
        source,
        "--model",
        str(model),
        "--output",
        str(tracks),
        "--video",
        str(video),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_output(process, tracks, 10_000)
            assert not tracks.exists()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == EXIT_INTERRUPTED, err
    assert "Traceback" not in err
    summary = json.loads(out)
    lines = tracks.read_text().splitlines()
    assert [decode(line).seq for line in lines] == list(range(summary["processed"]))
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(lines)
    assert {path.name for path in tmp_path.iterdir()} == {"tracks.jsonl", "overlay.mp4", model.name}
