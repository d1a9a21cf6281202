"""The HTTP side of a service: the page, its data, and what machines ask for.

Owns the application and its end (peers and sockets are closed when it stops). Does not own the service: who
made it starts and closes it. Nothing here draws, encodes or waits for a camera.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from stream.access import Access
from stream.api import cameras_router, operation_router
from stream.app import Service
from stream.mask_socket import mask_socket_router
from stream.metrics import package_version
from stream.picture_socket import picture_socket_router
from stream.pictures import PictureFeeds
from stream.programs import Feeds, programs_router, schema_router, sockets_router
from stream.webrtc.feed import OverlayFeeds
from stream.webrtc.ice import IceOptions
from stream.webrtc.publishing import Publishing
from stream.webrtc.sessions import SessionLimits, Sessions
from stream.webrtc.viewing import Viewing
from stream.webrtc.whep import whep_router
from stream.webrtc.whip import whip_router
from stream.zones_api import zones_router

VIEWER = Path(__file__).parent / "viewer"

DESCRIPTION = """Live cameras in, instance masks with lasting identities out.

Watch a camera with `POST /whep/{camera}` and publish one with `POST /whip/{camera}` (WebRTC). Subscribe to tracks and
events by WebSocket or by Server-Sent Events at `/api/tracks`, `/api/events` and below `/api/cameras/{camera}`: one
`WireFrame` for each tracked frame, newest only, one `TrackEvent` for each event."""

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

OVERLAY_THREADS = 2


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a viewer gets.

    `frame_stamp`: draw the frame's number as a machine-readable pattern (`stream.stamp`), to measure delay.
    `ice`: how WebRTC peers reach this host. `limits`: how many viewers, and how long one may take to connect.
    `origins`: web sites whose pages may use the API (CORS). `tokens`: who has one may watch; empty: everybody.
    `publish_tokens`: who has one may publish; empty: nobody. `allowed_hosts`: the names by which the server may be
    asked for (the Host header); None allows any. A page of another site whose name is made to point at this machine
    (DNS rebinding) is refused by it.
    """

    frame_stamp: bool = False
    ice: IceOptions = field(default_factory=IceOptions)
    limits: SessionLimits = field(default_factory=SessionLimits)
    origins: tuple[str, ...] = ()
    tokens: tuple[str, ...] = field(default=(), repr=False)
    publish_tokens: tuple[str, ...] = field(default=(), repr=False)
    allowed_hosts: tuple[str, ...] | None = None


def create_app(service: Service, options: ServerOptions | None = None) -> FastAPI:
    """The application for a service that is started and closed by the caller."""
    options = options or ServerOptions()
    executor = ThreadPoolExecutor(OVERLAY_THREADS, thread_name_prefix="overlay")
    feeds = OverlayFeeds(service.cameras, executor, stamp=options.frame_stamp)
    pictures = PictureFeeds(service.cameras, executor)
    limits = options.limits
    sessions = Sessions(
        lambda camera: Viewing(feeds[camera]),
        most=limits.viewers,
        connect_timeout_s=limits.connect_timeout_s,
        ice=options.ice,
    )
    publishers = Sessions(
        lambda camera: Publishing(service.doorways[camera]),
        most=limits.publishers,
        connect_timeout_s=limits.connect_timeout_s,
        ice=options.ice,
        peers="publishers",
        direction="sendonly",
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.closing = True
        await sessions.close_all()
        await publishers.close_all()
        await feeds.close()
        await pictures.close()
        executor.shutdown(cancel_futures=True)

    app = FastAPI(
        title="SyncVIS Online",
        version=package_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        # The interactive pages load scripts from a third-party host; /openapi.json does not.
        docs_url=None,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.closing = False
    app.state.sessions = sessions
    app.state.publishers = publishers
    _add_middleware(app, options)
    access = Access(options.tokens, options.publish_tokens)
    may_watch = [Depends(access.required())]
    may_publish = [Depends(access.required("publish"))]
    app.include_router(operation_router(service))
    app.include_router(access.router())
    app.include_router(cameras_router(service, feeds, executor), dependencies=may_watch)
    app.include_router(zones_router(service), dependencies=may_watch)
    programs = Feeds(service)
    app.include_router(schema_router())
    app.include_router(programs_router(service, programs), dependencies=may_watch)
    app.include_router(sockets_router(access, programs))
    app.include_router(whep_router(feeds, sessions, may_watch))
    app.include_router(mask_socket_router(sessions, access))
    app.include_router(picture_socket_router(pictures, access))
    app.include_router(whip_router(service.doorways, publishers, may_publish))
    app.mount("/static", StaticFiles(directory=VIEWER), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(VIEWER / "index.html", media_type="text/html")

    return app


def _add_middleware(app: FastAPI, options: ServerOptions) -> None:
    """What every request passes: other sites' pages, headers of the answer, the server's own names."""
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(options.origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE", "OPTIONS"],
            allow_headers=["Authorization", "Content-Type", "If-Match"],
            expose_headers=["Location", "ETag", "Link", "Retry-After", "Accept-Post", "Accept-Patch"],
        )
    app.middleware("http")(_add_security_headers)
    if options.allowed_hosts is not None:
        app.add_middleware(
            TrustedHostMiddleware, allowed_hosts=list(options.allowed_hosts), www_redirect=False
        )


async def _add_security_headers(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.path.startswith("/static") or request.url.path == "/":
        response.headers.setdefault("Cache-Control", "no-cache")
    return response
