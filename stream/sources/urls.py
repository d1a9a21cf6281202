"""What a source's address means, and how it may be printed: never with its password.

Owns `mask_url` and `scrub`, through which every URL and every error text of a camera goes before anybody sees
it, and the split of an address into its kind. Opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote

from stream.errors import ConfigError

Kind = Literal["rtsp", "device", "file", "synthetic", "publisher"]

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
# Without a scheme, or with a damaged one, an address cannot be opened, but its password is one all the same.
_BEFORE_USER = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*://|rtsps?:/?|//)?", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"(?i)((?:pass(?:word|wd)?|pwd|token|secret|api_?key|auth)=)[^&;#\s'\"]*")
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+|[^\s'\"]+:[^\s'\"]+@[^\s'\"]+")
_BRACKETED_HOST = re.compile(r"^\[[0-9A-Fa-f:.%]+\](?::\d*)?(?:[/?#]|$)")
_HIDDEN = "***"

PUBLISHED = "whip:"
"""The address of a camera that a publisher sends here."""


def _split_password(url: str) -> tuple[str, str, str] | None:
    """(text up to and with the colon, password, text from the @ on), or None when there is no password.

    Takes all up to the LAST @ for the user's part: a password typed with a raw @, / or # in it makes a URL
    that nobody can open, but that is still shown in the error that says so.
    """
    before = _BEFORE_USER.match(url)
    start = before.end() if before else 0
    rest = url[start:]
    at = rest.rfind("@")
    if at < 0 or _BRACKETED_HOST.match(rest):
        return None
    user, colon, password = rest[:at].partition(":")
    if not colon:
        return None
    return url[:start] + user + colon, password, rest[at:]


def mask_url(url: str) -> str:
    """The URL with its password (and secrets in its query) replaced by ***; the user's name is kept. What no terminal
    should be sent, line ends among it, is a question mark.
    """
    parts = _split_password(url)
    masked = url if parts is None else parts[0] + _HIDDEN + parts[2]
    masked = "".join(sign if sign.isprintable() else "?" for sign in masked)
    return _SECRET_FIELD.sub(rf"\g<1>{_HIDDEN}", masked)


def password_of(url: str) -> str:
    """The password in a URL as it stands there (still percent-encoded), or an empty text."""
    parts = _split_password(url)
    return "" if parts is None else parts[1]


def mask_text(text: str) -> str:
    """The text with the password of every URL in it masked."""
    # Up to the next white space: a password may hold any other sign.
    return _URL_IN_TEXT.sub(lambda found: mask_url(found.group()), text)


def scrub(text: str, url: str) -> str:
    """An error text about `url`, on one line, in which neither its password nor that of another URL is
    left."""
    text = text.replace(url, mask_url(url))
    password = password_of(url)
    for form in {password, unquote(password), quote(unquote(password), safe="")} - {""}:
        text = text.replace(form, _HIDDEN)
    text = mask_text(" ".join(text.split()))
    return _SECRET_FIELD.sub(rf"\g<1>{_HIDDEN}", text)


@dataclass(frozen=True, slots=True)
class SyntheticAddress:
    """`synthetic:SEED?level=medium&fps=25&size=640x360&frames=N`: what to render; None where the level
    decides."""

    seed: int
    level: str = "medium"
    fps: float | None = None
    size: tuple[int, int] | None = None
    """(width, height) in pixels."""
    frames: int | None = None
    """End after so many frames; None: endless."""


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """A source's kind, and what to hand to whoever opens it: `location` (URL or path) or `synthetic`."""

    kind: Kind
    url: str = field(repr=False)
    location: str = field(default="", repr=False)
    synthetic: SyntheticAddress | None = None


def parse_address(url: str) -> SourceAddress:
    """Split an address. Raises ConfigError that names it, masked, when it is none that can be opened."""
    lower = url.lower()
    if lower.startswith(("rtsp://", "rtsps://")):
        if not re.match(r"^[^/?#]", url.split("://", 1)[1].rpartition("@")[2]):
            raise ConfigError(f"source '{mask_url(url)}' names no host")
        return SourceAddress("rtsp", url, url)
    if lower.startswith("synthetic:"):
        return SourceAddress("synthetic", url, synthetic=_parse_synthetic(url))
    if lower == PUBLISHED:
        return SourceAddress("publisher", url)
    if lower.startswith("file://"):
        return SourceAddress("file", url, unquote(url[len("file://") :]))
    if _SCHEME.match(url) or not url.strip():
        raise ConfigError(
            f"source '{mask_url(url)}' cannot be opened: "
            "expected rtsp://, rtsps://, a file, /dev/videoN or synthetic:SEED"
        )
    if _split_password(url) is not None and not url.startswith(("/", "./", "../")):
        meant = mask_url("rtsp://" + _BEFORE_USER.sub("", url))
        raise ConfigError(f"source '{mask_url(url)}' cannot be opened: did you mean {meant} ?")
    return SourceAddress("device" if re.fullmatch(r"/dev/video\d+", url) else "file", url, url)


def _parse_synthetic(url: str) -> SyntheticAddress:
    head, _, query = url.partition(":")[2].partition("?")
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        known = {"level", "fps", "size", "frames"}
        if not head.isdecimal() or set(fields) - known:
            raise ValueError
        size = tuple(int(side) for side in fields["size"].split("x")) if "size" in fields else None
        address = SyntheticAddress(
            seed=int(head),
            level=fields.get("level", "medium"),
            fps=float(fields["fps"]) if "fps" in fields else None,
            size=None if size is None else (size[0], size[1]),
            frames=int(fields["frames"]) if "frames" in fields else None,
        )
        if (size and (len(size) != 2 or min(size) < 16)) or not 0 < (
            1 if address.fps is None else address.fps
        ) <= 1000:
            raise ValueError
        if address.frames is not None and address.frames < 1:
            raise ValueError
    except (ValueError, IndexError):
        raise ConfigError(
            f"source '{url}' is wrong: expected synthetic:SEED[?level=NAME&fps=25&size=640x360&frames=100]"
        ) from None
    return address
