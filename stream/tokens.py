"""Bearer tokens: what one looks like, how one is made, and the hash that is all that the server keeps of it.

Owns the two forms in which a config may hold a token. Does not know what a token allows: `stream.access` does.
"""

from __future__ import annotations

import hashlib
import re
import secrets

_PLAIN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""As RFC 6750, section 2.1, spells them."""
_HASHED = re.compile(r"sha256:[0-9A-Fa-f]{64}")
_FORM = (
    "a token is 16 or more of A-Z a-z 0-9 - . _ ~ + /, or sha256: and 64 hexadecimal digits: "
    "`syncvis-online token` makes both"
)
MIN_LENGTH = 16
RANDOM_BYTES = 32


def make_token() -> str:
    """A new token of 256 random bits."""
    return secrets.token_urlsafe(RANDOM_BYTES)


def hashed(text: str) -> str:
    """A token, or its hash, as a config has it: its hash, `sha256:` and 64 digits. A fast hash is right for a secret
    that nobody can guess; a slow one, for what people think up, would cost each request as much as an attacker's.

    Raises ValueError, without the text, where it is neither.
    """
    if _HASHED.fullmatch(text):
        return text.lower()
    if len(text) < MIN_LENGTH or not _PLAIN.fullmatch(text):
        raise ValueError(_FORM)
    return f"sha256:{digest(text.encode()).hex()}"


def digest(token: bytes) -> bytes:
    """The 32 bytes by which tokens are compared."""
    return hashlib.sha256(token).digest()
