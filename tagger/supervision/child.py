"""The process that reads and loads, one image after the other.

Started as ``python -m tagger.supervision.child FD SLOT``, it speaks with its watcher over the socket FD,
leaves pictures in the memory SLOT, and ends when the socket is closed. It makes itself as harmless as the
system allows before it meets the first file. Its standard input is a pipe on which nothing is ever
written, and which is closed when the watcher dies.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from tagger.loading import NOT_ENOUGH_MEMORY, PillowLoader, handed_over
from tagger.sources import prepare, read
from tagger.supervision.messages import (
    FREE,
    SMALL,
    Declined,
    Done,
    Job,
    Known,
    Need,
    Purpose,
    Ready,
    Setup,
    Times,
)
from tagger.supervision.slot import Slot
from tagger.values import EncodedImage, FileContent, ImageRef, Limits, LoadedImage, LoadFailure

_T = TypeVar("_T")

_SPARE_MEMORY = 128 * 2**20
"""What resizing, colours and a decoder's own tables may take beside the file and the picture."""
_KEPT_MEMORY = 128 * 2**20
"""Bytes that may stay with the process after an image: allocators keep some, leaks keep more."""
_KEPT_FILES = 8
_TOO_MANY = 1_000_000
"""Files that are open where no more can be opened."""
_OUTPUT = 2**20
"""Bytes that this process may write to any file: what decoders print, and no more."""


def main() -> None:
    """Load what is asked for until the watcher hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the watcher's to understand
    connection: Connection = Connection(int(sys.argv[1]))
    setup: Setup = connection.recv()
    slot = Slot(int(sys.argv[2]), setup.preprocessing.side)
    _die_with_watcher()
    work = _Work(connection, setup, slot)
    prepare(setup.roots)  # before anything is measured: what it brings along is no image's fault
    _confine(setup.limits)
    before = _Belongings.now()
    with suppress(EOFError, ConnectionError):
        connection.send(Ready())
        while True:
            results, times = work.do(connection.recv())
            ran_out = any(map(_ran_out, results))
            connection.send(Done(results, times, fit=not ran_out and _Belongings.now().are_like(before)))


@dataclass(frozen=True, slots=True)
class _Belongings:
    """What this process holds: memory in bytes (0 where the system does not say), and open files."""

    memory: int
    files: int

    @classmethod
    def now(cls) -> _Belongings:
        return cls(_data_bytes(), _open_files())

    def are_like(self, before: _Belongings) -> bool:
        """Whether what was loaded since left nothing behind."""
        memory, files = self.memory - before.memory, self.files - before.files
        return memory <= _KEPT_MEMORY and files <= _KEPT_FILES


@dataclass(frozen=True, slots=True)
class _Asking:
    """Memory that the watcher shares out among all processes."""

    work: _Work
    total: int

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Wait until the watcher grants it. It is given back with the image, or with the next need."""
        self.work.need(Purpose.DECODING, amount)
        yield


class _NotForAHandful(BaseException):
    """An image would have to ask for memory. No error, so that what catches those lets it through."""


_Found = LoadedImage | EncodedImage | LoadFailure | Declined | None


