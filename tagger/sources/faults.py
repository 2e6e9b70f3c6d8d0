"""What the system's error numbers mean for an image: one outcome and a reason a person understands."""

from __future__ import annotations

import errno
import os
import stat

from tagger.values import OutcomeKind


class RefusedError(Exception):
    """An image cannot be had, and it is known why. ``passing``: asking again at once may help."""

    def __init__(self, kind: OutcomeKind, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.passing = passing


_MISSING = {
    errno.ENOENT: "the file is no longer there",
    errno.ENOTDIR: "the file is no longer there: a folder above it has become a file",
    errno.ELOOP: "a loop of links that leads nowhere",
}
_UNREADABLE = {
    errno.EIO: "the disk reports an input/output error",
    errno.ESTALE: "the network share no longer knows the file",
    errno.ETIMEDOUT: "the network share does not answer",
    errno.EHOSTDOWN: "the network share does not answer",
    errno.EHOSTUNREACH: "the network share does not answer",
    errno.ENOTCONN: "the network share is not connected",
    errno.ENODEV: "the disk is gone",
    errno.ENXIO: "the disk is gone",
    errno.EMFILE: "too many files are open in this process (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOMEM: "the system has no memory left to read it",
    errno.ENAMETOOLONG: "its path is longer than the system allows",
}


def fault_of(error: OSError, path: str | os.PathLike[str]) -> tuple[OutcomeKind, str]:
    """The outcome and reason of an error met at ``path``."""
    number = error.errno or 0
    if number in (errno.EACCES, errno.EPERM):
        return OutcomeKind.DENIED, f"no permission to read{_owner(path)}"
    if number in _MISSING:
        return OutcomeKind.MISSING, _MISSING[number]
    known = _UNREADABLE.get(number)
    return OutcomeKind.UNREADABLE, known or f"the system cannot read it: {error.strerror or 'no cause given'}"


def _owner(path: str | os.PathLike[str]) -> str:
    """Who may read it instead, as far as the system tells: `` (owner ann, mode 0600)``."""
    try:
        facts = os.stat(path)  # noqa: PTH116 -- also called with plain strings
    except OSError:
        return ": a folder above it is closed"
    return f" (owner {_user(facts.st_uid)}, mode {stat.S_IMODE(facts.st_mode):04o})"


def _user(uid: int) -> str:
    try:
        import pwd  # not on Windows
    except ImportError:
        return str(uid)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def too_large(size: int | None, max_bytes: int) -> RefusedError:
    """A file over the limit; ``size`` is None where the place does not tell how far over."""
    found = "larger than is allowed" if size is None else _megabytes(size)
    reason = f"{found}, the limit is {_megabytes(max_bytes)} (TAGGER_MAX_BYTES)"
    return RefusedError(OutcomeKind.TOO_LARGE, reason)


def empty() -> RefusedError:
    """A file without a byte."""
    return RefusedError(OutcomeKind.CORRUPT, "the file is empty (0 bytes)")


def changing() -> RefusedError:
    """A file that is not the same at the end of reading as at its beginning."""
    return RefusedError(OutcomeKind.UNREADABLE, "the file keeps changing; is something writing it?")


def _megabytes(size: int) -> str:
    """A size for a person: ``312 MB`` of 1024 x 1024 bytes, ``0.3 MB`` when small."""
    megabytes = size / 2**20
    return f"{megabytes:.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"
