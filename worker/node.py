"""One process of ``tagger worker`` or ``tagger beat``: ``python -m worker.node ROLE NUMBER``.

A Celery consumer of the solo pool: it runs its tasks in its own main thread, one at a time, so that
there is no fork between a model and its work, and a supervisor needs to look after one process only.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

from celery import Celery, signals
from celery.platforms import SecurityWarning
from celery.worker import state
from tenacity import Retrying, retry_if_exception_type, wait_fixed

from tagger.errors import DatabaseUnavailable, SettingsError, TaggerError
from tagger.garbage import collect_rarely
from tagger.library import versions
from tagger.library.lease import Lease
from tagger.settings import Settings, load_settings
from tagger.sources import Roots
from tagger.store import ledger, migrate
from tagger.store.session import Database, open_database
from worker import logs, metrics, tasks
from worker.app import ENQUEUE, IMAGES, NO_TASK, REQUESTS, TAG_CHUNK, make_app
from worker.keeper import DEAF, Attention, Keeper, Watchdog, answers, filling, observing, passing
from worker.metrics import Metrics
from worker.producers import CeleryQueue
from worker.runtime import Runtime
from worker.schedule import Schedule, jobs_of
from worker.supervisor import GRACE_SECONDS, HOPELESS

log = logging.getLogger(__name__)

Role = Literal["worker", "beat"]

PASS_SECONDS = {"worker": 10.0, "beat": 2.0}
"""How often each looks after the whole. A worker does so too after every chunk, so that beat, which
nobody waits for, may be down."""
FILL_SECONDS = 2.0
WATCH_SECONDS = 5.0
OBSERVE_SECONDS = 5.0
SILENT_SECONDS = 120.0
"""A process whose keeper has not come round for so long is not well."""


def main() -> None:
    """Run until told to stop; the exit code is 3 for what cannot work as it is set up."""
    role, number = cast("Role", sys.argv[1]), int(sys.argv[2])
    collect_rarely()
    settings = load_settings()
    versions.adopt_own(settings.own_models)
    logs.configure(settings.log_format)
    sys.__stdout__ = None  # type: ignore[misc]  # where Celery's signal handlers write lines of their own, in no form of ours
    warnings.filterwarnings("ignore", category=SecurityWarning)  # root's pickles: none is taken
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        sys.exit(_run(role, number, settings))
    except TaggerError as fault:
        log.critical("%s", fault)
        sys.exit(DEAF if fault.transient else HOPELESS)


def _run(role: Role, number: int, settings: Settings) -> int:
    numbers = Metrics(role, (ENQUEUE, TAG_CHUNK, NO_TASK))
    app = make_app(settings, refused=partial(numbers.refused, NO_TASK))
    roots = Roots.parse(settings.roots)
    with ExitStack() as opened:
        well = _Health()
        if settings.metrics_port:
            _serve(settings.metrics_port + number, numbers, well, opened)
        database = opened.enter_context(_opened(settings))
        node = _Node(f"{role}{number}@{socket.gethostname()}", settings, app, database, numbers, Attention())
        pass_on = Keeper("tagger-pass", node.duties(role), PASS_SECONDS[role])
        fill_up = Keeper(
            "tagger-fill",
            [lambda: filling(database, roots, pass_on.wake, fill_up.is_stopping)],
            FILL_SECONDS,
        )
        tasks.register_enqueue(app, database, roots, numbers, fill_up.wake)
        well.keeper = pass_on
        stop = node.tag(opened, pass_on.wake) if role == "worker" else node.look_after(opened)
        opened.enter_context(pass_on)
        opened.enter_context(fill_up)
        _end_with_supervisor(stop)
        return _consume(app, role, node.name, node.attention, stop)


@dataclass(frozen=True, slots=True)
class _Node:
    """What a process of either role has in hand."""

    name: str
    settings: Settings
    app: Celery
    database: Database
    numbers: Metrics
    attention: Attention

    @property
    def queue(self) -> CeleryQueue:
        return CeleryQueue(self.app)

    def duties(self, role: Role) -> list[Callable[[], None]]:
        """What is done again and again, beside the messages."""
        pass_over = partial(passing, self.database, self.queue, self.settings)
        if role == "worker":
            return [pass_over]
        return [Schedule(self.database, jobs_of(self.settings)), pass_over]

    def tag(self, opened: ExitStack, done: Callable[[], None]) -> Callable[[], None]:
        """Be ready for chunks, until ``opened`` is closed; what to call so that no more is begun."""
        runtime = opened.enter_context(
            Runtime(self.database, self.settings, self.numbers, self.name, self.attention.progress)
        )
        tasks.register_tag_chunk(self.app, runtime, self.numbers, done)
        watchdog = Watchdog(self.queue, self.attention, database_answers=partial(answers, self.database))
        opened.enter_context(Keeper("tagger-watch", [watchdog], WATCH_SECONDS))
        return runtime.stop

    def look_after(self, opened: ExitStack) -> Callable[[], None]:
        """Give signs of life and show the numbers of the whole; there is nothing to stop."""
        opened.enter_context(Lease(self.database, ledger.Role.BEAT, self.name))
        observe = partial(observing, self.database, self.queue, self.settings, self.numbers)
        opened.enter_context(Keeper("tagger-observe", [observe], OBSERVE_SECONDS))
        return _nothing


def _serve(port: int, numbers: Metrics, well: _Health, opened: ExitStack) -> None:
    """Numbers are worth having, and not worth stopping for: another process may have the port."""
    try:
        opened.callback(metrics.serve(port, numbers, well).close)
    except SettingsError as fault:
        log.error("%s: this process shows no numbers", fault)


def _nothing() -> None:
    pass


@dataclass(slots=True)
class _Health:
    """Whether this process is well: it is coming up, or its keeper has come round of late."""

    keeper: Keeper | None = None

    def __call__(self) -> bool:
        return self.keeper is None or time.monotonic() - self.keeper.alive_at < SILENT_SECONDS


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    """The database, at this program's version; one that does not answer yet is waited for."""
    database = open_database(settings.database)
    try:
        waiting = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            wait=wait_fixed(2.0),
            before_sleep=lambda attempt: log.error("%s; asked again in 2 s", attempt.outcome.exception()),  # type: ignore[union-attr]
        )
        waiting(migrate.check, database)
        yield database
    finally:
        database.close()


def _end_with_supervisor(stop: Callable[[], None]) -> None:
    """When the supervisor is gone our standard input ends: so do we, in order."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        log.warning("the supervisor is gone: this process ends")
        stop()
        state.should_stop = 0
        time.sleep(GRACE_SECONDS)
        os._exit(DEAF)  # it hangs, and nobody else would end it

    threading.Thread(target=wait, name="tagger-supervisor", daemon=True).start()


def _consume(app: Celery, role: Role, name: str, attention: Attention, stop: Callable[[], None]) -> int:
    """Take messages until told to stop."""

    def told_to_stop(**_: object) -> None:
        log.info("told to stop")
        stop()

    signals.task_prerun.connect(attention.begin, weak=False)
    signals.task_postrun.connect(attention.end, weak=False)
    signals.worker_shutting_down.connect(told_to_stop, weak=False)
    consumer = app.Worker(
        hostname=name,
        pool="solo",
        concurrency=1,
        queues=[IMAGES, REQUESTS] if role == "worker" else [REQUESTS],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        loglevel="INFO",
    )
    consumer.start()
    return int(consumer.exitcode or 0)


if __name__ == "__main__":
    main()
