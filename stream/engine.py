"""The only file of the live side that knows torch and the model: windows in, tracked frames out."""

from __future__ import annotations

from typing import Protocol

from stream.types import EngineAnswer, Window


class Engine(Protocol):
    """What the pipeline needs of an engine. All methods block; call them from one worker thread."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the model's logits."""
        ...

    @property
    def window_frames(self) -> int:
        """Ts: the most frames that a window holds."""
        ...

    @property
    def stride(self) -> int:
        """s: a new window starts every s frames."""
        ...

    def process(self, window: Window) -> EngineAnswer:
        """Answer the newest `window.answers` frames. State is kept for each `Frame.camera`."""
        ...

    def forget(self, camera: str) -> None:
        """Drop all state of a camera that was removed."""
        ...
