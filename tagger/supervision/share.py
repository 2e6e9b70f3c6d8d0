"""What images that are being loaded hold while they are: memory, and a place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType

from tagger.loading import Budget
from tagger.supervision.client import AbandonedError
from tagger.supervision.messages import Purpose

SPARE_MEMORY = 256 * 2**20
"""Bytes that a process may hold beside what it asked for, before it is tried alone: what is needed
without asking, what opening takes for some formats, and a decoder's own tables."""

Places = SimpleQueue[None]
"""One item for each image more that may be loaded now; a semaphore, but one that is not made of Python."""


class Share:
    """What one image holds of the memory.

    Whoever holds memory for decoding holds that for the file already, and a new need takes the
    place of the old one, so that no two can wait for each other, nor one for itself.
    """

    def __init__(
        self, budgets: Mapping[Purpose, Budget], place: Place, is_given_up: Callable[[], bool]
    ) -> None:
        self._budgets = budgets
        self._place = place
        self._is_given_up = is_given_up
        self._held: dict[Purpose, int] = {}
        self._has_all = False

    def take(self, purpose: Purpose, amount: int) -> None:
        """Wait for it, and let another image load meanwhile; raises :class:`AbandonedError`."""
        if self._has_all:
            return
        budget = self._budgets[purpose]
        budget.give(self._held.pop(purpose, 0))
        if not budget.take(amount, self._goes_on_waiting):
            raise AbandonedError
        self._held[purpose] = amount

    def take_all(self) -> None:
        """Wait until nobody else holds anything; raises :class:`AbandonedError`."""
        for purpose, budget in self._budgets.items():
            self.take(purpose, budget.total)
        self._has_all = True

    def allowed(self) -> int | None:
        """How much a process may hold that was granted this; None for one that has all."""
        return None if self._has_all else sum(self._held.values()) + SPARE_MEMORY

    def _goes_on_waiting(self) -> bool:
        self._place.leave()
        return not self._is_given_up()

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for purpose, amount in self._held.items():
            self._budgets[purpose].give(amount)


@dataclass(slots=True)
class Place:
    """A place among those that load at one time; left early by an image that takes long."""

    free: Places
    held: bool = False

    def __enter__(self) -> Place:
        self.free.get()
        self.held = True
        return self

    def leave(self) -> None:
        """Let another load meanwhile."""
        if self.held:
            self.held = False
            self.free.put(None)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
