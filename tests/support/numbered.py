"""A model that says of each picture which one it is: the number that the picture carries, again, as a mask."""

from __future__ import annotations

import threading

import numpy as np

from stream.types import EngineAnswer, Frame, TrackedFrame, Window
from syncvis_online.types import Mask, Track, box_of_mask, encode_mask
from tests.support.rtsp_server import read_index

BITS = 12
ROW = 4
"""Squares from the picture's top to those of the mask; the row below has one that is always there."""


def number_mask(number: int, shape: tuple[int, int]) -> Mask:
    """Squares, as `index_frames` draws them, in a lower row: those of the bits that are set, and one more below."""
    side = shape[1] // BITS
    mask = np.zeros(shape, np.bool_)
    for bit in range(BITS):
        mask[ROW * side : (ROW + 1) * side, bit * side : (bit + 1) * side] = bool(number >> bit & 1)
    mask[(ROW + 2) * side : (ROW + 3) * side, :side] = True
    return mask


class NumberEngine:
    """An engine that reads the number of each picture. It fails on every `fails_every`-th window (0: never), and waits
    for `go_on` before each.
    """

    labels = ("number",)
    max_lost_s = 1.0
    window_frames = 2

    def __init__(self, *, stride: int = 1, fails_every: int = 0) -> None:
        self.stride = stride
        self.windows = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self._fails_every = fails_every

    def process(self, window: Window) -> EngineAnswer:
        """Answer the newest frames of a window."""
        self.go_on.wait()
        self.windows += 1
        if self._fails_every and self.windows % self._fails_every == 0:
            raise ValueError("this window is not answered")
        flags = (window.after,) if window.after in ("gap", "resize") else ()
        first, *others = window.frames[-window.answers :]
        answers = (_answer(first, flags), *(_answer(frame) for frame in others))
        return EngineAnswer(answers, {"decode": 0.001})

    def forget(self, camera: str) -> None:
        """It keeps nothing."""


def _answer(frame: Frame, flags: tuple[str, ...] = ()) -> TrackedFrame:
    mask = number_mask(read_index(frame.image), (frame.image.shape[0], frame.image.shape[1]))
    track = Track(1, "number", 0.9, encode_mask(mask), box_of_mask(mask))
    return TrackedFrame(
        camera=frame.camera,
        seq=frame.seq,
        pts=frame.pts,
        time_base=frame.time_base,
        captured_at_s=frame.captured_at_s,
        clock=frame.clock,
        tracks=(track,),
        image=frame.image,
        flags=(*flags, *frame.flags),
    )
