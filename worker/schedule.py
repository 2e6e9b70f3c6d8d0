"""Jobs at their times: scanning the roots, and looking for what is missing, changed or worth a retry.

A due job only asks for a run; filling it is the keeper's. The due time is the job's key in the
database, so that two schedulers begin it once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim

from tagger.library.filling import Ask, What, ask_once
from tagger.settings import Settings
from tagger.store import jobs
from tagger.store.runs import RunKind
from tagger.store.session import Database

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for, at the times of a cron expression by the local clock."""

    name: str
    cron: str
    ask: Ask


def jobs_of(settings: Settings) -> list[Job]:
    """The jobs that the settings name."""
    found = []
    if settings.scan_cron is not None:
        # New photos are what a scan is for: they go before bulk work.
        ask = Ask(RunKind.SCAN, settings.model, what=(What.CHANGED, What.MISSING))
        found.append(Job("scan", settings.scan_cron, ask))
    if settings.reindex_cron is not None:
        ask = Ask(RunKind.REINDEX, settings.model, bulk=True, what=tuple(What))
        found.append(Job("reindex", settings.reindex_cron, ask))
    return found


def _local_now() -> datetime:
    return datetime.now().astimezone()


class Schedule:
    """Begins each job once it is due; one that fell due while nobody was there is made up for, once."""

    def __init__(
        self, database: Database, known: list[Job], clock: Callable[[], datetime] = _local_now
    ) -> None:
        self._database = database
        self._jobs = known
        self._clock = clock
        self._last: dict[str, datetime] = {}

    def __call__(self) -> None:
        """Begin what is due."""
        for job in self._jobs:
            self._begin_if_due(job, self._clock())

    def _begin_if_due(self, job: Job, now: datetime) -> None:
        if job.name not in self._last:
            before = self._database.read(lambda connection: jobs.last_due(connection, job.name))
            self._last[job.name] = before or now
        due = None
        # By the clock as it goes now: in between it may have changed to summer time, or from it.
        for moment in CronSim(job.cron, self._last[job.name].astimezone(now.tzinfo)):
            if moment > now:
                break
            due = moment  # of several that were missed the last one is enough
        if due is None:
            return
        run_id = ask_once(self._database, job.ask, job.name, due.astimezone(UTC))
        self._last[job.name] = due
        if run_id is not None:
            log.info("%s was due at %s", job.name, due.isoformat(timespec="minutes"), extra={"run": run_id})
