"""Training: exact resumption, the schedule, the samples, and configs that are refused."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import psutil
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from syncvis_online.checkpoint import load_model
from syncvis_online.config import TrackerConfig
from syncvis_online.data.clips import Clip
from syncvis_online.data.synthetic import SyntheticWorld, load_level, write_youtube_vis
from syncvis_online.errors import ConfigError, ModelError
from syncvis_online.model import SyncVIS
from syncvis_online.paths import CONFIG_ROOTS
from syncvis_online.training import loop, train_from_config
from syncvis_online.training.config import OptimizerConfig, load_training_config
from syncvis_online.training.loop import Trainer, rate_at
from syncvis_online.training.peers import Peers
from syncvis_online.training.pictures import sample_picture
from syncvis_online.training.rendered import RenderedVideos
from syncvis_online.training.samples import Samples
from syncvis_online.training.sources import open_sources
from tests.syncvis_online.davis_data import write_davis
from tests.syncvis_online.models import TINY
from tests.syncvis_online.photograph_data import write_photographs

RUN = {
    "seed": 3,
    "steps": 6,
    "model": TINY.to_mapping(),
    "criterion": {"points": 0, "pilot": 1.0},
    "data": {"size": [64, 96], "workers": 0},
    "optimizer": {"rate": 0.001, "warmup_steps": 2, "bf16": False},
    "stages": [
        {"until": 0.5, "batch": 2, "shares": {"world": 1}},
        {"until": 1.0, "batch": 2, "windows": 2, "strides": [1, 2], "spacings": [1], "shares": {"world": 1}},
    ],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rendered")


WORLD = {"kind": "synthetic", "level": "easy", "seeds": [0, 1], "frames": 6}


def stage(**changes: object) -> dict[str, object]:
    return {"until": 1.0, "batch": 1, "shares": {"world": 1}, **changes}


def config(folder: Path, cache: Path, world: dict[str, object] | None = None, **changes: object) -> str:
    values = {**RUN, **changes}
    sources = {"world": {**WORLD, "cache": str(cache), **(world or {})}}
    values["data"] = {"sources": sources, **RUN["data"], **changes.get("data", {})}  # type: ignore[dict-item]
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_twenty_steps_equal_ten_and_a_resumed_ten(tmp_path: Path, cache: Path) -> None:
    path = config(tmp_path, cache, steps=20)
    whole = train_from_config(path, output=tmp_path / "whole", progress=False)
    for _ in range(10):  # no minutes at all: each call makes one step
        train_from_config(path, output=tmp_path / "parts", minutes=0.0, progress=False)
    assert load_model(str(tmp_path / "parts" / "model.safetensors")).provenance["step"] == 10
    parts = train_from_config(path, output=tmp_path / "parts", progress=False)
    a, b = load_model(str(whole)), load_model(str(parts))
    assert a.provenance["step"] == b.provenance["step"] == 20
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_the_checkpoint_holds_the_running_average_also_after_a_pause(tmp_path: Path, cache: Path) -> None:
    """With a decay d the checkpoint after n steps is d average(n - 1) + (1 - d) weights(n), average(1) = weights(1)."""
    optimizer = {**RUN["optimizer"], "average": 0.75}  # type: ignore[dict-item]
    averaged = config(tmp_path, cache, steps=4, optimizer=optimizer)
    whole = train_from_config(averaged, output=tmp_path / "whole", progress=False)
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):  # no minutes at all: each call makes one step
        train_from_config(averaged, output=tmp_path / "parts", minutes=0.0, progress=False)
        newest = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["model"]
        for name, value in newest.items():
            expected[name] = value if step == 0 else 0.75 * expected[name] + 0.25 * value
    parts = load_model(str(tmp_path / "parts" / "model.safetensors")).model.state_dict()
    moved = 0
    for name, value in load_model(str(whole)).model.state_dict().items():
        assert torch.equal(value, parts[name]), name
        if value.is_floating_point():  # not a count of batches
            torch.testing.assert_close(value, expected[name].to(value.dtype), rtol=2e-3, atol=1e-4)
        moved += int(not torch.equal(value, newest[name].half().to(value.dtype)))
    assert moved > 10, "the newest weights are other ones"


def test_a_loader_s_process_does_not_wait_for_threads_that_it_has_not(tmp_path: Path, cache: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import cv2, numpy as np\n"
        "from syncvis_online.training import train_from_config\n"
        "cv2.setNumThreads(4)\n"
        "cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)  # OpenCV has its threads now\n"
        "train_from_config(sys.argv[1], output=Path(sys.argv[2]))\n"
    )
    path = config(tmp_path, cache, steps=2, data={"size": [64, 96], "workers": 1})
    folder = tmp_path / "out"
    subprocess.run([sys.executable, "-c", program, path, str(folder)], check=True, timeout=120)
    assert (folder / "model.safetensors").is_file()


def test_a_damaged_state_is_refused_and_left_alone(tmp_path: Path, cache: Path) -> None:
    path = config(tmp_path, cache, steps=1)
    train_from_config(path, output=tmp_path / "run", progress=False)
    state = tmp_path / "run" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"state.pt: cannot resume"):
        train_from_config(path, output=tmp_path / "run", progress=False)
    assert state.stat().st_size == 1000


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 4}, "seed"),
        ({"model": {**TINY.to_mapping(), "queries": 12}}, "model"),
        ({"world": {"seeds": [0, 2]}}, "data"),
    ],
)
def test_a_run_does_not_go_on_with_another_config(
    tmp_path: Path, cache: Path, changes: dict[str, object], key: str
) -> None:
    train_from_config(config(tmp_path, cache, steps=1), output=tmp_path / "run", progress=False)
    before = (tmp_path / "run" / "state.pt").read_bytes()
    with pytest.raises(ModelError, match=f"state.pt: was made with another {key}"):
        train_from_config(config(tmp_path, cache, **changes), output=tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "state.pt").read_bytes() == before
    longer = train_from_config(config(tmp_path, cache, steps=2), output=tmp_path / "run", progress=False)
    assert load_model(str(longer)).provenance["step"] == 2


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """What two processes of ours make of four steps."""
    folder = tmp_path_factory.mktemp("two")
    return train_from_config(
        config(folder, cache, processes=2, steps=4), output=folder / "run", progress=False
    )


@pytest.mark.integration
def test_two_processes_that_stop_and_resume_equal_two_that_do_not(
    tmp_path: Path, cache: Path, of_two_processes: Path
) -> None:
    path = config(tmp_path, cache, processes=2, steps=4)
    for _ in range(2):  # each call makes one step, then the rest
        train_from_config(path, output=tmp_path / "parts", minutes=0.0, progress=False)
    parts = train_from_config(path, output=tmp_path / "parts", progress=False)
    a, b = load_model(str(of_two_processes)), load_model(str(parts))
    assert a.provenance["step"] == b.provenance["step"] == 4
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def linger(peers: Peers) -> None:
    """Say that this process is there, in one piece, and stay."""
    os.write(sys.stdout.fileno(), f"{peers.rank}\n".encode())
    Event().wait()


@pytest.mark.integration
@pytest.mark.parametrize("interrupts", ["SIG_IGN", "default_int_handler"])
def test_processes_end_with_the_one_that_started_them(interrupts: str) -> None:
    """Also where interrupts are ignored, as of what a shell runs in the background."""
    program = f"""
