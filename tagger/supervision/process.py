"""One loading process, from the side of the one that watches it."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import psutil

from tagger.errors import LoadingError
from tagger.supervision.messages import Answer, Done, Job, Ready, Setup
from tagger.supervision.slot import Slot
from tagger.values import LoadedImage

_COMMAND = (sys.executable, "-P", "-m", "tagger.supervision.child")
_START_SECONDS = 120.0
"""A process that has not come up by then never will; importing takes a third of a second."""
_GLANCE = 0.25
"""Seconds between two looks at the clock while a process is silent."""
_REAP_SECONDS = 2.0
"""A killed process that is still there then waits for a disk; it goes when that answers."""
_SENTENCE_SECONDS = 10
"""In so much time what was begun to be said is said: a picture takes less than a thousandth."""
_SAID = 2**16
"""Bytes that a pipe holds: what a process may have printed over one image."""


class DiedError(Exception):
    """The process is gone; the message says of what."""


class OverdueError(Exception):
    """The process has been waited for longer than its image may take."""

    def __init__(self, in_hand: int | None) -> None:
        super().__init__()
        self.in_hand = in_hand


class OverdrawnError(Exception):
    """The process holds much more memory than it asked for."""


class Clock:
    """Seconds that a process has been waited for, through no fault of this machine.

    Time that this process was not awake for does not count (Ctrl-Z, a sleeping laptop, a paused
    machine), nor does time that the child waited for a processor. What may be too long is an image's time,
    which begins anew with the next one that the process has in hand; what is slow is all of its job.
    """

    def __init__(self, limit: float, slow: float, on_slow: Callable[[], None]) -> None:
        self._limit = limit
        self._slow = slow
        self._on_slow = on_slow
        self._spent = self._spent_on_job = 0.0
        self._in_hand: int | None = None

    def count(self, seconds: float, in_hand: int | None = None) -> None:
        """Add what one glance took, at an image; raises :class:`OverdueError` once it is over the limit."""
        if in_hand != self._in_hand:
            self._in_hand, self._spent = in_hand, 0.0
        counted = min(seconds, 2 * _GLANCE)
        self._spent += counted
        self._spent_on_job += counted
        if self._spent_on_job > self._slow:
            self._on_slow()
        if self._spent > self._limit:
            raise OverdueError(in_hand)


class LoadingProcess:
    """A child process and the socket to it. Used by one thread at a time, but for :meth:`kill`."""

    def __init__(self, setup: Setup) -> None:
        """Start it; it comes up while the caller does something else.

        Raises :class:`LoadingError` when the system cannot start one more.
        """
        self._ready = self._killed = False
        self._worked = 0.0
        self._held_before = 0
        try:
            self._start(setup.preprocessing.side)
        except OSError as fault:
            raise LoadingError(f"a process that loads images cannot be started: {fault}") from fault
        with suppress(OSError):  # if it is gone already, whoever waits for it will say so
            self._connection.send(setup)

    def _start(self, side: int) -> None:
        with ExitStack() as undone:
            self._slot = Slot.made(side)
            undone.callback(self._slot.close)
            self._connection, theirs = Pipe()
            undone.enter_context(self._connection)
            _bound_reading(self._connection)
            self._hearing = select.poll()  # kept: Connection.poll makes a new one for each question
            self._hearing.register(self._connection.fileno(), select.POLLIN)
            # What decoders print ends here. Writing never waits: what does not fit is lost.
            self._words, words = os.pipe()
            undone.callback(os.close, self._words)
            os.set_blocking(self._words, False)
            os.set_blocking(words, False)
            with theirs, os.fdopen(words, "wb") as said:
                self._process = subprocess.Popen(
                    [*_COMMAND, str(theirs.fileno()), str(self._slot.fd)],
                    stdin=subprocess.PIPE,  # closed when this process dies, and the child with it
                    stdout=said,
                    stderr=said,
                    env=_environment(),
                    pass_fds=[theirs.fileno(), self._slot.fd],
                    start_new_session=True,  # so that what a decoder forks can be ended too
                )
            undone.pop_all()

    def wait_ready(self) -> None:
        """Return once it is up. Raises :class:`LoadingError` when it does not come up."""
        if self._ready:
            return
        try:
            self._ready = isinstance(self.receive(Clock(_START_SECONDS, _START_SECONDS, _nothing)), Ready)
            self._held_before = self._held()
        except (DiedError, OverdueError) as fault:
            said = str(fault) or f"it is not up after {_START_SECONDS:.0f} seconds"
            raise LoadingError(f"a process that loads images does not start: {said}") from fault

    def begin(self, job: Job) -> None:
        """Hand it a job. Raises :class:`DiedError`."""
        self._take_words()  # those of the job before
        self._slot.in_hand, self._slot.is_cut = None, False
        self.send(job)

    @property
    def in_hand(self) -> int | None:
        """The place in its job of the image that it is at, or was at when it died."""
        return self._slot.in_hand

    def cut(self) -> None:
        """Have it begin no further image of its job."""
        self._slot.is_cut = True

    def answer(self, wanted: tuple[bool, ...]) -> None:
        """Which images of its job it is to load, all of those. Raises :class:`DiedError`."""
        self._slot.is_cut = False
        self.send(wanted)

    def send(self, message: object) -> None:
        """Raises :class:`DiedError`."""
        try:
            self._connection.send(message)
        except OSError as fault:
            raise self._died() from fault

    def receive(self, clock: Clock, allowed: int | None = None) -> Answer:
        """What it says next; ``allowed`` are the bytes that it may hold beside what it began with.

        Raises :class:`DiedError`, or :class:`OverdueError` when it says nothing in time, or
        :class:`OverdrawnError` when it is seen to hold more.
        """
        while not self._polled(clock):
            if allowed is not None and self._held() > self._held_before + allowed:
                raise OverdrawnError
            if self._killed:
                raise DiedError("it was ended")
        try:
            return self._whole(cast("Answer", self._connection.recv()))
        except BlockingIOError as fault:
            raise DiedError("it stopped in the middle of a word") from fault
        except (EOFError, OSError) as fault:
            raise self._died() from fault
        except Exception as fault:  # unpickling what a damaged process says may raise anything
            raise DiedError(f"it talks nonsense: {fault}") from fault

    def _whole(self, answer: Answer) -> Answer:
        """Pictures are fetched from where the process has left them, before it is given the next job."""
        if not isinstance(answer, Done):
            return answer
        whole = tuple(
            self._slot.take(place, each) if isinstance(each, LoadedImage) else each
            for place, each in enumerate(answer.results)
        )
        return Done(whole, answer.times, answer.fit)

    def kill(self) -> None:
        """End it at once, from any thread; whoever talks to it meets :class:`DiedError`, even if the
        process cannot end since a disk does not answer."""
        self._killed = True
        self._end()

    def close(self) -> None:
        """End it and clear away what is left."""
        self._end()
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._exit_code()
        os.close(self._words)
        self._slot.close()

    def _end(self) -> None:
        """Kill it and whatever it has forked."""
        with suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def _polled(self, clock: Clock) -> bool:
        began = time.monotonic()
        if self._hears(_GLANCE):
            return True
        if self._process.poll() is not None and not self._hears(0):
            raise self._died()  # something that it forked keeps the line open
        clock.count(self._used(time.monotonic() - began), self._slot.in_hand)
        return False

    def _hears(self, seconds: float) -> bool:
        """Whether it says something within this time, or has hung up."""
        return bool(self._hearing.poll(seconds * 1000))

    def _used(self, seconds: float) -> float:
        """How much of the time it computed or slept, and was not just waiting for its turn."""
        try:
            watched = psutil.Process(self._process.pid)
            worked, self._worked = self._worked, sum(watched.cpu_times()[:2])
            if watched.status() == psutil.STATUS_RUNNING:
                return min(seconds, self._worked - worked)
        except psutil.Error:
            pass  # it is gone, as the next word from it will tell
        return seconds

    def _held(self) -> int:
        """Bytes of memory that are its own at the moment."""
        try:
            return int(psutil.Process(self._process.pid).memory_info().rss)
        except psutil.Error:
            return 0  # it is gone, as the next word from it will tell

    def _died(self) -> DiedError:
        return DiedError(_cause(self._exit_code()) + self._last_words())

    def _exit_code(self) -> int | None:
        """How it ended; None if it cannot be told, since it hangs within the system."""
        try:
            return self._process.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            self._end()
            threading.Thread(target=self._process.wait, daemon=True).start()
            return None

    def _last_words(self) -> str:
        """The last line that it printed (a failed assertion, ``free(): invalid pointer``)."""
        lines = self._take_words().decode("utf-8", "replace").splitlines()
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        clean = "".join(letter if letter.isprintable() else " " for letter in said)
        return f" ({clean[:120]})" if clean else ""

    def _take_words(self) -> bytes:
        try:
            return os.read(self._words, _SAID)
        except BlockingIOError:
            return b""


def _bound_reading(connection: Connection) -> None:
    """Let no read from the socket wait for ever: a process may be stopped in mid-sentence."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _SENTENCE_SECONDS, 0))


def _nothing() -> None:
    pass


def _environment() -> dict[str, str]:
    """This process's own, with the places that it imports from; numpy needs no threads there."""
    places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    return os.environ | {"PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _cause(code: int | None) -> str:
    if code is None:
        return "it hangs within the system"
    if code >= 0:
        return f"exit code {code}"
    if -code == signal.SIGKILL:
        return "SIGKILL, as the system does when memory runs out"
    try:
        return f"{signal.Signals(-code).name}: {signal.strsignal(-code)}"
    except ValueError:
        return f"signal {-code}"
