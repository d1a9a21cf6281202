"""A gateway's application: the page of a single machine, and behind its addresses a cluster.

Owns the application and its end. Stateless: all that it knows the controller and the workers know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from stream.access import WANTS_TOKEN, Access
from stream.cluster.gateway.directory import Control, Directory
from stream.cluster.gateway.forward import Forwarder
from stream.cluster.gateway.numbers import GatewayMetrics
from stream.cluster.gateway.roster import changing_routes, listing_routes
from stream.cluster.gateway.routes import (
    Gate,
    camera_routes,
    cluster_routes,
    drain_route,
    operation_routes,
    result_routes,
    signalling_routes,
    socket_routes,
)
from stream.cluster.gateway.workers import Workers
from stream.cluster.spec import Spec
from stream.config import ServeConfig
from stream.metrics import package_version
from stream.programs import schema_router
from stream.server import VIEWER, GuardedApp, ServerOptions, add_middleware
from stream.websocket_answers import answer_lost_websockets

DESCRIPTION = """Many machines' cameras behind one address: tracks and events of any, WebRTC signalling."""


def create_gateway(config: ServeConfig, spec: Spec, control: Control, options: ServerOptions) -> FastAPI:
    """The application. `options`: what a config says that viewers get; `spec`: of the cluster. Raises ConfigError where
    it cannot know workers by their certificates.
    """
    directory, workers = Directory(control), Workers(spec)
    metrics = GatewayMetrics(directory)
    forwarder = Forwarder(directory, workers)
    access = Access(
        options.tokens, options.publish_tokens, options.admin_tokens, cookie_key=options.cookie_key
    )
    gate = Gate(directory, control, forwarder, metrics, access, workers, spec.config.cluster.whep)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await directory.look()  # or who asks at once would be told that there is no such camera
        watching = asyncio.create_task(directory.run(), name="directory")
        yield
        app.state.closing = True
        watching.cancel()
        await asyncio.wait([watching])
        await forwarder.close()

    app = GuardedApp(
        options,
        lambda reason: metrics.refused.labels(reason).inc(),
        title="SyncVIS Online, a cluster's gateway",
        version=package_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.closing = False
    app.state.metrics = metrics
    add_middleware(app, options)
    _add_routes(app, gate, config)
    return app


def _add_routes(app: FastAPI, gate: Gate, config: ServeConfig) -> None:
    access = gate.access
    may_watch, may_change = [Depends(access.required())], [Depends(access.required("admin"))]
    app.include_router(operation_routes(gate))
    app.include_router(access.router())
    app.include_router(schema_router())
    app.include_router(cluster_routes(gate), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(drain_route(gate), dependencies=may_change, responses=WANTS_TOKEN)
    app.include_router(result_routes(gate), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(listing_routes(gate), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(changing_routes(gate, config), dependencies=may_change)
    app.include_router(camera_routes(gate), dependencies=may_watch, responses=WANTS_TOKEN)
    app.include_router(socket_routes(gate))
    app.include_router(signalling_routes(gate, "/whep", may_watch))
    app.include_router(signalling_routes(gate, "/whip", [Depends(access.required("publish"))]))
    app.mount("/static", StaticFiles(directory=VIEWER), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(VIEWER / "index.html", media_type="text/html")

    answer_lost_websockets(app)
