"""The routes of a gateway: those of a single machine, each answered by who can.

Owns paths and who may ask. What is known of the cluster is `directory`'s, what a worker says `forward`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Query, Request, Response, WebSocket, status
from fastapi.params import Depends
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder

from stream.access import Access
from stream.cluster.gateway.directory import AwayError, Control, Directory
from stream.cluster.gateway.feeds import ClusterFeed, What
from stream.cluster.gateway.forward import Forwarder
from stream.cluster.gateway.numbers import GatewayMetrics, targets
from stream.cluster.gateway.relay import relay
from stream.cluster.gateway.workers import Workers
from stream.sse import EventStream, wants_stream
from stream.track_socket import admitted, serve_socket

T = TypeVar("T")
Named = Annotated[list[str], Query(description="only of this camera; may be there several times")]


@dataclass(frozen=True, slots=True)
class Gate:
    """What all routes have."""

    directory: Directory
    control: Control
    forwarder: Forwarder
    metrics: GatewayMetrics
    access: Access
    workers: Workers
    whep: Literal["proxy", "redirect"] = "proxy"

    def feed(self, what: What, cameras: frozenset[str], query: str) -> ClusterFeed:
        """Tracks or events of cameras; none named: of all."""
        return ClusterFeed(self.directory, self.workers, what, cameras, query, self.metrics.stale.inc)

    def knows(self, cameras: frozenset[str]) -> bool:
        """Whether there are all of these."""
        return cameras <= self.directory.table.cameras.keys()


async def asked(answer: Awaitable[T]) -> T:
    """What the controller says. Raises HTTPException 503 while it is away."""
    try:
        return await answer
    except AwayError:
        detail = "the cluster's controller does not answer; what runs goes on"
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, detail, {"Retry-After": "1"}) from None


def operation_routes(gate: Gate) -> APIRouter:
    """/healthz and /metrics."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", summary="Whether the gateway works, and which cameras deliver pictures")
    async def healthz(request: Request) -> Response:
        cameras = {name: bool(owner and owner.up) for name, owner in gate.directory.table.cameras.items()}
        healthy = all(cameras.values()) and not gate.directory.away
        state = "closing" if request.app.state.closing else "ok" if healthy else "degraded"
        return JSONResponse({"status": state, "cameras": cameras}, 503 if state == "closing" else 200)

    @router.get(
        "/metrics", summary="Prometheus metrics of the gateway and the cluster", response_class=Response
    )
    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(gate.metrics.registry), headers={"Content-Type": content_type})

    return router


def cluster_routes(gate: Gate) -> APIRouter:
    """/api/cluster: who is where."""
    router = APIRouter(prefix="/api/cluster", tags=["cluster"])

    @router.get("", summary="Workers, and who has which camera")
    async def cluster() -> dict[str, Any]:
        return asdict(gate.directory.table) | {"controller_away": gate.directory.away}

    @router.get("/targets", summary="The workers, for Prometheus' HTTP service discovery")
    async def workers() -> list[dict[str, Any]]:
        return targets(gate.directory.table)

    return router


def drain_route(gate: Gate) -> APIRouter:
    """To empty a worker, before its machine is switched off."""
    router = APIRouter(prefix="/api/cluster", tags=["cluster"])

    @router.post(
        "/workers/{worker}/drain",
        status_code=202,
        summary="Let all cameras of a worker go elsewhere",
        responses={404: {"description": "No such worker."}},
    )
    async def drain(worker: str) -> dict[str, str]:
        if not await asked(gate.control.drain(worker)):
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such worker")
        return {"draining": worker}

    return router


def result_routes(gate: Gate) -> APIRouter:
    """Tracks and events over HTTP."""
    router = APIRouter(prefix="/api", tags=["programs"])

    def add(what: What) -> None:
        @router.get(f"/{what}", summary=f"{what} of all cameras, as they are or from now on")
        async def of_all(request: Request, camera: Named = []) -> Any:  # noqa: B006  # as FastAPI has it
            cameras = frozenset(camera)
            if not gate.knows(cameras):
                raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
            if wants_stream(request):
                return EventStream(lambda: gate.feed(what, cameras, _of_each(request)))
            return await _gathered(gate, what, cameras, _of_each(request))

        @router.get(f"/cameras/{{camera}}/{what}", summary=f"{what} of a camera, as they are or from now on")
        async def of_one(request: Request, camera: str) -> Response:
            if not gate.knows(frozenset((camera,))):
                raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
            if wants_stream(request):
                return EventStream(lambda: gate.feed(what, frozenset((camera,)), _of_each(request)))
            return await gate.forwarder.forward(request, camera)

    add("tracks")
    add("events")
    return router


