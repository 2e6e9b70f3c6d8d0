"""The bytes of one file, here or on a server, and their SHA-256, or the one reason why there are none.

The place is judged again here, not only when it was scanned, since links change; the file is opened
once; and a file that is being written while it is read is read again, so that a digest always
belongs to bytes that were in the file at one time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from io import FileIO
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources import objects, web
from tagger.sources.addresses import Address
from tagger.sources.faults import RefusedError, changing, empty, fault_of, too_large
from tagger.sources.regular import NotRegularError, open_regular
from tagger.sources.roots import Roots
from tagger.sources.scan import outside_reason
from tagger.values import FileContent, ImageRef, Limits, LoadFailure, OutcomeKind

# A copy in progress seldom ends within a second; the next run finds it whole.
_PAUSES_S = (0.0, 0.1, 0.4)


def read(
    ref: ImageRef,
    roots: Roots,
    limits: Limits | None = None,
    *,
    follow_links: bool = False,
    admit: Callable[[int], None] = lambda size: None,
) -> FileContent | LoadFailure:
    """Read one file whole; never raises for what is wrong with the file or its place.

    ``admit`` is called with the number of bytes before they are read; it may wait. Where a server
    does not tell the number it is called with more than there may be, and at most with the limit.

    Outcomes of a failure: ``outside``, ``missing``, ``denied``, ``unsupported`` (no ordinary
    file), ``too_large`` (over ``limits.max_bytes``, at once), ``corrupt`` (empty), ``unreadable``.
    Thread-safe. It may block for as long as the file system or server does; web servers have a part
    of ``limits.max_seconds`` for each answer.
    """
    limits = limits or Limits()
    path: Path | None = None
    try:
        place = _place(ref.uri, roots)
        if isinstance(place, Address):
            data, mtime_ns = _fetched(place, ref.size, roots, limits, admit)
        else:
            path = place if follow_links else without_links(place, roots)
            data, mtime_ns = _settled(path, limits.max_bytes, admit)
    except RefusedError as refusal:
        return LoadFailure(ref.image_id, refusal.kind, refusal.reason)
    except NotRegularError as error:
        return LoadFailure(ref.image_id, OutcomeKind.UNSUPPORTED, str(error))
    except OSError as error:
        return LoadFailure(ref.image_id, *fault_of(error, path or ref.uri))
    return FileContent(ref.image_id, ref.uri, data, hashlib.sha256(data).digest(), mtime_ns)


def prepare(roots: Roots) -> None:
    """Import what roots on servers need, so that it is neither done nor paid for with the first image.

    What is not installed is passed over: reading from there says so.
    """
    for root in roots.remote:
        with suppress(ImportError):
            if root.address.web:
                import_module("urllib3")
            else:
                objects.prepare(root.address.scheme)


def _place(uri: str, roots: Roots) -> Path | Address:
    try:
        return roots.place_of(uri)
    except SourceError as error:
        raise RefusedError(OutcomeKind.OUTSIDE, str(error)) from error


def _fetched(
    address: Address, size: int | None, roots: Roots, limits: Limits, admit: Callable[[int], None]
) -> tuple[bytes, int | None]:
    """The bytes at an address and its mtime in nanoseconds; asked for again when that may help at once.

    The libraries behind other protocols do so themselves.
    """
    if not address.web:
        return objects.fetch(address, size, limits.max_bytes, admit)
    for _ in _tries():
        try:
            return web.fetch(address, limits, roots.allows, admit)
        except RefusedError as refusal:
            if not refusal.passing:
                raise
            last = refusal
    raise last


def without_links(path: Path, roots: Roots) -> Path:
    """The path to open, without links in it: they must lead to a place within the roots."""
    real = Path(os.path.realpath(path))
    if roots.root_of(real) is not None:
        return real
    if not os.path.lexists(path) or not _seems_there(real):
        raise RefusedError(
            OutcomeKind.MISSING, "the file is no longer there, or is a link that leads nowhere"
        )
    raise RefusedError(OutcomeKind.OUTSIDE, outside_reason(path))


def _seems_there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _settled(path: Path, max_bytes: int, admit: Callable[[int], None]) -> tuple[bytes, int]:
    """The bytes of a file that stood still while it was read, and its mtime in nanoseconds."""
    for _ in _tries():
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > max_bytes:
                raise too_large(before.st_size, max_bytes)
            admit(before.st_size)
            data = _whole(file, before.st_size)
            after = os.fstat(file.fileno())
        if before.st_size == after.st_size == 0 and data:
            reason = "no file on a disk: the system makes it up as it is read (/proc, /sys)"
            raise RefusedError(OutcomeKind.UNSUPPORTED, reason)
        unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if unchanged and len(data) == before.st_size:
            if not data:
                raise empty()
            return data, before.st_mtime_ns
    raise changing()


def _tries() -> Iterator[None]:
    """At once, and then after each pause; a sleep of no length would still give the processor away."""
    for pause in _PAUSES_S:
        if pause:
            time.sleep(pause)
        yield


def _whole(file: FileIO, size: int) -> bytes:
    """All of a file that said it has ``size`` bytes; a growing one is read no further than that
    and one byte, which shows that it grew."""
    parts: list[bytes] = []
    left = size + 1
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
