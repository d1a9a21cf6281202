"""OpenVINO and torch say the same, over a whole video; what cannot be done is said; nothing is sent to anybody."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from stream.engine import TrackerEngine
from stream.types import Frame
from stream.window import RollingWindows
from syncvis_online.checkpoint import resolve_model, save_model
from syncvis_online.config import TrackerConfig
from syncvis_online.errors import ConfigError, ModelError
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.model import SyncVIS
from syncvis_online.online import OnlineTracker, load_tracker
from syncvis_online.openvino.files import Conversions, default_folder
from syncvis_online.openvino.runtime import OpenVINORuntime
from syncvis_online.runtime import RuntimeInfo, TorchRuntime
from syncvis_online.types import Image, Track, decode_mask
from tests.syncvis_online.models import TINY, pictures

FRAMES = 64
SCORES_DIFFER = 1e-3
LEAST_IOU = 0.99
ON_OPENVINO = RuntimeInfo("openvino", "cpu", "float32")


@pytest.fixture(scope="module")
def in_torch() -> OnlineTracker:
    return load_tracker("default", device="cpu", engine="torch", threads=1)


@pytest.fixture(scope="module")
def in_openvino() -> OnlineTracker:
    """Ready for 320 x 192; converted the first time on a machine."""
    return load_tracker("default", device="cpu", engine="openvino", threads=1)


def video(frames: int = FRAMES, seed: int = 3) -> tuple[list[Image], float]:
    (one,) = open_videos(f"synthetic:medium?seeds={seed}-{seed}&frames={frames}")
    return list(one.frames()), one.fps


def tiny_file(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    path = folder / "tiny.safetensors"
    model = SyncVIS(replace(TINY, **{"layers": 1, **changes}))
    save_model(path, model, TrackerConfig(window_frames=2, birth_score=0.0), {})
    return path


def overlap(one: Track, other: Track) -> float:
    if one.mask is None or other.mask is None:
        return float(one.mask is other.mask)
    a, b = decode_mask(one.mask), decode_mask(other.mask)
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_a_whole_video_has_the_same_tracks(in_torch: OnlineTracker, in_openvino: OnlineTracker) -> None:
    assert in_openvino.runtime.info == ON_OPENVINO
    images, fps = video()
    seen: set[int] = set()
    pairs = zip(in_torch.track_video(images, fps), in_openvino.track_video(images, fps), strict=True)
    for wanted, got in pairs:
        assert [t.track_id for t in got.tracks] == [t.track_id for t in wanted.tracks]
        for one, other in zip(wanted.tracks, got.tracks, strict=True):
            assert one.label == other.label
            assert other.score == pytest.approx(one.score, abs=SCORES_DIFFER)
            assert overlap(one, other) >= LEAST_IOU
        seen |= {t.track_id for t in wanted.tracks}
    assert len(seen) >= 5


def test_it_is_openvino_that_answers(in_torch: OnlineTracker, in_openvino: OnlineTracker) -> None:
    """Not torch under its name: what comes out differs, by rounding, from what torch makes of the same."""
    (image,), _ = video(1)
    with torch.inference_mode():
        prepared = in_torch.prepare(image)
        wanted, got = in_torch.runtime.encode(prepared), in_openvino.runtime.encode(prepared)
        assert 0 < float((wanted.mask_features - got.mask_features).abs().max()) < 1e-4
        window = type(got).stack([wanted, wanted])
        first = in_torch.model.initial_queries(window)
        by_torch, by_other = in_torch.runtime.decode(window, first), in_openvino.runtime.decode(window, first)
    assert 0 < float((by_torch.video_queries - by_other.video_queries).abs().max()) < 1e-4


def test_cameras_answered_at_once_give_what_each_gives_alone(in_openvino: OnlineTracker) -> None:
    clips = {name: video(4, seed)[0] for name, seed in (("a", 1), ("b", 2))}
    together, alone = TrackerEngine(in_openvino, most_windows=2), TrackerEngine(in_openvino)
    assert together.info == ON_OPENVINO
    windows = {name: RollingWindows(2, 1, max_gap_s=1.0) for name in clips}
    tracks = 0
    for i in range(4):
        due = [
            windows[name].push(Frame(name, i, i, Fraction(1, 10), i / 10, clips[name][i])) for name in clips
        ]
        both = together.process_together([window for window in due if window is not None])
        for window, answer in zip(due, both, strict=True):
            assert window is not None
            assert answer.frames == alone.process(window).frames
            tracks += sum(len(frame.tracks) for frame in answer.frames)
    assert tracks >= 8


def test_a_new_size_is_answered_by_torch_until_it_is_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tiny_file(tmp_path)
    plain = load_tracker(str(path), device="cpu", threads=1)
    runtime = OpenVINORuntime(plain.model, path, plain.config.window_frames, tmp_path / "kept")
    (image,) = pictures(1)
    prepared = plain.prepare(image)
    size = (prepared.shape[2], prepared.shape[3])
    with torch.inference_mode():
        meanwhile = runtime.encode(prepared).mask_features
        wanted = TorchRuntime(plain.model).encode(prepared).mask_features
        assert torch.equal(meanwhile, wanted)
        runtime.prepare(size)
        then = runtime.encode(prepared).mask_features
    assert 0 < float((then - wanted).abs().max()) < 1e-4
    said = [record.getMessage() for record in caplog.records]
    assert any("once on this machine; until then torch answers" in line for line in said)
    assert any(f"OpenVINO is ready for pictures of {size[1]} x {size[0]}" in line for line in said)
    kept = Conversions(path, plain.config.window_frames, tmp_path / "kept").files(size)
    assert kept.there
    assert {each.suffix for each in (tmp_path / "kept").iterdir() if each != kept.folder} == {".lock"}


def test_kept_files_that_are_damaged_are_said_and_removed(in_openvino: OnlineTracker, tmp_path: Path) -> None:
    kept, size = tmp_path / "kept", (192, 320)
    path, frames = resolve_model("default"), in_openvino.config.window_frames
    files = Conversions(path, frames).files(size)
    copied = Conversions(path, frames, kept).files(size)
    assert copied.folder.name == files.folder.name
    shutil.copytree(files.folder, copied.folder)
    copied.encoder.write_text(copied.encoder.read_text()[:1000])
    runtime = OpenVINORuntime(in_openvino.model, path, frames, kept)
    with pytest.raises(ModelError, match="pictures of 320 x 192: cannot be loaded"):
        runtime.prepare(size)
    assert not copied.there
    with torch.inference_mode():
        prepared = in_openvino.prepare(video(1)[0][0])
        got, wanted = runtime.encode(prepared), TorchRuntime(in_openvino.model).encode(prepared)
    assert torch.equal(got.mask_features, wanted.mask_features)


def test_a_conversion_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match=r"cannot be converted: .*no\.safetensors: not a readable"):
        Conversions(path, 2, tmp_path / "kept").make((64, 96))


def test_what_cannot_be_computed_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tiny_file(tmp_path, structure="cascade"))
    with pytest.raises(ConfigError, match="engine 'openvino': the model's structure is cascade"):
        load_tracker(path, device="cpu", engine="openvino")
    taken = load_tracker(path, device="cpu", engine="auto").runtime.info
    assert (taken.engine, taken.why) == (
        "torch",
        "not openvino: the model's structure is cascade, not synchronous",
    )
    monkeypatch.setattr("syncvis_online.openvino.runtime.openvino_version", lambda: None)
    with pytest.raises(ConfigError, match=r"pip install 'syncvis-online\[openvino\]'"):
        load_tracker("default", device="cpu", engine="openvino")
    assert load_tracker("default", device="cpu", engine="auto").runtime.info.engine == "torch"
    with pytest.raises(ConfigError, match="unknown engine 'tensorrt' "):
        load_tracker("default", device="cpu", engine="tensorrt")


LEAVES_EARLY = """
import sys
from pathlib import Path
import torch
from syncvis_online.online import load_tracker
from syncvis_online.openvino.runtime import OpenVINORuntime
path, kept = map(Path, sys.argv[1:])
tracker = load_tracker(str(path), device="cpu", threads=1)
runtime = OpenVINORuntime(tracker.model, path, 2, kept)
while not list(kept.glob("*.lock")):
    runtime.encode(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
"""


def test_a_conversion_ends_with_the_program(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    command = [sys.executable, "-c", LEAVES_EARLY, str(tiny_file(tmp_path)), str(kept)]
    subprocess.run(command, check=True)
    (lock,) = kept.glob("*.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # who converts holds it
    assert list(kept.iterdir()) == [lock], "neither a network nor a half of one"


WATCHED = """
import json, sys
events = []
sys.addaudithook(lambda event, args: events.append(event))
from syncvis_online.online import load_tracker
tracker = load_tracker("default", device="cpu", engine="openvino", threads=1)
from openvino import convert_model
assert tracker.runtime.info.engine == "openvino"
network = ("socket.", "urllib.", "http.", "os.fork", "subprocess.", "os.posix_spawn")
print(json.dumps([
    sorted({event for event in events if event.startswith(network)}),
    [name for name in sys.modules if name.startswith("openvino_telemetry")],
]))
"""


@pytest.mark.usefixtures("in_openvino")
def test_nothing_is_sent_and_nothing_written_about_the_user(tmp_path: Path) -> None:
    """As OpenVINO's telemetry would on `import openvino`: a client id in ~/intel, an event to Google Analytics."""
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(default_folder().parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], env=environ, capture_output=True, text=True, check=True
    )
    events, modules = json.loads(done.stdout.splitlines()[-1])
    assert (events, modules) == ([], [])
    assert not (tmp_path / "intel").exists()
