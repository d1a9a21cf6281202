"""Who may watch, who may publish, and who may change cameras: bearer tokens (RFC 6750), and a cookie by which a browser
says that it has shown one for watching.

Owns the check. Does not know what is protected: routers name what they need. Where no token is configured, everybody
who reaches the server may watch, and nobody may publish or change anything. Holds hashes of tokens, never a token.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response, status
from starlette.requests import HTTPConnection

from stream.tokens import digest, hashed

Scope = Literal["watch", "publish", "admin"]

COOKIE = "syncvis_viewer"
COOKIE_AGE_S = 30 * 24 * 3600
WANTS_TOKEN: dict[int | str, dict[str, Any]] = {
    401: {"description": "A token of server.tokens is needed, or the one shown is wrong."},
    403: {"description": "The token is one for something else."},
}
"""For OpenAPI: what routes for who may watch answer others."""
REALM = 'Bearer realm="syncvis-online"'


class Access:
    """Tokens that allow to watch, others that allow to publish, and others that allow to change cameras, each plain or
    as its hash; none does for two of these unless it is among both.

    A page shows one for watching once, and gets a cookie that the server has signed with `cookie_key` (None: one that
    ends with the process). The cookie ends after a month, and is of no use any more when the token is taken out of the
    config; it never allows to publish or to change: no page of another site can make a browser do so. Who reads
    the config, and in it the hash of a token, can make neither the token nor the cookie of it.
    """

    def __init__(
        self,
        tokens: Sequence[str] = (),
        publish_tokens: Sequence[str] = (),
        admin_tokens: Sequence[str] = (),
        *,
        cookie_key: bytes | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = _digests(tokens)
        self._publish_tokens = _digests(publish_tokens)
        self._admin_tokens = _digests(admin_tokens)
        self._cookie_key = cookie_key or secrets.token_bytes(32)
        self._now_s = now_s

    @property
    def open(self) -> bool:
        """Whether everybody may watch."""
        return not self._tokens

    def allows(self, connection: HTTPConnection) -> bool:
        """Whether a request or a WebSocket comes from somebody who may watch."""
        if self.open:
            return True
        if _among(_bearer(connection), self._tokens):
            return True
        return self._has_cookie(connection)

    def may_publish(self, connection: HTTPConnection) -> bool:
        """Whether a request comes from somebody who may publish."""
        return _among(_bearer(connection), self._publish_tokens)

    def may_change(self, connection: HTTPConnection) -> bool:
        """Whether a request comes from somebody who may add, change and remove cameras."""
        return _among(_bearer(connection), self._admin_tokens)

    def required(self, scope: Scope = "watch") -> Callable[[Request], Awaitable[None]]:
        """A dependency of routes that only those who may watch, or publish, or change cameras, are served by; others
        get 401, or 403 where their token is one for something else.
        """
        checks = {"watch": self.allows, "publish": self.may_publish, "admin": self.may_change}
        allowed = checks[scope]

        async def check(request: Request) -> None:
            if not allowed(request):
                tokens = self._tokens + self._publish_tokens + self._admin_tokens
                known = _among(_bearer(request), tokens)
                raise insufficient(scope) if known else denied(request)

        return check

    def router(self) -> APIRouter:
        """/session: a token for a cookie, and its end."""
        router = APIRouter(tags=["access"])

        @router.post(
            "/session",
            status_code=204,
            summary="Get a cookie for a bearer token",
            responses={401: {"description": "The token is missing or wrong."}},
        )
        async def begin(request: Request) -> Response:
            shown = digest(_bearer(request))
            if self.open or not _among(_bearer(request), self._tokens):
                raise denied(request)
            answer = Response(status_code=204)
            answer.set_cookie(
                COOKIE,
                self._cookie(shown, int(self._now_s()) + COOKIE_AGE_S),
                max_age=COOKIE_AGE_S,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )
            return answer

        @router.delete("/session", status_code=204, summary="Take the cookie back")
        async def end() -> Response:
            answer = Response(status_code=204)
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
            return answer

        return router

    def _cookie(self, token: bytes, ends_s: int) -> str:
        """What only this server can make: when it ends, and that with the token's hash signed."""
        signed = hmac.digest(self._cookie_key, f"{COOKIE} {ends_s} ".encode() + token, "sha256")
        return f"{ends_s}.{signed.hex()}"

    def _has_cookie(self, connection: HTTPConnection) -> bool:
        cookie = connection.cookies.get(COOKIE, "")
        ends, _, _ = cookie.partition(".")
        # So few digits that no text takes long to be read as a number.
        if not (ends.isascii() and ends.isdecimal() and len(ends) <= 12) or int(ends) <= self._now_s():
            return False
        known = [self._cookie(token, int(ends)).encode() for token in self._tokens]
        return any([hmac.compare_digest(cookie.encode(), each) for each in known])


def denied(connection: HTTPConnection) -> HTTPException:
    """401, which says whether a token was wrong or missing (RFC 6750, section 3)."""
    shown = "authorization" in connection.headers or COOKIE in connection.cookies
    challenge = f'{REALM}, error="invalid_token"' if shown else REALM
    detail = "the token is wrong" if shown else "a token is needed"
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})


def insufficient(scope: Scope) -> HTTPException:
    """403 for a token that is good, but not for this (RFC 6750, section 3.1)."""
    challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
    deed = "change cameras" if scope == "admin" else scope
    return HTTPException(
        status.HTTP_403_FORBIDDEN, f"this token does not allow to {deed}", {"WWW-Authenticate": challenge}
    )


def _bearer(connection: HTTPConnection) -> bytes:
    """The bearer token that is shown; empty where there is none, which is no token."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip().encode() if scheme.lower() == "bearer" else b""


def _digests(tokens: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(hashed(token).removeprefix("sha256:")) for token in tokens)


def _among(given: bytes, known: Iterable[bytes]) -> bool:
    """Whether it is one of those; it takes the same time wherever they differ, and however long they are."""
    found = digest(given)
    return any([hmac.compare_digest(found, each) for each in known]) and bool(given)