class _Work:
    """One job after another."""

    def __init__(self, connection: Connection, setup: Setup, slot: Slot) -> None:
        self._connection = connection
        self._setup = setup
        self._slot = slot
        self._alone = True
        self._loader = PillowLoader(
            setup.preprocessing, setup.limits, memory=_Asking(self, setup.limits.max_memory)
        )

    def do(self, job: Job) -> tuple[tuple[_Found, ...], tuple[Times, ...]]:
        """Read, ask whose content is wanted, load it. What the slot says is in hand stays so until the
        next is: whatever ends this process before it is through was that one's doing."""
        self._alone = len(job.refs) == 1
        try:
            if self._alone:
                self._slot.in_hand = 0
                return (self._by_itself(job.refs[0], job.device_pixels),), ()
            return self._handful(job.refs)
        finally:
            self._slot.in_hand = None

    def need(self, purpose: Purpose, amount: int) -> None:
        """Wait until there is memory."""
        if amount > FREE:
            if not self._alone:
                raise _NotForAHandful
            self._ask(Need(purpose, amount))

    def _by_itself(self, ref: ImageRef, device_pixels: int) -> _Found:
        """Load it, or hand it on for a device to decode."""
        file = self._read(ref, lambda size: self.need(Purpose.FILE, size))
        if isinstance(file, LoadFailure):
            return file
        encoded = handed_over(file, self._setup.limits, device_pixels)
        if encoded is not None:
            return encoded
        (wanted,) = self._ask(Known((file.digest,)))
        return self._loaded(0, file) if wanted else None

    def _handful(self, refs: Sequence[ImageRef]) -> tuple[tuple[_Found, ...], tuple[Times, ...]]:
        """One question about all of them, when they are read."""
        read = [_timed(self._read_small, place, ref) for place, ref in enumerate(refs)]
        files = [file for file, _, _ in read]
        self._slot.in_hand = None
        wanted = self._ask(
            Known(tuple(file.digest if isinstance(file, FileContent) else None for file in files))
        )
        pairs = zip(files, wanted, strict=True)
        loaded = [_timed(self._load_small, place, *each) for place, each in enumerate(pairs)]
        times = tuple((*one[1:], *two[1:]) for one, two in zip(read, loaded, strict=True))
        return tuple(found for found, _, _ in loaded), times

    def _read_small(self, place: int, ref: ImageRef) -> FileContent | LoadFailure | Declined:
        if self._slot.is_cut:
            return Declined()
        self._slot.in_hand = place
        try:
            return self._read(ref, _admit_small)
        except _NotForAHandful:
            return Declined()

    def _load_small(self, place: int, file: FileContent | LoadFailure | Declined, wanted: bool) -> _Found:
        if not isinstance(file, FileContent):
            return file
        if not wanted or self._slot.is_cut:
            return Declined() if wanted else None
        self._slot.in_hand = place
        try:
            found = self._loaded(place, file)
        except _NotForAHandful:
            return Declined()
        return Declined() if _ran_out(found) else found

    def _read(self, ref: ImageRef, admit: Callable[[int], None]) -> FileContent | LoadFailure:
        setup = self._setup
        return read(ref, setup.roots, setup.limits, follow_links=setup.follow_links, admit=admit)

    def _loaded(self, place: int, file: FileContent) -> LoadedImage | LoadFailure:
        found = self._loader.load(file)
        return self._slot.put(place, found) if isinstance(found, LoadedImage) else found

    def _ask(self, question: Need | Known) -> Any:
        try:
            self._connection.send(question)
            return self._connection.recv()
        except (EOFError, OSError):
            raise SystemExit from None  # the watcher is gone, and what is under way is nobody's


def _ran_out(found: object) -> bool:
    return isinstance(found, LoadFailure) and found.reason == NOT_ENOUGH_MEMORY


def _admit_small(size: int) -> None:
    if size > SMALL:
        raise _NotForAHandful


def _timed(work: Callable[..., _T], *arguments: Any) -> tuple[_T, float, float]:
    """What comes of it, and when it began and ended."""
    began = time.monotonic()
    return work(*arguments), began, time.monotonic()


def _die_with_watcher() -> None:
    """Have the system end this process when the watcher is killed, be it stuck in a decoder or not.

    When the other end of standard input closes the system sends SIGIO, whose default on Linux is
    death, and needs no help from a stuck interpreter. On macOS SIGIO does nothing: there a decoder
    that hangs outlives a watcher that was killed.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, -os.getpgrp())  # and whatever a decoder forks
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)


def _confine(limits: Limits) -> None:
    """No core dumps, no files written, no more memory than all that the limits speak of; and when
    the machine runs out of memory, this process is the one to go. It interrupts nobody as it wakes:
    the engine that it shares the cores with finds its data still in their caches."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _OUTPUT)
    data = _data_bytes()
    if data:  # else the system does not enforce it either (macOS)
        _lower(resource.RLIMIT_DATA, data + limits.max_memory + limits.max_bytes + _SPARE_MEMORY)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _lower(kind: int, amount: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (most, most))


def _data_bytes() -> int:
    """What the system counts against RLIMIT_DATA; 0 where it does not say (macOS)."""
    statm = _statm()
    if statm is None:
        return 0
    pages = int(os.pread(statm, 200, 0).split()[5])  # data and stack, proc(5)
    return pages * resource.getpagesize()


@cache
def _statm() -> int | None:
    """Opened once: it is read after each image."""
    try:
        return os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return None


def _open_files() -> int:
    """How many, more or less: what is opened next gets the lowest number that is free."""
    try:
        lowest = os.dup(0)
    except OSError:
        return _TOO_MANY
    os.close(lowest)
    return lowest


if __name__ == "__main__":
    main()
