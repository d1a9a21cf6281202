"""Server-Sent Events (HTML standard, section 9.2): a feed as an HTTP answer that does not end.

Owns the form on the line, the sign of life, and the end. What is sent is `stream.feeds`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream.feeds import Feed, Message

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_S = 15.0
"""After so long without a message a comment is sent: proxies end what is silent."""

_RETRY = b"retry: 1000\n\n"
_SIGN_OF_LIFE = b":\n\n"


def wants_stream(request: Request) -> bool:
    """Whether the client asks for Server-Sent Events rather than for what is known now."""
    accepted = request.headers.get("accept", "").split(",")
    return any(each.partition(";")[0].strip().lower() == MEDIA_TYPE for each in accepted)


def last_event_id(request: Request) -> int | None:
    """The number that a browser read last before its connection ended; None when it says none that can be."""
    text = request.headers.get("last-event-id", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


class EventStream(Response):
    """Sends a feed until the client leaves or the feed ends. The feed is opened when the answer begins."""

    media_type = MEDIA_TYPE

    def __init__(self, open_feed: Callable[[], Feed]) -> None:
        # No proxy may keep back what is sent (X-Accel-Buffering is nginx').
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._open_feed = open_feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        feed = self._open_feed()
        leaving = asyncio.create_task(_until_disconnect(receive, feed), name="event stream reader")
        try:
            await _send_part(send, _RETRY)
            while (part := await _next_part(feed)) is not None:
                await _send_part(send, part)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            feed.close()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


async def _next_part(feed: Feed) -> bytes | None:
    try:
        async with asyncio.timeout(KEEP_ALIVE_S):
            return _encoded(await anext(feed))
    except TimeoutError:
        return _SIGN_OF_LIFE
    except StopAsyncIteration:
        return None


def _encoded(message: Message) -> bytes:
    number = "" if message.number is None else f"id: {message.number}\n"
    return f"{number}data: {message.text}\n\n".encode()


async def _send_part(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _until_disconnect(receive: Receive, feed: Feed) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        feed.close()
