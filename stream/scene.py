"""What a camera's settings make of an answered frame before anybody sees it: blurred, filtered, its zones watched.

Owns the order: what is blurred does not depend on what is told. Settings can be changed while the camera runs; nothing
here knows where frames come from or go to.
"""

from __future__ import annotations

from collections.abc import Collection

from stream.camera_config import CameraConfig
from stream.errors import ConfigError
from stream.privacy import Blur
from stream.track_filter import TrackFilter
from stream.zones import Zones


class Scene:
    """`blur` is for a worker thread, if it is any; `tracks` and `zones` for the event loop's."""

    def __init__(
        self, blur: Blur | None = None, tracks: TrackFilter | None = None, zones: Zones | None = None
    ) -> None:
        self.blur = blur or Blur()
        self.tracks = tracks or TrackFilter()
        self.zones = zones or Zones()

    @classmethod
    def of(cls, camera: CameraConfig) -> Scene:
        """As a camera's settings say."""
        scene = cls()
        scene.reconfigure(camera)
        return scene

    def reconfigure(self, camera: CameraConfig) -> None:
        """From the next frame on as these settings say. Zones and lines that stay as they were go on counting."""
        if self.blur.labels != set(camera.blur):  # else who is hidden by its id stays so
            self.blur = Blur(camera.blur)
        self.tracks = TrackFilter(camera.labels, camera.ignore, camera.min_score)
        self.zones.reconfigure(camera.zones, camera.lines)


def check_labels(camera: CameraConfig, known: Collection[str], where: str) -> None:
    """Raises ConfigError that names the key, after `where`, of a class that the model does not know."""
    named = {"labels": camera.labels, "blur": camera.blur}
    named |= {f"zones.{name}.labels": zone.labels for name, zone in camera.zones.items()}
    named |= {f"lines.{name}.labels": line.labels for name, line in camera.lines.items()}
    for key, labels in named.items():
        for label in labels:
            if label not in known:
                raise ConfigError(
                    f"{where}.{key}: the model knows no '{label}' (it knows {', '.join(known)})"
                )
