"""The loop: steps, schedule, checkpoints that resume, progress. What a step computes is in objective.py."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from syncvis_online.checkpoint import initialize_model, save_model
from syncvis_online.criterion import Criterion
from syncvis_online.errors import ModelError
from syncvis_online.model import SyncVIS
from syncvis_online.targets import Targets
from syncvis_online.training.config import OptimizerConfig, TrainingConfig, load_training_config
from syncvis_online.training.objective import carried_loss, clip_loss, sub_clips
from syncvis_online.training.peers import Peers, launched_processes, start
from syncvis_online.training.pictures import sample_picture
from syncvis_online.training.records import Records
from syncvis_online.training.samples import Samples, StepBatches
from syncvis_online.training.state import read_state, what_decides, write_state

log = logging.getLogger(__name__)
SAVE_EVERY_S = 180.0
RECORD_EVERY = 20
"""Steps."""
MOST_SKIPPED = 50
"""Steps in a row without a finite gradient, after which a run is given up."""


def parameter_groups(model: SyncVIS, config: OptimizerConfig) -> list[dict[str, Any]]:
    """AdamW groups: backbone at a share of the rate; no weight decay on norms, biases and embeddings."""
    decayed = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("backbone."), id(parameter) in decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "scale": config.backbone_factor if backbone else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (backbone, decays), parameters in groups.items()
    ]


def rate_at(step: int, steps: int, config: OptimizerConfig) -> float:
    """Warm up, stay, and fall: linearly to zero, or by steps of ten."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    share = step / max(1, steps)
    if config.decay_at:
        fall = 0.1 ** sum(share >= at for at in config.decay_at)
    else:
        fall = (1.0 - share) / (1.0 - config.decay_from) if share > config.decay_from else 1.0
    return float(config.rate * warm * fall)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself. One that emulates it trains at half the speed of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Private, and the only way to ask; where a torch has no such question, float32 is safe.
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in known)


