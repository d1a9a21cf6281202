"""Traces of frames' ways, capture to publication, for an OpenTelemetry collector (OTLP over HTTP; extra `tracing`).

Owns which frames are traced and what a trace says. Off unless configured.
Spans are made when a frame is published, of the times that it carries. Does not know how those were measured.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from stream.config import TracingConfig
from stream.errors import ConfigError
from stream.metrics import STAGES, package_version
from stream.types import TrackedFrame

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

_log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 1.0
"""What the collector gets to take the last spans."""


class Tracing:
    """Makes traces of frames. Raises ConfigError where the extra is not installed."""

    def __init__(self, config: TracingConfig) -> None:
        self._provider = _provider(config)
        self._tracer = self._provider.get_tracer("syncvis_online", package_version())

    def frame(self, frame: TrackedFrame, began_at_s: float) -> str | None:
        """Trace a frame that was published; its trace's id (32 hexadecimal digits), or None for one that is not traced.

        `began_at_s`: Unix time of its capture, or of its decoding where it has none. Stages are laid end to end: what
        is known is how long each took.
        """
        end_s = frame.published_at_s
        attributes: dict[str, AttributeValue] = {
            "syncvis.camera": frame.camera,
            "syncvis.frame.seq": frame.seq,
            "syncvis.frame.clock": frame.clock,
            "syncvis.frame.flags": list(frame.flags),
            "syncvis.tracks": len(frame.tracks),
        }
        span = self._tracer.start_span("frame", start_time=_ns(min(began_at_s, end_s)), attributes=attributes)
        context = span.get_span_context()
        if not context.trace_flags.sampled:
            return None
        from opentelemetry.trace import set_span_in_context

        inside, at_s = set_span_in_context(span), began_at_s
        for stage in (stage for stage in STAGES if stage in frame.stages_s):
            child = self._tracer.start_span(stage, context=inside, start_time=_ns(at_s))
            at_s += frame.stages_s[stage]
            child.end(_ns(at_s))
        span.end(_ns(end_s))
        return f"{context.trace_id:032x}"

    def close(self) -> None:
        """Send what was not sent yet, as far as there is time. Blocks for `CLOSE_TIMEOUT_S` at most."""
        # The library's own limits do not hold where a collector takes the connection and never answers: what waits for
        # it then is left behind, and ends with the process.
        sending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_TIMEOUT_S)
        if sending.is_alive():
            _log.warning("tracing: the last spans did not reach the collector")


@asynccontextmanager
async def tracing(config: TracingConfig | None) -> AsyncIterator[Tracing | None]:
    """Traces while inside; None where none are configured. Raises ConfigError; see `Tracing`."""
    if config is None:
        yield None
        return
    made = Tracing(config)
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)


def _provider(config: TracingConfig) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
    except ImportError as error:
        raise ConfigError("tracing: needs the extra: pip install 'syncvis-online[tracing]'") from error
    about = {"service.name": config.service, "service.version": package_version()}
    # Not the process's global provider: whoever embeds this service has one of their own.
    provider = TracerProvider(
        sampler=TraceIdRatioBased(config.ratio), resource=Resource.create(about), shutdown_on_exit=False
    )
    exporter = OTLPSpanExporter(
        endpoint=config.endpoint, headers=dict(config.headers), timeout=config.timeout_s
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _ns(at_s: float) -> int:
    """Unix time in nanoseconds; no clock here is exact to more than microseconds."""
    return round(at_s * 1e6) * 1000
