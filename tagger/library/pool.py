"""Loading processes that are there while somebody needs them, for what people look at.

A run of tagging knows what it will load, and has its processes from beginning to end. Who looks at pictures
comes and goes: the processes are started at first need, and ended when nobody has needed them for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from tagger.errors import LoadingError
from tagger.supervision import AbandonedError, Loaders, Setup
from tagger.values import ImageRef, LoadedImage, LoadFailure

IDLE_SECONDS = 120.0
"""Processes that nobody has needed for so long are ended; starting them takes a third of a second."""
_ASIDE = 8
"""So many images that hang are waited for beside those that are loaded, as :class:`Loaders` does."""


class Pool:
    """Loads by ``setup`` in up to ``processes`` processes; thread-safe.

    Of those who wait for their turn the last to come is the first: who scrolls on is not interested any more
    in what was asked for before.
    """

    def __init__(self, setup: Setup, processes: int) -> None:
        self._setup = setup
        self._processes = processes
        self._turns = Turns(processes + _ASIDE)
        self._lock = threading.Lock()
        self._loaders: Loaders | None = None
        self._watcher: threading.Thread | None = None
        self._users = 0
        self._used = 0.0
        self._closed = threading.Event()

    def load(self, ref: ImageRef, wanted: Callable[[bytes], bool]) -> LoadedImage | LoadFailure | None:
        """Load one image and wait for it; None if its content, by its SHA-256, is not wanted.

        Raises:
            LoadingError: the processes cannot be started, or this was closed.
        """
        with self._turns:
            loaders = self._enter()
            try:
                return loaders.load(ref, wanted)
            except AbandonedError as fault:
                raise _closed() from fault
            finally:
                self._leave()

    def close(self) -> None:
        """End the processes; who waits for one is told so."""
        self._closed.set()
        with self._lock:
            watcher, loaders, self._loaders = self._watcher, self._loaders, None
        if watcher is not None:
            watcher.join()  # it may be about to end some itself
        if loaders is not None:
            loaders.close()

    def _enter(self) -> Loaders:
        with self._lock:
            if self._closed.is_set():
                raise _closed()
            if self._loaders is None:
                self._loaders = Loaders(self._setup, self._processes, _forgotten)
                self._watcher = threading.Thread(target=self._watch, name="tagger-pool", daemon=True)
                self._watcher.start()
            self._users += 1
            return self._loaders

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            self._used = time.monotonic()

    def _watch(self) -> None:
        """Wait until nobody has needed the processes for a while, and end them."""
        while not self._closed.wait(IDLE_SECONDS / 4):
            with self._lock:
                if self._users or time.monotonic() - self._used < IDLE_SECONDS:
                    continue
                loaders, self._loaders = self._loaders, None
            if loaders is not None:
                loaders.close()
            return


class Turns:
    """Lets in ``number`` at one time; of those who wait, the last to come goes first."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._lock = threading.Lock()
        self._waiting: list[threading.Event] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.pop().set()
            else:
                self._free += 1


def _forgotten(ref: ImageRef) -> None:
    """A death is an errand's own affair here: what is looked at again is tried again."""


def _closed() -> LoadingError:
    return LoadingError("no more pictures are loaded: this program is about to end")
