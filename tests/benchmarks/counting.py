"""How many images are done: a number that one process keeps and another reads, in a small file in memory."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

SLOTS = 256
"""Processes that may count into one file, each in a place of its own."""


class Count:
    """Counts images; from many threads, each process in its own ``slot``."""

    def __init__(self, path: Path, slot: int = 0) -> None:
        self._numbers = np.memmap(path, np.uint64, "r+", shape=(SLOTS,))
        self._slot = slot
        self._lock = threading.Lock()

    def add(self, images: int = 1) -> None:
        """So many more are done."""
        with self._lock:
            self._numbers[self._slot] += np.uint64(images)

    def total(self) -> int:
        """Images of all processes."""
        return int(self._numbers.sum())


def new_count(path: Path) -> Count:
    """A count of nothing so far."""
    path.write_bytes(bytes(8 * SLOTS))
    return Count(path)
