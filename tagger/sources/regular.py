"""Opening a file that must be an ordinary one, without ever waiting for it to become one.

Opening a named pipe waits for a writer, and opening a tape drive rewinds it; so the kind is looked
at first, the file is opened without waiting, and the kind is looked at again on what was opened.
"""

from __future__ import annotations

import os
import stat
from io import FileIO

# Windows has neither; there is nothing to wait for in its file system either.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(Exception):
    """It is a folder, pipe, socket or device: the message says which."""


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Open an ordinary file for reading, unbuffered.

    Raises:
        NotRegularError: it is anything else.
        OSError: it cannot be opened.
    """
    refuse_special(os.stat(path).st_mode)  # noqa: PTH116 -- also called with plain strings, for each folder
    file = FileIO(os.open(path, _FLAGS), "rb")
    try:
        refuse_special(os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def refuse_special(mode: int) -> None:
    """Raise NotRegularError unless ``mode`` (``st_mode``) is that of an ordinary file."""
    if not stat.S_ISREG(mode):
        raise NotRegularError(f"{_KINDS.get(stat.S_IFMT(mode), 'a special file')}, not a file of its own")
