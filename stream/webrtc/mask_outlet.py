"""What is said of a viewer's pictures beside them: on its data channel and on its WebSocket, never waiting for either.

Owns the messages' sizes and what is dropped (docs/masks.md). What they say is `stream.wire`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from struct import Struct

from aiortc import RTCDataChannel

from stream.webrtc.encoder import EncodedPicture, MaskText

LABEL = "masks"
MAX_MESSAGE = 16 * 1024
"""Bytes that every browser takes in one message, and that hold nothing else up for long (RFC 8831, section 6.6)."""

CHUNK = Struct("!IHH")
"""RTP timestamp, index, count; the bytes of the text follow."""

MOST_BUFFERED = 256 * 1024
MOST_WAITING = 32


class MaskReader:
    """What waits for one WebSocket, oldest first; the oldest is dropped where `MOST_WAITING` wait already."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()
        self._closed = False

    def offer(self, text: str) -> bool:
        """Called by the outlet; False where that drops one."""
        full = len(self._waiting) == MOST_WAITING
        self._waiting.append(text)
        self._wake.set()
        return not full

    def close(self) -> None:
        """End the iteration. Idempotent."""
        self._closed = True
        self._wake.set()

    def __aiter__(self) -> MaskReader:
        return self

    async def __anext__(self) -> str:
        while not self._closed:
            if self._waiting:
                return self._waiting.popleft()
            self._wake.clear()
            await self._wake.wait()
        raise StopAsyncIteration


class MaskOutlet:
    """The masks of one viewer's pictures. `on_drop` is called for each message that one of its readers does not get."""

    def __init__(self, on_drop: Callable[[], None] = lambda: None) -> None:
        self._on_drop = on_drop
        self._channel: RTCDataChannel | None = None
        self._readers: set[MaskReader] = set()

    def take(self, channel: RTCDataChannel) -> None:
        """The peer has opened a data channel; one that is called "masks" is used."""
        if channel.label == LABEL:
            self._channel = channel

    def join(self) -> MaskReader:
        """What a WebSocket reads."""
        reader = MaskReader()
        self._readers.add(reader)
        return reader

    def leave(self, reader: MaskReader) -> None:
        """Idempotent."""
        reader.close()
        self._readers.discard(reader)

    def send(self, picture: EncodedPicture) -> None:
        """Say what is known of a picture that goes out now."""
        if picture.masks is None:
            return
        for reader in self._readers:
            if not reader.offer(picture.masks.text):
                self._on_drop()
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return
        messages = messages_of(picture.masks)
        if channel.bufferedAmount + sum(map(len, messages)) > MOST_BUFFERED:
            self._on_drop()
            return
        for message in messages:
            channel.send(message)

    def close(self) -> None:
        """End all readers. Idempotent."""
        for reader in tuple(self._readers):
            self.leave(reader)


def messages_of(masks: MaskText) -> list[str] | list[bytes]:
    """One message of text; where that would be too long, its bytes in chunks."""
    data = masks.text.encode()
    if len(data) <= MAX_MESSAGE:
        return [masks.text]
    size = MAX_MESSAGE - CHUNK.size
    count = -(-len(data) // size)
    return [CHUNK.pack(masks.rtp_timestamp, i, count) + data[i * size : (i + 1) * size] for i in range(count)]
