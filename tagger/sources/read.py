"""The bytes of one file and their SHA-256, or the one reason why there are none.

The place is judged again here, not only when it was scanned, since links change; the file is opened
once; and a file that is being written while it is read is read again, so that a digest always
belongs to bytes that were in the file at one time.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources.faults import fault_of
from tagger.sources.regular import NotRegularError, open_regular
from tagger.sources.roots import Roots
from tagger.sources.scan import outside_reason
from tagger.values import FileContent, ImageRef, Limits, LoadFailure, OutcomeKind

# A copy in progress seldom ends within a second; the next run finds it whole.
_PAUSES_S = (0.0, 0.1, 0.4)


class _RefusalError(Exception):
    """The file cannot be had, and it is known why."""

    def __init__(self, kind: OutcomeKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def read(
    ref: ImageRef,
    roots: Roots,
    limits: Limits | None = None,
    *,
    follow_links: bool = False,
    admit: Callable[[int], None] = lambda size: None,
) -> FileContent | LoadFailure:
    """Read one file whole; never raises for what is wrong with the file or its place.

    ``admit`` is called with the number of bytes before they are read; it may wait.

    Outcomes of a failure: ``outside``, ``missing``, ``denied``, ``unsupported`` (no ordinary
    file), ``too_large`` (over ``limits.max_bytes``, at once), ``corrupt`` (empty), ``unreadable``.
    Thread-safe. It may block for as long as the file system does.
    """
    try:
        path = _place(ref.uri, roots, follow_links)
        data, mtime_ns = _settled(path, (limits or Limits()).max_bytes, admit)
    except _RefusalError as refusal:
        return LoadFailure(ref.image_id, refusal.kind, refusal.reason)
    except NotRegularError as error:
        return LoadFailure(ref.image_id, OutcomeKind.UNSUPPORTED, str(error))
    except OSError as error:
        return LoadFailure(ref.image_id, *fault_of(error, path))
    return FileContent(ref.image_id, ref.uri, data, hashlib.sha256(data).digest(), mtime_ns)


def _place(uri: str, roots: Roots, follow_links: bool) -> Path:
    """The path to open: without links in it, unless they may be followed anywhere."""
    try:
        path = roots.path_of(uri)
    except SourceError as error:
        raise _RefusalError(OutcomeKind.OUTSIDE, str(error)) from error
    if follow_links:
        return path
    real = Path(os.path.realpath(path))
    if roots.root_of(real) is not None:
        return real
    if not os.path.lexists(path) or not _seems_there(real):
        raise _RefusalError(
            OutcomeKind.MISSING, "the file is no longer there, or is a link that leads nowhere"
        )
    raise _RefusalError(OutcomeKind.OUTSIDE, outside_reason(path))


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
    for pause in _PAUSES_S:
        time.sleep(pause)
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            if before.st_size > max_bytes:
                raise _RefusalError(OutcomeKind.TOO_LARGE, _too_large(before.st_size, max_bytes))
            admit(before.st_size)
            data = _whole(file, before.st_size)
            after = os.fstat(file.fileno())
        if before.st_size == after.st_size == 0 and data:
            reason = "no file on a disk: the system makes it up as it is read (/proc, /sys)"
            raise _RefusalError(OutcomeKind.UNSUPPORTED, reason)
        unchanged = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if unchanged and len(data) == before.st_size:
            if not data:
                raise _RefusalError(OutcomeKind.CORRUPT, "the file is empty (0 bytes)")
            return data, before.st_mtime_ns
    raise _RefusalError(OutcomeKind.UNREADABLE, "the file keeps changing; is something writing it?")


def _whole(file: FileIO, size: int) -> bytes:
    """All of a file that said it has ``size`` bytes; a growing one is read no further than that
    and one byte, which shows that it grew."""
    parts: list[bytes] = []
    left = size + 1
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(size: int, max_bytes: int) -> str:
    return f"{_megabytes(size)}, the limit is {_megabytes(max_bytes)} (TAGGER_MAX_BYTES)"


def _megabytes(size: int) -> str:
    """A size for a person: ``312 MB`` of 1024 x 1024 bytes, ``0.3 MB`` when small."""
    megabytes = size / 2**20
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"
