"""How identities are carried from window to window, compared: the same encoder, thresholds and life of a slot.

`python -m benchmarks.associations [--data SPEC] [--model NAME] [--associations NAME ...] [--tracker KEY=VALUE ...]
[--processes N] [--folder DIR] [--json FILE]`

Every frame is rendered and encoded once, and every association decodes it in step; those that start every window from
the learned queries share that too. Prints HOTA, AssA, DetA, IDF1, switches and tube AP, and the share of objects that
have the same identity after an absence as before it, by how long it was (`evaluation/occlusions.py`). `ms` is the
tracker's time a frame without the encoder's; with several processes on a busy machine compare it within one run only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from syncvis_online.checkpoint import load_model, resolve_model
from syncvis_online.config import TrackerConfig
from syncvis_online.decoder import DecoderOutput
from syncvis_online.evaluation.bytetrack import ByteTrackVideoTracker
from syncvis_online.evaluation.occlusions import occlusion_counts
from syncvis_online.evaluation.run import VideoTracker, judge, write_result
from syncvis_online.evaluation.tubes import VideoResult, predicted_tubes
from syncvis_online.evaluation.videos import open_videos
from syncvis_online.features import FrameFeatures
from syncvis_online.files import replacing
from syncvis_online.online import OnlineTracker
from syncvis_online.types import FrameTracks

ASSOCIATIONS = ("propagate_iou", "propagate", "cosine", "iou", "graph", "bytetrack")
COLUMNS = ("HOTA", "AssA", "DetA", "IDF1", "IDSW", "AP", "AP50")


class LastEncoded:
    """An encoder that keeps its newest answer: several trackers that go in step share one."""

    def __init__(self, encode: Callable[[Tensor], FrameFeatures]) -> None:
        self._encode = encode
        self._picture: bytes | None = None
        self._features: FrameFeatures | None = None
        self.seconds = 0.0
        self.count = 0

    def __call__(self, prepared: Tensor) -> FrameFeatures:
        """Features of a picture; the newest one's without work."""
        picture = prepared.cpu().numpy().tobytes()
        if self._features is None or picture != self._picture:
            began = time.perf_counter()
            self._features, self._picture = self._encode(prepared), picture
            self.count += 1
            self.seconds += time.perf_counter() - began
        return self._features


class LastDecoded:
    """A decoder that keeps its answers for the newest window of an encoder: of trackers that go in step, those that
    start from the same queries share one. `owed_s`: what they would have taken by themselves.
    """

    def __init__(self, decode: Callable[..., DecoderOutput], encoder: LastEncoded) -> None:
        self._decode, self._encoder = decode, encoder
        self._window = (0, 0)
        self._answers: list[tuple[Tensor, DecoderOutput, float]] = []
        self.owed_s = 0.0

    def __call__(self, features: FrameFeatures, first: Tensor, *, answer_only: bool = False) -> DecoderOutput:
        """The decoder's answer; without work where the window began with the same queries."""
        window = (self._encoder.count, features.mask_features.shape[1])
        if window != self._window:
            self._window, self._answers = window, []
        for queries, output, seconds in self._answers:
            if torch.equal(queries, first):
                self.owed_s += seconds
                return output
        began = time.perf_counter()
        output = self._decode(features, first, answer_only=answer_only)
        self._answers.append((first, output, time.perf_counter() - began))
        return output


def trackers(
    model: str, names: Sequence[str], settings: dict[str, Any]
) -> tuple[dict[str, VideoTracker], LastEncoded, LastDecoded]:
    """One tracker for each association, all on one model, whose encoder they share, and its decoder where they can."""
    checkpoint = load_model(model)
    values = {**checkpoint.tracker.to_mapping(), **settings}
    encoder = LastEncoded(checkpoint.model.encode)
    decoder = LastDecoded(checkpoint.model.decode, encoder)
    checkpoint.model.encode = encoder  # type: ignore[method-assign]
    checkpoint.model.decode = decoder  # type: ignore[method-assign]
    made: dict[str, VideoTracker] = {}
    for name in names:
        own = values if name == "bytetrack" else {**values, "association": name}
        tracker = OnlineTracker(checkpoint, TrackerConfig.from_mapping(own, "--tracker"))
        made[name] = ByteTrackVideoTracker(tracker) if name == "bytetrack" else tracker
    return made, encoder, decoder


