"""Who may come in: tokens, sessions of browsers, and what other web sites have these do.

:class:`Guard` stands before every route. Without a token the server listens on this machine alone, and then
answers only by its names (a site elsewhere could have a name of its own lead here). Whoever changes something
from a browser must do so from one of our pages.
"""

from __future__ import annotations

import hmac
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagger.web.errors import refusal

log = logging.getLogger(__name__)

COOKIE: Final = "tagger_session"
SESSION_SECONDS: Final = 30 * 24 * 3600
TRIES: Final = 20
"""Wrong tokens from one address, within :data:`TRY_SECONDS`, after which it is not listened to."""
TRY_SECONDS: Final = 60.0
PUBLIC: Final = frozenset({"/login", "/healthz"})
"""Paths that need no token."""
STATIC: Final = "/static/"
"""Beneath it all may be had without a token: styles, scripts and icons, the same for everybody."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_NAMES: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "manifest-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # no other site shows our photos, or learns of them
}


@dataclass(slots=True)
class Door:
    """Knows the token, and who has been wrong of late. None: there is no token, and nobody is asked."""

    token: str | None
    clock: Callable[[], float] = time.time
    _failed: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=200))

    def opens(self, given: bytes, client: str) -> bool:
        """Whether this is the token.

        Raises 429 (:class:`HTTPException`) for a client that was wrong too often within the last minute.
        """
        since = self.clock() - TRY_SECONDS
        if sum(who == client and moment > since for moment, who in self._failed) >= TRIES:
            raise HTTPException(
                429, "too many wrong tokens: wait a minute", {"Retry-After": f"{TRY_SECONDS:.0f}"}
            )
        if self.token is not None and hmac.compare_digest(given, self.token.encode()):
            return True
        self._failed.append((self.clock(), client))
        return False

    def session(self) -> str:
        """What a browser keeps instead of the token: until when, and our word for it."""
        until = str(int(self.clock()) + SESSION_SECONDS)
        return f"{until}.{self._word(until)}"

    def knows(self, session: str) -> bool:
        """Whether a session is one of ours, and not over."""
        until, _, word = session.partition(".")
        if self.token is None or not re.fullmatch(r"[0-9]{1,12}", until):
            return False
        return hmac.compare_digest(word.encode(), self._word(until).encode()) and int(until) > self.clock()

    def _word(self, until: str) -> str:
        return hmac.digest((self.token or "").encode(), f"{COOKIE} {until}".encode(), "sha256").hex()


class Guard:
    """The application behind the door."""

    def __init__(self, app: ASGIApp, door: Door, most_bytes: int) -> None:
        self._app = app
        self._door = door
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":  # there is nothing else here
            await self._answer(scope, receive, _Sending(send, scope["path"]))

    async def _answer(self, scope: Scope, receive: Receive, sending: _Sending) -> None:
        try:
            app = self._refused(HTTPConnection(scope)) or self._app
            await app(scope, _Limited(receive, self._most_bytes), sending)
        except HTTPException as fault:
            refused = refusal(fault.status_code, fault.detail, headers=dict(fault.headers or {}))
            await refused(scope, receive, sending)
        except Exception:
            log.exception("%s %s failed", scope["method"], ascii(scope["path"]))
            if sending.began:
                raise
            await refusal(500, "this went wrong here; the server's log says how")(scope, receive, sending)

    def _refused(self, asked: HTTPConnection) -> Response | None:
        if self._door.token is None and not _OWN_NAMES.fullmatch(asked.headers.get("host", "")):
            return refusal(421, "this server answers as localhost only; others need a token (TAGGER_TOKEN)")
        is_told = self._is_told(asked)
        if not (is_told or self._is_open(asked) or self._door.knows(asked.cookies.get(COOKIE, ""))):
            return _stranger(asked)
        # No browser sends a token by itself, on whoever's behalf.
        if asked.scope["method"] not in _SAFE and not is_told and not _is_ours(asked):
            return refusal(
                403, "another web site asked for this: only pages of this server may", "cross_site"
            )
        if int(asked.headers.get("content-length", "0")) > self._most_bytes:
            return _too_large(self._most_bytes)
        return None

    def _is_told(self, asked: HTTPConnection) -> bool:
        """Whether the request has the token."""
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if self._door.token is None or scheme.lower() != "bearer":
            return False
        return self._door.opens(given.strip().encode("latin-1"), client_of(asked))

    def _is_open(self, asked: HTTPConnection) -> bool:
        path = asked.scope["path"]
        return self._door.token is None or path in PUBLIC or path.startswith(STATIC)


def client_of(asked: HTTPConnection) -> str:
    """The address that a request comes from."""
    return asked.client.host if asked.client else ""


def is_local(path: str) -> bool:
    """Whether this leads to a page of this server, wherever a browser thinks it is."""
    return bool(re.fullmatch(r"/(?![/\\])[^\\\x00-\x1f\x7f]*", path))


def _is_ours(asked: HTTPConnection) -> bool:
    """Whether a browser sends this for one of our pages; other programs do not say."""
    site = asked.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = asked.headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == asked.headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _stranger(asked: HTTPConnection) -> Response:
    """A person is asked for the token, a program told."""
    is_page = asked.scope["method"] == "GET" and "text/html" in asked.headers.get("accept", "")
    if is_page:
        query = f"?{asked.url.query}" if asked.url.query else ""
        path = asked.scope["path"] + query
        return RedirectResponse(f"/login?next={quote(path if is_local(path) else '/', safe='/')}", 303)
    return refusal(
        401,
        "this needs the token (TAGGER_TOKEN): Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _too_large(most: int) -> Response:
    return refusal(413, f"a request has {most:,} bytes at most: ask in several", "too_large")


class _Limited:
    """A request's body, up to so many bytes."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive = receive
        self._most = self._left = most

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, f"a request has {self._most:,} bytes at most: ask in several")
        return message


class _Sending:
    """An answer on its way, with the headers that all have."""

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._path = path
        self.began = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if not self._path.startswith(STATIC):
                headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
