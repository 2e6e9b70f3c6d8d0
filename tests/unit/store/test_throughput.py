"""What a run did when: nothing is lost or counted twice, pauses are seen, and a plot stays small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from tagger.errors import NotFound
from tagger.library import control
from tagger.store import catalog, outcomes, runs
from tagger.store.runs import Gain, RunKind, Tick
from tagger.store.session import Database
from tagger.values import OutcomeKind

from .conftest import NOON, Clock, Shelf, entry
from .running import (
    all_at_once,
    claim,
    ended,
    finish,
    found,
    numbered,
    open_run,
    want,
)

on_one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what is Python's doing, or is asked in the same words in other tests."""


def _advance(shelf: Shelf, run: int, done: int, failed: int = 0) -> None:
    shelf.database.write(partial(runs.advance, gains={run: Gain(done, failed)}))


def _note(shelf: Shelf, run: int, done: int, failed: int = 0, *, over: bool = False) -> None:
    with shelf.database.writing() as connection:
        runs.note_tag_run(connection, run, done=done, failed=failed, reused=0, seconds=1.0, ended=over)


def _ticks(shelf: Shelf, run: int, points: int = 120) -> tuple[Tick, ...]:
    return control.throughput(shelf.database, run, points)


def _seen(ticks: Sequence[Tick]) -> list[tuple[float, float, int, int]]:
    """Each with its beginning in seconds after noon."""
    return [((tick.at - NOON).total_seconds(), tick.seconds, tick.done, tick.failed) for tick in ticks]


def _sums(ticks: Sequence[Tick]) -> tuple[int, int]:
    return sum(tick.done for tick in ticks), sum(tick.failed for tick in ticks)


# -- what is kept ---------------------------------------------------------------------------


def test_whatever_comes_of_an_image_is_counted_when_it_comes(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 9)
    want(shelf, run, ids)
    clock.seconds = 5.0
    finish(shelf, ids[:3])
    clock.seconds = 15.0
    finish(shelf, ids[3:5], OutcomeKind.CORRUPT)
    clock.seconds = 25.0
    first, *copies = ids[5:8]
    lease = shelf.lease()
    claim(shelf, lease, [first, *copies])
    shelf.record(lease, ended(first))
    shelf.record(
        lease, *(replace(ended(first), image_id=copy, tags=(), labels=(), reused=True) for copy in copies)
    )
    clock.seconds = 35.0
    outside = {ids[8]: (OutcomeKind.OUTSIDE, "a link leads away")}
    shelf.database.write(partial(outcomes.settle, model_id=shelf.model.id, failures=outside))
    assert [(done, failed) for _, _, done, failed in _seen(_ticks(shelf, run))] == [
        (3, 0),
        (2, 2),
        (3, 0),
        (1, 1),
    ]
    assert _sums(_ticks(shelf, run)) == (found(shelf, run).done, found(shelf, run).failed) == (9, 3)


def test_two_who_write_in_one_slice_are_added_up(shelf: Shelf, clock: Clock) -> None:
    run, other = open_run(shelf), open_run(shelf)
    clock.seconds = 11.0
    with shelf.database.writing() as connection:
        runs.advance(connection, {other: Gain(1), run: Gain(4, 1)})
    clock.seconds = 19.9
    _advance(shelf, run, 3, 2)
    assert shelf.rows("SELECT done, failed FROM run_ticks WHERE run_id = :run", run=run) == [(7, 3)]
    assert _sums(_ticks(shelf, other)) == (1, 0)


def test_many_who_write_at_once_lose_nothing(postgresql: Database) -> None:
    with postgresql.writing() as connection:
        shelf = Shelf(postgresql, catalog.register_model(connection, entry()))
    both = [open_run(shelf), open_run(shelf)]

    def work(_number: int) -> None:
        for _ in range(5):
            with postgresql.writing() as connection:
                runs.advance(connection, {run: Gain(3, 1) for run in both})

    all_at_once(4, work)
    assert [_sums(_ticks(shelf, run)) for run in both] == [(60, 20)] * 2


