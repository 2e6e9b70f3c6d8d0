"""What is sent next: everything that is wanted, once for each time, and in its order."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import chain

import pytest
from sqlalchemy import Connection, select, update

from tagger.store import catalog, dispatch, ledger, runs
from tagger.store.dispatch import SENT_SECONDS, Chunk
from tagger.store.runs import RunKind
from tagger.store.schema import TaggingRow
from tagger.store.session import Database

from .conftest import Shelf, entry
from .running import all_at_once, claim, finish, images, numbered, open_run, want

on_one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""For what is Python's doing, or is asked in the same words in other tests."""


def _take(shelf: Shelf, run: int, size: int = 10, most: int = 10) -> list[Chunk]:
    return shelf.database.write(partial(dispatch.take, run_id=run, size=size, most=most))


def _ids(chunks: list[Chunk]) -> list[int]:
    return list(chain.from_iterable(chunk.image_ids for chunk in chunks))


def _wait(shelf: Shelf, seconds: float) -> None:
    """As if so much time had passed since what was sent was sent."""

    def work(connection: Connection) -> None:
        moments = set(
            connection.execute(
                select(TaggingRow.not_before).where(TaggingRow.not_before.is_not(None))
            ).scalars()
        )
        for moment in sorted(filter(None, moments)):
            connection.execute(
                update(TaggingRow)
                .where(TaggingRow.not_before == moment)
                .values(not_before=moment - timedelta(seconds=seconds))
            )

    shelf.database.write(work)


def _die_with(shelf: Shelf, image_ids: list[int]) -> None:
    """A worker claims them and dies; their pause is over."""
    lease = shelf.lease()
    claim(shelf, lease, image_ids)
    with shelf.database.writing() as connection:
        ledger.close_lease(connection, lease)
    _wait(shelf, 3600)


def _sendable(shelf: Shelf, *, bulk: bool = True) -> list[int]:
    return [run.id for run in shelf.database.read(partial(dispatch.sendable, bulk=bulk))]


@on_one_database
def test_chunks_are_cut_in_the_order_of_ids_and_no_more_than_asked_for(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 25)
    want(shelf, run, ids)
    name = shelf.model.name
    assert _take(shelf, run, size=10, most=2) == [
        Chunk(run, name, tuple(ids[:10])),
        Chunk(run, name, tuple(ids[10:20])),
    ]
    assert _take(shelf, run) == [Chunk(run, name, tuple(ids[20:]))]


def test_what_is_sent_is_not_sent_again_until_its_time_is_over(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 4)
    want(shelf, run, ids)
    assert _ids(_take(shelf, run)) == ids
    assert _take(shelf, run) == []
    _wait(shelf, SENT_SECONDS - 5)
    assert _take(shelf, run) == []
    _wait(shelf, 10)
    assert _ids(_take(shelf, run)) == ids, "its message was lost"
    assert _take(shelf, run) == []


def test_what_was_never_sent_goes_before_what_is_due_again(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 6)
    want(shelf, run, ids[:3])
    _take(shelf, run)
    _wait(shelf, 2 * SENT_SECONDS)
    want(shelf, run, ids[3:])
    assert _ids(_take(shelf, run)) == ids[3:] + ids[:3]


@on_one_database
def test_what_is_held_or_done_is_not_sent(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 5), shelf.lease()
    want(shelf, run, ids)
    claim(shelf, lease, ids[:2])
    finish(shelf, ids[2:4])
    assert _ids(_take(shelf, run)) == ids[4:]
    _wait(shelf, 2 * SENT_SECONDS)
    assert _ids(_take(shelf, run)) == ids[4:]


def test_suspects_are_sent_in_halves_until_each_is_alone(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 16)
    want(shelf, run, ids)
    suspects, sizes = ids, []
    while len(suspects) > 1:
        _die_with(shelf, suspects)
        chunks = _take(shelf, run, size=500, most=100)
        with_killer = next(chunk for chunk in chunks if ids[-1] in chunk.image_ids)
        suspects = list(with_killer.image_ids)
        sizes.append(len(suspects))
        finish(shelf, [image_id for image_id in _ids(chunks) if image_id not in suspects])
    assert sizes == [8, 4, 2, 1]


