"""Sprites kept for poses that come again: bounded by bytes, least recently used thrown out first."""

from __future__ import annotations

import math
from collections import OrderedDict

from syncvis_online.data.synthetic.actors import Actor
from syncvis_online.data.synthetic.canvas import Canvas, Sprite
from syncvis_online.data.synthetic.looks import Pose

_LIMIT_BYTES = 48 * 2**20
Key = tuple[int, Pose, int]


class SpriteCache:
    """Draws each pose at sizes that grow by the square root of two; the composer scales down from there."""

    def __init__(self, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._sprites: OrderedDict[Key, Sprite] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._sprites)

    def get(self, actor: Actor, px_per_m: float) -> Sprite:
        """The actor's sprite, of at least `px_per_m` and at most 1.42 times that."""
        step = math.ceil(2 * math.log2(px_per_m))
        key = (actor.appearance, actor.pose(), step)
        sprite = self._sprites.get(key)
        if sprite is not None:
            self._sprites.move_to_end(key)
            return sprite
        canvas = Canvas(actor.look.extent, 2 ** (step / 2))
        actor.look.paint(canvas, key[1])
        sprite = canvas.finish()
        self._sprites[key] = sprite
        self.nbytes += sprite.nbytes
        while self.nbytes > self._limit and len(self._sprites) > 1:
            self.nbytes -= self._sprites.popitem(last=False)[1].nbytes
        return sprite
