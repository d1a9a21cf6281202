"""Light that drifts, clouds that pass, sensor noise and the shake of the camera: what changes the whole
picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.synthetic.background import clouds
from syncvis_online.data.synthetic.camera import Light
from syncvis_online.data.synthetic.level import LevelConfig
from syncvis_online.types import Image

_NEUTRAL = 128.0
_COARSE = 16
_NOISE_MARGIN = 61
_CLOUD_WIDTH = 256
_CLOUD_BLEND = 48


class Lighting:
    """A slow gain of each colour, the shade of moving clouds, and a darker rim (vignette)."""

    def __init__(self, level: LevelConfig, light: Light, seed: int, size: tuple[int, int]) -> None:
        rng = np.random.default_rng([seed, 201])
        self._level, self._light, self._size = level, light, size
        self._periods = rng.uniform(4.0, 23.0, 4)
        self._phases = rng.uniform(0, 2 * math.pi, 4)
        field = clouds(rng, (64, _CLOUD_WIDTH + _CLOUD_BLEND))
        ramp = np.linspace(0, 1, _CLOUD_BLEND, dtype=np.float32)
        # The left rim fades into what follows the right one, so that the clouds come round without a seam.
        field[:, :_CLOUD_BLEND] = field[:, :_CLOUD_BLEND] * ramp + field[:, _CLOUD_WIDTH:] * (1 - ramp)
        self._cloud = np.hstack([field[:, :_CLOUD_WIDTH], field[:, :1]])
        self._wind = float(rng.uniform(2.0, 6.0)) * (1 if rng.random() < 0.5 else -1)
        h, w = self._coarse()
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        r2 = ((x / max(w - 1, 1) - 0.5) ** 2 + (y / max(h - 1, 1) - 0.5) ** 2) * 2
        self._vignette = (1.04 - 0.13 * r2).astype(np.float32)[..., None]

    def _coarse(self) -> tuple[int, int]:
        return max(4, self._size[0] // _COARSE), max(4, self._size[1] // _COARSE)

    def apply(self, image: Image, time_s: float) -> Image:
        """The picture in the light of `time_s`; uint8 (H, W, 3) in and out."""
        h, w = self._coarse()
        waves = np.sin(2 * math.pi * time_s / self._periods + self._phases)
        swing = self._level.lighting_amplitude
        brightness = 1 + swing * (0.6 * waves[0] + 0.4 * waves[1])
        warmth = 0.35 * swing * waves[2]
        gain = np.asarray(self._light.gain) * brightness * (1 + warmth, 1.0, 1 - warmth)
        shift = (self._wind * time_s) % _CLOUD_WIDTH
        u = np.asarray((np.arange(w, dtype=np.float32) * (40.0 / w) + shift) % _CLOUD_WIDTH, np.float32)
        v = np.arange(h, dtype=np.float32) * (30.0 / h)
        shade = cv2.remap(
            self._cloud,
            np.broadcast_to(u, (h, w)).copy(),
            np.broadcast_to(v[:, None], (h, w)).copy(),
            cv2.INTER_LINEAR,
        )
        shade = 1 - self._level.cloud_amplitude * np.clip(shade, -0.6, 1.0)[..., None]
        coarse = np.clip(gain.astype(np.float32) * shade * self._vignette * _NEUTRAL, 0, 255).astype(np.uint8)
        fine = cv2.resize(coarse, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(image, fine, scale=1 / _NEUTRAL), np.uint8)


class SensorNoise:
    """Adds noise from a tile drawn once, at a place that changes with each frame."""

    def __init__(self, sigma: float, seed: int, size: tuple[int, int]) -> None:
        rng = np.random.default_rng([seed, 202])
        self._rng, self._size = rng, size
        shape = (size[0] + _NOISE_MARGIN, size[1] + _NOISE_MARGIN, 3)
        noise = rng.standard_normal(shape, dtype=np.float32)
        noise = 0.65 * sigma * noise + 0.75 * sigma * rng.standard_normal((*shape[:2], 1), dtype=np.float32)
        self._up = np.clip(np.round(noise), 0, 255).astype(np.uint8)
        self._down = np.clip(np.round(-noise), 0, 255).astype(np.uint8)

    def apply(self, image: Image) -> Image:
        y, x = (int(v) for v in self._rng.integers(0, _NOISE_MARGIN, 2))
        h, w = self._size
        brighter = cv2.add(image, self._up[y : y + h, x : x + w])
        return np.asarray(cv2.subtract(brighter, self._down[y : y + h, x : x + w]), np.uint8)


class Shake:
    """A hand or the wind: a sum of sines, at most `limit_px` pixels either way."""

    def __init__(self, limit_px: float, seed: int) -> None:
        rng = np.random.default_rng([seed, 203])
        self._limit = limit_px
        self._rates: NDArray[np.float64] = rng.uniform(0.15, 1.7, (2, 3))
        self._phases: NDArray[np.float64] = rng.uniform(0, 2 * math.pi, (2, 3))

    def at(self, time_s: float) -> tuple[float, float]:
        """The shift (x, y) in pixels of the picture's content at `time_s`."""
        waves = np.sin(2 * math.pi * self._rates * time_s + self._phases) @ np.asarray((0.5, 0.3, 0.2))
        return float(waves[0]) * self._limit, float(waves[1]) * self._limit