@on_one_database
def test_those_that_died_more_often_never_share_a_chunk_with_others(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 30)
    want(shelf, run, ids)
    _take(shelf, run, size=30)
    _die_with(shelf, ids[:12])
    _die_with(shelf, ids[:4])
    attempts = dict(shelf.rows("SELECT image_id, attempts FROM taggings"))
    chunks = _take(shelf, run, size=100, most=100)
    assert sorted(_ids(chunks)) == ids
    for chunk in chunks:
        assert len({attempts[image_id] for image_id in chunk.image_ids}) == 1
    assert [attempts[chunk.image_ids[0]] for chunk in chunks] == sorted(
        attempts[chunk.image_ids[0]] for chunk in chunks
    ), "the least suspect first"
    assert max(len(chunk.image_ids) for chunk in chunks if attempts[chunk.image_ids[0]] == 2) <= 2


@on_one_database
def test_what_was_merely_handed_back_is_no_suspect(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 8), shelf.lease()
    want(shelf, run, ids)
    _take(shelf, run)
    claim(shelf, lease, ids)
    shelf.database.write(partial(ledger.hand_back, lease_id=lease))
    assert [chunk.image_ids for chunk in _take(shelf, run)] == [tuple(ids)], "in one, and at once"


@on_one_database
def test_what_is_put_off_comes_at_its_time(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 2), shelf.lease()
    want(shelf, run, ids)
    _take(shelf, run)
    claim(shelf, lease, ids)
    put_off = partial(ledger.put_off, lease_id=lease, image_ids=ids, delay=timedelta(seconds=30))
    shelf.database.write(put_off)
    assert _take(shelf, run) == []
    _wait(shelf, 31)
    assert sorted(_ids(_take(shelf, run))) == ids


def test_a_run_of_several_models_gives_each_its_own_chunks(shelf: Shelf) -> None:
    with shelf.database.writing() as connection:
        other = catalog.register_model(connection, entry("b" * 64))
    run, ids = open_run(shelf), numbered(shelf, 6)
    want(shelf, run, ids)
    want(shelf, run, ids, other.id)
    chunks = _take(shelf, run, size=4, most=100)
    assert {(chunk.model, image_id) for chunk in chunks for image_id in chunk.image_ids} == {
        (name, image_id) for name in (shelf.model.name, other.name) for image_id in ids
    }
    assert _take(shelf, run) == [], "each was marked for its own model"


@on_one_database
def test_only_what_is_really_sent_is_marked(shelf: Shelf) -> None:
    with shelf.database.writing() as connection:
        other = catalog.register_model(connection, entry("b" * 64))
    run, ids = open_run(shelf), numbered(shelf, 3)
    want(shelf, run, ids)
    want(shelf, run, ids, other.id)
    sent = [_take(shelf, run, size=6, most=1) for _ in range(3)]
    assert sorted(len(chunk.image_ids) for chunks in sent for chunk in chunks) == [3, 3]
    assert sent[0][0].model != sent[1][0].model


def test_a_chunk_that_could_not_be_sent_is_due_at_once(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 4), shelf.lease()
    want(shelf, run, ids)
    (chunk,) = _take(shelf, run)
    claim(shelf, lease, ids[:1])
    finish(shelf, ids[1:2])
    shelf.database.write(partial(dispatch.unsend, chunk=chunk))
    assert _ids(_take(shelf, run)) == ids[2:], "what somebody has begun meanwhile stays with him"


