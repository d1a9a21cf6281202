"""One configured camera as a source of frames: opened, kept going, and observed.

Owns the joint between `stream.sources` and a pipeline: what is told to the log and to the statistics, and
which policy of reconnecting applies. Does not know what becomes of the frames.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from stream.camera_config import CameraConfig
from stream.errors import StreamError
from stream.sources import ReconnectPolicy, Source, Supervisor, open_source
from stream.sources.admitted import Admission
from stream.sources.packets import PacketTap
from stream.sources.published import Doorway
from stream.statistics import CameraStatistics
from stream.types import Frame

_log = logging.getLogger(__name__)


class CameraSource:
    """The frames of one camera over as many connections as it takes.

    `duration_s` ends it after so many seconds of captured time; `doorway` is where a publisher comes in; `admission` is
    asked about each connection. Raises ConfigError for an address that is none.
    """

    def __init__(
        self,
        camera: CameraConfig,
        statistics: CameraStatistics,
        *,
        policy: ReconnectPolicy,
        duration_s: float | None = None,
        doorway: Doorway | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.packets = PacketTap()
        """Its own encoded pictures, where it has some that may be shown."""
        tap = self.packets if camera.as_sent else None

        def factory() -> Source:
            return open_source(
                statistics.camera,
                camera.url,
                options=camera,
                realtime=camera.realtime,
                tap=tap,
                doorway=doorway,
                admission=admission,
            )

        # Opens nothing yet, but refuses a wrong address now and not when the service runs.
        self.paced = factory().live or camera.realtime
        self._duration_s = duration_s
        self._statistics = statistics
        self._supervisor = Supervisor(factory, policy=policy, observer=_Observer(statistics, policy))

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """The camera's frames; see `stream.sources.Supervisor`."""
        end_s: float | None = None
        async with aclosing(self._supervisor.frames()) as frames:
            async for frame in frames:
                self._statistics.behind(frame.lag_s)
                if self._duration_s is not None:
                    end_s = frame.captured_at_s + self._duration_s if end_s is None else end_s
                    if frame.captured_at_s >= end_s:
                        return
                yield frame


class _Observer:
    """Tells the statistics and the log what the supervisor sees."""

    def __init__(self, statistics: CameraStatistics, policy: ReconnectPolicy) -> None:
        self._statistics = statistics
        self._policy = policy

    def on_state(self, up: bool) -> None:
        self._statistics.up(up)
        _log.info("camera %s is %s", self._statistics.camera, "up" if up else "down")

    def on_reconnect(self, reason: str) -> None:
        self._statistics.reconnected(reason)

    def on_drop(self, cause: str, count: int) -> None:
        self._statistics.dropped(cause, count)

    def on_error(self, error: StreamError) -> None:
        self._statistics.error(str(error))
        if self._policy.fail_first and not self._statistics.status().received:
            return  # it is raised, and whoever catches it says it
        _log.warning("camera %s: %s", self._statistics.camera, error)
