"""What was changed of the cameras while the server ran, on disk, so that it is there after a restart.

Owns the file `cameras.json` in the state directory: only its owner can read it, since URLs hold passwords; it is whole
or as it was. Does not know what the changes mean.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from stream.camera_config import CameraConfig
from stream.errors import ConfigError
from syncvis_online.files import replacing
from syncvis_online.validation import first_problems

FORMAT = "syncvis-online-cameras/1"

Changes = Mapping[str, CameraConfig | None]
"""By camera: its settings, or None where it was removed."""


class CameraStore:
    """The file in `folder`, for one process at a time. Raises ConfigError where another has it, or it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cameras.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "cameras.lock")
        except OSError as error:
            raise ConfigError(f"state_dir {folder}: {error.strerror or error}") from error

    def read(self) -> dict[str, CameraConfig | None]:
        """What was written last; nothing where nothing was. Raises ConfigError, which repeats no value."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError
            changes = dict(content["cameras"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(f"{self.path}: damaged (remove it to go back to the config file)") from None
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror or error}") from error
        return {name: self._settings(name, entry) for name, entry in changes.items()}

    def write(self, changes: Changes) -> None:
        """Replace what was written. Raises OSError, and it is as before."""
        cameras = {name: None if each is None else settings_of(each) for name, each in changes.items()}
        text = json.dumps({"format": FORMAT, "cameras": cameras}, indent=1) + "\n"
        with replacing(self.path, durable=True) as draft:
            draft.unlink(missing_ok=True)
            with open(draft, "x", encoding="utf-8", opener=_owner_only) as file:
                file.write(text)

    def close(self) -> None:
        """Let another process have it. Idempotent."""
        self._lock.close()

    def _settings(self, name: str, entry: Any) -> CameraConfig | None:
        if entry is None:
            return None
        try:
            return CameraConfig.model_validate(entry)
        except ValidationError as error:
            problem = first_problems(error, 1)[0]
            raise ConfigError(f"{self.path}: cameras.{name}.{problem}") from error


def settings_of(camera: CameraConfig) -> dict[str, Any]:
    """A camera's settings as JSON has them: those that are not as they would be anyway."""
    return {"url": camera.url, **camera.model_dump(mode="json", exclude_defaults=True)}


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _locked(path: Path) -> IO[str]:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigError(f"{path.parent}: cameras are kept there by another process") from None
    return lock