@on_one_database
def test_new_work_goes_before_bulk_and_older_before_younger(shelf: Shelf) -> None:
    bulk, older, younger = open_run(shelf, bulk=True), open_run(shelf), open_run(shelf)
    for run, image in zip((bulk, older, younger), numbered(shelf, 3), strict=True):
        want(shelf, run, [image])
    assert _sendable(shelf) == [older, younger, bulk]
    assert _sendable(shelf, bulk=False) == [older, younger]


def test_paused_finished_and_private_runs_are_not_sent(shelf: Shelf) -> None:
    paused, resumed, cancelled, private = (
        open_run(shelf, kind=kind) for kind in (*3 * [RunKind.ENQUEUE], RunKind.TAG)
    )
    for run, image in zip((paused, resumed, cancelled, private), numbered(shelf, 4), strict=True):
        want(shelf, run, [image])
    for run in (paused, resumed):
        shelf.database.write(partial(runs.pause, run_id=run))
    shelf.database.write(partial(runs.resume, run_id=resumed))
    shelf.database.write(partial(runs.cancel, run_id=cancelled))
    assert _sendable(shelf) == [resumed]


@on_one_database
def test_runs_of_which_nothing_is_due_are_passed_over(shelf: Shelf) -> None:
    waiting, due = open_run(shelf), open_run(shelf)
    for run, image in zip((waiting, due), numbered(shelf, 2), strict=True):
        want(shelf, run, [image])
    assert _ids(_take(shelf, waiting))
    assert _sendable(shelf) == [due]
    shelf.write("UPDATE taggings SET not_before = '2020-01-01 00:00:00.000000' WHERE not_before IS NOT NULL")
    assert _sendable(shelf) == [waiting, due]


@on_one_database
def test_a_run_tells_about_how_much_is_left(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 5)
    want(shelf, run, ids)
    finish(shelf, ids[:2])
    (one,) = shelf.database.read(partial(dispatch.sendable, bulk=True))
    assert (one.id, one.left) == (run, 3)


@pytest.fixture
def pg_shelf(postgresql: Database) -> Shelf:
    """For what only a server can do: two that write at one time."""
    with postgresql.writing() as connection:
        model = catalog.register_model(connection, entry())
    return Shelf(postgresql, model)


def test_two_that_send_at_once_never_share_an_image(pg_shelf: Shelf) -> None:
    run, ids = open_run(pg_shelf), numbered(pg_shelf, 300)
    want(pg_shelf, run, ids)
    taken = all_at_once(
        6, lambda _: list(chain.from_iterable(_take(pg_shelf, run, size=7, most=1) for _ in range(6)))
    )
    sent = _ids(list(chain.from_iterable(taken)))
    assert len(sent) == len(set(sent)) == 6 * 6 * 7


def test_one_that_sends_leaves_what_another_is_sending_just_now(pg_shelf: Shelf) -> None:
    run, ids = open_run(pg_shelf), numbered(pg_shelf, 20)
    want(pg_shelf, run, ids)
    with pg_shelf.database.writing() as first:
        mine = dispatch.take(first, run, 10, 1)
        theirs = _take(pg_shelf, run, size=10, most=5)
    assert (_ids(mine), _ids(theirs)) == (ids[:10], ids[10:])


def test_what_is_sent_as_it_is_claimed_is_held_once(pg_shelf: Shelf) -> None:
    """An old message and a new one of the same images, worked on and sent at the same time."""
    run, ids = open_run(pg_shelf), images(pg_shelf, *(f"{number}.jpg" for number in range(60)))
    want(pg_shelf, run, ids)
    leases = [pg_shelf.lease() for _ in range(4)]

    def work(number: int) -> list[int]:
        if number >= 4:
            return _ids(_take(pg_shelf, run, size=20, most=3)) and []
        return [ref.image_id for ref in claim(pg_shelf, leases[number], ids)]

    held = list(chain.from_iterable(all_at_once(6, work)))
    assert len(held) == len(set(held))
    assert pg_shelf.rows("SELECT COUNT(*) FROM taggings WHERE lease_id IS NOT NULL") == [(len(held),)]
