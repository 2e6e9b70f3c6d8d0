"""Decoders that go wrong, for processes that have this folder on their path.

Python imports this module when it starts. A picture whose comment is one of these words meets what
real libraries do with bytes that nobody thought of; a file with ``never-answers`` in its name is read
from a share that does not; and one with ``keeps-changing`` in its name is written to at every look.
"""

import ctypes
import itertools
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from PIL import ImageFile, JpegImagePlugin

_FOR_EVER = 1_000_000
_KEPT: list[object] = []


def _print_much_and_go_on() -> None:
    for _ in range(100):
        try:
            os.write(2, b"warning: corrupt data\n" * 3000)
        except BlockingIOError:
            return


def _abort_the_first_time() -> None:
    mark = Path(os.environ["FIRST_TIME"])
    if not mark.exists():
        mark.touch()
        os.abort()


def _complain_and_abort() -> None:
    os.write(2, b"decoder: bad block\nAssertion `size > 0' failed.\n")
    os.abort()


def _need_much() -> None:
    """More than anybody could tell from the header, and no more than there is."""
    del [bytearray(b"x") * 400_000_000][:]


def _hoard() -> None:
    _KEPT.append(bytearray(b"x") * 170_000_000)


def _leave_files_open() -> None:
    _KEPT.extend(os.dup(0) for _ in range(50))


def _fork_and_abort() -> None:
    if not os.fork():
        time.sleep(_FOR_EVER)
    os.abort()


def _stop_in_mid_sentence() -> None:
    """Begin to say something long on the line to the watcher."""
    os.write(int(sys.argv[1]), b"\0\0\1\0half")
    time.sleep(_FOR_EVER)


def _seem_unkillable() -> None:
    """As one that waits for a dead disk: the line to the watcher stays open."""
    if not os.fork():
        os.setsid()  # out of reach of who ends the process and its like
        time.sleep(20)
        os._exit(0)
    time.sleep(_FOR_EVER)


def _scribble_and_abort() -> None:
    """Over what is shared with the watcher: the words at its beginning."""
    with mmap.mmap(int(sys.argv[2]), mmap.PAGESIZE) as shared:
        shared[:64] = b"\xc8" * 64
    os.abort()


def _eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(10_000_000))


def _spin() -> None:
    while True:
        pass


DEEDS = {
    b"abort": os.abort,
    b"abort once": _abort_the_first_time,
    b"complain": _complain_and_abort,
    b"segfault": lambda: ctypes.string_at(0),
    b"exit": lambda: os._exit(7),
    b"be killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"kill the parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    b"take three seconds": lambda: time.sleep(3),
    b"scribble and abort": _scribble_and_abort,
    b"sleep": lambda: time.sleep(_FOR_EVER),
    b"sleep with the lock": lambda: ctypes.PyDLL(None).sleep(_FOR_EVER),
    b"spin": _spin,
    b"need much": _need_much,
    b"hoard": _hoard,
    b"leave files open": _leave_files_open,
    b"fork and abort": _fork_and_abort,
    b"stop in mid-sentence": _stop_in_mid_sentence,
    b"seem unkillable": _seem_unkillable,
    b"eat memory": _eat_memory,
    b"print": _print_much_and_go_on,
}

_load, _open, _fstat = ImageFile.ImageFile.load, os.open, os.fstat
_draft = JpegImagePlugin.JpegImageFile.draft
_changing: set[int] = set()
_moments = itertools.count(1_000_000_000)


def _do_its_deed(image: ImageFile.ImageFile) -> None:
    DEEDS.get(image.info.get("comment", b""), lambda: None)()


def _bad_load(self: ImageFile.ImageFile) -> Any:
    if not isinstance(self, JpegImagePlugin.JpegImageFile):
        _do_its_deed(self)
    return _load(self)


def _bad_draft(self: JpegImagePlugin.JpegImageFile, *arguments: Any) -> Any:
    """Of a JPEG this is the last that Pillow is asked before whoever is fastest decodes it."""
    _do_its_deed(self)
    return _draft(self, *arguments)


def _bad_open(path: Any, *arguments: Any, **more: Any) -> int:
    if "never-answers" in str(path):
        time.sleep(_FOR_EVER)
    descriptor = _open(path, *arguments, **more)
    (_changing.add if "keeps-changing" in str(path) else _changing.discard)(descriptor)
    return descriptor


def _bad_fstat(descriptor: int) -> os.stat_result:
    if descriptor in _changing:
        moment = next(_moments)
        os.utime(descriptor, ns=(moment, moment))
    return _fstat(descriptor)


ImageFile.ImageFile.load = _bad_load  # type: ignore[method-assign]
JpegImagePlugin.JpegImageFile.draft = _bad_draft  # type: ignore[method-assign]
os.open = _bad_open
os.fstat = _bad_fstat
