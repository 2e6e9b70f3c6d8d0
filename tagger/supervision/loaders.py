"""All loading processes of a run: who loads what, how long it may take, what becomes of a death."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType

from tagger.errors import LoadingError
from tagger.loading import Budget
from tagger.metering import SILENT, Meter, Stage, Stopwatch
from tagger.supervision.messages import Done, Job, Known, Need, Purpose, Setup
from tagger.supervision.process import Clock, DiedError, LoadingProcess, OverdrawnError, OverdueError
from tagger.values import DEATHS, EncodedImage, ImageRef, LoadedImage, LoadFailure, OutcomeKind

_LOG = logging.getLogger(__name__)

SLOW_SECONDS = 2.0
"""An image that takes longer is waited for aside, and another process loads in its place."""
SPARE = 8
"""Processes, at least, that may be waited for aside."""

SPARE_MEMORY = 256 * 2**20
"""Bytes that a process may hold beside what it asked for, before it is tried alone: what is needed
without asking, what opening takes for some formats, and a decoder's own tables."""
STARTS = 3
"""So many processes in a row may fail to come up before the run is given up."""

Places = SimpleQueue[None]
"""One item for each image more that may be loaded now; a semaphore, but one that is not made of Python."""

Wanted = Callable[[bytes], bool]
"""Whether the content of this SHA-256 is to be loaded."""

