"""An engine for what is measured without a model: the pipeline and what hands it on."""

from __future__ import annotations

from stream.types import EngineAnswer, TrackedFrame, Window


class NoModel:
    """Takes no time and sees nothing."""

    labels: tuple[str, ...] = ()
    window_frames, stride, max_lost_s = 2, 1, 2.0

    def process(self, window: Window) -> EngineAnswer:
        """The frames, with nothing on them."""
        frames = window.frames[-window.answers :]
        return EngineAnswer(
            tuple(
                TrackedFrame(f.camera, f.seq, f.pts, f.time_base, f.captured_at_s, f.clock, (), f.image)
                for f in frames
            ),
            {},
        )

    def forget(self, camera: str) -> None:
        """Nothing is kept."""