class Trainer:
    """One run: model, optimizer and the step that it is at."""

    def __init__(self, config: TrainingConfig, folder: Path, peers: Peers) -> None:
        random.seed(config.seed)
        np.random.seed(config.seed)
        torch.manual_seed(config.seed)
        self.config, self.folder, self.peers = config, folder, peers
        self.device = peers.device
        self.model = SyncVIS(config.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion = Criterion(config.criterion)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.optimizer), lr=config.optimizer.rate, fused=True
        )
        self.averaged: AveragedModel | None = None
        self.bf16 = config.optimizer.bf16 and has_bf16(self.device)
        self.step, self.elapsed_s, self.skipped = 0, 0.0, 0

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pt"

    def resume(self) -> None:
        """Go on from the folder's state, if there is one, else start from `initialize`.

        Raises ModelError when the one or the other cannot be used.
        """
        if not self._state_path.is_file():
            if self.config.initialize:
                self._initialize()
            self._begin_average()
            return
        state = read_state(self._state_path, self.config, self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._begin_average()
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])

    def _begin_average(self) -> None:
        decay = self.config.optimizer.average
        if decay:
            # Running statistics are averaged too: they belong to the weights that they were made with.
            self.averaged = AveragedModel(
                self.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
            )

    @property
    def result(self) -> SyncVIS:
        """The model that the checkpoint holds: the averaged one where there is one."""
        if self.averaged is None:
            return self.model
        averaged: SyncVIS = self.averaged.module  # type: ignore[assignment]
        return averaged

    def _initialize(self) -> None:
        """Start from another model's tensors. Raises ModelError when there is no such checkpoint."""
        unused, missing = initialize_model(self.model, self.config.initialize)
        if self.peers.first and (unused or missing):
            log.warning(
                "%s: %d tensors find no place (%s), %d of the model start at random (%s)",
                self.config.initialize,
                len(unused),
                ", ".join(unused) or "none",
                len(missing),
                ", ".join(missing) or "none",
            )

    def save(self) -> None:
        """Write the state to resume from and the model so far, all or nothing each."""
        values = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        if self.averaged is not None:
            values["averaged"] = self.averaged.state_dict()
        write_state(self._state_path, self.config, values)
        provenance = {
            "config": self.config.name,
            "training": what_decides(self.config),
            "step": self.step,
            "steps": self.config.steps,
            "hours": round(self.elapsed_s / 3600, 2),
            "torch": torch.__version__,
            "device": self.device.type,
        }
        save_model(self.folder / "model.safetensors", self.result, self.config.tracker, provenance)

    @property
    def rate(self) -> float:
        """The learning rate of the step that comes."""
        return rate_at(self.step, self.config.steps, self.config.optimizer)

    def losses(self, images: Tensor, targets: Targets, stride: int) -> dict[str, Tensor]:
        """Terms of the loss of one batch; images (B, F, 3, H, W)."""
        stage = self.config.stage_at(self.step)
        with torch.set_grad_enabled(stage.train_encoder):
            features = self.model.encode(images.flatten(0, 1))
        pilot: dict[str, Tensor] = {}
        if self.config.criterion.pilot and stage.train_encoder:
            index = torch.arange(images.shape[0] * images.shape[1], device=images.device)
            whole = features.windows(index.view(images.shape[:2]))
            pilot = self.criterion.pilot(whole, targets, self.model.decoder.predict)
        rng = np.random.default_rng((self.config.seed, 2, self.step, self.peers.rank))
        if stage.sub_clips:
            clips = sub_clips(images.shape[1], stage.sub_clips, stage.random_sub_clips, rng)
            return pilot | clip_loss(self.model, self.criterion, features, targets, clips)
        shape = (stage.window_frames, stage.windows, stride)
        return pilot | carried_loss(
            self.model, self.criterion, features, targets, *shape, forget=stage.forget, rng=rng
        )

    def train_step(self, images: Tensor, targets: Targets, stride: int) -> dict[str, float]:
        """One step of the optimizer; the terms, summed over depths, for the log."""
        # Drawn from the step, so that a run that resumes draws the same, and each process its own.
        seeds = np.random.SeedSequence((self.config.seed, 3, self.step, self.peers.rank))
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        images = images.to(self.device)
        targets = targets.to(self.device)
        self.train_mode()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["scale"]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            terms = self.losses(images, targets, stride)
        total = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.peers.average_gradients(self.model)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        if bool(norm.isfinite()):
            self.optimizer.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            self.skipped = 0
        else:
            self._skip()
        self.step += 1
        return summary(terms)

    def _skip(self) -> None:
        """A step whose gradients are not finite changes nothing; a run that takes no other has diverged."""
        self.skipped += 1
        if self.peers.first:
            log.warning("step %d: gradients are not finite, left out (%d in a row)", self.step, self.skipped)
        if self.skipped >= MOST_SKIPPED:
            raise ModelError(
                f"training has diverged: at step {self.step} no gradient was finite for {self.skipped} steps "
                f"(the last state before is in {self._state_path})"
            )

    def train_mode(self) -> None:
        """Ready to train; what the config or its stage wants frozen stays as it is, running statistics too."""
        self.model.train()
        if not self.config.stage_at(self.step).train_encoder:
            self.model.backbone.eval()
            self.model.pixel_decoder.eval()
        elif self.config.optimizer.freeze_norm:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
                    module.requires_grad_(False)


def summary(terms: dict[str, Tensor]) -> dict[str, float]:
    """Terms summed over depths and sub-clips, and their total."""
    sums: dict[str, float] = {}
    for key, value in terms.items():
        name = ".".join(key.split(".")[:2])
        sums[name] = sums.get(name, 0.0) + float(value.detach())
    return {"total": sum(sums.values()), **sums}


