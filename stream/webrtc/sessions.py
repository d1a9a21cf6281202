"""One session for each peer: an SDP offer in, an answer out, and an end to it whatever the peer does.

Owns the peer connections and their number. Does not know HTTP (`signalling` does) nor what is sent or received
(`viewing` and `publishing` do). No public server is contacted: there are no ICE servers unless configured (`ice`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from stream.log import about, short
from stream.pipeline import CameraPipeline
from stream.webrtc.ice import IceOptions, listen_on
from stream.webrtc.offer import Direction, OfferError, check_offer
from stream.webrtc.trickle import MAX_CANDIDATES, Fragment

logger = logging.getLogger(__name__)


class UnsupportedError(Exception):
    """A peer asks for what a session cannot do; the message says what, in one line."""


class SessionLimitError(Exception):
    """No more peers are served at the same time."""


class ClientLimitError(Exception):
    """One client has as many sessions as one may have."""


class Media(Protocol):
    """What one session sends or receives."""

    def prepare(self, connection: RTCPeerConnection) -> None:
        """Add it to a connection that knows no offer yet."""

    def negotiated(self, connection: RTCPeerConnection, answer: str) -> None:
        """This is the answer that will be given. Raises OfferError where it cannot be kept."""

    def on_ended(self, tell: Callable[[], object]) -> None:
        """Call `tell` when there is nothing more to send or to receive."""

    def stop(self) -> None:
        """Let go of everything. Idempotent."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """`viewers`, `publishers`: at the same time, all cameras together; `of_client`: of them, of one client address, to
    watch and again to publish; `connect_timeout_s`: from the offer to media.
    """

    viewers: int = 64
    publishers: int = 16
    of_client: int = 32
    connect_timeout_s: float = 15.0


class Session:
    """One peer connection."""

    def __init__(
        self,
        camera: str,
        connection: RTCPeerConnection,
        media: Media,
        remote_ufrag: str,
        client: str | None = None,
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.etag = f'"{secrets.token_urlsafe(8)}"'
        """Names the session's one generation of ICE (RFC 9725, section 4.3.1)."""
        self.camera = camera
        self.client = client
        self.connection = connection
        self.media = media
        self._remote_ufrag = remote_ufrag
        self._candidates = 0
        self.connected = asyncio.Event()
        self.ended = asyncio.Event()
        connection.on("connectionstatechange", self._on_state)
        media.on_ended(self.ended.set)

    def _on_state(self) -> None:
        state = self.connection.connectionState
        logger.debug("the connection is %s", state)
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
        self.media.stop()
        await self.connection.close()


class Sessions:
    """All sessions of one kind; a `CameraWatcher`. `media` makes what one carries, for a camera, or raises KeyError;
    `peers` is what those at the other end are called, in the plural; `direction` is their way: recvonly or sendonly.
    """

    def __init__(
        self,
        media: Callable[[str], Media],
        *,
        most: int,
        most_of_client: int | None = None,
        connect_timeout_s: float,
        ice: IceOptions,
        peers: str = "viewers",
        direction: Direction = "recvonly",
    ) -> None:
        self._media = media
        self._most, self._most_of_client = most, most_of_client
        self._connect_timeout_s = connect_timeout_s
        self._peers = peers
        self._direction: Direction = direction
        self.ice = ice
        self._sessions: dict[str, Session] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._opening: set[Session] = set()

    def __len__(self) -> int:
        return len(self._sessions) + len(self._opening)

    async def open(
        self, camera: str, offer: str, media: Media | None = None, client: str | None = None
    ) -> tuple[Session, str]:
        """Answer an SDP offer of a camera; returns the session and the SDP answer. `media`: what it carries, where that
        is not what all carry. `client`: whose it is, where one may have so many only (`stream.clients.client_of`).

        Raises KeyError (no such camera), SessionLimitError, ClientLimitError, or OfferError (the offer cannot be
        answered).
        """
        offer = check_offer(offer, self._direction)
        self._check_room(client)
        media = media or self._media(camera)
        connection = RTCPeerConnection(self.ice.configuration())
        session = Session(camera, connection, media, _ufrag(offer), client)
        with about(camera=camera, session=short(session.id)):
            return session, await self._begin(session, offer)

    async def _begin(self, session: Session, offer: str) -> str:
        """Answer the offer, and see to it that the session ends."""
        self._opening.add(session)
        try:
            answer = await self._negotiate(session, offer)
        finally:
            self._opening.discard(session)
        self._sessions[session.id] = session
        self._watchers[session.id] = asyncio.create_task(
            self._watch(session), name=f"{self._peers} of {session.camera}"
        )
        logger.info("one of the %s of camera %s began", self._peers, session.camera)
        return answer

    def _check_room(self, client: str | None) -> None:
        if len(self) >= self._most:
            raise SessionLimitError(f"{self._most} {self._peers} are being served, the limit")
        if client is None or self._most_of_client is None:
            return
        mine = sum(each.client == client for each in (*self._sessions.values(), *self._opening))
        if mine >= self._most_of_client:
            raise ClientLimitError(f"{mine} {self._peers} of this client are being served, the limit")

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

    def came(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`."""

    def went(self, camera: CameraPipeline) -> None:
        """See `CameraWatcher`: its sessions end, those too that have not connected yet."""
        for session in (*self._sessions.values(), *self._opening):
            if session.camera == camera.name:
                session.ended.set()

    async def close_all(self) -> None:
        """End every session and wait until all are gone."""
        for session in tuple(self._sessions.values()):
            session.ended.set()
        await asyncio.gather(*self._watchers.values())

    async def _negotiate(self, session: Session, offer: str) -> str:
        connection, media = session.connection, session.media
        try:
            media.prepare(connection)
            await connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            listen_on(connection, self.ice)
            answer = await connection.createAnswer()
            media.negotiated(connection, answer.sdp)
            await connection.setLocalDescription(answer)
        except BaseException as error:
            await session.close()
            if isinstance(error, OSError):  # no port of the range is free: one peer less would make room
                raise SessionLimitError(str(error)) from error
            if isinstance(error, Exception) and not isinstance(error, OfferError):
                # aiortc raises many kinds for an offer that parses but makes no sense.
                raise OfferError(f"the offer cannot be answered: {type(error).__name__}") from error
            raise
        return str(connection.localDescription.sdp)

    async def _watch(self, session: Session) -> None:
        """Live as long as the session does; then take it away."""
        try:
            if await _any_of(session.connected, session.ended, self._connect_timeout_s):
                await session.ended.wait()
        finally:
            await session.close()
            self._sessions.pop(session.id, None)
            self._watchers.pop(session.id, None)
            connected = "left" if session.connected.is_set() else "never connected"
            logger.info("one of the %s of camera %s %s", self._peers, session.camera, connected)


async def _any_of(first: asyncio.Event, second: asyncio.Event, timeout_s: float) -> bool:
    """Wait for one of two events; False when neither came in time."""
    waits = {asyncio.create_task(event.wait()) for event in (first, second)}
    try:
        done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return bool(done)


def _ufrag(offer: str) -> str:
    """The ICE user name fragment of an offer that was checked."""
    ice = SessionDescription.parse(offer).media[0].ice
    assert ice is not None
    assert ice.usernameFragment is not None
    return ice.usernameFragment