import signal
signal.signal(signal.SIGINT, signal.{interrupts})
from syncvis_online.training.peers import start
from {__name__} import linger
start(linger, 2)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = {process.stdout.readline() for _ in range(2)}
        started = psutil.Process(process.pid).children(recursive=True)
        # A descriptor tells that a process has ended, also where its parent is gone and nobody has asked for it yet.
        ends = {os.pidfd_open(each.pid): each for each in started}
        process.kill()
        left = [each for end, each in ends.items() if not select.select([end], [], [], 60)[0]]
        for each in left:
            each.kill()
        for end in ends:
            os.close(end)
    assert said == {"0\n", "1\n"}
    assert len(started) >= 2
    assert not left


@pytest.mark.integration
def test_a_launcher_s_processes_give_what_ours_give(
    tmp_path: Path, cache: Path, of_two_processes: Path
) -> None:
    """torchrun, which `accelerate launch` starts GPUs' processes with; here two on the CPU."""
    (tmp_path / "launched").mkdir()
    alone = config(tmp_path / "launched", cache, steps=4)  # says 1: the launcher's number goes before it
    launch = ["torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    run = ["-m", "stream.cli", "train", alone, "--output", str(tmp_path / "launched")]
    done = subprocess.run(
        [sys.executable, "-m", *launch, *run],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    a, b = load_model(str(of_two_processes)), load_model(str(tmp_path / "launched" / "model.safetensors"))
    assert a.provenance["training"] == b.provenance["training"]
    for (name, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_a_run_leaves_figures_and_pictures_to_look_at(tmp_path: Path, cache: Path) -> None:
    path = config(tmp_path, cache, steps=40, picture_steps=20, model={**TINY.to_mapping(), "layers": 1})
    folder = tmp_path / "run"
    train_from_config(path, output=folder, steps=20, progress=False)
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"step": 22, "total": 1.0}\n{"step": 2')  # of a run that died after its last checkpoint
    train_from_config(path, output=folder, progress=False)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [20, 40]
    assert all(np.isfinite(record["total"]) for record in records)
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss/total")] == [20, 40]
    assert [event.value for event in board.Scalars("loss/total")] == pytest.approx(
        [record["total"] for record in records], abs=1e-3
    )
    assert [event.step for event in board.Images("sample")] == [20, 40]
    for step in (20, 40):
        picture = cv2.imread(str(folder / "pictures" / f"{step:06d}.png"))
        assert picture.shape == (2 * 64 + 4, 3 * 96 + 2 * 4, 3)  # two windows of two frames, stride 1


def test_a_sample_picture_shows_the_truth_and_leaves_the_model_as_it_is() -> None:
    torch.manual_seed(0)
    model = SyncVIS(TINY)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = np.full((2, 64, 96, 3), 100, np.uint8)
    masks = np.zeros((1, 2, 64, 96), np.bool_)
    masks[0, :, 20:40, 30:50] = True
    clip = Clip(images, masks, np.array([0]), np.zeros((2, 64, 96), np.bool_))
    picture = sample_picture(model.train(), TrackerConfig(birth_score=0.99, keep_score=0.99), clip)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    truth, said = picture[:64, :96], picture[68:, :96]
    assert np.array_equal(np.any(truth != 100, axis=-1), masks[0, 0])
    assert (said == 100).all(), "an untrained model is not sure of anything"


def test_the_size_of_a_step_is_drawn_once_and_is_a_multiple_of_32(tmp_path: Path, cache: Path) -> None:
    data = {"size": [64, 96], "scales": [0.5, 1.0, 1.4], "workers": 0}
    samples = Samples(load_training_config(config(tmp_path, cache, data=data, steps=40)), progress=False)
    sizes = [samples.size(step) for step in range(40)]
    assert set(sizes) == {(32, 64), (64, 96), (96, 128)}
    for step in range(3):
        images, targets = samples.collate([samples[step, 0], samples[step, 1]])
        assert images.shape[-2:] == sizes[step]
        assert targets.masks.shape[-2:] == (sizes[step][0] // 4, sizes[step][1] // 4)


def test_samples_are_the_same_in_every_run_and_differ_by_place(tmp_path: Path, cache: Path) -> None:
    loaded = load_training_config(config(tmp_path, cache))
    first, again = Samples(loaded, progress=False), Samples(loaded, progress=False)
    for a, b in zip(first[4, 1], again[4, 1], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[4, 0][0], first[4, 1][0])


def test_samples_have_the_shapes_of_their_stage(tmp_path: Path, cache: Path) -> None:
    samples = Samples(load_training_config(config(tmp_path, cache)), progress=False)
    for step in range(6):
        frames = 2 if step < 3 else 2 + samples.stride(step)
        images, targets = samples.collate([samples[step, 0], samples[step, 1]])
        assert images.shape == (2, frames, 3, 64, 96)
        assert targets.masks.shape[2:] == (frames, 16, 24)
        assert float(targets.masks.sum(1).max()) <= 1.0 + 1e-6, "visible masks do not overlap"
        assert set(np.unique(targets.labels)) <= set(range(-1, 6))


def test_clips_hold_the_windows_ahead_that_were_drawn_for_their_step(tmp_path: Path, cache: Path) -> None:
    stages = [stage(ahead=[0, 3], windows=1, window_frames=2)]
    samples = Samples(load_training_config(config(tmp_path, cache, stages=stages)), progress=False)
    frames = [samples.frames(step) for step in range(6)]
    assert set(frames) == {2, 5}
    for step in range(6):
        assert {len(samples[step, place][0]) for place in range(2)} == {frames[step]}


def test_what_changes_a_clip_is_in_the_config(tmp_path: Path, cache: Path) -> None:
    """Without crops and jitter a clip is a stretch of a rendered video as it is; with them it is not."""

    def clip(**augmentation: float) -> Clip:
        world = {"seeds": [0, 0], **augmentation}
        source = open_sources(load_training_config(config(tmp_path, cache, world)), progress=False)["world"]
        return source.clip(np.random.default_rng(5), 6, 1, (64, 96))

    plain = clip(crop_odds=0.0, photometric=0.0)
    (video,) = [path for path in cache.glob("easy-*-64x96-6/0") if path.is_dir()]
    filmed = np.load(video / "images.npy")
    assert any(np.array_equal(plain.images, order) for order in (filmed, filmed[::-1]))
    cropped = clip(crop_odds=1.0, crop_share=0.5, photometric=0.0)
    jittered = clip(crop_odds=0.0, photometric=2.0)
    assert not np.array_equal(cropped.masks.sum((2, 3)), plain.masks.sum((2, 3)))
    assert np.array_equal(jittered.masks, plain.masks)
    assert not np.array_equal(jittered.images, plain.images)


def test_cells_follow_the_mask_stride_and_cover_the_same_area(tmp_path: Path, cache: Path) -> None:
    coarse = Samples(load_training_config(config(tmp_path, cache)), progress=False)
    model = {**TINY.to_mapping(), "mask_stride": 2}
    fine = Samples(load_training_config(config(tmp_path, cache, model=model)), progress=False)
    a, b = (s.collate([s[0, 0]])[1] for s in (coarse, fine))
    assert b.masks.shape[-2:] == (32, 48)
    torch.testing.assert_close(
        torch.nn.functional.avg_pool2d(b.masks.flatten(0, 2), 2), a.masks.flatten(0, 2)
    )
    assert a.min_cells * 4 == b.min_cells


@pytest.mark.parametrize("fps", [None, 2.5])
def test_rendered_videos_look_as_the_tracker_will_see_them(tmp_path: Path, fps: float | None) -> None:
    """Filmed at the level's own size and shrunk, as a camera's pictures are, not drawn small."""
    RenderedVideos("easy", [5], 2, (64, 96), tmp_path, progress=False)  # another pace: other files
    videos = RenderedVideos("easy", [5], 2, (64, 96), tmp_path, fps=fps, progress=False)
    clip = videos.clip(np.random.default_rng(0), 2, 1)
    world = SyntheticWorld(load_level("easy"), 5, fps=fps)
    shrunk = [cv2.resize(world.step().image, (96, 64), interpolation=cv2.INTER_AREA) for _ in range(2)]
    assert all(any(np.array_equal(a, b) for b in shrunk) for a in clip.images)


def test_a_process_that_renders_carries_no_torch() -> None:
    program = "import sys, syncvis_online.training.rendered\nsys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("train_encoder", [False, True])
def test_a_stage_can_leave_the_encoder_as_it_is(tmp_path: Path, cache: Path, train_encoder: bool) -> None:
    begun = train_from_config(config(tmp_path, cache, steps=1), output=tmp_path / "begun", progress=False)
    stages = [stage(batch=2, windows=2, train_encoder=train_encoder)]
    path = config(tmp_path, cache, steps=2, initialize=str(begun), stages=stages)
    ended = train_from_config(path, output=tmp_path / "ended", progress=False)
    before, after = (load_model(str(x)).model.state_dict() for x in (begun, ended))
    encoder = [name for name in after if name.startswith(("backbone.", "pixel_decoder."))]
    assert any("running_mean" in name for name in encoder)
    assert all(torch.equal(before[name], after[name]) for name in encoder) != train_encoder
    assert not torch.equal(before["decoder.video_query"], after["decoder.video_query"])


def test_a_run_starts_from_the_weights_that_it_is_told(tmp_path: Path, cache: Path) -> None:
    first = train_from_config(config(tmp_path, cache, steps=1), output=tmp_path / "first", progress=False)
    still = {**RUN["optimizer"], "rate": 0.0}  # type: ignore[dict-item]
    path = config(tmp_path, cache, steps=1, initialize=str(first), optimizer=still)
    second = train_from_config(path, output=tmp_path / "second", progress=False)
    a, b = load_model(str(first)).model, load_model(str(second)).model
    for (name, x), y in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(x, y, msg=name)
    with pytest.raises(ModelError, match="no checkpoint 'nothing'"):
        train_from_config(
            config(tmp_path, cache, initialize="nothing"), output=tmp_path / "third", progress=False
        )


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    settings = OptimizerConfig(rate=1.0, warmup_steps=10, decay_from=0.5)
    rates = [rate_at(step, 100, settings) for step in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert set(rates[10:51]) == {1.0}
    assert rates[100] == 0.0
    assert all(a > b for a, b in pairwise(rates[50:]))


SHIPPED = sorted(
    str(path.relative_to(CONFIG_ROOTS[0] / "training").with_suffix(""))
    for path in (CONFIG_ROOTS[0] / "training").rglob("*.yaml")
    if path.stem != "paper_r50"  # what the paper's recipes have in common: no data of its own
)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_config_that_ships_is_valid(name: str) -> None:
    loaded = load_training_config(name)
    assert loaded.data.sources
    assert len(set(loaded.model.labels)) == len(loaded.model.labels)


ABLATIONS = {
    "adjacent_sub_clips": {"stages.random_sub_clips": 0},
    "all_sub_clips": {"stages.random_sub_clips": None},
    "cascade": {"model.structure": "cascade"},
    "frame_to_video": {"model.synchronize": "frame_to_video"},
    "no_exchange": {"model.synchronize_weight": 0.0},
    "no_similarity": {"model.similarity": False, "criterion.similarity": 0.0},
    "no_sub_clips": {"stages.sub_clips": 0},
    "top1": {"model.confidence": "top1"},
    "video_first": {"model.synchronize_order": "video_first"},
    "video_only": {
        "model.structure": "video_only",
        "model.similarity": False,
        "criterion.similarity": 0.0,
    },
    "video_to_frame": {"model.synchronize": "video_to_frame"},
}


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in values.items():
        inner = value[0] if key == "stages" else value  # type: ignore[index]
        found |= flat(inner, f"{prefix}{key}.") if isinstance(inner, dict) else {f"{prefix}{key}": inner}
    return found


def test_each_ablation_changes_what_its_name_says_and_nothing_else() -> None:
    assert {name for name in SHIPPED if name.startswith("ablation/")} == {f"ablation/{a}" for a in ABLATIONS}
    whole = flat(asdict(load_training_config("youtube_vis_2019_r50")))
    for name, changes in ABLATIONS.items():
        part = flat(asdict(load_training_config(f"ablation/{name}")))
        assert {k: v for k, v in part.items() if whole[k] != v and k != "name"} == changes, name


def test_the_recipe_s_switches_train_together_on_every_kind_of_data(tmp_path: Path) -> None:
    """Deformable attention, similarity, points, sub-clips, drawn sizes, frozen norms, steps of the rate; YouTube-VIS,
    COCO and DAVIS on disk. Two steps: what is shown is that the parts go together.
    """
    write_youtube_vis(tmp_path / "vis.json", load_level("easy"), range(2), 6, images=tmp_path / "JPEGImages")
    write_photographs(tmp_path / "coco", ["coco_a.jpg", "coco_b.jpg"])
    write_davis(tmp_path / "davis")
    values = {
        "seed": 0,
        "steps": 2,
        "picture_steps": 2,
        "model": {
            **TINY.to_mapping(),
            "channels": 32,
            "pixel_decoder": "deformable",
            "pixel_decoder_layers": 1,
            "pixel_decoder_ffn_channels": 32,
            "similarity": True,
        },
        "criterion": {"points": 64, "similarity": 0.5},
        "optimizer": {
            "rate": 0.001,
            "freeze_norm": True,
            "decay_at": [0.5],
            "bf16": False,
            "warmup_steps": 0,
        },
        "data": {
            "size": [64, 96],
            "scales": [0.5, 1.0],
            "workers": 0,
            "sources": {
                "videos": {"kind": "youtube_vis", "annotations": str(tmp_path / "vis.json")},
                "coco": {"kind": "photographs", "folder": str(tmp_path / "coco"), "split": "all"},
                "davis": {"kind": "davis", "folder": str(tmp_path / "davis"), "label": "dog"},
            },
        },
        "stages": [
            {
                "until": 1.0,
                "batch": 4,
                "window_frames": 4,
                "sub_clips": 2,
                "random_sub_clips": 1,
                "covered": 0.5,
                "shares": {"videos": 1, "coco": 1, "davis": 1},
            }
        ],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    torch.manual_seed(0)
    trained = load_model(str(train_from_config(str(path), output=tmp_path / "run", progress=False))).model
    start = Trainer(load_training_config(str(path)), tmp_path / "none", Peers()).model
    moved = {
        name
        for (name, a), b in zip(trained.named_parameters(), start.parameters(), strict=True)
        if not torch.allclose(a, b.half().float(), atol=1e-6)
    }
    for part in (
        "backbone",
        "pixel_decoder.layers",
        "decoder.layers",
        "decoder.similarity",
        "decoder.class_head",
    ):
        assert any(name.startswith(part) for name in moved), part
    norms = {
        f"backbone.{name}"
        for name, module in start.backbone.named_modules()  # type: ignore[attr-defined]
        if isinstance(module, torch.nn.BatchNorm2d)
    }
    assert norms
    assert not {name for name in moved if name.rsplit(".", 1)[0] in norms}, "frozen"
    for name, tensor in trained.state_dict().items():
        if "running" in name and name.startswith("backbone"):
            assert torch.equal(tensor, start.state_dict()[name]), name


def test_a_run_that_diverges_is_given_up_and_keeps_its_last_state(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_SKIPPED", 2)
    path = config(tmp_path, cache, steps=6, optimizer={**RUN["optimizer"], "rate": 0.0})  # type: ignore[dict-item]
    train_from_config(path, output=tmp_path / "run", minutes=0.0, progress=False)
    before = (tmp_path / "run" / "state.pt").read_bytes()
    monkeypatch.setattr(
        Trainer, "losses", lambda self, *_: {"label.video.0": next(self.model.parameters()).sum() * torch.nan}
    )
    with pytest.raises(
        ModelError, match="training has diverged: at step 2 no gradient was finite for 2 steps"
    ):
        train_from_config(path, output=tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_the_rate_may_fall_by_steps() -> None:
    settings = OptimizerConfig(rate=1.0, warmup_steps=10, decay_at=(0.5, 0.75))
    rates = [rate_at(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10:] == pytest.approx([1.0] * 40 + [0.1] * 25 + [0.01] * 25)


def test_a_config_extends_another_and_never_itself(tmp_path: Path, cache: Path) -> None:
    base = Path(config(tmp_path, cache))
    base.rename(tmp_path / "base.yaml")
    above = tmp_path / "above.yaml"
    above.write_text(f"extends: {tmp_path / 'base.yaml'}\nsteps: 9\noptimizer: {{rate: 0.5}}\n")
    below, merged = load_training_config(str(tmp_path / "base.yaml")), load_training_config(str(above))
    assert merged == replace(below, name="above", steps=9, optimizer=replace(below.optimizer, rate=0.5))
    (tmp_path / "base.yaml").write_text(f"extends: {above}\n")
    with pytest.raises(ConfigError, match="extends itself"):
        load_training_config(str(above))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepz": 3}, "run.yaml: stepz: unknown key"),
        ({"seed": "abc"}, "seed: input should be a valid integer"),
        ({"seed": True}, "seed: input should be a valid integer"),
        ({"steps": 6.0}, "steps: input should be a valid integer"),
        ({"model": None}, "model: expected keys and their values"),
        ({"model": {"queries": 0}}, "model: queries must be at least 1"),
        ({"model": {"channels": 16.0}}, "model.channels: input should be a valid integer"),
        ({"model": {"mask_stride": 8}}, "model.mask_stride: input should be 2 or 4"),
        ({"tracker": {"window_frames": "2"}}, "tracker.window_frames: input should be a valid integer"),
        ({"criterion": {"dise": 1}}, "criterion.dise: unknown key"),
        ({"optimizer": {"rate": float("inf")}}, "optimizer.rate: input should be a finite number"),
        ({"data": {"size": [64, 96], "scales": []}}, "data: scales must name at least one"),
        ({"data": {"size": [64, 96], "scales": [0.4]}}, "leave each side at least 32"),
        ({"stages": [stage(covered=1.5)]}, r"covered must be in \[0, 1\]"),
        ({"optimizer": {"decay_at": [1.0]}}, r"decay_at must name shares in \(0, 1\)"),
        ({"picture_steps": -1}, "picture_steps must not be negative"),
        ({"data": {"size": [64, 90]}}, "data: size must be two multiples of 32"),
        ({"world": {"seeds": [3]}}, r"data\.sources\.world\.synthetic\.seeds"),
        ({"world": {"seeds": [3, 2]}}, "seeds must be the first and the last"),
        ({"world": {"kind": "film"}}, "data.sources.world: input tag 'film'"),
        ({"world": {"photometric": -0.1}}, "photometric must not be negative"),
        ({"world": {"crop_share": 0.0}}, r"crop_share must be in \(0, 1\]"),
        ({"world": {"crop_odds": 2.0}}, r"crop_odds must be in \[0, 1\]"),
        (
            {"world": {"frames": 2}},
            r"stages.1: its clips of 4 frames are longer than data\.sources\.world\.frames",
        ),
        ({"stages": []}, "stages must name at least one"),
        ({"stages": [stage(wimdows=1)]}, "stages.0.wimdows: unknown key"),
        ({"stages": [{"until": 1.0, "shares": {"world": 1}}]}, "stages.0.batch: this key is required"),
        ({"stages": [stage(until=0.9)]}, "'until' must grow and end with 1.0"),
        ({"stages": [stage(batch=3)], "processes": 2}, "batch must be a multiple of processes"),
        ({"stages": [stage(strides=[3])]}, "strides must not be longer"),
        ({"stages": [stage(sub_clips=2)]}, "must be shorter than window_frames"),
        ({"stages": [stage(ahead=[])]}, "ahead must name whole numbers"),
        (
            {"stages": [stage(ahead=[1], window_frames=3, sub_clips=2)]},
            r"sub_clips needs windows: 1 and ahead: \[0\]",
        ),
        (
            {"stages": [stage(ahead=[0, 40])]},
            r"stages.0: its clips of 4\d frames are longer than data\.sources\.world\.frames",
        ),
        ({"stages": [stage(shares={"photos": 1})]}, "no source 'photos' in data.sources"),
        ({"stages": [stage(shares={"world": 0})]}, "shares of a stage"),
        ({"stages": [stage(shares=[1])]}, "stages.0.shares"),
        ({"criterion": {"similarity": 0.5}}, "model.similarity and criterion.similarity"),
    ],
)
def test_a_wrong_config_is_refused_before_any_work(
    tmp_path: Path, cache: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_from_config(config(tmp_path, cache, **changes), output=tmp_path / "run", progress=False)
