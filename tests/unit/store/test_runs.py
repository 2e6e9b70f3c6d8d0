"""Runs: their numbers are right whatever happens to their images, and each comes to its end once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection

from tagger.errors import NotFound, SettingsError
from tagger.store import catalog, counts, ledger, queries, requests, runs
from tagger.store.catalog import Scope
from tagger.store.census import Seen, taking
from tagger.store.runs import Gain, Opening, RunKind, RunState
from tagger.store.session import Database
from tagger.values import Outcome, OutcomeKind

from .conftest import ROOT, Clock, Shelf, entry, outcome
from .running import (
    DOG,
    all_at_once,
    claim,
    close_finished,
    ended,
    finish,
    found,
    images,
    later,
    numbered,
    numbers,
    open_run,
    pending_of,
    until_one_waits,
    want,
)


def _scan(shelf: Shelf, run_id: int | None, *files: Seen | str, whole: bool = True) -> None:
    """A scan for a run; ``whole`` if what it did not see is gone."""
    seen = [file if isinstance(file, Seen) else Seen(f"{ROOT}/{file}", 10, 1) for file in files]
    with taking(shelf.database, shelf.model.id, run_id=run_id) as census:
        census.observe(seen)
        if whole:
            census.close(Scope((ROOT,)))


def _pause(shelf: Shelf, run_id: int) -> None:
    shelf.database.write(partial(runs.pause, run_id=run_id))


def _cancel(shelf: Shelf, run_id: int) -> int:
    def work(connection: Connection) -> int:
        counts.guard(connection)
        return runs.cancel(connection, run_id)

    return shelf.database.write(work)


def _request(shelf: Shelf, run_id: int, lease: int | None = None) -> int:
    return shelf.database.write(partial(requests.add, run_id=run_id, body="{}", lease_id=lease))


on_one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what is Python's doing, or is asked in the same words in other tests."""


# -- what a run wants -----------------------------------------------------------------------


@on_one_database
def test_a_run_grows_by_what_is_newly_wanted(shelf: Shelf) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 5)
    want(shelf, run, ids[:3])
    assert numbers(shelf, run) == (3, 0, 0)
    want(shelf, run, ids)
    assert numbers(shelf, run) == (5, 0, 0)
    assert pending_of(shelf, run) == ids


def test_the_same_enqueued_twice_changes_nothing(shelf: Shelf) -> None:
    first, second = open_run(shelf), open_run(shelf)
    _scan(shelf, first, "a.jpg", "b.jpg", whole=False)
    before = shelf.rows("SELECT * FROM taggings ORDER BY image_id")
    _scan(shelf, first, "a.jpg", "b.jpg", whole=False)
    _scan(shelf, second, "a.jpg", "b.jpg", whole=False)
    assert shelf.rows("SELECT * FROM taggings ORDER BY image_id") == before
    assert numbers(shelf, first) == (2, 0, 0)
    assert numbers(shelf, second) == (0, 0, 0)


@on_one_database
def test_what_has_its_outcome_is_not_wanted_again_by_another_enqueuing(shelf: Shelf) -> None:
    first, second = open_run(shelf), open_run(shelf)
    ids = numbered(shelf, 3)
    want(shelf, first, ids)
    finish(shelf, ids)
    want(shelf, second, ids)
    assert (numbers(shelf, first), numbers(shelf, second)) == ((3, 3, 0), (0, 0, 0))


