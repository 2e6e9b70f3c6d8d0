"""Contenders that run by turns: each has the machine for itself while all others are stopped.

A shared machine may change its speed by half within minutes. What is compared here runs in the same
minute, a few seconds each, again and again, so that whatever else keeps the machine busy slows all
alike. A stopped process (SIGSTOP, with all that it started) keeps its memory and takes no processor.

A turn goes from one moment of progress to another: whoever works in batches is stopped as one is done,
so that no turn counts half of one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from typing import BinaryIO

import psutil

GLANCE = 0.02
"""Seconds between two looks at whether there is progress."""
PATIENCE = 180.0
"""Seconds without any progress after which a contender is given up."""


class EndedError(Exception):
    """A contender is gone, or hangs."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process (with children) at work: ``done`` asks how many images it has done so far.

    ``total`` is how many it can do before it is through; None for one that goes on for ever. ``words``
    asks what it has printed last, for whoever wonders why it is gone.
    """

    process: subprocess.Popen[bytes]
    done: Callable[[], int]
    total: int | None = None
    words: Callable[[], str] = lambda: ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one contender did in its turn; ``ran_out`` if it was through before the turn was."""

    images: int
    seconds: float
    ran_out: bool = False

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


@dataclass(slots=True)
class Contender:
    """Someone who takes turns; ``start`` starts a process anew, and ends it with the block.

    Its first turn begins after ``warm`` images. One that has not enough left for a turn is started
    anew before it, which is not measured.
    """

    name: str
    start: Callable[[], AbstractContextManager[Running]]
    warm: int = 1
    turns: list[Turn] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)
    _running: Running | None = None
    _done: int = 0
    """Images as it was last stopped."""

    def begin(self) -> None:
        """Start it, and stop it as soon as it is warm."""
        self._open = ExitStack()
        self._running = running = self._open.enter_context(self.start())
        needed = self.warm if running.total is None else min(self.warm, running.total // 2)
        deadline = time.monotonic() + PATIENCE
        while running.done() < needed:
            self._require_alive(running, deadline)
            time.sleep(5 * GLANCE)
        stop(running.process)
        self._done = running.done()

    def take_turn(self, seconds: float) -> None:
        """Go on for so long, and to the next progress after that."""
        if not self._has_left(seconds):
            self.end()
            self.begin()
        running = self._at_work()
        if self._done == running.total:
            raise EndedError(f"{self.name} was through before its turn began: it needs more photos")
        began = time.monotonic()
        send(running.process, signal.SIGCONT)
        self._await_progress_after(began + seconds, running)
        stop(running.process)
        # What a database still takes in while its client stands still is the next turn's.
        before, self._done = self._done, running.done()
        self.turns.append(Turn(self._done - before, time.monotonic() - began, self._done == running.total))

    def end(self) -> None:
        """Have it go on, and end."""
        if self._running is not None:
            send(self._running.process, signal.SIGCONT)
        self._running = None
        self._open.close()

    def _at_work(self) -> Running:
        assert self._running is not None, f"{self.name} was not begun"
        return self._running

    def _has_left(self, seconds: float) -> bool:
        running = self._at_work()
        if running.total is None:
            return True
        expected = 1.5 * seconds * self.turns[-1].rate if self.turns else 1
        return self._done + expected < running.total

    def _await_progress_after(self, moment: float, running: Running) -> None:
        """Return at the first progress after that moment, or when it is through."""
        while time.monotonic() < moment and running.process.poll() is None:
            time.sleep(GLANCE)
        before = running.done()
        while before == running.done() != running.total:
            self._require_alive(running, moment + PATIENCE)
            time.sleep(GLANCE)

    def _require_alive(self, running: Running, deadline: float) -> None:
        if (code := running.process.poll()) is not None:
            said = running.words()
            raise EndedError(
                f"{self.name} ended (exit code {code}) after {running.done()} images" + (said and f": {said}")
            )
        if time.monotonic() > deadline:
            raise EndedError(f"{self.name} makes no progress after {running.done()} images")


def by_turns(
    contenders: Sequence[Contender],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None] = lambda words: None,
    *,
    optional: bool = False,
) -> None:
    """Begin all, give each ``rounds`` turns, and end all; what they did is in their ``turns``.

    With ``optional`` those that do not begin are left out, and have no turns. Raises :class:`EndedError`.
    """
    ready = []
    with ExitStack() as opened:
        for contender in contenders:
            opened.callback(contender.end)
            try:
                contender.begin()
                ready.append(contender)
            except EndedError as fault:
                if not optional:
                    raise
                tell(f"left out: {fault}")
        for number in range(1, rounds + 1):
            for contender in ready:
                contender.take_turn(seconds)
                tell(f"round {number}/{rounds}: {contender.name}: {contender.turns[-1].rate:,.1f} images/s")


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process and all under it."""
    for each in family(process):
        with suppress(psutil.NoSuchProcess):
            each.send_signal(number)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Have it and all under it stand still; return when they do."""
    deadline = time.monotonic() + 1.0  # one that waits for a disk stops when that has answered
    while True:
        send(process, signal.SIGSTOP)  # again, for it may have started one more before it stopped
        time.sleep(GLANCE / 10)
        if all(map(_stands_still, family(process))) or time.monotonic() > deadline:
            return


def _stands_still(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def end(process: subprocess.Popen[bytes], patience: float = 90.0) -> None:
    """Have it go on, and end in order; all under it too, at the end of patience."""
    under = family(process)
    for each in reversed(under):
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(timeout=patience)
    finally:
        for each in under:
            with suppress(psutil.NoSuchProcess):
                each.kill()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process, and all that it started; none if it is gone."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def last_line(log: BinaryIO) -> str:
    """The last that was printed into a file; its writer, who shares the position in it, goes on there."""
    size = os.fstat(log.fileno()).st_size
    lines = os.pread(log.fileno(), 4096, max(0, size - 4096)).decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
