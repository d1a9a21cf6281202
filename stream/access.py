"""Who may watch, who may publish, and who may change cameras: bearer tokens (RFC 6750), and a cookie by which a browser
says that it has shown one for watching.

Owns the check. Does not know what is protected: routers name what they need. Where no token is configured, everybody
who reaches the server may watch, and nobody may publish or change anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

from fastapi import APIRouter, HTTPException, Request, Response, status
from starlette.requests import HTTPConnection

Scope = Literal["watch", "publish", "admin"]

COOKIE = "syncvis_viewer"
COOKIE_AGE_S = 30 * 24 * 3600
REALM = 'Bearer realm="syncvis-online"'


class Access:
    """Tokens that allow to watch, others that allow to publish, and others that allow to change cameras; none does for
    two of these unless it is among both. A page shows one for watching once, and gets a cookie that holds what only its
    bearer can know; it is of no use any more when the token is taken out of the config, and never allows to publish or
    to change: no page of another site can make a browser do so.
    """

    def __init__(
        self,
        tokens: Sequence[str] = (),
        publish_tokens: Sequence[str] = (),
        admin_tokens: Sequence[str] = (),
    ) -> None:
        self._tokens = tuple(token.encode() for token in tokens)
        self._publish_tokens = tuple(token.encode() for token in publish_tokens)
        self._admin_tokens = tuple(token.encode() for token in admin_tokens)
        self._cookies = tuple(_cookie_of(token) for token in tokens)

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
        return _among(connection.cookies.get(COOKIE, "").encode(), self._cookies)

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
            _, _, token = request.headers.get("authorization", "").partition(" ")
            if self.open or not _among(token.strip().encode(), self._tokens):
                raise denied(request)
            answer = Response(status_code=204)
            answer.set_cookie(
                COOKIE,
                _cookie_of(token.strip()).decode(),
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


def _among(given: bytes, known: Iterable[bytes]) -> bool:
    """Whether it is one of those; it takes the same time wherever they differ."""
    return any([hmac.compare_digest(given, each) for each in known])


def _cookie_of(token: str) -> bytes:
    digest = hmac.new(token.encode(), b"syncvis-online viewer cookie", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")