Result = LoadedImage | EncodedImage | LoadFailure | None
"""What comes of an image; None when it is not wanted."""


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
        meter: told of each image's time at the stages up to its pixels, and of processes that end
            before their time.

    Raises:
        LoadingError: the first processes cannot be started.
    """

    def __init__(
        self,
        setup: Setup,
        processes: int,
        on_death: Callable[[ImageRef], None],
        *,
        meter: Meter = SILENT,
    ) -> None:
        self.threads = processes + max(SPARE, processes)
        self._setup = setup
        self._on_death = on_death
        self._meter = meter
        self._places: Places = SimpleQueue()
        for _ in range(processes):
            self._places.put(None)
        self._budgets = {
            Purpose.FILE: Budget(setup.limits.max_bytes),
            Purpose.DECODING: Budget(setup.limits.max_memory),
        }
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

    def load(
        self, ref: ImageRef, wanted: Wanted, since: float | None = None
    ) -> LoadedImage | LoadFailure | None:
        """Read one image, and load it unless ``wanted`` says no; None then.

        ``wanted`` is called at most once, with the SHA-256 of the bytes. ``since``, by
        :func:`time.monotonic`, is when the image began to wait; now if None. Failures beside those of
        reading and loading: ``timeout``, ``unreadable`` when it was the reading that took too long,
        and ``quarantined``.

        Raises:
            LoadingError: no process can be started.
            AbandonedError: :meth:`abandon` was called.
        """
        result = self.hand_over(ref, wanted, since, device_pixels=0)
        assert not isinstance(result, EncodedImage)  # there is no device
        return result

    def hand_over(self, ref: ImageRef, wanted: Wanted, since: float | None, *, device_pixels: int) -> Result:
        """The same, but a plain JPEG of up to ``device_pixels`` comes as it is stored."""
        once = _Once(ref, wanted, Stopwatch(self._meter, since))
        result = self._load(Job(ref, device_pixels), once)
        if isinstance(result, EncodedImage):
            once.watch.stage = None  # it is loaded by the device, and told of from there
        once.watch.turn(None)
        return result

    def _load(self, job: Job, once: _Once) -> Result:
        """Try until it is loaded, or has done enough harm."""
        ref = job.ref
        cause, deaths, overdrawn = "an earlier run", ref.deaths, False
        with _Place(self._places) as place:
            while deaths < DEATHS:
                # The last time with all memory for itself, so that it was not the others who used
                # it up; and so with what needs more than its header says.
                alone = overdrawn or deaths + 1 == DEATHS
                try:
                    return self._attempt(job, once, place, alone=alone)
                except OverdrawnError:
                    overdrawn = True
                except DiedError as death:
                    cause, deaths = str(death), deaths + 1
                    self._lost(cause, ref)
                    if deaths < DEATHS:
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

    def _attempt(self, job: Job, once: _Once, place: _Place, *, alone: bool) -> Result:
        """One process, one image.

        Raises :class:`DiedError` when it did not survive it, :class:`OverdrawnError` when it is to
        be tried ``alone``.
        """
        limit = self._setup.limits.max_seconds
        once.begin()
        with _Share(self._budgets, place, lambda: self._abandoned) as share:
            if alone:
                share.take_all()
            process = self._take(job)
            once.begun()
            try:
                done = self._conversation(process, once, Clock(limit, SLOW_SECONDS, place.leave), share)
            except OverdueError:
                self._drop(process)
                self._meter.timed_out()
                _LOG.info("image took longer than %g seconds", limit, extra={"image": job.ref.image_id})
                return _overdue(once, limit)
            except BaseException:
                self._drop(process)
                raise
            self._give_back(process) if done.fit else self._drop(process)
        result = done.result
        if isinstance(result, EncodedImage) and not once(result.digest):
            result = None
        if once.changed:
            reason = "the file changed while it was tried again; is something writing it?"
            return once.failure(OutcomeKind.UNREADABLE, reason)
        return result

    def _conversation(self, process: LoadingProcess, once: _Once, clock: Clock, share: _Share) -> Done:
        """Answer what the process asks until it is through."""
        while True:
            match process.receive(clock, share.allowed()):
                case Need(purpose, amount):
                    share.take(purpose, amount)
                    process.send(True)
                case Known(digest):
                    process.send(once(digest))
                case Done() as done:
                    return done
                case other:
                    raise DiedError(f"it talks nonsense: {type(other).__name__}")

    # -- processes ------------------------------------------------------------------------

    def _take(self, job: Job) -> LoadingProcess:
        """A process that has begun with the image.

        One that died while it was idle, or while it came up, is no fault of this image: the next is
        taken, until too many in a row do not come up.
        """
        failures = 0
        while True:
            process = self._next()
            try:
                process.wait_ready()
                process.begin(job)
                return process
            except DiedError as death:
                self._drop(process)
                self._lost(str(death))
            except LoadingError as fault:
                self._drop(process)
                self._lost(str(fault))
                failures += 1
                if failures == STARTS:
                    raise
            except BaseException:
                self._drop(process)
                raise

    def _lost(self, cause: str, ref: ImageRef | None = None) -> None:
        """A process died, with an image in hand or with none."""
        self._meter.died()
        extra = {} if ref is None else {"image": ref.image_id}
        _LOG.info("a process that loads images died of %s", cause, extra=extra)

    def _next(self) -> LoadingProcess:
        with self._lock:
            if self._abandoned:
                raise AbandonedError
            process = self._idle.pop() if self._idle else LoadingProcess(self._setup)
            self._busy.add(process)
            return process

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
    """Asks ``wanted`` about a content once, however often its image is tried; and so with what the
    meter is told: what an image costs that is tried again is all there, in the stage that it was at."""

    def __init__(self, ref: ImageRef, wanted: Wanted, watch: Stopwatch) -> None:
        self._image_id = ref.image_id
        self._wanted = wanted
        self.watch = watch
        self.digest: bytes | None = None
        self.asked = False
        """Whether this attempt got as far as having read the file."""
        self.changed = False
        """Whether this attempt read other bytes than the first, about which nobody was asked."""

    def begin(self) -> None:
        """Another attempt."""
        self.asked = False

    def begun(self) -> None:
        """A process has begun with it."""
        if self.watch.stage is Stage.WAIT:
            self.watch.turn(Stage.READ)

    def __call__(self, digest: bytes) -> bool:
        self.asked = True
        if self.digest is None:
            self.digest = digest
            self.watch.turn(None)
            wanted = self._wanted(digest)
            if wanted:
                self.watch.turn(Stage.LOAD)
            return wanted
        self.changed = digest != self.digest
        return not self.changed

    def failure(self, kind: OutcomeKind, reason: str) -> LoadFailure:
        """Why there is no picture; of the content, unless it is the place that is at fault."""
        digest = None if kind is OutcomeKind.UNREADABLE else self.digest
        return LoadFailure(self._image_id, kind, reason, digest)


class _Share:
    """What one image holds of the memory.

    Whoever holds memory for decoding holds that for the file already, and a new need takes the
    place of the old one, so that no two can wait for each other, nor one for itself.
    """

    def __init__(
        self, budgets: Mapping[Purpose, Budget], place: _Place, is_given_up: Callable[[], bool]
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

    def __enter__(self) -> _Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for purpose, amount in self._held.items():
            self._budgets[purpose].give(amount)


@dataclass(slots=True)
class _Place:
    """A place among those that load at one time; left early by an image that takes long."""

    free: Places
    held: bool = False

    def __enter__(self) -> _Place:
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


def _overdue(once: _Once, limit: float) -> LoadFailure:
    within = f"within {limit:g} seconds (TAGGER_MAX_SECONDS)"
    if once.asked:
        return once.failure(OutcomeKind.TIMEOUT, f"decoding it was not done {within}")
    return once.failure(OutcomeKind.UNREADABLE, f"the disk or network share did not deliver it {within}")