def test_a_run_takes_over_what_is_pending_for_nobody(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg")
    ids = pending_of(shelf, None)
    run = open_run(shelf)
    want(shelf, run, ids)
    assert pending_of(shelf, run) == ids
    assert numbers(shelf, run) == (2, 0, 0)


@pytest.mark.parametrize("patient", ["paused", "bulk"])
def test_a_run_takes_over_from_one_that_can_wait_and_the_totals_move_along(
    shelf: Shelf, patient: str
) -> None:
    other, run = open_run(shelf, bulk=patient == "bulk"), open_run(shelf)
    ids = numbered(shelf, 4)
    want(shelf, other, ids)
    if patient == "paused":
        _pause(shelf, other)
    want(shelf, run, ids[:3])
    assert (numbers(shelf, other), numbers(shelf, run)) == ((1, 0, 0), (3, 0, 0))
    assert (pending_of(shelf, other), pending_of(shelf, run)) == (ids[3:], ids[:3])


@on_one_database
def test_bulk_work_takes_nothing_from_new_work_nor_one_run_from_its_like(shelf: Shelf) -> None:
    ids = numbered(shelf, 2)
    first = open_run(shelf)
    want(shelf, first, ids)
    for other in (open_run(shelf, bulk=True), open_run(shelf)):
        want(shelf, other, ids)
        assert numbers(shelf, other) == (0, 0, 0)
    assert pending_of(shelf, first) == ids


def test_one_call_adopts_from_several_runs_and_adds_what_is_new(shelf: Shelf) -> None:
    nobodys, fresh, bulky, resting = (images(shelf, f"{name}.jpg") for name in "abcd")
    shelf.scan("a.jpg")
    bulk, paused, run = open_run(shelf, bulk=True), open_run(shelf), open_run(shelf)
    want(shelf, bulk, bulky)
    want(shelf, paused, resting)
    _pause(shelf, paused)
    want(shelf, run, nobodys + fresh + bulky + resting)
    assert numbers(shelf, run) == (4, 0, 0)
    assert numbers(shelf, bulk) == numbers(shelf, paused) == (0, 0, 0)


def test_what_is_adopted_while_it_is_worked_on_counts_for_the_new_run(shelf: Shelf) -> None:
    bulk, run, lease = open_run(shelf, bulk=True), open_run(shelf), shelf.lease()
    ids = numbered(shelf, 2)
    want(shelf, bulk, ids)
    claim(shelf, lease, ids)
    want(shelf, run, ids)
    assert shelf.record(lease, *map(ended, ids)) == ids, "the worker's hold is none of the run's business"
    assert (numbers(shelf, bulk), numbers(shelf, run)) == ((0, 0, 0), (2, 2, 0))


@on_one_database
def test_another_model_of_the_same_run_is_wanted_apart(shelf: Shelf) -> None:
    with shelf.database.writing() as connection:
        other = catalog.register_model(connection, entry("b" * 64))
    run, ids = open_run(shelf), numbered(shelf, 2)
    want(shelf, run, ids)
    want(shelf, run, ids, other.id)
    assert numbers(shelf, run) == (4, 0, 0)


# -- what comes of it -----------------------------------------------------------------------


def test_outcomes_are_counted_as_done_failed_and_reused(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    ids = numbered(shelf, 5)
    want(shelf, run, ids)
    claim(shelf, lease, ids)
    known = outcome(ids[0], "known", DOG)
    shelf.record(lease, known)
    shelf.record(
        lease,
        ended(ids[1], reused=True),
        ended(ids[2], OutcomeKind.CORRUPT),
        ended(ids[3], OutcomeKind.EMPTY),
    )
    run_now = found(shelf, run)
    assert (run_now.total, run_now.done, run_now.failed, run_now.reused) == (5, 4, 1, 1)
    assert run_now.finished_at is None


@on_one_database
def test_a_group_of_several_runs_counts_for_each(shelf: Shelf) -> None:
    one, two, lease = open_run(shelf), open_run(shelf), shelf.lease()
    ids = numbered(shelf, 4)
    want(shelf, one, ids[:3])
    want(shelf, two, ids[3:])
    claim(shelf, lease, ids)
    shelf.record(lease, *map(ended, ids))
    assert (numbers(shelf, one), numbers(shelf, two)) == ((3, 3, 0), (1, 1, 0))


@on_one_database
def test_what_is_recorded_late_counts_once(shelf: Shelf) -> None:
    run, slow, quick = open_run(shelf), shelf.lease(), shelf.lease()
    ids = numbered(shelf, 2)
    want(shelf, run, ids)
    claim(shelf, slow, ids)
    shelf.die(slow)
    claim(shelf, quick, ids)
    shelf.record(quick, *map(ended, ids))
    assert shelf.record(slow, *map(ended, ids)) == []
    assert numbers(shelf, run) == (2, 2, 0)


@on_one_database
def test_a_file_that_the_scan_refuses_is_done_and_failed(shelf: Shelf) -> None:
    run = open_run(shelf)
    refused = Seen(f"{ROOT}/b.jpg", refusal=(OutcomeKind.OUTSIDE, "a link that leads outside"))
    _scan(shelf, run, "a.jpg", refused)
    assert numbers(shelf, run) == (2, 1, 1)


@on_one_database
def test_what_vanishes_while_it_waits_is_done_and_failed(shelf: Shelf) -> None:
    run = open_run(shelf)
    _scan(shelf, run, "a.jpg", "b.jpg", "c.jpg")
    _scan(shelf, None, "a.jpg")
    assert numbers(shelf, run) == (3, 2, 2)


@on_one_database
def test_what_is_quarantined_is_done_and_failed(shelf: Shelf) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 1)
    want(shelf, run, ids)
    for _ in range(3):
        lease = shelf.lease()
        claim(shelf, lease, ids)
        shelf.die(lease)
    assert numbers(shelf, run) == (1, 1, 1)
    assert shelf.rows("SELECT outcome FROM image_status") == [("quarantined",)]


def test_a_run_whose_images_are_forgotten_ends_with_what_was_done(shelf: Shelf) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 3)
    want(shelf, run, ids)
    finish(shelf, ids[:1])
    with shelf.database.writing() as connection:
        catalog.forget(connection, [ROOT])
    close_finished(shelf)
    assert found(shelf, run).state == RunState.ENDED
    assert numbers(shelf, run) == (1, 1, 0)


