"""All loading processes of a run: who loads what, how long it may take, what becomes of a death.

Images wait in one line. A thread that has a place takes from it what a process may have in hand: one
image, or a handful of small ones that have done no harm yet, since talking about a small image takes
as long as loading it. Whatever goes wrong, with a handful too, is settled for the image that was
in hand; the others rejoin the line, each to be alone from then on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType

from tagger.errors import LoadingError
from tagger.loading import Budget, Client
from tagger.metering import SILENT, Meter, Stopwatch
from tagger.supervision.client import AbandonedError, Submitting
from tagger.supervision.errands import Errand, Line, overdue, quarantined
from tagger.supervision.hand import Hand
from tagger.supervision.messages import HANDFUL, Done, Job, Known, Need, Purpose, Setup
from tagger.supervision.process import Clock, DiedError, LoadingProcess, OverdrawnError, OverdueError
from tagger.supervision.share import Place, Places, Share
from tagger.values import DEATHS, ImageRef

_LOG = logging.getLogger(__name__)

SLOW_SECONDS = 2.0
"""An image that takes longer is waited for aside, and another process loads in its place."""
SPARE = 8
"""Processes, at least, that may be waited for aside."""

STARTS = 3
"""So many processes in a row may fail to come up before the run is given up."""


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
        self._line = Line()
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
        self._line.join([Errand(ref, client, Stopwatch(self._meter, since), device_pixels) for ref in refs])

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
            with Place(self._places) as place:
                while place.held:
                    if not (errands := self._line.take()):
                        return
                    # What is logged says of what run it is, as the caller's own lines do.
                    errands[0].context.copy().run(self._see_to, Hand(errands, place, self._line))

    def _see_to(self, hand: Hand) -> None:
        """One job; whatever comes of it, each image is done, or failed, or in the line again."""
        try:
            if errand := hand.condemned:
                errand.done(quarantined(errand, "an earlier run"))
            else:
                self._try(hand)
        except BaseException as fault:  # carried to the client
            hand.fail(fault)

    def _try(self, hand: Hand) -> None:
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

    def _time_out(self, hand: Hand) -> None:
        limit = self._setup.limits.max_seconds
        if errand := hand.culprit:
            self._meter.timed_out()
            _LOG.info("image took longer than %g seconds", limit, extra={"image": errand.ref.image_id})
            errand.done(overdue(errand, limit))

    def _count_death(self, hand: Hand, cause: str) -> None:
        errand = hand.culprit
        self._lost(cause, errand.ref if errand else None)
        if errand is None:
            return
        errand.deaths += 1
        if errand.deaths < DEATHS:
            self._on_death(errand.ref)
        else:
            errand.done(quarantined(errand, cause))

    def _attempt(self, hand: Hand) -> Done:
        """One process, one job.

        Raises :class:`DiedError` when it did not survive it, :class:`OverdueError`, or
        :class:`OverdrawnError` when an image is to be tried with all memory there is.
        """
        hand.begin()
        with Share(self._budgets, hand.place, lambda: self._abandoned) as share:
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

    def _conversation(self, process: LoadingProcess, hand: Hand, clock: Clock, share: Share) -> Done:
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
