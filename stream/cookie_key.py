"""The key that signs the cookies of browsers, kept so that they are good after a restart too.

Owns the file `cookie.key` in the state directory: only its owner can read it, and it is whole or not there.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from stream.errors import ConfigError
from syncvis_online.files import replacing

KEY_BYTES = 32


def load_cookie_key(folder: Path) -> bytes:
    """The key of a state directory; made where there is none yet. Raises ConfigError where it cannot be kept, or what
    is there is none.
    """
    path = folder / "cookie.key"
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return _made(path)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: damaged (remove it, and whoever watches in a browser signs in again)")
    return key


def _made(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as draft:
            draft.unlink(missing_ok=True)
            with open(draft, "xb", opener=_owner_only) as file:
                file.write(key)
    except OSError as error:
        raise ConfigError(f"state_dir {path.parent}: {error.strerror or error}") from error
    return key


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
