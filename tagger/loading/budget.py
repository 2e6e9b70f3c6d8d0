"""One share of memory for all threads that decode.

Counting images bounds nothing: one may need a thousand times what another does. So each decode
takes what it will need, in bytes, and waits while the others hold too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Condition, Lock
from typing import Protocol


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
    """A bound on what is taken at one time; thread-safe, first come first served."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._changed = Condition()
        # Held by the one at the head of the queue, so that small images do not overtake a large
        # one for ever.
        self._head = Lock()

    @contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        """Hold ``amount``, no more than the total, while the block runs; waits for it to be free."""
        if amount > self.total:
            raise ValueError(f"{amount} is more than the whole budget of {self.total}")
        with self._head, self._changed:
            self._changed.wait_for(lambda: self._taken + amount <= self.total)
            self._taken += amount
        try:
            yield
        finally:
            with self._changed:
                self._taken -= amount
                self._changed.notify()