def socket_routes(gate: Gate) -> APIRouter:
    """The same by WebSocket, and what else a worker sends by one."""
    router = APIRouter()

    async def serve(websocket: WebSocket, what: What, cameras: frozenset[str]) -> None:
        def opened() -> ClusterFeed:
            return gate.feed(what, cameras, _of_each(websocket))

        await serve_socket(websocket, gate.access, opened if gate.knows(cameras) else None)

    @router.websocket("/api/tracks")
    async def tracks(websocket: WebSocket, camera: Named = []) -> None:  # noqa: B006
        await serve(websocket, "tracks", frozenset(camera))

    @router.websocket("/api/events")
    async def events(websocket: WebSocket, camera: Named = []) -> None:  # noqa: B006
        await serve(websocket, "events", frozenset(camera))

    @router.websocket("/ws/cameras/{camera}/tracks")
    @router.websocket("/api/cameras/{camera}/tracks")
    async def tracks_of(websocket: WebSocket, camera: str) -> None:
        await serve(websocket, "tracks", frozenset((camera,)))

    @router.websocket("/api/cameras/{camera}/events")
    async def events_of(websocket: WebSocket, camera: str) -> None:
        await serve(websocket, "events", frozenset((camera,)))

    @router.websocket("/api/cameras/{camera}/pictures")
    @router.websocket("/whep/{camera}/sessions/{session}/masks")
    async def relayed(websocket: WebSocket, camera: str) -> None:
        if await admitted(websocket, gate.access):
            await relay(websocket, gate.directory.table.cameras.get(camera), gate.workers)

    return router


def signalling_routes(gate: Gate, prefix: Literal["/whep", "/whip"], allowed: Sequence[Depends]) -> APIRouter:
    """WebRTC's signalling: its worker answers, or is where who asks is sent."""
    router = APIRouter(prefix=prefix, tags=["webrtc"])

    async def answer(request: Request, camera: str) -> Response:
        if request.app.state.closing:
            raise HTTPException(
                status.HTTP_503_SERVICE_UNAVAILABLE,
                "the gateway is about to end: try again",
                {"Retry-After": "1"},
            )
        if gate.whep == "redirect":
            return gate.forwarder.redirect(request, camera)
        return await gate.forwarder.forward(request, camera)

    for path in ("/{camera}", "/{camera}/sessions/{session}"):
        router.options(path, summary="What can be sent here")(_named(answer, path))
        router.api_route(
            path,
            methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            dependencies=allowed,
            include_in_schema=False,
        )(_named(answer, path))
    return router


def camera_routes(gate: Gate) -> APIRouter:
    """What a worker says of a camera that it has."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"])

    @router.get("/{camera}", summary="One camera")
    @router.get("/{camera}/snapshot.jpg", summary="The newest picture, with its overlay")
    @router.get("/{camera}/zones", summary="Its zones and lines, and what was counted")
    async def forwarded(request: Request, camera: str) -> Response:
        return await gate.forwarder.forward(request, camera)

    return router


def _named(
    answer: Callable[[Request, str], Awaitable[Response]], path: str
) -> Callable[..., Awaitable[Response]]:
    """FastAPI wants all parts of a path among the arguments."""
    if "{session}" not in path:

        async def of_camera(request: Request, camera: str) -> Response:
            return await answer(request, camera)

        return of_camera

    async def of_session(request: Request, camera: str, session: str) -> Response:
        return await answer(request, camera)

    return of_session


def _of_each(connection: Request | WebSocket) -> str:
    """What is wanted of each camera: the query but for which ones."""
    parts = connection.url.query.split("&")
    return "&".join(part for part in parts if part and not part.startswith(("camera=", "after=")))


async def _gathered(gate: Gate, what: What, cameras: frozenset[str], query: str) -> list[Any]:
    """What all workers say of the cameras that are theirs, in the order of their cameras' names."""
    table = gate.directory.table
    path = f"/api/{what}?{query}" if query else f"/api/{what}"
    answers = await asyncio.gather(*(gate.forwarder.ask(each.address, path) for each in table.workers))
    found = []
    for answer in answers:
        for item in answer if isinstance(answer, list) else []:
            camera, epoch = item.get("camera"), item.get("epoch")
            if (not cameras or camera in cameras) and gate.directory.epoch(camera) == epoch:
                found.append(item)
    return sorted(found, key=lambda item: (item["captured_at_s"], item["camera"]))
