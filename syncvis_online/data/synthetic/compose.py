"""Puts the sprites into the picture, farthest first, and keeps whose pixel each one is.

Owns the painter's order, shadows, haze and the map of visible pixels. The picture it works on is `pad`
pixels larger on every side than the frame, so that the camera can shake.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from syncvis_online.data.synthetic.actors import Actor
from syncvis_online.data.synthetic.camera import Camera, Light
from syncvis_online.data.synthetic.occluders import Occluder
from syncvis_online.data.synthetic.sprites import SpriteCache
from syncvis_online.types import Image

Alpha = NDArray[np.uint8]
_OPAQUE = 127
_SHADOW_STEP = 2


@dataclass(slots=True)
class Layer:
    """A sprite at its place: `rgba` premultiplied, its top left pixel at (`x`, `y`) of the padded picture."""

    rgba: Image
    x: int
    y: int


class Composer:
    """`still` is the background with the occluders already in it; `compose` adds the actors."""

    def __init__(
        self, still: Image, occluders: Sequence[Occluder], camera: Camera, light: Light, pad: int
    ) -> None:
        self._camera, self._light, self._pad = camera, light, pad
        self._height = still.shape[0] - 2 * pad
        self.sprites = SpriteCache()
        self._layers = [(o.z_m, self._still_layer(o)) for o in occluders]
        self._still = self._bake(still, occluders)
        self._receives = self._receiver(still.shape[:2])

    def compose(self, actors: Sequence[Actor]) -> tuple[Image, Alpha, list[Layer]]:
        """The picture without camera effects, the map of owners (0 nobody, k the k-th of `actors`), the
        layers."""
        layers = [self._layer(actor) for actor in actors]
        picture = self._with_shadows(actors)
        owners = np.zeros(picture.shape[:2], np.uint8)
        touched = np.zeros(picture.shape[:2], np.uint8)
        order = [(a.z_m, 1, k) for k, a in enumerate(actors)] + [
            (z, 0, k) for k, (z, _) in enumerate(self._layers)
        ]
        rects: list[tuple[int, int, int, int]] = []
        for _, is_actor, k in sorted(order, reverse=True):
            if is_actor:
                rect = _paint_actor(picture, owners, touched, layers[k], k + 1)
                if rect is not None:
                    rects.append(rect)
            else:
                _paint_occluder(picture, owners, touched, self._layers[k][1], rects)
        return picture, owners, layers

    def _layer(self, actor: Actor) -> Layer:
        """Scale the sprite to its place with a sub-pixel shift, and put the air between it and the camera."""
        sprite = self.sprites.get(actor, self._camera.scale(actor.z_m) * self._height)
        scale = self._camera.scale(actor.z_m) * self._height / sprite.px_per_m
        flip = -1.0 if actor.mirrored else 1.0
        fx, fy = self._foot(actor)
        h, w = sprite.alpha.shape
        left = fx - scale * (sprite.origin[0] if flip > 0 else w - sprite.origin[0])
        top = fy - scale * sprite.origin[1]
        x, y = math.floor(left), math.floor(top)
        shift = np.asarray(
            [
                [flip * scale, 0, fx - x - flip * scale * sprite.origin[0]],
                [0, scale, fy - y - scale * sprite.origin[1]],
            ]
        )
        size = (math.ceil(w * scale) + 2, math.ceil(h * scale) + 2)
        rgba = np.asarray(cv2.warpAffine(sprite.rgba, shift, size, flags=cv2.INTER_LINEAR), np.uint8)
        return Layer(self._hazed(rgba, actor.z_m), x, y)

    def _foot(self, actor: Actor) -> tuple[float, float]:
        z = actor.z_m
        x = self._camera.screen_x(actor.x_m, z) * self._height + self._pad
        y = (self._camera.ground_y(z) - actor.altitude_m * self._camera.scale(z)) * self._height + self._pad
        return x, y

    def _hazed(self, rgba: Image, z_m: float) -> Image:
        veil = 0.75 * (1 - math.exp(-z_m / self._light.haze_m))
        r, g, b = (v * veil / 255 for v in self._light.haze)
        keep = 1 - veil
        matrix = np.asarray([[keep, 0, 0, r], [0, keep, 0, g], [0, 0, keep, b], [0, 0, 0, 1]], np.float32)
        return np.asarray(cv2.transform(rgba, matrix), np.uint8)

    def _still_layer(self, occluder: Occluder) -> Layer:
        z, sprite = occluder.z_m, occluder.sprite
        scale = self._camera.scale(z) * self._height / sprite.px_per_m
        rgba = sprite.rgba
        if scale != 1.0:
            rgba = np.asarray(
                cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8
            )
        x = self._camera.screen_x(occluder.x_m, z) * self._height + self._pad - sprite.origin[0] * scale
        y = self._camera.ground_y(z) * self._height + self._pad - sprite.origin[1] * scale
        return Layer(self._hazed(rgba, z), round(x), round(y))

    def _bake(self, still: Image, occluders: Sequence[Occluder]) -> Image:
        shadow = np.zeros(tuple(-(-n // _SHADOW_STEP) for n in still.shape[:2]), np.uint8)
        for occluder in occluders:
            sprite = occluder.sprite
            foot = (
                self._camera.screen_x(occluder.x_m, occluder.z_m) * self._height + self._pad,
                self._camera.ground_y(occluder.z_m) * self._height + self._pad,
            )
            scale = self._camera.scale(occluder.z_m) * self._height / sprite.px_per_m
            self._cast(shadow, sprite.alpha, sprite.origin, scale, foot, 0.0)
        baked = self._darken(still, shadow)
        for _, layer in self._layers:
            clip = _clip(layer, baked.shape[:2])
            if clip is not None:
                (x0, y0, x1, y1), part = clip
                _blend(baked[y0:y1, x0:x1], part)
        return baked

    def _receiver(self, shape: tuple[int, ...]) -> Alpha:
        """255 where a moving shadow may fall: on the ground, not on what stands in front of it."""
        receiver = np.full(shape, 255, np.uint8)
        first = math.floor(self._camera.ground_y(1e4) * self._height) + self._pad
        receiver[: max(first, 0)] = 0
        for _, layer in self._layers:
            clip = _clip(layer, shape)
            if clip is not None:
                (x0, y0, x1, y1), part = clip
                receiver[y0:y1, x0:x1] = np.minimum(receiver[y0:y1, x0:x1], 255 - part[..., 3])
        return np.ascontiguousarray(receiver[::_SHADOW_STEP, ::_SHADOW_STEP])

    def _with_shadows(self, actors: Sequence[Actor]) -> Image:
        shadow = np.zeros_like(self._receives)
        for actor in actors:
            scale_px = self._camera.scale(actor.z_m) * self._height
            sprite = self.sprites.get(actor, scale_px)
            foot = (self._foot(actor)[0], self._camera.ground_y(actor.z_m) * self._height + self._pad)
            if actor.altitude_m == 0:
                flip = -1.0 if actor.mirrored else 1.0
                self._cast(shadow, sprite.alpha, sprite.origin, scale_px / sprite.px_per_m, foot, flip)
            self._contact(shadow, actor, foot, scale_px)
        falling = np.asarray(cv2.multiply(shadow, self._receives, scale=1 / 255), np.uint8)
        return self._darken(self._still, falling)

    def _cast(
        self,
        shadow: Alpha,
        alpha: Alpha,
        origin: tuple[float, float],
        scale: float,
        foot: tuple[float, float],
        flip: float,
    ) -> None:
        """Lay the silhouette down on the ground, away from the light."""
        flip = flip or 1.0
        s = scale / _SHADOW_STEP
        kx, ky = self._light.shadow_x * s, -self._light.shadow_y * s
        fx, fy = foot[0] / _SHADOW_STEP, foot[1] / _SHADOW_STEP
        h, w = alpha.shape
        corners = [
            (flip * s * (u - origin[0]) + kx * (origin[1] - v), ky * (origin[1] - v))
            for u in (0, w)
            for v in (0, h)
        ]
        x0, y0 = math.floor(fx + min(c[0] for c in corners)), math.floor(fy + min(c[1] for c in corners))
        x1, y1 = math.ceil(fx + max(c[0] for c in corners)), math.ceil(fy + max(c[1] for c in corners))
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, shadow.shape[1]), min(y1, shadow.shape[0])
        if x1 <= x0 or y1 <= y0:
            return
        matrix = np.asarray(
            [
                [flip * s, -kx, fx - x0 - flip * s * origin[0] + kx * origin[1]],
                [0, -ky, fy - y0 + ky * origin[1]],
            ]
        )
        part = cv2.warpAffine(alpha, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
        roi = shadow[y0:y1, x0:x1]
        np.maximum(roi, part, out=roi)

    def _contact(self, shadow: Alpha, actor: Actor, foot: tuple[float, float], scale_px: float) -> None:
        """The dark patch right under a body, also where the sun is hidden."""
        left, right = actor.look.extent[:2]
        width = (
            (0.36 if actor.look.label in ("car", "truck", "bicycle") else 0.17) * (right - left) * scale_px
        )
        centre = (round(foot[0] / _SHADOW_STEP * 16), round(foot[1] / _SHADOW_STEP * 16))
        axes = (round(width / _SHADOW_STEP * 16), round(0.16 * width / _SHADOW_STEP * 16))
        if max(abs(centre[0]), abs(centre[1])) < 32000 * 16:
            cv2.ellipse(shadow, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA, 4)

    def _darken(self, picture: Image, shadow: Alpha) -> Image:
        soft = cv2.GaussianBlur(shadow, (5, 5), 0)
        light = cv2.convertScaleAbs(soft, alpha=-self._light.shadow_strength, beta=255)
        full = cv2.resize(light, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.asarray(
            cv2.multiply(picture, cv2.cvtColor(full, cv2.COLOR_GRAY2RGB), scale=1 / 255), np.uint8
        )


def _clip(layer: Layer, shape: tuple[int, ...]) -> tuple[tuple[int, int, int, int], Image] | None:
    h, w = layer.rgba.shape[:2]
    x0, y0, x1, y1 = max(layer.x, 0), max(layer.y, 0), min(layer.x + w, shape[1]), min(layer.y + h, shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    return (x0, y0, x1, y1), layer.rgba[y0 - layer.y : y1 - layer.y, x0 - layer.x : x1 - layer.x]


def _blend(roi: Image, part: Image) -> None:
    """Paint premultiplied `part` over `roi`, in place."""
    rest = cv2.cvtColor(cv2.bitwise_not(part[..., 3]), cv2.COLOR_GRAY2RGB)
    under = cv2.multiply(np.ascontiguousarray(roi), rest, scale=1 / 255)
    roi[:] = cv2.add(under, np.ascontiguousarray(part[..., :3]))


def _paint_actor(
    picture: Image, owners: Alpha, touched: Alpha, layer: Layer, owner: int
) -> tuple[int, int, int, int] | None:
    clip = _clip(layer, picture.shape[:2])
    if clip is None:
        return None
    (x0, y0, x1, y1), part = clip
    _blend(picture[y0:y1, x0:x1], part)
    alpha = part[..., 3]
    owners[y0:y1, x0:x1][alpha > _OPAQUE] = owner
    touched[y0:y1, x0:x1] |= (alpha > 0).view(np.uint8)
    return (x0, y0, x1, y1)


def _paint_occluder(
    picture: Image, owners: Alpha, touched: Alpha, layer: Layer, rects: Sequence[tuple[int, int, int, int]]
) -> None:
    """Repaint the occluder only where an actor has been painted: elsewhere the still picture shows it
    already."""
    clip = _clip(layer, picture.shape[:2])
    if clip is None:
        return
    (x0, y0, x1, y1), part = clip
    hit = [(max(a, x0), max(b, y0), min(c, x1), min(d, y1)) for a, b, c, d in rects]
    hit = [r for r in hit if r[2] > r[0] and r[3] > r[1]]
    if not hit:
        return
    u0, v0, u1, v1 = (
        min(r[0] for r in hit),
        min(r[1] for r in hit),
        max(r[2] for r in hit),
        max(r[3] for r in hit),
    )
    part = part[v0 - y0 : v1 - y0, u0 - x0 : u1 - x0]
    roi = picture[v0:v1, u0:u1]
    mixed = roi.copy()
    _blend(mixed, part)
    cv2.copyTo(mixed, touched[v0:v1, u0:u1], roi)
    owners[v0:v1, u0:u1][part[..., 3] > _OPAQUE] = 0
