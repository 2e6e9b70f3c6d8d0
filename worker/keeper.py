"""What a process does beside its messages, in a thread of its own, again and again.

The dispatcher's pass, filling runs that were asked for, showing numbers, and watching that messages
still come. Each of it may be done in many processes at one time; none is needed in a certain one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from tagger.errors import TaggerError
from tagger.library.dispatch import BrokerUnavailable, dispatch
from tagger.library.filling import Filled, fill_next
from tagger.settings import Settings
from tagger.sources import Roots
from tagger.store import ledger, runs
from tagger.store.runs import Run, RunState
from tagger.store.session import Database
from worker.app import IMAGES
from worker.metrics import Metrics, RunSample
from worker.producers import CeleryQueue

log = logging.getLogger(__name__)

STALLED_SECONDS = 120.0
"""Work of which nothing is heard for so long does not go on: a device that hangs, a connection that is
silent. While images are waited for there is a word every second."""
IDLE_SECONDS = 30.0
"""A worker that gets no message for so long, though some wait, has lost its broker without knowing."""
DEAF = 75
"""The exit code of such a one (EX_TEMPFAIL of sysexits.h); it is started again."""


@dataclass(slots=True)
class Attention:
    """When this process last had a message in hand; told by Celery's signals."""

    busy: bool = False
    last: float = 0.0

    def progress(self) -> None:
        """The work goes on."""
        self.last = time.monotonic()

    def begin(self, **_: object) -> None:
        """A message has come."""
        self.busy, self.last = True, time.monotonic()

    def end(self, **_: object) -> None:
        """It is done."""
        self.busy, self.last = False, time.monotonic()


class Keeper:
    """A thread that does its duties every ``interval`` seconds, and at once when it is woken.

    One that fails is said once and tried again the next time.
    """

    def __init__(self, name: str, duties: list[Callable[[], None]], interval: float) -> None:
        self._duties = duties
        self._interval = interval
        self._wake = threading.Event()
        self._stopping = False
        self._failing: dict[int, str] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.alive_at = time.monotonic()

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)  # a scan that waits for a dead share is left behind

    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping

    def wake(self) -> None:
        """Do it now."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            for position, duty in enumerate(self._duties):
                self._do(position, duty)
            self.alive_at = time.monotonic()
            self._wake.wait(self._interval)
            self._wake.clear()

    def _do(self, position: int, duty: Callable[[], None]) -> None:
        try:
            duty()
            if fault := self._failing.pop(position, None):
                log.info("over, and it works again: %s", fault)
        except TaggerError as fault:
            if self._failing.get(position) != str(fault):
                log.error("%s", fault)
            self._failing[position] = str(fault)
        except Exception as fault:
            if self._failing.get(position) != repr(fault):
                log.exception("something unforeseen; it is tried again")
            self._failing[position] = repr(fault)


def passing(database: Database, queue: CeleryQueue, settings: Settings) -> None:
    """The dispatcher's pass."""
    sent = dispatch(database, queue, bulk=settings.is_bulk_hour(datetime.now().time()))
    if sent.chunks:
        log.info("sent %d chunks, %d images", sent.chunks, sent.images)


def filling(database: Database, roots: Roots, sent: Callable[[], None], stopping: Callable[[], bool]) -> None:
    """Fill what was asked for, until nothing is left that nobody sees to."""
    while (filled := fill_next(database, roots, stopping)) is not None:
        _tell(filled)
        sent()


def _tell(filled: Filled) -> None:
    fields = {"run": filled.run_id}
    log.info("run filled: %d images more are wanted", filled.wanted, extra=fields)
    for bad in filled.bad:
        log.warning("left out: %s: %s", bad.item, bad.reason, extra=fields)
    for warning in filled.warnings:
        log.warning("%s", warning, extra=fields)


def observing(database: Database, queue: CeleryQueue, settings: Settings, metrics: Metrics) -> None:
    """The numbers of the whole: queues, workers and runs."""
    metrics.observe_queue(queue.depths())
    metrics.observe_workers(len(database.read(ledger.workers)))
    bulk = settings.is_bulk_hour(datetime.now().time())
    unfinished = database.read(runs.unfinished)
    metrics.observe_runs([_sample(run, bulk) for run in unfinished])
    metrics.observe_wanted({"pending": sum(run.total - run.done for run in unfinished)})


def _sample(run: Run, bulk: bool) -> RunSample:
    return RunSample(
        run=run.id,
        kind=run.kind,
        active=run.state == RunState.RUNNING and (bulk or not run.bulk),
        pending=max(0, run.total - run.done),
        done=run.done - run.failed,
        failed=run.failed,
        last_progress=(run.progressed_at or run.started_at).timestamp(),
    )


def answers(database: Database) -> bool:
    """Whether the database answers a question now."""
    try:
        with database.reading() as connection:
            connection.execute(select(1))
    except TaggerError:
        return False
    return True


def _end_process() -> None:
    logging.shutdown()
    os._exit(DEAF)


class Watchdog:
    """Ends the process when its work does not go on, or when messages wait and none comes: devices hang,
    and reconnecting to a broker has been known to leave consumers deaf. What supervises it starts it anew.
    """

    def __init__(
        self,
        queue: CeleryQueue,
        attention: Attention,
        *,
        database_answers: Callable[[], bool] = lambda: True,
        end: Callable[[], None] = _end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._attention = attention
        self._database_answers = database_answers
        self._end = end
        self._clock = clock
        self._waiting_since: float | None = None

    def __call__(self) -> None:
        """Look once; raises :class:`BrokerUnavailable`, of which a consumer is not to blame."""
        now = self._clock()
        if self._attention.busy and now - self._attention.last > STALLED_SECONDS and self._database_answers():
            # While the database is away work stands still for a reason, and goes on when it is back.
            log.critical("the work has not gone on for %.0f s: this process starts anew", STALLED_SECONDS)
            self._end()
        try:
            waits = not self._attention.busy and self._queue.depth(IMAGES) > 0
        except BrokerUnavailable:
            self._waiting_since = None
            raise
        if not waits:
            self._waiting_since = None
            return
        if self._waiting_since is None:
            self._waiting_since = now
        if now - max(self._waiting_since, self._attention.last) > IDLE_SECONDS:
            log.critical("messages wait and none came for %.0f s: this process starts anew", IDLE_SECONDS)
            self._end()
