"""Images on the web: one GET each, over connections that are kept, and not a byte too many.

A plain blocking client, not fsspec's: this runs in a process with little memory that reads one
image at a time, each redirect is to be judged before it is followed, and the number of bytes is to
be held against what the server promised.

The body of an answer is the image only if its status is 200, it is not compressed on the way, and
it is as long as the server said. A server that neither says so nor sends in chunks (HTTP/1.0) ends
the image by hanging up; there a body that was cut off cannot be told from a whole one, and is left
to the decoder's judgement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING

from tagger.errors import SourceError
from tagger.sources.addresses import Address, shown
from tagger.sources.faults import RefusedError, empty, too_large
from tagger.values import Limits, OutcomeKind

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DENIED = frozenset({401, 403, 407, 451})
_GONE = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_PIECE = 256 * 1024
_UNASKED = 8_000_000
"""Bytes of an image whose size the server does not tell that are admitted first: most have fewer."""
_WORTH_DRAINING = 64 * 1024
"""Bytes of an error page or redirect that are read, rather than give up the connection."""
_SERVERS = 4
"""Servers to which a connection is kept."""

Allowed = Callable[[Address], bool]
"""Whether an address lies within the roots."""


def fetch(
    address: Address, limits: Limits, allowed: Allowed, admit: Callable[[int], None]
) -> tuple[bytes, int | None]:
    """The bytes at an address, and when they were last changed (ns since 1970) where the server tells.

    ``admit`` is called with the number of bytes before they are read. Where the server does not tell
    it is called with 8 MB, and again with the limit if there are more.

    Raises:
        RefusedError: there are none.
    """
    from urllib3.exceptions import HTTPError

    here = address
    try:
        for _ in range(_MOST_REDIRECTS + 1):
            with _Answer(here, limits) as answer:
                target = answer.leads_to()
                if target is None:
                    return answer.image(limits.max_bytes, admit), answer.changed_at()
            if not target.web or not allowed(target):
                raise RefusedError(OutcomeKind.OUTSIDE, _outside(target))
            here = target
    except HTTPError as error:
        raise _fault(error, here) from error
    raise RefusedError(OutcomeKind.UNREADABLE, f"{here.server} redirects more than {_MOST_REDIRECTS} times")


def answers(address: Address, seconds: float) -> bool:
    """Whether a server is there and says anything at all, be it no."""
    from urllib3.exceptions import HTTPError

    try:
        with _Answer(address, Limits(max_seconds=seconds)):
            return True
    except HTTPError:
        return False


class _Answer:
    """A server's answer to one GET; its connection is kept where that costs little."""

    def __init__(self, address: Address, limits: Limits) -> None:
        from urllib3 import Timeout

        # Well within what the one who supervises this process allows, so that the reason is ours to give.
        patience = Timeout(connect=min(10.0, limits.max_seconds / 4), read=min(30.0, limits.max_seconds / 3))
        self._address = address
        self._answer: BaseHTTPResponse = _pool().request(
            "GET",
            address.uri,
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=patience,
        )

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        left = getattr(self._answer, "length_remaining", None)
        if left is not None and left <= _WORTH_DRAINING:
            self._answer.drain_conn()
        else:
            self._answer.close()
        self._answer.release_conn()

    def leads_to(self) -> Address | None:
        """Where it redirects to; None when it does not."""
        location = self._answer.headers.get("Location")
        if self._answer.status not in _REDIRECTS or location is None:
            return None
        try:
            return self._address.follow(location)
        except (SourceError, ValueError) as error:
            raise RefusedError(
                OutcomeKind.OUTSIDE, f"it redirects to what cannot be judged: {error}"
            ) from error

    def image(self, max_bytes: int, admit: Callable[[int], None]) -> bytes:
        """The whole body."""
        self._refuse_other_than_image()
        promised = self._promised()
        if promised is not None and promised > max_bytes:
            raise too_large(promised, max_bytes)
        admitted = min(_UNASKED, max_bytes) if promised is None else promised
        admit(admitted)
        body = BytesIO()
        while piece := self._answer.read(_PIECE):
            if body.tell() + len(piece) > max_bytes:
                raise too_large(None, max_bytes)
            if body.tell() + len(piece) > admitted:
                admitted = max_bytes
                admit(admitted)
            body.write(piece)
        if promised is not None and body.tell() != promised:
            raise _cut_off(self._address)
        if not body.tell():
            raise empty()
        return body.getvalue()

    def changed_at(self) -> int | None:
        """When the image was last changed; None where that is not told in a way that is understood."""
        from email.utils import parsedate_to_datetime

        try:
            return int(parsedate_to_datetime(self._answer.headers["Last-Modified"]).timestamp()) * 10**9
        except (KeyError, ValueError, TypeError, OverflowError):
            return None

    def _refuse_other_than_image(self) -> None:
        status = self._answer.status
        server = self._address.server
        if status in _DENIED:
            raise RefusedError(OutcomeKind.DENIED, f"{server} does not let us read it ({_named(status)})")
        if status in _GONE:
            raise RefusedError(OutcomeKind.MISSING, f"{server} has no such image ({_named(status)})")
        if status != HTTPStatus.OK:
            reason = f"{server} answers with an error instead of the image: {_named(status)}"
            raise RefusedError(OutcomeKind.UNREADABLE, reason, passing=status in _PASSING)
        for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
            coding = self._answer.headers.get(header, plain).strip().lower()
            if coding not in ("", plain):
                reason = f"{server} sends it compressed ({shown(coding)}) although asked not to"
                raise RefusedError(OutcomeKind.UNREADABLE, reason)

    def _promised(self) -> int | None:
        """The length of the body, where the server tells it."""
        if "Transfer-Encoding" in self._answer.headers:
            return None
        told = self._answer.headers.get("Content-Length", "").split(",")[0].strip()
        return int(told) if told.isascii() and told.isdecimal() and len(told) < 20 else None


@lru_cache(maxsize=1)
def _pool() -> PoolManager:
    """All connections of this process. ``identity``: the bytes of the file, not packed for the way."""
    from urllib3 import PoolManager

    return PoolManager(
        num_pools=_SERVERS, maxsize=1, headers={"User-Agent": "tagger", "Accept-Encoding": "identity"}
    )


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _outside(target: Address) -> str:
    return f"it redirects out of the places that may be read, to {shown(target.uri)} (TAGGER_ROOTS)"


def _cut_off(address: Address) -> RefusedError:
    reason = f"{address.server} ended the transfer before the image was whole"
    return RefusedError(OutcomeKind.UNREADABLE, reason, passing=True)


def _fault(error: Exception, address: Address) -> RefusedError:
    """What a failed request means."""
    from http.client import IncompleteRead

    from urllib3 import exceptions

    server = address.server
    if _is_within(error, IncompleteRead):
        return _cut_off(address)
    reason, passing = f"{server} answers in a way that is no HTTP", True
    if isinstance(error, exceptions.NameResolutionError):
        reason = f"no server called {address.authority} is known to the name service"
    elif isinstance(error, exceptions.NewConnectionError):
        reason = f"{server} takes no connections: {shown(str(error.__cause__ or 'no cause given'))}"
    elif isinstance(error, exceptions.TimeoutError):
        reason, passing = f"{server} did not answer in time", False
    elif isinstance(error, exceptions.SSLError):
        reason, passing = f"no safe connection to {server}: {shown(str(error))}", False
    elif _is_within(error, OSError):
        reason = f"{server} broke the connection off"
    return RefusedError(OutcomeKind.UNREADABLE, reason, passing=passing)


def _is_within(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error was caused by one of this kind."""
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
