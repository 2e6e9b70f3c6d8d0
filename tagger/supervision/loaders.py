"""All loading processes of a run: who loads what, how long it may take, what becomes of a death.

Images wait in one line. A thread that has a place takes from it what a process may have in hand: one
image, or a handful of small ones that have done no harm yet, since talking about a small image takes
as long as loading it. Whatever goes wrong, with a handful too, is settled for the image that was
in hand; the others rejoin the line, each to be alone from then on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType

from tagger.errors import LoadingError
from tagger.loading import Budget, Client, Found
from tagger.metering import SILENT, Meter, Stage, Stopwatch
from tagger.supervision.client import AbandonedError, Submitting
from tagger.supervision.messages import (
    HANDFUL,
    SMALL,
    Declined,
    Done,
    Job,
    Known,
    Need,
    Purpose,
    Setup,
)
from tagger.supervision.process import Clock, DiedError, LoadingProcess, OverdrawnError, OverdueError
from tagger.values import DEATHS, EncodedImage, ImageRef, LoadFailure, OutcomeKind

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


class Loaders(Submitting):
    """Loads in ``processes`` child processes.

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
        threads = processes + max(SPARE, processes)
        self.room = 2 * HANDFUL * processes
        """How many images should be submitted at one time so that no process waits for one."""
        self._setup = setup
        self._on_death = on_death
        self._meter = meter
        self._line = _Line()
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
        self._threads: list[threading.Thread] = []
        try:
            # They come up while the caller makes its engine ready.
            for _ in range(processes):
                self._idle.append(LoadingProcess(setup))
            for number in range(threads):
                self._start_thread(number)
        except BaseException:
            self.close()
            raise

    def submit(
        self,
        refs: Sequence[ImageRef],
        client: Client,
        since: float | None = None,
        *,
        device_pixels: int = 0,
    ) -> None:
        """Have images read, and loaded if their content is wanted; the client is told what came of each.

        ``since``, by :func:`time.monotonic`, is when they began to wait; now if None. A plain JPEG of
        up to ``device_pixels`` comes as it is stored. Failures beside those of reading and loading:
        ``timeout``, ``unreadable`` when it was the reading that took too long, and ``quarantined``.

        Raises:
            AbandonedError: :meth:`abandon` was called.
        """
        self._line.join([_Errand(ref, client, Stopwatch(self._meter, since), device_pixels) for ref in refs])

    def abandon(self) -> None:
        """End what is being loaded; of each image that is not done the client is told so."""
        with self._lock:
            self._abandoned = True
            for process in self._busy:
                process.kill()
        for errand in self._line.close():
            errand.failed(AbandonedError())

    def close(self) -> None:
        """End all processes and threads."""
        self.abandon()
        for thread in self._threads:
            thread.join()
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

    # -- threads --------------------------------------------------------------------------

    def _start_thread(self, number: int) -> None:
        thread = threading.Thread(target=self._serve, name=f"tagger-load-{number}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        """Keep a place for as long as what is loaded there does not take too long."""
        while True:
            with _Place(self._places) as place:
                while place.held:
                    if not (errands := self._line.take()):
                        return
                    # What is logged says of what run it is, as the caller's own lines do.
                    errands[0].context.copy().run(self._see_to, _Hand(errands, place, self._line))

    def _see_to(self, hand: _Hand) -> None:
        """One job; whatever comes of it, each image is done, or failed, or in the line again."""
        try:
            if errand := hand.condemned:
                errand.done(_quarantined(errand, "an earlier run"))
            else:
                self._try(hand)
        except BaseException as fault:  # carried to the client
            hand.fail(fault)

    def _try(self, hand: _Hand) -> None:
        try:
            done = self._attempt(hand)
        except OverdueError:
            self._time_out(hand)
        except OverdrawnError:
            if errand := hand.culprit:
                errand.overdrawn = True
        except DiedError as death:
            self._count_death(hand, str(death))
        else:
            hand.settle(done)
        hand.rejoin()

    def _time_out(self, hand: _Hand) -> None:
        limit = self._setup.limits.max_seconds
        if errand := hand.culprit:
            self._meter.timed_out()
            _LOG.info("image took longer than %g seconds", limit, extra={"image": errand.ref.image_id})
            errand.done(_overdue(errand, limit))

    def _count_death(self, hand: _Hand, cause: str) -> None:
        errand = hand.culprit
        self._lost(cause, errand.ref if errand else None)
        if errand is None:
            return
        errand.deaths += 1
        if errand.deaths < DEATHS:
            self._on_death(errand.ref)
        else:
            errand.done(_quarantined(errand, cause))

    def _attempt(self, hand: _Hand) -> Done:
        """One process, one job.

        Raises :class:`DiedError` when it did not survive it, :class:`OverdueError`, or
        :class:`OverdrawnError` when an image is to be tried with all memory there is.
        """
        hand.begin()
        with _Share(self._budgets, hand.place, lambda: self._abandoned) as share:
            if hand.needs_all_memory:
                share.take_all()
            process = self._take(hand.job)
            hand.begun(process)
            try:
                clock = Clock(self._setup.limits.max_seconds, SLOW_SECONDS, hand.slow)
                done = self._conversation(process, hand, clock, share)
            except BaseException as fault:
                hand.ended(fault)
                self._drop(process)
                raise
            self._give_back(process) if done.fit else self._drop(process)
        return done

    def _conversation(self, process: LoadingProcess, hand: _Hand, clock: Clock, share: _Share) -> Done:
        """Answer what the process asks until it is through."""
        while True:
            match process.receive(clock, share.allowed()):
                case Need(purpose, amount):
                    share.take(purpose, amount)
                    process.send(True)
                case Known(digests) if len(digests) == len(hand.job.refs):
                    process.answer(hand.answers(digests))
                case Done() as done if done.fits(hand.job):
                    return done
                case other:
                    raise DiedError(f"it talks nonsense: {type(other).__name__}")

    # -- processes ------------------------------------------------------------------------

    def _take(self, job: Job) -> LoadingProcess:
        """A process that has begun with the job.

        One that died while it was idle, or while it came up, is no fault of this job: the next is
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


class _Errand:
    """An image on its way, until its client is told what came of it.

    Its client is asked about its content once, however often it is tried; and so with what the meter
    is told: what an image costs that is tried again is all there, in the stage that it was at.
    """

    __slots__ = (
        "alone", "asked", "changed", "client", "context", "deaths", "device_pixels", "digest",
        "is_told", "is_wanted", "overdrawn", "ref", "watch",
    )  # fmt: skip

    def __init__(self, ref: ImageRef, client: Client, watch: Stopwatch, device_pixels: int) -> None:
        self.ref = ref
        self.client = client
        self.watch = watch
        self.device_pixels = device_pixels
        self.context = copy_context()
        self.deaths = ref.deaths
        self.alone = bool(ref.deaths or device_pixels or ref.size is None or ref.size > SMALL)
        self.overdrawn = False
        self.digest: bytes | None = None
        self.is_wanted = True
        self.is_told = False
        self.asked = False
        """Whether this attempt got as far as having read the file."""
        self.changed = False
        """Whether this attempt read other bytes than the first, about which nobody was asked."""

    def done(self, result: Found) -> None:
        """The end of it."""
        if not self.is_told:
            self.is_told = True
            self.watch.turn(None)
            try:
                self.client.done(self.ref, result)
            except BaseException as fault:  # or the client would wait for ever
                self.client.failed(self.ref, fault)

    def failed(self, fault: BaseException) -> None:
        """Another end."""
        if not self.is_told:
            self.is_told = True
            self.client.failed(self.ref, fault)

    def note(self, read: float, was_read: float, load: float, loaded: float) -> None:
        """When its process did what, by the process's own account."""
        self.watch.turn(Stage.READ, read)
        self.watch.turn(None, was_read)
        if self.asked and self.is_wanted:
            self.watch.turn(Stage.LOAD, load)
            self.watch.turn(None, loaded)

    def take_in(self, result: Found) -> None:
        """What a process has made of it."""
        if isinstance(result, EncodedImage):
            self.watch.turn(None)  # it is loaded by the device, and told of from there
            result = result if _wanted([(self, result.digest)])[0] else None
        if self.changed:
            reason = "the file changed while it was tried again; is something writing it?"
            result = self.failure(OutcomeKind.UNREADABLE, reason)
        self.done(result)

    def failure(self, kind: OutcomeKind, reason: str) -> LoadFailure:
        """Why there is no picture; of the content, unless it is the place that is at fault."""
        digest = None if kind is OutcomeKind.UNREADABLE else self.digest
        return LoadFailure(self.ref.image_id, kind, reason, digest)


def _wanted(found: Sequence[tuple[_Errand, bytes]]) -> list[bool]:
    """Whether these contents are to be loaded, all of one client; asked of those that were not before."""
    fresh = [(errand, digest) for errand, digest in found if errand.digest is None]
    for errand, digest in found:
        errand.asked = True
        errand.changed = errand.digest not in (None, digest)
    if fresh:
        for errand, digest in fresh:
            errand.digest = digest
        answers = fresh[0][0].client.wanted([(errand.ref, digest) for errand, digest in fresh])
        for (errand, _), answer in zip(fresh, answers, strict=True):
            errand.is_wanted = answer
    return [errand.is_wanted and not errand.changed for errand, _ in found]


class _Line:
    """Images that wait for a process, first come first served; those that were tried come first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle = 0
        self._waiting: deque[_Errand] = deque()
        self._closed = False

    def join(self, errands: Sequence[_Errand]) -> None:
        """Wait at the end of the line; raises :class:`AbandonedError` if it is closed."""
        with self._changed:
            if self._closed:
                raise AbandonedError
            self._waiting.extend(errands)
            self._changed.notify(len(errands))

    def rejoin(self, errand: _Errand) -> None:
        """Be the next, alone; fails the errand if the line is closed."""
        errand.alone = True
        with self._changed:
            if not self._closed:
                self._waiting.appendleft(errand)
                self._changed.notify()
                return
        errand.failed(AbandonedError())

    def take(self) -> list[_Errand]:
        """One image or a handful, once there is one; none when the line is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            taken = [self._waiting.popleft()]
            if not taken[0].alone:
                # An equal share for each who waits for work.
                most = min(HANDFUL, -(-(len(self._waiting) + 1) // (self._idle + 1)))
                while len(taken) < most and self._waiting and _go_together(taken[0], self._waiting[0]):
                    taken.append(self._waiting.popleft())
            return taken

    def close(self) -> Sequence[_Errand]:
        """Nobody joins any more; those that waited."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        return waiting


def _go_together(one: _Errand, other: _Errand) -> bool:
    return not other.alone and one.client is other.client


class _Hand:
    """What a process has in hand together, and what of that its thread still has to see to."""

    def __init__(self, errands: Sequence[_Errand], place: _Place, line: _Line) -> None:
        self.place = place
        self.job = Job(tuple(errand.ref for errand in errands), errands[0].device_pixels)
        self._errands: list[_Errand | None] = list(errands)  # None for those that are the line's again
        self._line = line
        self._process: LoadingProcess | None = None
        self._last: int | None = None

    @property
    def condemned(self) -> _Errand | None:
        """An image that did so much harm before that it is not begun."""
        return next((errand for errand in self._left() if errand.deaths >= DEATHS), None)

    @property
    def needs_all_memory(self) -> bool:
        """Whether nothing else may be loaded meanwhile: the last time, so that it was not the others
        who used it up; and so with what needs more than its header says."""
        return any(errand.overdrawn or errand.deaths + 1 == DEATHS for errand in self._left())

    @property
    def culprit(self) -> _Errand | None:
        """Whose doing it is what has become of the process; None if that cannot be told, or if the image
        is another thread's by now, which will find out."""
        if self._is_alone:
            return self._errands[0]
        return self._at(self._last)

    def begin(self) -> None:
        """Another attempt."""
        for errand in self._left():
            errand.asked = errand.changed = False

    def begun(self, process: LoadingProcess) -> None:
        """A process has begun. When it does with each image of a handful, it tells in the end."""
        self._process = process
        if self._is_alone:
            self._turn(Stage.WAIT, Stage.READ)

    def slow(self) -> None:
        """It takes long: another may load meanwhile, and all but the one that the process is at."""
        self.place.leave()
        at = self._process.in_hand if self._process is not None else None
        if self._process is None or self._is_alone or self._at(at) is None:
            return
        self._process.cut()
        for place in range(len(self._errands)):
            if place != at:
                self._rejoin(place)

    def answers(self, digests: Sequence[bytes | None]) -> tuple[bool, ...]:
        """Which are to be loaded; not what is the line's again."""
        self._turn(Stage.READ, None)
        found = {
            place: (errand, digest)
            for place, (errand, digest) in enumerate(zip(self._errands, digests, strict=True))
            if errand is not None and digest is not None
        }
        answers = dict(zip(found, _wanted(list(found.values())), strict=True))
        if any(answers.values()):
            self._turn(None, Stage.LOAD)
        return tuple(answers.get(place, False) for place in range(len(digests)))

    def settle(self, done: Done) -> None:
        """All that the process could make something of."""
        for place, result in enumerate(done.results):
            errand = self._errands[place]
            if errand is None or isinstance(result, Declined):
                continue
            if done.times:
                errand.note(*done.times[place])
            errand.take_in(result)

    def ended(self, fault: BaseException) -> None:
        """The process is about to be ended; what it was at is known for the last time."""
        if isinstance(fault, OverdueError):
            self._last = fault.in_hand
        elif self._process is not None:
            self._last = self._process.in_hand

    def rejoin(self) -> None:
        """What is not done is the line's again, in the same order."""
        for place in reversed(range(len(self._errands))):
            self._rejoin(place)

    def fail(self, fault: BaseException) -> None:
        """Nothing comes of what is not done."""
        for errand in self._left():
            errand.failed(fault)

    @property
    def _is_alone(self) -> bool:
        return len(self._errands) == 1

    def _at(self, place: int | None) -> _Errand | None:
        """Whose place it is; a process that writes where it should not may name any."""
        return None if place is None or place >= len(self._errands) else self._errands[place]

    def _left(self) -> list[_Errand]:
        return [errand for errand in self._errands if errand is not None]

    def _rejoin(self, place: int) -> None:
        errand, self._errands[place] = self._errands[place], None
        if errand is not None and not errand.is_told:
            self._line.rejoin(errand)

    def _turn(self, here: Stage | None, on: Stage | None) -> None:
        """With one image alone, how far it is."""
        errand = self._errands[0]
        if self._is_alone and errand is not None and errand.watch.stage is here:
            errand.watch.turn(on)


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


def _quarantined(errand: _Errand, cause: str) -> LoadFailure:
    reason = f"loading it killed the process that did, {DEATHS} times; the last by {cause}"
    return errand.failure(OutcomeKind.QUARANTINED, reason)


def _overdue(errand: _Errand, limit: float) -> LoadFailure:
    within = f"within {limit:g} seconds (TAGGER_MAX_SECONDS)"
    if errand.asked:
        return errand.failure(OutcomeKind.TIMEOUT, f"decoding it was not done {within}")
    return errand.failure(OutcomeKind.UNREADABLE, f"the disk or network share did not deliver it {within}")
