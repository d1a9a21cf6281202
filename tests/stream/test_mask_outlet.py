"""Masks on their way to one viewer: whole, in messages of a size that browsers take, and never waited for."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.webrtc.encoder import EncodedPicture, MaskText
from stream.webrtc.mask_outlet import CHUNK, MAX_MESSAGE, MOST_BUFFERED, MOST_WAITING, MaskOutlet, messages_of


@dataclass
class Channel:
    """A data channel that keeps what it is given."""

    label: str = "masks"
    readyState: str = "open"  # noqa: N815  # aiortc's name
    bufferedAmount: int = 0  # noqa: N815  # aiortc's name
    sent: list[str | bytes] = field(default_factory=list)

    def send(self, message: str | bytes) -> None:
        self.sent.append(message)
        self.bufferedAmount += len(message)


def picture(text: str | None, ticks: int = 0) -> EncodedPicture:
    masks = None if text is None else MaskText(text, ticks)
    return EncodedPicture(0, ticks, False, [b"x"], masks)


@given(st.text(max_size=20), st.integers(0, 3 * MAX_MESSAGE), st.integers(0, 2**32 - 1))
def test_messages_are_small_and_together_the_text(end: str, length: int, rtp_timestamp: int) -> None:
    text = "ä" * length + end
    messages = messages_of(MaskText(text, rtp_timestamp))
    if len(messages) == 1:
        assert messages == [text]
        return
    parts = []
    for i, message in enumerate(messages):
        assert isinstance(message, bytes)
        assert len(message) <= MAX_MESSAGE
        assert CHUNK.unpack_from(message) == (rtp_timestamp, i, len(messages))
        parts.append(message[CHUNK.size :])
    assert b"".join(parts).decode() == text


@pytest.mark.parametrize("channel", [Channel(label="chat"), Channel(readyState="closing")])
def test_only_an_open_channel_of_that_name_is_used(channel: Channel) -> None:
    outlet = MaskOutlet()
    outlet.take(channel)  # type: ignore[arg-type]
    outlet.send(picture("masks"))
    assert channel.sent == []


def test_a_viewer_that_does_not_read_loses_masks_that_are_counted() -> None:
    dropped: list[int] = []
    outlet, channel = MaskOutlet(lambda: dropped.append(1)), Channel()
    outlet.take(channel)  # type: ignore[arg-type]
    for _ in range(100):
        outlet.send(picture("m" * 10_000))
        assert channel.bufferedAmount <= MOST_BUFFERED
    assert len(channel.sent) + len(dropped) == 100
    outlet.send(picture(None))
    assert len(channel.sent) + len(dropped) == 100, "a picture without masks says nothing"


async def test_a_socket_that_is_slow_gets_the_newest_in_order() -> None:
    dropped: list[int] = []
    outlet = MaskOutlet(lambda: dropped.append(1))
    reader = outlet.join()
    for number in range(MOST_WAITING + 5):
        outlet.send(picture(str(number)))
    assert len(dropped) == 5
    got = [await anext(reader) for _ in range(MOST_WAITING)]
    assert got == [str(number) for number in range(5, MOST_WAITING + 5)]
    outlet.close()
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
