"""Jobs at their times: each due time once, whoever is up and whatever was missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from tagger.library import filling
from tagger.library.filling import Ask, What
from tagger.settings import load_settings
from tagger.store import runs
from tagger.store.runs import RunKind
from tagger.store.session import Database
from tests.unit.store.running import all_at_once
from worker.schedule import Job, Schedule, jobs_of

SCAN = Ask(RunKind.SCAN, what=(What.CHANGED,))
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOURLY = Job("scan", "30 * * * *", SCAN)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, moment: datetime = NOON) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **by: float) -> None:
        self.moment += timedelta(**by)


def _begun(database: Database) -> list[datetime]:
    with database.reading() as connection:
        rows = connection.execute(text("SELECT due_at FROM jobs ORDER BY due_at")).scalars()
        found = [row if isinstance(row, datetime) else datetime.fromisoformat(row) for row in rows]
    return [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in found]


def _asked(database: Database) -> int:
    with database.reading() as connection:
        return connection.execute(text("SELECT COUNT(*) FROM runs")).scalar_one()


def _fill(database: Database) -> None:
    """Somebody has seen to all that was asked for."""
    with database.writing() as connection:
        connection.execute(text("DELETE FROM requests"))


def test_a_job_is_begun_at_its_time_and_not_before(sqlite: Database) -> None:
    clock = Clock()
    schedule = Schedule(sqlite, [HOURLY], clock)
    schedule()
    clock.forward(minutes=29, seconds=59)
    schedule()
    assert _begun(sqlite) == []
    clock.forward(seconds=1)
    for _ in range(3):
        schedule()
    assert _begun(sqlite) == [NOON + timedelta(minutes=30)]
    _fill(sqlite)
    clock.forward(hours=1)
    schedule()
    assert len(_begun(sqlite)) == _asked(sqlite) == 2


def test_what_is_begun_is_a_run_that_asks_to_be_filled(sqlite: Database) -> None:
    clock = Clock()
    job = Job("reindex", "* * * * *", Ask(RunKind.REINDEX, bulk=True, what=tuple(What)))
    schedule = Schedule(sqlite, [job], clock)
    schedule()
    clock.forward(minutes=1)
    schedule()
    (run,) = sqlite.read(runs.unfinished)
    assert (run.kind, run.bulk, run.filling) == ("reindex", True, True)


def test_of_several_missed_times_one_is_made_up_for(sqlite: Database) -> None:
    clock = Clock()
    first = Schedule(sqlite, [HOURLY], clock)
    first()
    clock.forward(minutes=30)
    first()
    _fill(sqlite)
    clock.forward(hours=10)
    again = Schedule(sqlite, [HOURLY], clock)
    again()
    again()
    assert _begun(sqlite) == [NOON + timedelta(minutes=30), NOON + timedelta(hours=10, minutes=30)]
    assert _asked(sqlite) == 2


def test_one_that_slept_makes_up_for_one_missed_time_too(sqlite: Database) -> None:
    clock = Clock()
    schedule = Schedule(sqlite, [HOURLY], clock)
    schedule()
    clock.forward(days=3)
    schedule()
    assert len(_begun(sqlite)) == 1


def test_what_was_never_begun_is_not_made_up_for(sqlite: Database) -> None:
    Schedule(sqlite, [HOURLY], Clock())()
    assert _begun(sqlite) == []


def test_a_second_scheduler_begins_nothing_twice(sqlite: Database) -> None:
    clock = Clock()
    both = [Schedule(sqlite, [HOURLY], clock) for _ in range(2)]
    for _ in range(8):
        for schedule in both:
            schedule()
        _fill(sqlite)
        clock.forward(minutes=15)
    assert len(_begun(sqlite)) == _asked(sqlite) == 2


def test_two_schedulers_at_one_moment_ask_once(postgresql: Database) -> None:
    clock = Clock()
    all_of_them = [Schedule(postgresql, [HOURLY], clock) for _ in range(4)]
    for schedule in all_of_them:
        schedule()
    clock.forward(minutes=30)
    all_at_once(4, lambda number: all_of_them[number]())
    assert len(_begun(postgresql)) == _asked(postgresql) == 1


def test_a_job_that_could_not_be_asked_for_is_not_begun_and_comes_again(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    schedule = Schedule(sqlite, [HOURLY], clock)
    schedule()
    clock.forward(minutes=30)
    with monkeypatch.context() as patch:
        patch.setattr(filling.requests, "add", _fail)
        with pytest.raises(ZeroDivisionError):
            schedule()
    assert _begun(sqlite) == []
    schedule()
    assert len(_begun(sqlite)) == _asked(sqlite) == 1


def test_a_scan_that_takes_longer_than_the_time_between_scans_does_not_pile_up(sqlite: Database) -> None:
    clock = Clock()
    schedule = Schedule(sqlite, [HOURLY], clock)
    schedule()
    for _ in range(5):
        clock.forward(hours=1)
        schedule()
    assert len(_begun(sqlite)) == 5 and _asked(sqlite) == 1


def _fail(*_: object) -> int:
    return 1 // 0


def test_a_job_goes_by_the_clock_on_the_wall_over_the_change_to_summer_time(sqlite: Database) -> None:
    """A process that runs for months, and whose clock tells only its offset, as the system's does."""
    berlin = ZoneInfo("Europe/Berlin")
    nightly = Job("scan", "30 4 * * *", SCAN)
    clock = Clock()
    schedule = Schedule(sqlite, [nightly], clock)
    moment = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
    while moment < datetime(2026, 4, 1, 12, 0, tzinfo=UTC):
        offset = moment.astimezone(berlin).utcoffset()
        assert offset is not None
        clock.moment = moment.astimezone(timezone(offset))
        schedule()
        moment += timedelta(minutes=30)
    walls = [f"{due.astimezone(berlin):%d %H:%M}" for due in _begun(sqlite)]
    assert walls == ["28 04:30", "29 04:30", "30 04:30", "31 04:30", "01 04:30"]


def test_jobs_are_those_that_the_settings_name() -> None:
    assert jobs_of(load_settings()) == []
    scan, reindex = jobs_of(load_settings(scan_cron="0 * * * *", reindex_cron="0 3 * * SUN"))
    assert (scan.name, scan.ask.kind, scan.ask.bulk) == ("scan", RunKind.SCAN, False)
    assert (reindex.name, reindex.ask.kind, reindex.ask.bulk) == ("reindex", RunKind.REINDEX, True)
    assert set(reindex.ask.what) == set(What)
