"""Paths of pasted cut-outs: where an object is on each frame, how large and how turned.

Owns the kinds of motion that tell trackers apart: crossings, full occlusion, leaving and coming back,
look-alikes side by side. Knows no pictures. Positions are in units of the picture (0 to 1 is inside).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """Pose by frame, each (T,): centre `x`, `y` in shares of width and height, `height` in shares of the
    picture's height, `turn` in degrees counter-clockwise, constant `mirrored`."""

    x: Floats
    y: Floats
    height: Floats
    turn: Floats
    mirrored: bool


def random_path(T: int, rng: np.random.Generator) -> ObjectPath:
    """A path of a random kind for T frames."""
    kinds: tuple[Callable[[Floats, np.random.Generator], tuple[Floats, Floats]], ...] = (
        _drift,
        _cross,
        _leave_and_return,
        _enter_or_leave,
    )
    phase = np.linspace(0, 1, T)
    kind = kinds[int(rng.choice(len(kinds), p=(0.4, 0.25, 0.2, 0.15)))]
    x, y = kind(phase, rng)
    return _with_pose(x, y, rng, height=float(np.exp(rng.uniform(np.log(0.15), np.log(0.95)))))


def occluder_path(other: ObjectPath, rng: np.random.Generator) -> ObjectPath:
    """A path that meets `other` near the middle of the clip, as large or larger, coming across."""
    T = len(other.x)
    meeting = int(rng.integers(T // 3, max(T // 3 + 1, 2 * T // 3 + 1)))
    phase = np.linspace(0, 1, T)
    reach = float(rng.uniform(0.3, 0.9)) * (1 if rng.random() < 0.5 else -1)
    x = other.x[meeting] + reach * (phase - phase[meeting])
    y = other.y[meeting] + rng.normal(0, 0.03) + rng.normal(0, 0.05) * (phase - phase[meeting])
    height = float(np.clip(other.height[meeting] * rng.uniform(0.95, 1.5), 0.15, 1.2))
    return _with_pose(x, y, rng, height=height)


def companion_path(other: ObjectPath, rng: np.random.Generator) -> ObjectPath:
    """A path beside `other` that may swap sides with it: for look-alikes."""
    T = len(other.x)
    side = float(rng.uniform(0.1, 0.3)) * (1 if rng.random() < 0.5 else -1)
    swing = np.linspace(1, float(rng.choice((1.0, 0.4, -1.0))), T)
    height = float(other.height.mean() * rng.uniform(0.85, 1.15))
    posed = _with_pose(other.x + side * swing, other.y + rng.normal(0, 0.03), rng, height=height)
    return ObjectPath(
        posed.x, posed.y, posed.height, posed.turn, other.mirrored if rng.random() < 0.5 else posed.mirrored
    )


def _with_pose(x: Floats, y: Floats, rng: np.random.Generator, *, height: float) -> ObjectPath:
    T = len(x)
    phase = np.linspace(0, 1, T)
    growth = np.exp(rng.normal(0, 0.12) * (phase - 0.5))
    sway = rng.normal(0, 2.5) + rng.normal(0, 2.0) * np.sin(
        2 * np.pi * (phase * rng.uniform(0.3, 1.5) + rng.random())
    )
    bob = rng.normal(0, 0.006) * np.sin(2 * np.pi * (np.arange(T) * rng.uniform(0.1, 0.4) + rng.random()))
    return ObjectPath(x, y + bob, height * growth, sway, bool(rng.random() < 0.5))


def _start(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.25, 0.85))


def _drift(phase: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Slow to brisk in one direction, with a bend: 0 to 5 % of the picture a frame."""
    x0, y0 = _start(rng)
    speed = float(rng.exponential(0.015)) * (len(phase) - 1)
    angle = float(rng.uniform(0, 2 * np.pi))
    bend = rng.normal(0, 0.3) * speed
    middle = phase - 0.5
    x = x0 + speed * np.cos(angle) * middle - bend * np.sin(angle) * middle**2
    y = y0 + 0.5 * (speed * np.sin(angle) * middle + bend * np.cos(angle) * middle**2)
    return x, y


def _cross(phase: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """From one side over the middle to the other, all or part of the way."""
    x0, y0 = float(rng.uniform(-0.1, 0.3)), float(rng.uniform(0.3, 0.8))
    x1 = float(rng.uniform(0.55, 1.1))
    share = min(1.0, 0.08 * len(phase))
    x = 0.5 + ((x0 + (x1 - x0) * phase) - 0.5) * share
    if rng.random() < 0.5:
        x = 1 - x
    return x, y0 + rng.normal(0, 0.06) * phase


def _leave_and_return(phase: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Out over the left or right edge and back in again."""
    # Short clips go shorter ways, or every return would be a leap.
    reach = min(0.4, 0.08 + 0.02 * len(phase))
    inside, y0 = float(rng.uniform(0.05, reach)), float(rng.uniform(0.3, 0.8))
    outside = -float(rng.uniform(0.08, reach))
    out = np.sin(np.pi * phase) ** float(rng.uniform(0.5, 1.5))
    x = inside + (outside - inside) * out
    return (x if rng.random() < 0.5 else 1 - x), y0 + rng.normal(0, 0.08) * phase


def _enter_or_leave(phase: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """In over an edge and staying, or the other way round."""
    reach = min(1.0, 0.08 * len(phase))
    x0, x1 = -float(rng.uniform(0.1, 0.3)), float(rng.uniform(0.15, 0.7)) * reach
    x = x0 + (x1 - x0) * phase
    y = float(rng.uniform(0.3, 0.8)) + rng.normal(0, 0.06) * phase
    if rng.random() < 0.5:
        x = x[::-1].copy()
    return (x if rng.random() < 0.5 else 1 - x), y