def test_of_a_tag_run_the_differences_are_kept(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf, kind=RunKind.TAG)
    clock.seconds = 2.0
    _note(shelf, run, 10, 1)
    clock.seconds = 12.0
    _note(shelf, run, 15, 2)
    _note(shelf, run, 15, 2)  # a transaction that was done twice
    clock.seconds = 14.0
    _note(shelf, run, 18, 2)
    clock.seconds = 31.0
    _note(shelf, run, 18, 2, over=True)
    assert [(done, failed) for _, _, done, failed in _seen(_ticks(shelf, run))] == [(10, 1), (8, 1)]


@on_one_database
def test_what_is_rolled_back_leaves_nothing(shelf: Shelf) -> None:
    run = open_run(shelf)
    with pytest.raises(RuntimeError), shelf.database.writing() as connection:
        runs.advance(connection, {run: Gain(2)})
        raise RuntimeError("the power fails")
    assert _ticks(shelf, run) == ()


def test_it_goes_with_its_run(shelf: Shelf) -> None:
    run = open_run(shelf)
    _advance(shelf, run, 1)
    shelf.write("DELETE FROM runs WHERE id = :run", run=run)
    assert shelf.rows("SELECT * FROM run_ticks") == []
    with pytest.raises(NotFound, match=f"there is no run {run}"):
        _ticks(shelf, run)


# -- what is seen ---------------------------------------------------------------------------


@on_one_database
def test_a_pause_is_seen_as_nothing_done(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    for clock.seconds in (5.0, 40.0, 59.0):
        _advance(shelf, run, 10)
    assert _seen(_ticks(shelf, run)) == [
        (0, 10, 10, 0),
        (10, 10, 0, 0),
        (20, 10, 0, 0),
        (30, 10, 0, 0),
        (40, 10, 10, 0),
        (50, 9, 10, 0),
    ]


def test_however_few_steps_the_sums_stay_and_none_is_left_out(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    for clock.seconds in (0.0, 33.0, 34.0, 290.0, 595.0):
        _advance(shelf, run, 7, 2)
    for points in (1, 2, 3, 7, 59, 60, 120):
        ticks = _ticks(shelf, run, points)
        ends = [tick.at + timedelta(seconds=tick.seconds) for tick in ticks]
        assert len(ticks) <= points and _sums(ticks) == (35, 10)
        assert [ticks[0].at, *ends] == [*(tick.at for tick in ticks), clock.moment]
        assert len({tick.seconds for tick in ticks[:-1]}) <= 1, "all but the last are of one width"


@on_one_database
def test_a_run_of_a_week_is_as_many_steps_as_were_asked_for(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    for hour in range(0, 168, 6):
        clock.seconds = hour * 3600.0
        _advance(shelf, run, 1000)
    ticks = _ticks(shelf, run)
    assert 100 < len(ticks) <= 120 and _sums(ticks) == (28_000, 0)


@on_one_database
def test_a_short_run_was_as_fast_as_it_was(shelf: Shelf, clock: Clock) -> None:
    clock.seconds = 3.0
    run = open_run(shelf, kind=RunKind.TAG)
    clock.seconds = 5.0
    _note(shelf, run, 20)
    assert _seen(_ticks(shelf, run)) == [(3, 2, 20, 0)]


@on_one_database
def test_a_group_that_falls_into_a_new_slice_is_no_peak(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    for clock.seconds in (5.0, 10.01):
        _advance(shelf, run, 100)
    assert _seen(_ticks(shelf, run))[-1] == (10, 5, 100, 0)


@on_one_database
def test_a_clock_that_is_set_back_makes_no_step_without_length(shelf: Shelf, clock: Clock) -> None:
    clock.seconds = 100.0
    run = open_run(shelf)
    for clock.seconds in (105.0, 8.0):
        _advance(shelf, run, 3)
    ticks = _ticks(shelf, run)
    assert _sums(ticks) == (6, 0) and all(tick.seconds > 0 for tick in ticks)


@on_one_database
def test_a_run_that_did_nothing_has_nothing_to_show(shelf: Shelf) -> None:
    assert _ticks(shelf, open_run(shelf)) == ()
