"""All loading processes of a run: who loads what, how long it may take, what becomes of a death."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from tagger.loading import Budget
from tagger.supervision.messages import Known, Need, Purpose, Setup
from tagger.supervision.process import Clock, DiedError, LoadingProcess, OverdueError
from tagger.values import DEATHS, ImageRef, LoadedImage, LoadFailure, OutcomeKind

SLOW_SECONDS = 2.0
"""An image that takes longer is waited for aside, and another process loads in its place."""
SPARE = 8
"""Processes, at least, that may be waited for aside."""

Wanted = Callable[[bytes], bool]
"""Whether the content of this SHA-256 is to be loaded."""


class AbandonedError(Exception):
    """The run was given up while this image was being loaded."""


class Loaders:
    """Loads in ``processes`` child processes; :meth:`load` is called from :attr:`threads` threads.

    Args:
        setup: how images are read and loaded.
        processes: how many load at one time. Images that hang are not counted among them, so that
            the others go on at full speed.
        on_death: told of an image whose process died before it is tried again, from the thread
            that loads it.

    Raises:
        LoadingError: the first processes cannot be started.
    """

    def __init__(self, setup: Setup, processes: int, on_death: Callable[[ImageRef], None]) -> None:
        self.threads = processes + max(SPARE, processes)
        self._setup = setup
        self._on_death = on_death
        self._slots = threading.Semaphore(processes)
        # Whoever holds memory for a picture holds that for its file already, so that no two can
        # wait for each other.
        self._files = Budget(setup.limits.max_bytes)
        self._decoding = Budget(setup.limits.max_memory)
        self._lock = threading.Lock()
        self._busy: set[LoadingProcess] = set()
        self._abandoned = False
        self._idle: list[LoadingProcess] = []
        try:
            # They come up while the caller makes its engine ready.
            for _ in range(processes):
                self._idle.append(LoadingProcess(setup))
        except BaseException:
            self.close()
            raise

    def load(self, ref: ImageRef, wanted: Wanted) -> LoadedImage | LoadFailure | None:
        """Read one image, and load it unless ``wanted`` says no; None then.

        ``wanted`` is called at most once, with the SHA-256 of the bytes. Failures beside those of
        reading and loading: ``timeout``, ``unreadable`` when it was the reading that took too long,
        and ``quarantined``.

        Raises:
            LoadingError: no process can be started.
            AbandonedError: :meth:`abandon` was called.
        """
        once, cause = _Once(ref, wanted), "an earlier run"
        with _Slot(self._slots) as slot:
            for deaths in range(ref.deaths, DEATHS):
                try:
                    return self._attempt(ref, once, slot, alone=deaths > 0)
                except DiedError as death:
                    cause = str(death)
                if deaths + 1 < DEATHS:
                    self._on_death(ref)
        reason = f"loading it killed the process that did, {DEATHS} times; the last by {cause}"
        return once.failure(OutcomeKind.QUARANTINED, reason)

    def abandon(self) -> None:
        """End what is being loaded; each :meth:`load` under way raises :class:`AbandonedError`."""
        with self._lock:
            self._abandoned = True
            for process in self._busy:
                process.kill()

    def close(self) -> None:
        """End all processes."""
        self.abandon()
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()

    def __enter__(self) -> Loaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(
        self, ref: ImageRef, once: _Once, slot: _Slot, *, alone: bool
    ) -> LoadedImage | LoadFailure | None:
        """One process, one image; raises :class:`DiedError` when it did not survive it."""
        limit = self._setup.limits.max_seconds
        once.asked = False
        with ExitStack() as held:
            if alone:
                # With all memory for itself, so that it was not the others who used it up.
                held.enter_context(self._files.taking(self._files.total))
                held.enter_context(self._decoding.taking(self._decoding.total))
            process = self._take(ref)
            try:
                result = self._conversation(
                    process, once, Clock(limit, SLOW_SECONDS, slot.leave), None if alone else held
                )
            except OverdueError:
                self._drop(process)
                return _overdue(once, limit)
            except BaseException:
                self._drop(process)
                raise
            self._give_back(process)
            return result

    def _conversation(
        self, process: LoadingProcess, once: _Once, clock: Clock, held: ExitStack | None
    ) -> LoadedImage | LoadFailure | None:
        """Answer what the process asks until it is through; ``held`` is None if it has all memory."""
        while True:
            match process.receive(clock):
                case Need(purpose, amount):
                    if held is not None:
                        budget = self._files if purpose is Purpose.FILE else self._decoding
                        held.enter_context(budget.taking(amount))
                    process.send(True)
                case Known(digest):
                    process.send(once(digest))
                case None if once.changed:
                    reason = "the file changed while it was tried again; is something writing it?"
                    return once.failure(OutcomeKind.UNREADABLE, reason)
                case LoadedImage() | LoadFailure() | None as result:
                    return result
                case other:
                    raise DiedError(f"nonsense: {type(other).__name__}")

    # -- processes ------------------------------------------------------------------------

    def _take(self, ref: ImageRef) -> LoadingProcess:
        """A process that has begun with the image.

        One that died while it was idle is no fault of this image: the next is taken.
        """
        while True:
            process, is_new = self._next()
            try:
                process.wait_ready()
                process.begin(ref)
                return process
            except BaseException as fault:
                self._drop(process)
                if is_new or not isinstance(fault, DiedError):
                    raise

    def _next(self) -> tuple[LoadingProcess, bool]:
        with self._lock:
            if self._abandoned:
                raise AbandonedError
            process = self._idle.pop() if self._idle else None
            is_new = process is None
            process = process or LoadingProcess(self._setup)
            self._busy.add(process)
            return process, is_new

    def _give_back(self, process: LoadingProcess) -> None:
        with self._lock:
            self._busy.discard(process)
            self._idle.append(process)

    def _drop(self, process: LoadingProcess) -> None:
        with self._lock:
            self._busy.discard(process)
            abandoned = self._abandoned
        process.close()
        if abandoned:
            raise AbandonedError


class _Once:
    """Asks ``wanted`` about a content once, however often its image is tried."""

    def __init__(self, ref: ImageRef, wanted: Wanted) -> None:
        self._image_id = ref.image_id
        self._wanted = wanted
        self.digest: bytes | None = None
        self.asked = False
        """Whether this attempt got as far as having read the file."""
        self.changed = False
        """Whether this attempt read other bytes than the first, about which nobody was asked."""

    def __call__(self, digest: bytes) -> bool:
        self.asked = True
        if self.digest is None:
            self.digest = digest
            return self._wanted(digest)
        self.changed = digest != self.digest
        return not self.changed

    def failure(self, kind: OutcomeKind, reason: str) -> LoadFailure:
        """Why there is no picture of this content."""
        return LoadFailure(self._image_id, kind, reason, self.digest)


@dataclass(slots=True)
class _Slot:
    """A place among those that load at one time; left early by an image that takes long."""

    slots: threading.Semaphore
    held: bool = False

    def __enter__(self) -> _Slot:
        self.slots.acquire()
        self.held = True
        return self

    def leave(self) -> None:
        """Let another load meanwhile."""
        if self.held:
            self.held = False
            self.slots.release()

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


def _overdue(once: _Once, limit: float) -> LoadFailure:
    within = f"within {limit:g} seconds (TAGGER_MAX_SECONDS)"
    if once.asked:
        return once.failure(OutcomeKind.TIMEOUT, f"decoding it was not done {within}")
    return once.failure(OutcomeKind.UNREADABLE, f"the disk or network share did not deliver it {within}")
