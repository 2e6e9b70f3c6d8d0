"""Waiting for a file system for as long as a person would, and no longer.

A network share whose server is gone can hold a call to the system for ever, and while it does not
even Ctrl-C gets through to the thread that made the call. So what may hang is done in a thread of
its own, and the one that waits for it counts the seconds without a sign of life. A thread cannot
be ended: one that hangs is left behind, and ends with the process.

Some file systems (those in user space: sshfs, rclone) do not even let go of a process that is
killed, which then keeps its terminal until they answer. Most shares that are gone are gone before
the run begins, so first contact is made by a small process that can be left behind for good.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from tagger.errors import SourceError
from tagger.sources.names import printable

T = TypeVar("T")

SILENCE_S = 60.0
"""Seconds without a sign of life that are too many: a disk that wakes up takes a quarter of that."""

_STEP_S = 0.5
_FIRST_LOOK = """
import os, stat, sys
try:
    if stat.S_ISDIR(os.stat(sys.argv[1]).st_mode):
        with os.scandir(sys.argv[1]) as entries:
            next(entries, None)
except OSError:
    pass
"""


@dataclass(slots=True)
class Whereabouts:
    """Where a thread is at work, and signs that it is: written by it, read by the one that waits."""

    place: str
    signs: int = 0

    def at(self, place: str) -> None:
        """The thread has come to ``place``."""
        self.place = place
        self.signs += 1


def patiently(
    items: Iterable[T],
    whereabouts: Whereabouts,
    *,
    size: int,
    weight: Callable[[T], int] = lambda item: 1,
    limit_s: float = SILENCE_S,
    quiet: Callable[[str], None] = lambda place: None,
) -> Iterator[list[T]]:
    """The same items in the same order, gathered by a thread of its own.

    They come in lists of ``size``, and of fewer where they come slowly and at the end; an item counts
    for its ``weight``. ``quiet`` is
    told the place, twice a second, while nothing is heard from there. Closing the iterator closes
    ``items`` as soon as they answer; what they raise is raised here, behind what came before.

    Raises:
        SourceError: no item and no sign came for ``limit_s`` seconds; it names the place.
    """
    errand = _Errand(items, size, weight)
    threading.Thread(target=errand.run, name="tagger-errand", daemon=True).start()
    silence = _Silence(whereabouts, limit_s)
    try:
        while not errand.is_over():
            if brought := errand.take(silence.step):
                silence.broken()
                yield brought
            elif not errand.ended:
                silence.goes_on()
                quiet(whereabouts.place)
    finally:
        errand.call_off()


def answer(question: Callable[[], T], place: str | os.PathLike[str], *, limit_s: float = SILENCE_S) -> T:
    """What ``question`` returns or raises, asked in a thread.

    Raises:
        SourceError: ``place`` did not answer for ``limit_s`` seconds.
    """
    asked = (ask() for ask in (question,))
    (given,) = next(patiently(asked, Whereabouts(os.fspath(place)), size=1, limit_s=limit_s))
    return given


def make_contact(place: str | os.PathLike[str], *, limit_s: float = SILENCE_S) -> None:
    """Return once the system says anything at all of ``place``, be it that it is not there.

    Takes a thirtieth of a second where it answers at once.

    Raises:
        SourceError: it did not answer for ``limit_s`` seconds.
    """
    scout = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FIRST_LOOK, os.fspath(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(scout, limit_s)
    except subprocess.TimeoutExpired as error:
        raise SourceError(_silent(os.fspath(place), limit_s)) from error
    finally:
        if scout.poll() is None:
            scout.kill()
            threading.Thread(target=scout.wait, daemon=True).start()


def _await(scout: subprocess.Popen[bytes], limit_s: float) -> None:
    step = min(_STEP_S, limit_s)
    for _ in range(round(limit_s / step) - 1):
        with suppress(subprocess.TimeoutExpired):
            scout.wait(step)
            return
    scout.wait(step)


class _Silence:
    """How long nothing was heard.

    It is counted in steps and not by a clock, so that a process that was stopped for an hour
    (Ctrl-Z) does not take that for an hour of silence.
    """

    def __init__(self, whereabouts: Whereabouts, limit_s: float) -> None:
        self.step = min(_STEP_S, limit_s)
        self._whereabouts = whereabouts
        self._limit_s = limit_s
        self._silent_s = 0.0
        self._signs = whereabouts.signs

    def broken(self) -> None:
        """Something was heard."""
        self._silent_s = 0.0

    def goes_on(self) -> None:
        """A step has passed without an item. Raises :class:`SourceError` when it was the last."""
        signs = self._whereabouts.signs
        self._silent_s = self._silent_s + self.step if signs == self._signs else 0.0
        self._signs = signs
        if self._silent_s >= self._limit_s:
            raise SourceError(_silent(self._whereabouts.place, self._limit_s))


class _Errand(Generic[T]):
    """What one thread is sent for, and what it has brought so far.

    With a whole group in hand it rests until that is taken: one group is gathered while the other is
    worked on, which for the most part waits for the database.
    """

    def __init__(self, items: Iterable[T], size: int, weight: Callable[[T], int]) -> None:
        self._items = items
        self._size = size
        self._weight = weight
        self._brought: list[T] = []
        self._load = 0
        self._change = threading.Condition()
        self._unwanted = False
        self._error: BaseException | None = None
        self.ended = False

    def run(self) -> None:
        """The thread's own part: to the end, or until nobody wants it any more."""
        try:
            self._gather()
        except BaseException as error:  # raised again where it is waited for
            self._error = error
        with self._change:
            self.ended = True
            self._change.notify_all()

    def take(self, seconds: float) -> list[T]:
        """A whole group; or whatever there is at the end, or when so much time has passed."""
        with self._change:
            self._change.wait_for(lambda: self.ended or self._load >= self._size, seconds)
            taken, self._brought, self._load = self._brought, [], 0
            self._change.notify_all()
        return taken

    def is_over(self) -> bool:
        """Whether all was taken; raises what the thread met at its end."""
        if not self.ended or self._brought:
            return False
        if self._error is not None:
            raise self._error
        return True

    def call_off(self) -> None:
        """Nobody waits any more."""
        with self._change:
            self._unwanted = True
            self._change.notify_all()

    def _gather(self) -> None:
        items = iter(self._items)
        try:
            for item in items:
                if not self._bring(item):
                    return
        finally:
            if isinstance(items, Generator):
                items.close()

    def _bring(self, item: T) -> bool:
        with self._change:
            self._brought.append(item)
            self._load += self._weight(item)
            if self._load >= self._size:
                self._change.notify_all()
                self._change.wait_for(lambda: self._unwanted or self._load < self._size)
            return not self._unwanted


def _silent(place: str, limit_s: float) -> str:
    return (
        f"{printable(place)} has not answered for {limit_s:g} seconds: is the disk, share or server "
        "behind it still there? What was found so far is kept; run the same command when it answers again"
    )
