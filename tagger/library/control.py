"""A person's hand on runs: list, show, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from tagger.store import counts, pages, queries, runs
from tagger.store.queries import Failure, RunReport
from tagger.store.runs import Run, Tick
from tagger.store.session import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection


def list_runs(database: Database, limit: int) -> list[Run]:
    """The runs that go on, and the newest ``limit`` of those that are over."""
    return database.read(partial(runs.last_runs, limit=limit))


def show_run(database: Database, run_id: int, failures: int) -> RunReport:
    """A run, what came of its images, and its last ``failures``; raises :class:`NotFound`."""
    return database.read(partial(queries.run_report, run_id=run_id, failures=failures))


def throughput(database: Database, run_id: int, points: int = 120) -> tuple[Tick, ...]:
    """What a run did when, in at most so many steps; raises :class:`NotFound`."""
    return database.read(partial(runs.throughput, run_id=run_id, points=points))


def page(database: Database, before: int | None, limit: int) -> list[Run]:
    """All runs a page at a time, the newest first: those begun before one (None: from the newest on)."""
    return database.read(partial(runs.runs_before, run_id=before, limit=limit))


def failures(
    database: Database, run_id: int, outcome: str | None, after: tuple[datetime, int] | None, limit: int
) -> Sequence[Failure]:
    """What failed in a run a page at a time, the latest first, behind an image that ended at a moment; raises
    :class:`NotFound`."""

    def question(connection: Connection) -> Sequence[Failure]:
        return pages.failures(connection, runs.find_run(connection, run_id), outcome, after, limit)

    return database.read(question)


def pause(database: Database, run_id: int) -> None:
    """Send and begin nothing more of a run; raises :class:`NotFound` or :class:`SettingsError`."""
    database.write(partial(runs.pause, run_id=run_id))


def resume(database: Database, run_id: int) -> None:
    """Go on with a run that was paused; raises as :func:`pause`."""
    database.write(partial(runs.resume, run_id=run_id))


def cancel(database: Database, run_id: int) -> int:
    """Want no more what is left of a run, how much that was; raises as :func:`pause`."""

    with database.writing() as connection:
        counts.guard(connection)  # who writes outcomes or fills runs is through, and begins after us
        return runs.cancel(connection, run_id)
