"""The process that reads and loads, one image at a time: ``python -m tagger.supervision.child FD``.

It speaks with its watcher over the socket FD and ends when that is closed. It makes itself as
harmless as the system allows before it meets the first file. Its standard input is a pipe on which
nothing is ever written, and which is closed when the watcher dies.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tagger.loading import PillowLoader
from tagger.sources import read
from tagger.supervision.messages import FREE, Known, Need, Purpose, Ready, Setup
from tagger.values import ImageRef, Limits, LoadedImage, LoadFailure

_SPARE_MEMORY = 256 * 2**20
"""What resizing and colours may take beside the file and the picture."""
_OUTPUT = 2**20
"""Bytes that this process may write to any file: what decoders print, and no more."""


def main() -> None:
    """Load what is asked for until the watcher hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the watcher's to understand
    connection: Connection = Connection(int(sys.argv[1]))
    setup: Setup = connection.recv()
    _die_with_watcher()
    _confine(setup.limits)
    work = _Work(connection, setup)
    with suppress(EOFError, ConnectionError):
        connection.send(Ready())
        while True:
            ref: ImageRef = connection.recv()
            answer = work.load(ref)
            connection.send(answer)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Memory that the watcher shares out among all processes."""

    work: _Work
    total: int

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Wait until the watcher grants it; it is given back with the image."""
        self.work.need(Purpose.DECODING, amount)
        yield


class _Work:
    """One image after another."""

    def __init__(self, connection: Connection, setup: Setup) -> None:
        self._connection = connection
        self._setup = setup
        self._loader = PillowLoader(
            setup.preprocessing, setup.limits, memory=_Asking(self, setup.limits.max_memory)
        )

    def load(self, ref: ImageRef) -> LoadedImage | LoadFailure | None:
        """Read it, ask whether its content is wanted, load it."""
        file = read(
            ref,
            self._setup.roots,
            self._setup.limits,
            follow_links=self._setup.follow_links,
            admit=lambda size: self.need(Purpose.FILE, size),
        )
        if isinstance(file, LoadFailure):
            return file
        return self._loader.load(file) if self._ask(Known(file.digest)) else None

    def need(self, purpose: Purpose, amount: int) -> None:
        """Wait until there is memory."""
        if amount > FREE:
            self._ask(Need(purpose, amount))

    def _ask(self, question: Need | Known) -> bool:
        try:
            self._connection.send(question)
            answer: bool = self._connection.recv()
        except (EOFError, OSError):
            raise SystemExit from None  # the watcher is gone, and what is under way is nobody's
        return answer


def _die_with_watcher() -> None:
    """Have the system end this process when the watcher is killed, be it stuck in a decoder or not.

    When the other end of standard input closes the system sends SIGIO, whose default on Linux is
    death, and needs no help from a stuck interpreter. On macOS SIGIO does nothing: there a decoder
    that hangs outlives a watcher that was killed.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(sys.stdin, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sys.stdin, fcntl.F_SETFL, fcntl.fcntl(sys.stdin, fcntl.F_GETFL) | os.O_ASYNC)


def _confine(limits: Limits) -> None:
    """No core dumps, no files written, no more memory than the limits speak of; and when the
    machine runs out of memory, this process is the one to go."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _OUTPUT)
    memory = _data_bytes()
    if memory is not None:
        _lower(resource.RLIMIT_DATA, memory + limits.max_memory + limits.max_bytes + _SPARE_MEMORY)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _lower(kind: int, amount: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(kind, (most, most))


def _data_bytes() -> int | None:
    """What the system counts against RLIMIT_DATA today; None where it does not say (macOS, which
    does not enforce the limit either)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), None)


if __name__ == "__main__":
    main()
