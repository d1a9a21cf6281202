"""Changes of light, colour and picture quality by clip: what cameras and codecs do to a picture.

Owns no geometry: masks pass through untouched.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.clips import Clip

Frames = NDArray[np.uint8]


def photometric_jitter(clip: Clip, rng: np.random.Generator, *, strength: float = 1.0) -> Clip:
    """Change brightness, contrast, gamma, colour, and sometimes night, blur, noise and JPEG artefacts.

    `strength` scales the probabilities and the ranges; 0 changes nothing, 1 is the usual. The same change for
    all frames but for noise, whose pattern differs by frame. Raises ValueError when `strength` is negative.
    """
    if strength < 0:
        raise ValueError(f"strength must not be negative, not {strength}")
    images = clip.images
    steps = (
        (0.8, tone),
        (0.6, colour),
        (0.1, night),
        (0.2, blur),
        (0.2, noise),
        (0.3, compress),
    )
    for probability, step in steps:
        if rng.random() < probability * min(strength, 1.0):
            images = step(images, rng, strength)
    return replace(clip, images=images)


def tone(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """Brightness (by up to 20 %), contrast (x 0.7 to 1.4) and gamma (0.7 to 1.4) through one table."""
    contrast, gamma = np.exp(rng.uniform(-0.35, 0.35, size=2) * strength)
    brightness = rng.uniform(-0.2, 0.2) * strength
    levels = np.linspace(0, 1, 256) ** gamma
    return _through(images, (levels - 0.5) * contrast + 0.5 + brightness)


def colour(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """Saturation (x 0.5 to 1.5), hue (by up to 15 degrees) and white balance (x 0.88 to 1.13 a channel)."""
    balance = np.exp(rng.uniform(-0.12, 0.12, size=3) * strength)
    balanced = _through(images, np.linspace(0, 1, 256)[:, None] * balance)
    saturation = max(0.0, 1 + float(rng.uniform(-0.5, 0.5)) * strength)
    # 8-bit hue in OpenCV counts 2 degrees a step, 180 steps a circle.
    shift = round(float(rng.uniform(-7.5, 7.5)) * strength)
    hue_table = ((np.arange(256) + shift) % 180).astype(np.uint8)
    saturation_table = np.clip(np.arange(256) * saturation, 0, 255).astype(np.uint8)
    same = np.arange(256, dtype=np.uint8)
    table = np.stack([hue_table, saturation_table, same], axis=-1)[None]
    tall = cv2.cvtColor(_tall(balanced), cv2.COLOR_RGB2HSV)
    back = cv2.cvtColor(cv2.LUT(tall, table), cv2.COLOR_HSV2RGB)
    return back.astype(np.uint8, copy=False).reshape(images.shape)


def night(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """Darken to 25-60 %, cool the colours, and add the noise of a high gain."""
    level = float(rng.uniform(0.25, 0.6))
    levels = np.linspace(0, 1, 256)[:, None] ** 1.3 * level * np.array([0.85, 0.95, 1.15])
    return noise(_through(images, levels + 0.02), rng, strength)


def blur(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """Gaussian blur (sigma 0.4 to 1.5 pixels), of all directions or, half the time, of one."""
    sigma = 0.4 + float(rng.uniform(0, 1.1)) * strength
    tiny = 0.01
    sigmas = ((sigma, sigma), (sigma, tiny), (tiny, sigma))
    across, along = sigmas[int(rng.choice(3, p=(0.5, 0.35, 0.15)))]
    blurred = [cv2.GaussianBlur(image, (7, 7), across, sigmaY=along) for image in images]
    return np.asarray(blurred, dtype=np.uint8)


def noise(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """Gaussian noise with a standard deviation of 2 to 12 grey levels."""
    sigma = float(rng.uniform(2, 12)) * strength
    _, height, width, _ = images.shape
    # One tile, shifted by frame: drawing it for each frame costs more than all the rest.
    tile = (rng.standard_normal((height, width, 3), dtype=np.float32) * sigma).astype(np.int16)
    noisy = np.empty_like(images)
    for t, image in enumerate(images):
        shift = (int(rng.integers(height)), int(rng.integers(width)))
        noisy[t] = np.clip(image + np.roll(tile, shift, axis=(0, 1)), 0, 255)
    return noisy


def compress(images: Frames, rng: np.random.Generator, strength: float = 1.0) -> Frames:
    """JPEG artefacts at quality 25 to 80."""
    quality = int(np.clip(80 - rng.uniform(0, 55) * strength, 5, 95))
    decoded = [
        cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        for image in images
    ]
    return np.asarray(decoded, dtype=np.uint8)


def _tall(images: Frames) -> Frames:
    return np.ascontiguousarray(images).reshape(-1, images.shape[2], 3)


def _through(images: Frames, levels: NDArray[np.float64]) -> Frames:
    """Map grey levels through a table (256,) or (256, 3) with values in [0, 1]."""
    table = np.clip(levels * 255 + 0.5, 0, 255).astype(np.uint8)
    if table.ndim == 2:
        table = table[None]
    return cv2.LUT(_tall(images), table).astype(np.uint8, copy=False).reshape(images.shape)
