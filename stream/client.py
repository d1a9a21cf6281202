"""Tracks and events of a server, in a program of one's own:

    async for frame in subscribe("http://host:8080", camera="door", label="person"):
        print(frame.seq, [(track.id, track.box) for track in frame.tracks])

Owns the connection: opens it again, with growing back-off, whenever it ends. Needs neither the model nor a camera.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from stream.errors import ConfigError, SourceInvalid, SourceNotFound, SourceUnauthorized
from stream.events import TrackEvent, decode_event
from stream.sources import ReconnectPolicy
from stream.wire import WireFrame, decode

_log = logging.getLogger(__name__)

Names = str | Iterable[str] | None
Item = TypeVar("Item", WireFrame, TrackEvent)
RETRY = ReconnectPolicy(initial_delay_s=0.5, max_delay_s=30.0, healthy_after_s=10.0)
_MAX_BYTES = 64 * 2**20
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def subscribe(
    url: str,
    *,
    camera: Names = None,
    label: Names = None,
    min_score: float = 0.0,
    token: str | None = None,
    retry: ReconnectPolicy = RETRY,
) -> AsyncGenerator[WireFrame, None]:
    """Each tracked frame of a server from now on, beginning with the newest; one that is slow skips frames.

    Args:
        url: the server's address, e.g. "http://host:8080" or "https://host/below/a/path".
        camera: only of this camera, or of these; None: of all.
        label: only tracks of this class, or of these; None: of all. Frames come whatever is left on them.
        min_score: only tracks that are at least so confident, 0 to 1.
        token: one of the server's `server.tokens`.
        retry: when to connect again after the connection ended or could not be made.

    Raises ConfigError at once for an address that cannot be. The iteration, which ends only when it is left, raises
    SourceUnauthorized when the server wants another token, SourceNotFound when it has no such camera, SourceInvalid
    when what answers is no such server, DataError when it sends another form.
    """
    address = _address(url, "tracks", camera, label, min_score)
    return _messages(lambda last: address, decode, token, retry)


def subscribe_events(
    url: str,
    *,
    camera: Names = None,
    label: Names = None,
    min_score: float = 0.0,
    event: Names = None,
    token: str | None = None,
    retry: ReconnectPolicy = RETRY,
) -> AsyncGenerator[TrackEvent, None]:
    """Each event from now on; after a connection that ended, first those that were missed, as far as the server keeps
    them. `event`: only of this kind, e.g. "enter", or of these; other arguments and errors as those of `subscribe`.
    """
    address = _address(url, "events", camera, label, min_score, event)

    def after(last: TrackEvent | None) -> str:
        return address if last is None else f"{address}{'&' if '?' in address else '?'}after={last.number}"

    return _messages(after, decode_event, token, retry)


async def _messages(
    address_after: Callable[[Any], str],
    read: Callable[[str | bytes], Item],
    token: str | None,
    retry: ReconnectPolicy,
) -> AsyncGenerator[Item, None]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    rng, failures, last = random.Random(), 0, None
    while True:
        began_s, address = time.monotonic(), address_after(last)
        try:
            async with connect(address, additional_headers=headers, max_size=_MAX_BYTES) as socket:
                async for text in socket:
                    last = read(text)
                    yield last
            reason = "the server ended the connection"
        except InvalidStatus as error:
            reason = _reason_to_retry(error, address)
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            reason = str(error) or type(error).__name__
        failures = 1 if time.monotonic() - began_s >= retry.healthy_after_s else failures + 1
        delay_s = retry.delay_s(failures, rng)
        _log.warning("%s: %s; connecting again in %.1f s", _host(address), reason, delay_s)
        await asyncio.sleep(delay_s)


def _reason_to_retry(error: InvalidStatus, address: str) -> str:
    """Why the server refused, where trying again can help. Raises what can be mended only by the caller."""
    code = error.response.status_code
    if code in (401, 403):
        raise SourceUnauthorized(f"{_host(address)}: the server wants another token ({code})") from error
    if code == 404:
        raise SourceNotFound(f"{_host(address)}: no such camera (404)") from error
    if 400 <= code < 500 and code not in (408, 425, 429):
        raise SourceInvalid(f"{_host(address)}: refused ({code})") from error
    return f"answered {code}"


def _address(url: str, what: str, camera: Names, label: Names, min_score: float, event: Names = None) -> str:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError("url: expected http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.username or parts.query or parts.fragment:
        raise ConfigError("url: takes no user, query or fragment; a token has an argument of its own")
    if not 0.0 <= min_score <= 1.0:
        raise ConfigError(f"min_score: must be in [0, 1], not {min_score:g}")
    cameras = _names(camera)
    path = f"cameras/{quote(cameras[0], safe='')}/{what}" if len(cameras) == 1 else what
    query: Mapping[str, Any] = {
        "camera": cameras if len(cameras) > 1 else [],
        "label": _names(label),
        "min_score": [min_score] if min_score > 0 else [],
        "event": _names(event),
    }
    text = urlencode(query, doseq=True)
    base = f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"
    return f"{base}/api/{path}{'?' + text if text else ''}"


def _names(given: Names) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _host(address: str) -> str:
    return urlsplit(address).netloc
