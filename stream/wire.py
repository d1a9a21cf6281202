"""The versioned form of a TrackedFrame for subscribers: JSON over the WebSocket and the REST interface.

Owns the names and units of that form, and nothing else: does not know who receives it. Version 1 grows only
by new optional keys; a reader must ignore the keys that it does not know.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream.errors import DataError
from stream.types import Clock, TrackedFrame
from syncvis_online.colors import hex_color
from syncvis_online.types import RLE, Track, TrackState

VERSION: Literal[1] = 1

Pixel = Annotated[float, Field(description="pixels of the camera's picture")]


class WireMask(BaseModel):
    """COCO compressed run-length encoding, as pycocotools reads and writes it."""

    model_config = ConfigDict(frozen=True)

    size: tuple[int, int] = Field(description="height and width in pixels")
    counts: str = Field(description="column-major run lengths, COCO's compressed ASCII form")


class WireTrack(BaseModel):
    """One object on one frame."""

    model_config = ConfigDict(frozen=True)

    id: int = Field(description="lasting identity; never given twice on a camera")
    label: str = Field(description="class name")
    score: float = Field(ge=0.0, le=1.0, description="confidence, 0 to 1")
    box: tuple[Pixel, Pixel, Pixel, Pixel] = Field(
        description="x0, y0, x1, y1 in pixels; right and bottom edges exclusive"
    )
    mask: WireMask = Field(description="the object's visible pixels, size of the camera's picture")
    color: str = Field(pattern="^#[0-9a-f]{6}$", description="the colour that the overlay gives this id")
    age_s: float = Field(default=0.0, ge=0.0, description="seconds since it was first seen")
    state: TrackState = Field(
        default="confirmed",
        description='"confirmed": seen on this frame; "lost": not seen, the mask is empty, the rest is of when it was',
    )

    @classmethod
    def of(cls, track: Track) -> WireTrack:
        """The wire form of a track."""
        return cls(
            id=track.track_id,
            label=track.label,
            score=track.score,
            box=track.box_xyxy,
            mask=WireMask(size=(track.mask["size"][0], track.mask["size"][1]), counts=track.mask["counts"]),
            color=hex_color(track.track_id),
            age_s=track.age_s,
            state=track.state,
        )

    def to_track(self) -> Track:
        """The track that this was made of."""
        rle: RLE = {"size": list(self.mask.size), "counts": self.mask.counts}
        return Track(self.id, self.label, self.score, rle, self.box, self.age_s, self.state)


class WireFrame(BaseModel):
    """Everything that the tracker says about one frame of one camera, without its picture."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = Field(default=VERSION, description="of this form")
    camera: str
    seq: int = Field(ge=0, description="counts the camera's frames from 0, across reconnects too")
    pts: int = Field(description="presentation time in units of `time_base`")
    time_base: str = Field(
        pattern=r"^\d+/[1-9]\d*$", description="seconds per unit of `pts`, a fraction", examples=["1/90000"]
    )
    captured_at_s: float = Field(description="Unix time in seconds at which the picture was taken")
    published_at_s: float = Field(description="Unix time in seconds at which this result was handed out")
    clock: Clock = Field(
        description="whose time `captured_at_s` is: the camera's RTCP reports, arrival, or the file's own"
    )
    width: int = Field(ge=0, description="of the camera's picture, pixels")
    height: int = Field(ge=0, description="of the camera's picture, pixels")
    flags: tuple[str, ...] = Field(default=(), description='e.g. "gap": the first frame after a reconnect')
    rtp_timestamp: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        exclude_if=lambda value: value is None,
        description="of its picture, for those who watch with masks as data; left out for all others",
    )
    stages_ms: dict[str, float] | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="where the time from capture to here went, milliseconds by stage; left out where it is not known",
        examples=[{"receive": 9.1, "queue": 3.2, "schedule": 0.4, "encode": 21.0, "decode": 8.5}],
    )
    epoch: int | None = Field(
        default=None,
        ge=1,
        exclude_if=lambda value: value is None,
        description="of the camera's place in a cluster: it grows whenever the camera goes on elsewhere, where `seq` "
        "begins anew; left out on a single machine",
    )
    tracks: tuple[WireTrack, ...]

    @classmethod
    def of(cls, frame: TrackedFrame, rtp_timestamp: int | None = None) -> WireFrame:
        """The wire form of a frame."""
        height, width = frame.image.shape[:2]
        return cls(
            camera=frame.camera,
            seq=frame.seq,
            pts=frame.pts,
            time_base=f"{frame.time_base.numerator}/{frame.time_base.denominator}",
            captured_at_s=frame.captured_at_s,
            published_at_s=frame.published_at_s,
            clock=frame.clock,
            width=width,
            height=height,
            flags=frame.flags,
            rtp_timestamp=rtp_timestamp,
            stages_ms={name: round(1000 * s, 2) for name, s in frame.stages_s.items()} or None,
            epoch=frame.epoch,
            tracks=tuple(WireTrack.of(track) for track in frame.tracks),
        )

    @property
    def seconds_per_pts(self) -> Fraction:
        """`time_base` as a number."""
        return Fraction(self.time_base)


def encode(frame: TrackedFrame, rtp_timestamp: int | None = None) -> str:
    """One frame as a JSON text of version 1, without a `rtp_timestamp` (see `WireFrame`) where there is none."""
    return WireFrame.of(frame, rtp_timestamp).model_dump_json()


def decode(text: str | bytes) -> WireFrame:
    """Read what `encode` wrote. Raises DataError, in one line, for anything else."""
    try:
        return WireFrame.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "text"
        raise DataError(f"not a tracked frame of version {VERSION}: {where}: {first['msg']}") from error
