"""The route that says a camera's zones and lines: where they are, and what was counted."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, status
from pydantic import BaseModel, Field

from stream.api import NO_CAMERA
from stream.app import Service
from stream.zones import LineView, ZoneView

Corner = Annotated[
    tuple[float, float], Field(description="x and y, shares of the picture as it is shown, 0 to 1")
]


class ZoneReport(BaseModel):
    """A zone as of now."""

    name: str
    polygon: tuple[Corner, ...]
    count: int = Field(description="how many are inside, with those that are hidden for a moment")
    counts: dict[str, int] = Field(description="the same by class")

    @classmethod
    def of(cls, zone: ZoneView) -> ZoneReport:
        """The report of a zone."""
        return cls(name=zone.name, polygon=zone.polygon, count=zone.count, counts=dict(zone.counts))


class Crossed(BaseModel):
    """How many went across a line since the camera was set up."""

    forward: int = Field(description="from the left to the right, as seen from its first point to its second")
    backward: int


class LineReport(BaseModel):
    """A line as of now."""

    name: str
    points: tuple[Corner, Corner]
    crossed: Crossed

    @classmethod
    def of(cls, line: LineView) -> LineReport:
        """The report of a line."""
        crossed = Crossed(forward=line.forward, backward=line.backward)
        return cls(name=line.name, points=line.points, crossed=crossed)


class ZonesReport(BaseModel):
    """All zones and lines of a camera. Version 1 grows only by new optional keys."""

    version: Literal[1] = 1
    zones: tuple[ZoneReport, ...]
    lines: tuple[LineReport, ...]


def zones_router(service: Service) -> APIRouter:
    """/api/cameras/{camera}/zones."""
    router = APIRouter(prefix="/api/cameras", tags=["cameras"])

    @router.get(
        "/{camera}/zones", summary="A camera's zones and lines, with what was counted", responses=NO_CAMERA
    )
    async def zones(camera: str) -> ZonesReport:
        if camera not in service.cameras:
            raise HTTPException(status.HTTP_404_NOT_FOUND, "no such camera")
        zones, lines = service.cameras[camera].scene.zones.view()
        return ZonesReport(
            zones=tuple(ZoneReport.of(zone) for zone in zones),
            lines=tuple(LineReport.of(line) for line in lines),
        )

    return router
