"""One share of memory for all threads that decode.

Counting images bounds nothing: one may need a thousand times what another does. So each decode
takes what it will need, in bytes, and waits while the others hold too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition
from typing import Protocol

_GLANCE = 0.25
"""Seconds between two looks at whether what is waited for is still wanted."""


class Memory(Protocol):
    """Where a loader gets the memory that decoding takes, in bytes."""

    @property
    def total(self) -> int:
        """The most that can ever be had."""
        ...

    def taking(self, amount: int, /) -> AbstractContextManager[None]:
        """Hold ``amount``, no more than the total, while the block runs; waits for it to be free."""
        ...


class Budget:
    """A bound on what is taken at one time; thread-safe, first come first served, so that small
    images do not overtake a large one for ever."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._changed = Condition()
        self._waiting: deque[object] = deque()

    def take(self, amount: int, is_wanted: Callable[[], bool] = lambda: True) -> bool:
        """Wait until there is so much, and take it; False when it is not wanted any more, at which
        is looked several times a second."""
        if amount > self.total:
            raise ValueError(f"{amount} is more than the whole budget of {self.total}")
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._taken + amount > self.total:
                    if not is_wanted():
                        return False
                    self._changed.wait(_GLANCE)
                self._taken += amount
                return True
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._taken -= amount
            self._changed.notify_all()

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold ``amount``, no more than the total, while the block runs; waits for it to be free."""
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)