@contextmanager
def _fast_attention(device: torch.device) -> Iterator[None]:
    """On CPU the plain product trains faster than the fused kernel, whose backward is slow (0.27 s : 0.34 s)."""
    with sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext():
        yield


def train_from_config(
    name_or_path: str,
    *,
    output: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    progress: bool = True,
) -> Path:
    """Train, or go on training, and return the path of the checkpoint.

    `minutes` ends this run, not the training: calling again with the same `output` goes on where it stopped.
    Raises ConfigError, ModelError and DataError before any work starts.
    """
    launched = launched_processes()
    config = load_training_config(name_or_path, steps=steps, processes=launched if launched > 1 else None)
    folder = output or Path("runs") / config.name
    deadline = time.monotonic() + (minutes * 60 if minutes is not None else float("inf"))
    work = partial(_begin, config=config, folder=folder, deadline=deadline, progress=progress)
    if config.processes == 1:
        work(Peers())
    elif launched > 1:
        peers = Peers.join()
        try:
            work(peers)
        finally:
            peers.leave()
    else:
        # What is wrong is said here, in one line, and not by each; and what is made once is made here.
        Trainer(config, folder, Peers()).resume()
        samples = Samples(config, progress=progress)
        start(
            partial(run, samples=samples, folder=folder, deadline=deadline, progress=progress),
            config.processes,
        )
    return folder / "model.safetensors"


def _begin(peers: Peers, config: TrainingConfig, folder: Path, deadline: float, progress: bool) -> None:
    with peers.first_before_others():  # it renders what is not rendered yet
        samples = Samples(config, progress=progress and peers.first)
    run(peers, samples, folder, deadline, progress)


def run(peers: Peers, samples: Samples, folder: Path, deadline: float, progress: bool) -> None:
    """One process's part of a run, from the folder's state to the deadline or the last step."""
    config = samples.config
    trainer = Trainer(config, folder, peers)
    trainer.resume()
    folder.mkdir(parents=True, exist_ok=True)
    # A loader has one thread, the others are the trainer's; torch sees to its own. Here and not in the loader, where
    # OpenCV waits for ever for threads that a fork has not taken along.
    cv2.setNumThreads(1)
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=StepBatches(config, trainer.step, peers),
        num_workers=config.data.workers,
        collate_fn=samples.collate,
        prefetch_factor=max(2, 8 // config.data.workers) if config.data.workers else None,
        pin_memory=trainer.device.type == "cuda",
    )
    with _fast_attention(trainer.device):
        _steps(trainer, samples, iter(loader), deadline, progress and peers.first)
    if peers.first:
        trainer.save()


def _steps(
    trainer: Trainer,
    samples: Samples,
    batches: Iterator[tuple[Tensor, Targets]],
    deadline: float,
    progress: bool,
) -> None:
    saved = began = time.monotonic()
    first, pictures = trainer.peers.first, trainer.config.picture_steps
    with (
        Records(trainer.folder, trainer.step) if first else nullcontext() as records,
        tqdm(
            total=trainer.config.steps,
            initial=trainer.step,
            unit="step",
            mininterval=2.0,
            disable=not progress,
        ) as bar,
    ):
        for images, targets in batches:
            rate = trainer.rate
            terms = trainer.train_step(images, targets, samples.stride(trainer.step))
            now = time.monotonic()
            trainer.elapsed_s += now - began
            began = now
            bar.update()
            bar.set_postfix(loss=f"{terms['total']:.1f}")
            if records and trainer.step % RECORD_EVERY == 0:
                records.figures(trainer.step, trainer.elapsed_s, rate, terms)
            if records and pictures and trainer.step % pictures == 0:
                picture = sample_picture(trainer.result, trainer.config.tracker, samples.example())
                records.picture(trainer.step, picture)
            if trainer.peers.any(now > deadline):
                break
            if first and now - saved > SAVE_EVERY_S:
                trainer.save()
                saved = now
