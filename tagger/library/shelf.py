"""Bytes under names, in a folder, under a bound: for what can be made again and is quicker to keep.

Several processes may share the folder, and anybody may empty it at any time; nothing is locked, and nothing
is remembered that the folder does not say. A file appears whole or not at all, and the time at which it was
last changed is the time at which it was last of use: those that were of no use for longest go first.

The diskcache package was looked at and turned down: it had no release for years, and pickles.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

_LOG = logging.getLogger(__name__)

_FRESH_SECONDS = 60.0
"""What was of use within that time is not said to be so again: it spares the disk a write at each look."""
_AFTERWARDS = 0.9
"""The share of the bound that is left when there was too much, so that it is not soon too much again."""
_UNSEEN = 8
"""After one part in so many of the bound the folder is looked through, whatever this process believes to be
in it: others add too, and none of them may add more than that unseen."""


class Shelf:
    """Up to ``most_bytes`` in the files of ``folder``; thread-safe.

    The folder is looked through in a thread of its own, at the first addition and after that now and then;
    until that is done there may be more. Nothing is kept, which is no error, where the folder cannot be
    written: it is logged once.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most = most_bytes
        self._lock = threading.Lock()
        self._held = 0
        self._unseen = most_bytes  # nothing is known of what is there already
        self._tidying: threading.Thread | None = None
        self._has_complained = False

    def get(self, name: str) -> bytes | None:
        """What was put there under this name; None if it is not there any more."""
        try:
            with self._path(name).open("rb") as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > _FRESH_SECONDS:
                    self._of_use(name)
                return file.read()
        except OSError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Keep it, in the place of what has this name; ``name`` begins with two hexadecimal digits."""
        if len(data) > self._most:
            return
        try:
            _write(self._path(name), data)
        except FileNotFoundError:
            pass  # somebody is emptying the folder at this moment
        except OSError as fault:
            self._complain(fault)
        else:
            self._count(len(data))

    def close(self) -> None:
        """Return when no thread is at work here."""
        with self._lock:
            tidying = self._tidying
        if tidying is not None:
            tidying.join()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    def _of_use(self, name: str) -> None:
        with suppress(OSError):  # it can be read, and no more
            os.utime(self._path(name))

    def _complain(self, fault: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            _LOG.warning("nothing is kept in %s: %s", self._folder, fault.strerror or fault)

    def _count(self, added: int) -> None:
        with self._lock:
            self._held += added
            self._unseen += added
            if self._is_due() and self._tidying is None:
                self._tidying = threading.Thread(target=self._tidy, name="tagger-shelf", daemon=True)
                self._tidying.start()

    def _is_due(self) -> bool:
        return self._held > self._most or self._unseen > self._most // _UNSEEN

    def _tidy(self) -> None:
        """Until what was added meanwhile makes no difference."""
        while True:
            with self._lock:
                self._unseen = 0
            held = self._pruned()
            with self._lock:
                self._held = held + self._unseen  # some of that may have been seen; better so than too little
                if not self._is_due():
                    self._tidying = None
                    return

    def _pruned(self) -> int:
        """Look through the folder, and take out of it what is too much; the bytes that are left."""
        files = list(_files(self._folder))
        held = sum(file.size for file in files)
        if held <= self._most:
            return held
        for file in sorted(files):
            if held <= self._most * _AFTERWARDS:
                break
            with suppress(OSError):  # another process was quicker; or it will not go, nor the next time
                file.path.unlink()
            held -= file.size
        return held


class _File(NamedTuple):
    """Those that were of no use for longest are the least."""

    used_ns: int
    size: int
    path: Path


def _files(folder: Path) -> Iterator[_File]:
    """What lies on the shelf, and what was left unfinished there by a process that was killed."""
    for part in _entries(folder):
        if len(part.name) == 2 and part.is_dir(follow_symlinks=False):
            for entry in _entries(Path(part.path)):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield _File(status.st_mtime_ns, status.st_size, Path(entry.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing. Only this user may read it, as befits pictures of others' lives.

    Raises OSError: the disk is full or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        unfinished = Path(file.name)
        try:
            file.write(data)
            file.close()
            unfinished.replace(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