def track_in_step(
    index: int, spec: str, model: str, names: Sequence[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """What each association makes of one video: its result and its seconds, without the encoder's."""
    torch.set_num_threads(1)
    video = open_videos(spec)[index]
    made, encoder, decoder = trackers(model, names, settings)
    rendering, *copies = tee(video.frames(), 1 + len(made))
    running: dict[str, Iterator[FrameTracks]] = {
        name: tracker.track_video(frames, video.fps, "streaming")
        for (name, tracker), frames in zip(made.items(), copies, strict=True)
    }
    answers: dict[str, list[FrameTracks]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for _ in rendering:
        for name, answering in running.items():
            began, shared = time.perf_counter(), encoder.seconds - decoder.owed_s
            answers[name].append(next(answering))
            seconds[name] += time.perf_counter() - began - (encoder.seconds - decoder.owed_s - shared)
    truth = video.ground_truth()
    return {
        "fps": video.fps,
        "frames": video.length,
        "seconds": seconds,
        "results": {
            name: VideoResult(truth, predicted_tubes(said, video.length, video.size), video.labels)
            for name, said in answers.items()
        },
    }


def kept_or_tracked(index: int, folder: Path | None, **how: Any) -> dict[str, Any]:
    """What `track_in_step` made of a video; of an earlier run, where `folder` has it."""
    if folder is None:
        return track_in_step(index, **how)
    said = hashlib.sha256(json.dumps([index, how], sort_keys=True).encode())
    said.update(resolve_model(how["model"]).read_bytes())
    path = folder / f"{index}-{said.hexdigest()[:16]}.pickle"
    if path.is_file():
        return cast(dict[str, Any], pickle.loads(path.read_bytes()))  # noqa: S301, our own file
    made = track_in_step(index, **how)
    with replacing(path) as draft:
        draft.write_bytes(pickle.dumps(made))
    return made


def figures(name: str, videos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures of one association."""
    results = [video["results"][name] for video in videos]
    judged = judge(results)
    absences = occlusion_counts(results, videos[0]["fps"])
    frames = sum(video["frames"] for video in videos)
    return {
        **{key: judged[key] for key in (*COLUMNS, "MOTA", "ground_truth_tubes", "predicted_tracks")},
        "kept": {
            length: {"kept": round(c.kept, 4), "same": c.same, "other": c.other, "lost": c.lost}
            for length, c in absences.items()
        },
        "ms": round(1000 * sum(video["seconds"][name] for video in videos) / frames, 2),
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The figures as a table of text."""
    lengths = list(next(iter(rows.values()))["kept"])
    body = [
        [
            name,
            *(row[key] if key == "IDSW" else f"{row[key]:.3f}" for key in COLUMNS),
            *(f"{c['kept']:.2f} of {c['same'] + c['other'] + c['lost']}" for c in row["kept"].values()),
            row["ms"],
        ]
        for name, row in rows.items()
    ]
    return tabulate(
        body, headers=["association", *COLUMNS, *(f"kept {x}" for x in lengths), "ms"], disable_numparse=True
    )


def main() -> None:
    """Run it; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="synthetic:long", metavar="SPEC")
    parser.add_argument("--model", default="default")
    parser.add_argument("--associations", nargs="+", choices=ASSOCIATIONS, default=list(ASSOCIATIONS))
    parser.add_argument("--tracker", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="keep each video's answers; go on with them"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, _, value in (x.partition("=") for x in arguments.tracker)}
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    work = partial(
        kept_or_tracked,
        folder=arguments.folder,
        spec=arguments.data,
        model=arguments.model,
        names=arguments.associations,
        settings=settings,
    )
    count = len(open_videos(arguments.data))
    with multiprocessing.get_context("spawn").Pool(min(arguments.processes, count)) as pool:
        videos = list(tqdm(pool.imap(work, range(count)), total=count, unit="video"))
    rows = {name: figures(name, videos) for name in arguments.associations}
    print(table(rows))
    if arguments.json is not None:
        about = {"data": arguments.data, "model": arguments.model, "tracker": settings, "videos": count}
        write_result(arguments.json, {**about, "associations": rows})


if __name__ == "__main__":
    main()