def test_an_image_that_was_moved_counts_once_and_keeps_no_run_waiting(shelf: Shelf) -> None:
    shelf.tag(old=DOG)
    shelf.scan()  # it has vanished
    run = open_run(shelf)
    _scan(shelf, run, "new.jpg")
    (new,) = pending_of(shelf, run)
    lease = shelf.lease()
    claim(shelf, lease, [new])
    shelf.record(lease, outcome(new, "old", DOG))
    close_finished(shelf)
    assert numbers(shelf, run) == (1, 1, 0)
    assert found(shelf, run).state == RunState.ENDED
    assert shelf.rows("SELECT uri, outcome FROM image_status") == [(f"{ROOT}/new.jpg", "ok")]


def test_a_file_that_changes_while_it_waits_is_still_one_image_of_its_run(shelf: Shelf) -> None:
    run, other, lease = open_run(shelf), open_run(shelf), shelf.lease()
    _scan(shelf, run, "a.jpg")
    ids = pending_of(shelf, run)
    claim(shelf, lease, ids)
    _scan(shelf, other, Seen(f"{ROOT}/a.jpg", 11, 2))
    assert shelf.record(lease, *map(ended, ids)) == [], "its worker has read what is there no more"
    assert (numbers(shelf, run), numbers(shelf, other)) == ((1, 0, 0), (0, 0, 0))
    finish(shelf, ids)
    assert numbers(shelf, run) == (1, 1, 0)


@on_one_database
def test_a_file_that_changed_since_it_was_done_is_wanted_by_the_run_that_finds_out(shelf: Shelf) -> None:
    first, second = open_run(shelf), open_run(shelf)
    _scan(shelf, first, "a.jpg")
    finish(shelf, pending_of(shelf, first))
    _scan(shelf, second, Seen(f"{ROOT}/a.jpg", 11, 2))
    assert (numbers(shelf, first), numbers(shelf, second)) == ((1, 1, 0), (1, 0, 0))


