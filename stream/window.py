"""Rolling windows over one camera's frames: which frames the decoder sees together, and which it answers.

Owns the window rules and nothing else: pure, without a clock, a thread or a model. Time is only what the
frames say (`captured_at_s`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from stream.types import Break, Frame, Policy, Window


class RollingWindows:
    """Cuts a camera's frames into windows of at most `window_frames` (Ts), a new one every `stride` (s)
    frames.

    - Every frame pushed is answered exactly once, in order: a window answers the frames that are new in it.
    - Frames that are pushed together (`extend`) are answered together: where frames come faster than answers, that
      widens the stride.
    - Before Ts frames are there, and after a discontinuity, a window holds the frames there are (1 to Ts).
    - No window spans a discontinuity. Frames still unanswered then, and at the end, come in a short tail.

    A discontinuity (`Break`) is a frame that says so or a captured time that jumps ahead by more than `max_gap_s`
    seconds, or goes back (where the clock changes from arrival to the camera's own, only by more than `max_gap_s`): a
    gap; another picture size; a frame flagged "cut"; and the first one after frames flagged "stale". `policies` says
    what each does to identities ("age" where it does not). A stride above Ts would leave frames unanswered and is
    refused with ValueError.
    """

    def __init__(
        self,
        window_frames: int,
        stride: int = 1,
        *,
        max_gap_s: float = 1.0,
        policies: Mapping[Break, Policy] | None = None,
    ) -> None:
        if window_frames < 1:
            raise ValueError(f"a window holds at least one frame, not {window_frames}")
        if not 1 <= stride <= window_frames:
            raise ValueError(
                f"the stride must be 1 to {window_frames} (the frames of a window), not {stride}"
            )
        if max_gap_s <= 0:
            raise ValueError(f"max_gap_s must be above 0, not {max_gap_s}")
        self.window_frames = window_frames
        self.stride = stride
        self.max_gap_s = max_gap_s
        self._frames: deque[Frame] = deque(maxlen=window_frames)
        self._policies = policies or {}
        self._unanswered = 0
        self._after: Break | None = None

    @property
    def unanswered(self) -> int:
        """How many of the newest frames no window has answered yet."""
        return self._unanswered

    def push(self, frame: Frame) -> Window | None:
        """Add the newest frame; the window that is now due, or None.

        At a discontinuity the window is the old stretch's tail, if one is left. With stride 1 none ever is,
        and with a longer stride the new frame alone completes no window: so one push never makes two windows.
        """
        windows = self.extend((frame,))
        return windows[0] if windows else None

    def extend(self, frames: Iterable[Frame]) -> list[Window]:
        """Add the newest frames, in order; the windows that are now due, one but for discontinuities. Those between two
        breaks are answered together, as far as they fit a window.
        """
        due = []
        for frame in frames:
            found = self._break_before(frame)
            if found is not None or self._unanswered == self.window_frames:
                due.append(self.flush())
            if found is not None:
                self._frames.clear()
                self._after = found
            self._frames.append(frame)
            self._unanswered += 1
        if self._unanswered >= self.stride:
            due.append(self.flush())
        return [window for window in due if window is not None]

    def flush(self) -> Window | None:
        """The window that answers all frames not answered yet, or None when there are none."""
        if not self._unanswered:
            return None
        after, self._after = self._after, None
        policy = self._policies.get(after, "age") if after else "age"
        window = Window(tuple(self._frames), self._unanswered, after, policy)
        self._unanswered = 0
        return window

    def _break_before(self, frame: Frame) -> Break | None:
        last = self._frames[-1] if self._frames else None
        if last is not None and frame.image.shape != last.image.shape:
            return "resize"
        if frame.discontinuity:
            return "gap"
        if last is None:
            return None
        step_s = frame.captured_at_s - last.captured_at_s
        most_back_s = 0.0 if frame.clock == last.clock else self.max_gap_s
        if step_s > self.max_gap_s or step_s < -most_back_s:
            return "gap"
        if "cut" in frame.flags:
            return "cut"
        return "stale" if "stale" in last.flags and "stale" not in frame.flags else None
