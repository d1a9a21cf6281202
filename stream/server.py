"""The HTTP side of a service: the page, its data, and what machines ask for.

Owns the application and its end (peers and sockets are closed when it stops). Does not own the service: who
made it starts and closes it. Nothing here draws, encodes or waits for a camera.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp

from stream.access import WANTS_TOKEN, Access
from stream.api import cameras_router, operation_router
from stream.app import Service
from stream.clients import ClientLimits, LimitedClients
from stream.mask_socket import mask_socket_router
from stream.metrics import package_version
from stream.model_api import model_router
from stream.picture_socket import picture_socket_router
from stream.pictures import PictureFeeds
from stream.programs import Feeds, programs_router, schema_router, sockets_router
from stream.roster import Roster
from stream.roster_api import roster_router
from stream.security_headers import SecurityHeaders
from stream.webrtc.feeds import OverlayFeeds
from stream.webrtc.ice import IceOptions
from stream.webrtc.publishing import Publishing
from stream.webrtc.sessions import SessionLimits, Sessions
from stream.webrtc.viewing import Viewing
from stream.webrtc.whep import whep_router
from stream.webrtc.whip import whip_router
from stream.websocket_answers import answer_lost_websockets
from stream.zones_api import zones_router

VIEWER = Path(__file__).parent / "viewer"

DESCRIPTION = """Live cameras in, instance masks with lasting identities out.

Watch a camera with `POST /whep/{camera}` and publish one with `POST /whip/{camera}` (WebRTC). Subscribe to tracks and
events by WebSocket or by Server-Sent Events at `/api/tracks`, `/api/events` and below `/api/cameras/{camera}`: one
`WireFrame` for each tracked frame, newest only, one `TrackEvent` for each event."""

OVERLAY_THREADS = 2


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a viewer gets.

    `frame_stamp`: draw the frame's number as a machine-readable pattern (`stream.stamp`), to measure delay.
    `ice`: how WebRTC peers reach this host. `limits`: how many viewers, and how long one may take to connect.
    `origins`: web sites whose pages may use the API (CORS). `tokens`: who has one may watch; empty: everybody.
    `publish_tokens`: who has one may publish; empty: nobody. `admin_tokens`: who has one may add, change and remove
    cameras; empty: nobody. `allowed_hosts`: the names by which the server may be
    asked for (the Host header); None allows any. A page of another site whose name is made to point at this machine
    (DNS rebinding) is refused by it. `cookie_key`: signs the cookies of browsers; None: they end with the process.
    `clients`: what one client may ask for.
    """

    frame_stamp: bool = False
    ice: IceOptions = field(default_factory=IceOptions)
    limits: SessionLimits = field(default_factory=SessionLimits)
    origins: tuple[str, ...] = ()
    tokens: tuple[str, ...] = field(default=(), repr=False)
    publish_tokens: tuple[str, ...] = field(default=(), repr=False)
    admin_tokens: tuple[str, ...] = field(default=(), repr=False)
    allowed_hosts: tuple[str, ...] | None = None
    cookie_key: bytes | None = field(default=None, repr=False)
    clients: ClientLimits = field(default_factory=ClientLimits)


class GuardedApp(FastAPI):
    """The application, and around all of it, its own errors too, what every client and every answer gets."""

    def __init__(self, options: ServerOptions, on_refuse: Callable[[str], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._options, self._on_refuse = options, on_refuse

    def build_middleware_stack(self) -> ASGIApp:
        """See FastAPI."""
        limited = LimitedClients(super().build_middleware_stack(), self._options.clients, self._on_refuse)
        return SecurityHeaders(limited, self._options.origins)


class _Outlets:
    """All by which a service's cameras are watched and published, for one application."""

    def __init__(self, service: Service, options: ServerOptions) -> None:
        self.executor = ThreadPoolExecutor(OVERLAY_THREADS, thread_name_prefix="overlay")
        self.feeds = OverlayFeeds(service.cameras, self.executor, stamp=options.frame_stamp)
        self.pictures = PictureFeeds(service.cameras, self.executor)
        limits = options.limits
        self.sessions = Sessions(
            lambda camera: Viewing(self.feeds[camera], service.cameras[camera].statistics),
            most=limits.viewers,
            most_of_client=limits.of_client,
            connect_timeout_s=limits.connect_timeout_s,
            ice=options.ice,
        )
        self.publishers = Sessions(
            lambda camera: Publishing(service.cameras.doorways[camera]),
            most=limits.publishers,
            most_of_client=limits.of_client,
            connect_timeout_s=limits.connect_timeout_s,
            ice=options.ice,
            peers="publishers",
            direction="sendonly",
        )
        for each in (self.feeds, self.pictures, self.sessions, self.publishers):
            service.cameras.watch(each)
        service.sessions_counted("viewers", self.sessions.__len__)
        service.sessions_counted("publishers", self.publishers.__len__)

    async def close(self) -> None:
        """End all peers and all drawing."""
        await self.sessions.close_all()
        await self.publishers.close_all()
        await self.feeds.close()
        await self.pictures.close()
        self.executor.shutdown(cancel_futures=True)


def create_app(
    service: Service, options: ServerOptions | None = None, roster: Roster | None = None
) -> FastAPI:
    """The application for a service that is started and closed by the caller. `roster`: who keeps its cameras, where
    that is not the application's own.
    """
    options = options or ServerOptions()
    outlets = _Outlets(service, options)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.closing = True
        await outlets.close()

    app = GuardedApp(
        options,
        service.request_refused,
        title="SyncVIS Online",
        responses={429: {"description": "The client asks for more than it may; see Retry-After."}},
        version=package_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        # The interactive pages load scripts from a third-party host; /openapi.json does not.
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.closing = False
    app.state.sessions = outlets.sessions
    app.state.publishers = outlets.publishers
    add_middleware(app, options)
    _add_routes(app, service, options, outlets, roster or Roster(service))
    return app


def _add_routes(
    app: FastAPI, service: Service, options: ServerOptions, outlets: _Outlets, roster: Roster
) -> None:
    access = Access(
        options.tokens, options.publish_tokens, options.admin_tokens, cookie_key=options.cookie_key
    )
    may_watch = [Depends(access.required())]
    may_publish = [Depends(access.required("publish"))]
    may_change = [Depends(access.required("admin"))]
    programs = Feeds(service)
    app.include_router(operation_router(service))
    app.include_router(access.router())
    app.include_router(
        cameras_router(service, outlets.feeds, outlets.executor),
        dependencies=may_watch,
        responses=WANTS_TOKEN,
    )
    app.include_router(model_router(service), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(zones_router(service), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(roster_router(service, roster, outlets.feeds), dependencies=may_change)
    app.include_router(schema_router())
    app.include_router(programs_router(service, programs), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(sockets_router(access, programs))
    app.include_router(whep_router(outlets.feeds, outlets.sessions, may_watch))
    app.include_router(mask_socket_router(outlets.sessions, access))
    app.include_router(picture_socket_router(outlets.pictures, access))
    app.include_router(whip_router(service.cameras.doorways, outlets.publishers, may_publish))
    app.mount("/static", StaticFiles(directory=VIEWER), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(VIEWER / "index.html", media_type="text/html")

    answer_lost_websockets(app)


def add_middleware(app: FastAPI, options: ServerOptions) -> None:
    """What a request passes that is not refused at once: other sites' pages, the server's own names."""
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "If-Match"],
            expose_headers=["Location", "ETag", "Link", "Retry-After", "Accept-Post", "Accept-Patch"],
        )
    if options.allowed_hosts is not None:
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=list(options.allowed_hosts), www_redirect=False
        )