def test_trying_again_makes_finished_images_the_new_runs_and_leaves_waiting_ones(shelf: Shelf) -> None:
    first, again = open_run(shelf), open_run(shelf, kind=RunKind.RETRY)
    ids = numbered(shelf, 3)
    want(shelf, first, ids)
    finish(shelf, ids[:1], OutcomeKind.CORRUPT)
    finish(shelf, ids[1:2])
    retried = partial(
        ledger.want_again,
        image_ids=ids,
        model_id=shelf.model.id,
        outcomes=[OutcomeKind.CORRUPT],
        run_id=again,
    )
    assert shelf.database.write(retried) == 1
    assert (numbers(shelf, first), numbers(shelf, again)) == ((3, 2, 1), (1, 0, 0))
    assert (pending_of(shelf, first), pending_of(shelf, again)) == (ids[2:], ids[:1])


# -- names ----------------------------------------------------------------------------------


@on_one_database
def test_the_unfinished_run_of_a_name_is_joined_and_a_finished_one_is_not(shelf: Shelf) -> None:
    first = open_run(shelf, "upload")
    assert open_run(shelf, "upload") == first
    assert open_run(shelf, "another") != first
    assert open_run(shelf) != open_run(shelf), "runs without a name are apart"
    close_finished(shelf)
    assert open_run(shelf, "upload") != first


def test_two_who_open_one_name_at_once_get_one_run(pg_shelf: Shelf) -> None:
    opened = all_at_once(8, lambda number: open_run(pg_shelf, "upload"))
    assert len(set(opened)) == 1


def test_who_joins_a_run_as_it_ends_gets_one_that_goes_on(pg_shelf: Shelf) -> None:
    """Somebody looks for runs that are done while another has joined one and not committed yet."""
    opening = Opening(RunKind.ENQUEUE, pg_shelf.model.id, (), "upload")
    run = open_run(pg_shelf, "upload")
    with pg_shelf.database.writing() as joining:
        assert runs.open_run(joining, opening) == run
        requests.add(joining, run, "{}")
        closing = later(lambda: close_finished(pg_shelf))
        until_one_waits(pg_shelf)
    closing.result(timeout=20)
    want(pg_shelf, run, images(pg_shelf, "a.jpg"))
    assert found(pg_shelf, run).finished_at is None


def test_who_joins_a_run_as_it_is_cancelled_gets_a_new_one_or_is_told(pg_shelf: Shelf) -> None:
    opening = Opening(RunKind.ENQUEUE, pg_shelf.model.id, (), "upload")
    run = open_run(pg_shelf, "upload")
    with pg_shelf.database.writing() as cancelling:
        counts.guard(cancelling)
        runs.cancel(cancelling, run)
        joining = later(lambda: pg_shelf.database.write(partial(runs.open_run, opening=opening)))
        until_one_waits(pg_shelf)
    assert joining.result(timeout=20) != run


# -- ends -----------------------------------------------------------------------------------


