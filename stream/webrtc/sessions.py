"""One session for each viewer: an SDP offer in, an answer out, and an end to it whatever the peer does.

Owns the peer connections and their number. Does not know HTTP (`whep` does) nor what is drawn (`feed` does).
No public server is contacted: there are no ICE servers unless configured (`ice`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass

from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from aiortc.sdp import SessionDescription

from stream.webrtc.encoder import Codec
from stream.webrtc.feed import OverlayFeeds
from stream.webrtc.feedback import listen
from stream.webrtc.ice import IceOptions, listen_on
from stream.webrtc.offer import OfferError, check_offer
from stream.webrtc.rtp import take_over
from stream.webrtc.track import OverlayTrack
from stream.webrtc.trickle import MAX_CANDIDATES, Fragment

logger = logging.getLogger(__name__)

CODEC_ORDER = ("video/H264", "video/VP8")
"""H.264 first: of both, it is the cheaper one to encode, and each is encoded once for all viewers."""


class UnsupportedError(Exception):
    """A peer asks for what a session cannot do; the message says what, in one line."""


class SessionLimitError(Exception):
    """No more viewers are served at the same time."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """`viewers`: at the same time, all cameras together; `connect_timeout_s`: from the offer to media."""

    viewers: int = 64
    connect_timeout_s: float = 15.0


class Session:
    """One viewer's peer connection."""

    def __init__(
        self, camera: str, connection: RTCPeerConnection, track: OverlayTrack, remote_ufrag: str
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.etag = f'"{secrets.token_urlsafe(8)}"'
        """Names the session's one generation of ICE (RFC 9725, section 4.3.1)."""
        self.camera = camera
        self.connection = connection
        self._remote_ufrag = remote_ufrag
        self._candidates = 0
        self._track = track
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        connection.on("connectionstatechange", self._on_state)
        # Without pictures there is nothing to watch: the camera's hub closed, or they cannot be drawn.
        track.on("ended", self.ended.set)

    def _on_state(self) -> None:
        state = self.connection.connectionState
        logger.debug("viewer %s of %s: %s", self.id[:6], self.camera, state)
        if state == "connected":
            self.connected.set()
        elif state in ("failed", "closed"):
            self.ended.set()

    async def trickle(self, fragment: Fragment) -> None:
        """Take candidates that the peer found after its offer.

        Raises UnsupportedError where that would restart ICE, or there are too many of them.
        """
        if fragment.ufrag is not None and fragment.ufrag != self._remote_ufrag:
            raise UnsupportedError("ICE restarts are not supported: start a new session")
        self._candidates += len(fragment.candidates)
        if self._candidates > MAX_CANDIDATES:
            raise UnsupportedError(f"a session takes no more than {MAX_CANDIDATES} candidates")
        for candidate in fragment.candidates:
            await self.connection.addIceCandidate(candidate)

    async def close(self) -> None:
        """End it. Idempotent."""
        self.ended.set()
        self._track.stop()
        await self.connection.close()


class Sessions:
    """All viewers' sessions."""

    def __init__(
        self,
        feeds: OverlayFeeds,
        *,
        limits: SessionLimits | None = None,
        ice: IceOptions | None = None,
    ) -> None:
        self._feeds = feeds
        self._limits = limits or SessionLimits()
        self.ice = ice or IceOptions()
        self._sessions: dict[str, Session] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._opening = 0

    def __len__(self) -> int:
        return len(self._sessions) + self._opening

    async def open(self, camera: str, offer: str) -> tuple[Session, str]:
        """Answer an SDP offer with the overlay of a camera; returns the session and the SDP answer.

        Raises KeyError (no such camera), SessionLimitError, or OfferError (the offer cannot be answered).
        """
        feed = self._feeds[camera]
        offer = check_offer(offer)
        if len(self) >= self._limits.viewers:
            raise SessionLimitError(f"{self._limits.viewers} viewers are being served, the limit")
        self._opening += 1
        try:
            session, answer = await self._negotiate(camera, OverlayTrack(feed), offer)
        finally:
            self._opening -= 1
        self._sessions[session.id] = session
        self._watchers[session.id] = asyncio.create_task(self._watch(session), name=f"viewer of {camera}")
        return session, answer

    def find(self, camera: str, session_id: str) -> Session | None:
        """A session of a camera; None when there is none of that name."""
        session = self._sessions.get(session_id)
        return session if session is not None and session.camera == camera else None

    async def close(self, session: Session) -> None:
        """End a session and wait until it is gone. Idempotent."""
        session.ended.set()
        watcher = self._watchers.get(session.id)
        if watcher is not None:
            await watcher

    async def close_all(self) -> None:
        """End every session and wait until all are gone."""
        for session in tuple(self._sessions.values()):
            session.ended.set()
        await asyncio.gather(*self._watchers.values())

    async def _negotiate(self, camera: str, track: OverlayTrack, offer: str) -> tuple[Session, str]:
        connection = RTCPeerConnection(self.ice.configuration())
        session = Session(camera, connection, track, _ufrag(offer))
        try:
            transceiver = connection.addTransceiver(track, direction="sendonly")
            # Before setRemoteDescription, and with its retransmissions: otherwise the order has no effect.
            transceiver.setCodecPreferences(_codec_preferences())
            listen(transceiver.sender, track)
            take_over(transceiver.sender, track)
            await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            listen_on(connection, self.ice)
            answer = await connection.createAnswer()
            track.codec = _sent_codec(answer.sdp)
            await connection.setLocalDescription(answer)
        except BaseException as error:
            await session.close()
            if isinstance(error, OSError):  # no port of the range is free: one viewer less would make room
                raise SessionLimitError(str(error)) from error
            if isinstance(error, Exception) and not isinstance(error, OfferError):
                # aiortc raises many kinds for an offer that parses but makes no sense.
                raise OfferError(f"the offer cannot be answered: {type(error).__name__}") from error
            raise
        return session, str(connection.localDescription.sdp)

    async def _watch(self, session: Session) -> None:
        """Live as long as the session does; then take it away."""
        try:
            if await _any_of(session.connected, session.ended, self._limits.connect_timeout_s):
                await session.ended.wait()
        finally:
            await session.close()
            self._sessions.pop(session.id, None)
            self._watchers.pop(session.id, None)


async def _any_of(first: asyncio.Event, second: asyncio.Event, timeout_s: float) -> bool:
    """Wait for one of two events; False when neither came in time."""
    waits = {asyncio.create_task(event.wait()) for event in (first, second)}
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)


def _codec_preferences() -> list[RTCRtpCodecCapability]:
    codecs = RTCRtpSender.getCapabilities("video").codecs
    wanted = [codec for name in CODEC_ORDER for codec in codecs if codec.mimeType == name]
    return wanted + [codec for codec in codecs if codec.mimeType == "video/rtx"]


def _ufrag(offer: str) -> str:
    """The ICE user name fragment of an offer that was checked."""
    ice = SessionDescription.parse(offer).media[0].ice
    assert ice is not None
    assert ice.usernameFragment is not None
    return ice.usernameFragment


def _sent_codec(answer: str) -> Codec:
    """What an answer says that the video is sent with: the first codec of its first video section that is sent."""
    for media in SessionDescription.parse(answer).media:
        if media.kind == "video" and media.port and media.direction in ("sendonly", "sendrecv"):
            return "H264" if media.rtp.codecs[0].mimeType == "video/H264" else "VP8"
    raise OfferError("no video section can be answered")
