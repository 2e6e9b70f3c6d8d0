"""Scheduled jobs: a due time is begun once, however many schedulers there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial

from sqlalchemy import select

from tagger.store import jobs
from tagger.store.schema import JobRow
from tagger.store.session import Database

from .running import all_at_once

DUE = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)


def _begin(database: Database, name: str, due_at: datetime) -> bool:
    return database.write(partial(jobs.begin, name=name, due_at=due_at))


def test_a_due_time_is_begun_once_and_each_job_has_its_own(database: Database) -> None:
    assert _begin(database, "scan", DUE)
    assert not _begin(database, "scan", DUE)
    assert _begin(database, "reindex", DUE)
    assert _begin(database, "scan", DUE + timedelta(minutes=1))


def test_the_same_moment_in_another_zone_is_the_same_due_time(database: Database) -> None:
    assert _begin(database, "scan", DUE)
    assert not _begin(database, "scan", DUE.astimezone(timezone(timedelta(hours=5, minutes=30))))


def test_the_last_due_time_is_told(database: Database) -> None:
    last_due = partial(jobs.last_due, name="scan")
    assert database.read(last_due) is None
    for minutes in (0, 2, 1):
        _begin(database, "scan", DUE + timedelta(minutes=minutes))
    _begin(database, "reindex", DUE + timedelta(minutes=9))
    assert database.read(last_due) == DUE + timedelta(minutes=2)


def test_what_was_begun_long_before_is_forgotten_but_never_the_last(database: Database) -> None:
    long_ago = DUE - jobs.KEPT - timedelta(days=1)
    assert _begin(database, "yearly", long_ago)
    assert _begin(database, "scan", long_ago)
    assert _begin(database, "scan", DUE)
    with database.reading() as connection:
        known = connection.execute(select(JobRow.name, JobRow.due_at).order_by(JobRow.due_at)).all()
    assert [tuple(row) for row in known] == [("yearly", long_ago), ("scan", DUE)]
    assert not _begin(database, "yearly", long_ago), "a time that was missed by months is made up for once"


def test_of_two_schedulers_at_once_one_begins(postgresql: Database) -> None:
    begun = all_at_once(6, lambda _: _begin(postgresql, "scan", DUE))
    assert begun.count(True) == 1