def test_a_run_ends_when_nothing_is_pending_and_nobody_adds_and_not_before(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    request = _request(shelf, run, lease)
    close_finished(shelf)
    assert found(shelf, run).state == RunState.RUNNING, "somebody adds to it"
    assert found(shelf, run).filling
    ids = numbered(shelf, 2)
    want(shelf, run, ids)
    shelf.database.write(partial(requests.answered, request_id=request, run_id=run))
    assert found(shelf, run).state == RunState.RUNNING, "two are pending"
    finish(shelf, ids[:1])
    close_finished(shelf)
    assert found(shelf, run).finished_at is None, "one is pending"
    finish(shelf, ids[1:])
    close_finished(shelf)
    over = found(shelf, run)
    assert (over.state, over.total, over.done, over.filling) == (RunState.ENDED, 2, 2, False)
    assert over.finished_at is not None


@on_one_database
def test_a_run_whose_filler_died_waits_for_another(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    _request(shelf, run, lease)
    assert not shelf.database.read(requests.are_waiting)
    shelf.die(lease)
    close_finished(shelf)
    assert found(shelf, run).finished_at is None
    assert shelf.database.read(requests.are_waiting)


@on_one_database
def test_a_run_that_wants_nothing_new_ends_with_its_request(shelf: Shelf) -> None:
    run = open_run(shelf)
    request = _request(shelf, run)
    shelf.database.write(partial(requests.answered, request_id=request, run_id=run))
    assert found(shelf, run).state == RunState.ENDED


@on_one_database
def test_of_two_requests_of_a_run_each_keeps_it_open(shelf: Shelf) -> None:
    run = open_run(shelf, "upload")
    both = [_request(shelf, run), _request(shelf, open_run(shelf, "upload"))]
    shelf.database.write(partial(requests.answered, request_id=both[0], run_id=run))
    assert found(shelf, run).finished_at is None
    shelf.database.write(partial(requests.answered, request_id=both[1], run_id=run))
    assert found(shelf, run).state == RunState.ENDED


@on_one_database
def test_requests_are_taken_in_their_order_and_each_by_one(shelf: Shelf) -> None:
    runs_asked = [open_run(shelf) for _ in range(3)]
    for run in runs_asked:
        _request(shelf, run)
    leases = [shelf.lease() for _ in range(4)]
    taken = [shelf.database.write(partial(requests.take, lease_id=lease)) for lease in leases]
    assert [request and request.run_id for request in taken] == [*runs_asked, None]


def test_a_request_is_taken_by_one_of_many_at_once(pg_shelf: Shelf) -> None:
    for _ in range(4):
        _request(pg_shelf, open_run(pg_shelf))
    leases = [pg_shelf.lease() for _ in range(8)]
    taken = all_at_once(
        8, lambda number: pg_shelf.database.write(partial(requests.take, lease_id=leases[number]))
    )
    ids = [request.id for request in taken if request is not None]
    assert len(ids) == len(set(ids))


def test_the_tag_run_of_a_dead_process_is_cut_off_and_that_of_a_living_one_is_not(shelf: Shelf) -> None:
    dead, alive = shelf.lease(), shelf.lease()
    opened = [
        shelf.database.write(
            partial(runs.open_run, opening=Opening(RunKind.TAG, shelf.model.id, (), lease_id=lease))
        )
        for lease in (dead, alive)
    ]
    close_finished(shelf)
    assert [found(shelf, run).state for run in opened] == [RunState.RUNNING] * 2
    shelf.die(dead)
    close_finished(shelf)
    assert [found(shelf, run).state for run in opened] == [RunState.CUT_OFF, RunState.RUNNING]


# -- a person's hand ------------------------------------------------------------------------


def test_of_a_paused_run_nothing_is_begun_and_what_is_in_hand_is_finished(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    ids = numbered(shelf, 3)
    want(shelf, run, ids)
    claim(shelf, lease, ids[:1])
    _pause(shelf, run)
    assert claim(shelf, lease, ids) == []
    assert shelf.record(lease, ended(ids[0])) == ids[:1]
    assert numbers(shelf, run) == (3, 1, 0)
    shelf.database.write(partial(runs.resume, run_id=run))
    assert [ref.image_id for ref in claim(shelf, lease, ids)] == ids[1:]


@on_one_database
def test_pausing_one_run_holds_up_no_other_nor_what_is_nobodys(shelf: Shelf) -> None:
    run, other, lease = open_run(shelf), open_run(shelf), shelf.lease()
    shelf.scan("a.jpg")
    (nobodys,) = pending_of(shelf, None)
    ids = numbered(shelf, 2)
    want(shelf, run, ids[:1])
    want(shelf, other, ids[1:])
    _pause(shelf, run)
    assert {ref.image_id for ref in claim(shelf, lease, [nobodys, *ids])} == {nobodys, ids[1]}


@on_one_database
def test_a_paused_run_that_is_done_all_the_same_ends(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    ids = numbered(shelf, 1)
    want(shelf, run, ids)
    claim(shelf, lease, ids)
    _pause(shelf, run)
    shelf.record(lease, ended(ids[0]))
    close_finished(shelf)
    assert found(shelf, run).state == RunState.ENDED


def test_cancelling_unwants_what_is_pending_and_keeps_what_is_done(shelf: Shelf) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 3)
    want(shelf, run, ids)
    finish(shelf, ids[:1])
    _request(shelf, run)
    assert _cancel(shelf, run) == 2
    over = found(shelf, run)
    assert (over.state, over.done, over.filling) == (RunState.CANCELLED, 1, False)
    assert shelf.rows("SELECT image_id, outcome FROM image_status") == [(ids[0], "ok")]


@on_one_database
def test_a_worker_is_turned_away_with_what_was_cancelled(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    ids = numbered(shelf, 2)
    want(shelf, run, ids)
    claim(shelf, lease, ids)
    assert _cancel(shelf, run) == 2
    assert shelf.record(lease, *map(ended, ids)) == []
    assert numbers(shelf, run) == (2, 0, 0)
    assert shelf.effective("000000") == {}


def test_what_was_cancelled_is_wanted_by_the_next_scan_and_claimed_afresh(shelf: Shelf) -> None:
    run, lease = open_run(shelf), shelf.lease()
    _scan(shelf, run, "a.jpg")
    ids = pending_of(shelf, run)
    claim(shelf, lease, ids)
    _cancel(shelf, run)
    another = open_run(shelf)
    _scan(shelf, another, "a.jpg")
    assert numbers(shelf, another) == (1, 0, 0)
    assert shelf.record(lease, *map(ended, ids)) == [], "the worker from before holds nothing of it"
    finish(shelf, ids)
    assert numbers(shelf, another) == (1, 1, 0)


def test_a_run_cancelled_while_it_is_filled_takes_nothing_more(shelf: Shelf) -> None:
    run = open_run(shelf)
    ids = numbered(shelf, 4)
    want(shelf, run, ids[:2])
    _cancel(shelf, run)
    with pytest.raises(SettingsError, match=f"run {run} was cancelled"):
        want(shelf, run, ids)
    assert shelf.rows("SELECT * FROM image_status") == [], "nothing is wanted for nobody"


def test_cancelling_while_others_want_and_record_leaves_nothing_of_it_pending(pg_shelf: Shelf) -> None:
    shelf = pg_shelf
    run, other = open_run(shelf), open_run(shelf)
    ids = numbered(shelf, 120)
    groups = [ids[start : start + 10] for start in range(0, 120, 10)]
    go = threading.Event()

    def fill() -> None:
        for number, group in enumerate(groups):
            if number == 4:
                go.set()
            want(shelf, run, group)

    def tag() -> None:
        lease = shelf.lease()
        for group in groups:
            claim(shelf, lease, group)
            shelf.record(lease, *map(ended, group))

    filling, tagging = later(fill), later(tag)
    assert go.wait(20)
    _cancel(shelf, run)
    with pytest.raises(SettingsError, match="was cancelled"):
        filling.result(timeout=30)
    tagging.result(timeout=30)
    assert pending_of(shelf, run) == pending_of(shelf, None) == []
    done = shelf.rows("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'")
    assert done == [(found(shelf, run).done,)]
    want(shelf, other, ids)
    assert numbers(shelf, other)[0] == 120 - found(shelf, run).done


@on_one_database
def test_what_cannot_be_paused_resumed_or_cancelled_is_said(shelf: Shelf) -> None:
    ended_run = open_run(shelf)
    close_finished(shelf)
    tag = Opening(RunKind.TAG, shelf.model.id, (), lease_id=shelf.lease())
    tag_run = shelf.database.write(partial(runs.open_run, opening=tag))
    deeds: list[Callable[[Connection, int], object]] = [runs.pause, runs.resume, runs.cancel]
    for deed in deeds:
        over = f"run {ended_run} is over .ended.: there is nothing to {deed.__name__}"
        for run, fault, said in (
            (4711, NotFound, "there is no run 4711"),
            (ended_run, SettingsError, over),
            (tag_run, SettingsError, "Ctrl-C"),
        ):
            with pytest.raises(fault, match=said):
                shelf.database.write(partial(deed, run_id=run))


# -- many at once ---------------------------------------------------------------------------


def test_many_who_want_the_same_at_once_want_each_image_once(pg_shelf: Shelf) -> None:
    shelf = pg_shelf
    ids = numbered(shelf, 60)
    opened = [open_run(shelf, bulk=number % 2 == 1) for number in range(6)]

    def fill(number: int) -> None:
        for start in range(0, 60, 10):
            want(shelf, opened[number], ids[start : start + 10])

    all_at_once(6, fill)
    totals = [found(shelf, run).total for run in opened]
    assert sum(totals) == 60
    assert totals == [len(pending_of(shelf, run)) for run in opened]


def test_workers_that_record_at_once_lose_no_number(pg_shelf: Shelf) -> None:
    shelf = pg_shelf
    runs_ = [open_run(shelf), open_run(shelf)]
    ids = numbered(shelf, 80)
    for position, run in enumerate(runs_):
        want(shelf, run, ids[position::2])

    def work(number: int) -> None:
        lease = shelf.lease()
        mine = ids[number * 20 : number * 20 + 20]
        claim(shelf, lease, mine)
        for start in range(0, 20, 5):
            shelf.record(lease, *map(ended, mine[start : start + 5]))

    all_at_once(4, work)
    assert [numbers(shelf, run) for run in runs_] == [(40, 40, 0)] * 2


# -- how fast -------------------------------------------------------------------------------


def _steady(shelf: Shelf, clock: Clock, run: int, rate: int, seconds: int) -> None:
    """So many images done in each of these seconds, the last of which is now."""
    with shelf.database.writing() as connection:
        for _ in range(seconds):
            clock.seconds += 1.0
            runs.advance(connection, {run: Gain(done=rate)})


def test_the_rate_of_a_steady_run_is_right_however_young_it_is(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    for seconds in (4, 40, 200):
        _steady(shelf, clock, run, 100, seconds)
        assert found(shelf, run).rate == pytest.approx(100, rel=0.06)


@on_one_database
def test_the_rate_follows_when_workers_come_and_go(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    _steady(shelf, clock, run, 100, 120)
    _steady(shelf, clock, run, 20, 90)
    assert 20 < found(shelf, run).rate < 28
    _steady(shelf, clock, run, 200, 90)
    assert 180 < found(shelf, run).rate < 210


@on_one_database
def test_the_rate_of_a_run_that_stands_still_fades_away(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    _steady(shelf, clock, run, 100, 120)
    clock.seconds += 60.0
    assert found(shelf, run).rate == pytest.approx(100 * 0.135, rel=0.1)
    clock.seconds += 600.0
    assert found(shelf, run).rate < 0.01
    assert found(shelf, run).eta_seconds is None, "nobody knows"


@on_one_database
def test_a_run_that_waited_long_for_its_first_worker_is_not_thought_slow(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    clock.seconds += 3600.0
    _steady(shelf, clock, run, 100, 90)
    assert found(shelf, run).rate == pytest.approx(100, rel=0.08)


@on_one_database
def test_what_is_left_takes_as_long_as_the_rate_says(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    want(shelf, run, numbered(shelf, 3))
    assert found(shelf, run).eta_seconds is None, "nothing is known yet"
    _steady(shelf, clock, run, 100, 60)
    shelf.write("UPDATE runs SET total = 16000, done = 6000 WHERE id = :run", run=run)
    assert found(shelf, run).eta_seconds == pytest.approx(100, rel=0.06)
    _request(shelf, run)
    assert found(shelf, run).eta_seconds is None, "it still grows"
    shelf.write("DELETE FROM requests")
    _pause(shelf, run)
    assert found(shelf, run).eta_seconds is None, "it waits for a person"


@on_one_database
def test_a_run_that_is_resumed_is_not_timed_by_its_rest(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    _steady(shelf, clock, run, 100, 60)
    _pause(shelf, run)
    clock.seconds += 3600.0
    shelf.database.write(partial(runs.resume, run_id=run))
    assert found(shelf, run).rate == 0.0
    _steady(shelf, clock, run, 50, 120)
    assert found(shelf, run).rate == pytest.approx(50, rel=0.08)


@on_one_database
def test_the_rate_of_a_run_that_is_over_is_that_of_its_whole_time(shelf: Shelf, clock: Clock) -> None:
    run = open_run(shelf)
    _steady(shelf, clock, run, 100, 50)
    _steady(shelf, clock, run, 50, 50)
    close_finished(shelf)
    assert found(shelf, run).rate == pytest.approx(75, rel=0.05)
    assert found(shelf, run).eta_seconds is None


# -- looking --------------------------------------------------------------------------------


def test_runs_that_go_on_come_first_then_the_newest(shelf: Shelf) -> None:
    going = open_run(shelf)
    _request(shelf, going)
    over = []
    for _ in range(4):
        over.append(open_run(shelf))
        close_finished(shelf)
    newest = open_run(shelf)
    _request(shelf, newest)
    listed = [run.id for run in shelf.database.read(partial(runs.last_runs, limit=3))]
    assert listed == [newest, going, over[3], over[2]]
    assert [run.id for run in shelf.database.read(runs.unfinished)] == [going, newest]


@on_one_database
def test_a_run_tells_what_it_is(shelf: Shelf) -> None:
    run = found(shelf, open_run(shelf, "upload", kind=RunKind.REINDEX, bulk=True))
    assert (run.kind, run.name, run.bulk, run.model, run.places) == (
        "reindex",
        "upload",
        True,
        shelf.model.name,
        "photos",
    )
    with pytest.raises(NotFound, match="there is no run 99"):
        found(shelf, 99)


# -- at the same time -----------------------------------------------------------------------


@pytest.fixture
def pg_shelf(postgresql: Database) -> Shelf:
    """For what only a server can do: two that write at one time."""
    with postgresql.writing() as connection:
        model = catalog.register_model(connection, entry())
    return Shelf(postgresql, model)


def test_a_tag_run_is_shown_with_what_was_done_at_its_places_in_its_time(shelf: Shelf) -> None:
    shelf.scan("before.jpg", "during.jpg", "after.jpg")
    lease = shelf.lease()
    refs = {ref.uri.rsplit("/", 1)[1]: ref for ref in shelf.claim(lease)}

    def fail(name: str) -> None:
        reason = "the file ends early"
        shelf.record(lease, Outcome(refs[name].image_id, OutcomeKind.CORRUPT, reason=reason))

    fail("before.jpg")
    with shelf.database.writing() as connection:
        mine = runs.open_run(connection, Opening(RunKind.TAG, shelf.model.id, (ROOT,)))
        other = runs.open_run(connection, Opening(RunKind.TAG, shelf.model.id, ("file:///elsewhere",)))
        runs.grow(connection, mine, 1)
    fail("during.jpg")
    with shelf.database.writing() as connection:
        numbers = {"done": 1, "failed": 1, "reused": 0, "seconds": 1.0}
        runs.note_tag_run(connection, mine, **numbers, ended=True)
    fail("after.jpg")
    with shelf.database.reading() as connection:
        report = queries.run_report(connection, mine, 10)
        assert queries.run_report(connection, other, 10).failures == ()
    assert [(each.uri, each.outcome) for each in report.failures] == [(f"{ROOT}/during.jpg", "corrupt")]
    assert report.outcomes == (("corrupt", 1),)
