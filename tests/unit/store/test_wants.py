"""Finding in the known library what is to be wanted: what is missing, and what failed."""

from __future__ import annotations

from functools import partial

from tagger.store import ledger, wants
from tagger.store.catalog import GROUP, Scope
from tagger.values import OutcomeKind

from .conftest import ROOT, Shelf
from .running import claim, finish, images, numbered, numbers, open_run, pending_of, want

EVERYWHERE = Scope((ROOT,))


def _missing(shelf: Shelf, scope: Scope = EVERYWHERE, after: int = 0) -> list[int]:
    return shelf.database.read(partial(wants.missing, model_id=shelf.model.id, scope=scope, after=after))


def _ended_so(shelf: Shelf, *kinds: OutcomeKind, scope: Scope = EVERYWHERE, after: int = 0) -> list[int]:
    return shelf.database.read(
        partial(wants.ended_so, model_id=shelf.model.id, scope=scope, outcomes=kinds, after=after)
    )


def test_missing_is_what_nobody_asked_about_or_sees_to(shelf: Shelf) -> None:
    never, done, failed, wanted, held, left = numbered(shelf, 6)
    run, lease = open_run(shelf), shelf.lease()
    want(shelf, run, [done, failed, wanted])
    finish(shelf, [done])
    finish(shelf, [failed], OutcomeKind.CORRUPT)
    with shelf.database.writing() as connection:
        ledger.want(connection, shelf.model.id, [held, left])
    claim(shelf, lease, [held])
    assert _missing(shelf) == [never, left]


def test_what_has_vanished_or_lies_elsewhere_is_not_missing(shelf: Shelf) -> None:
    here, gone, outside, without = images(shelf, "a/1.jpg", "a/2.jpg", "b/3.jpg", "a/x/4.jpg")
    shelf.write("UPDATE images SET vanished_at = added_at WHERE id = :id", id=gone)
    assert _missing(shelf, Scope((f"{ROOT}/a",), (f"{ROOT}/a/x",))) == [here]
    assert {outside, without} <= set(_missing(shelf))


def test_what_ended_so_is_found_and_nothing_else(shelf: Shelf) -> None:
    ok, corrupt, timeout, pending = numbered(shelf, 4)
    run = open_run(shelf)
    want(shelf, run, [ok, corrupt, timeout, pending])
    finish(shelf, [ok])
    finish(shelf, [corrupt], OutcomeKind.CORRUPT)
    finish(shelf, [timeout], OutcomeKind.TIMEOUT)
    assert _ended_so(shelf, OutcomeKind.CORRUPT) == [corrupt]
    assert _ended_so(shelf, OutcomeKind.CORRUPT, OutcomeKind.TIMEOUT, OutcomeKind.DENIED) == [
        corrupt,
        timeout,
    ]
    shelf.write("UPDATE images SET vanished_at = added_at WHERE id = :id", id=corrupt)
    assert _ended_so(shelf, OutcomeKind.CORRUPT) == []


def test_a_large_library_is_gone_through_in_groups_without_gap_or_repeat(shelf: Shelf) -> None:
    ids = numbered(shelf, GROUP + 7)
    first = _missing(shelf)
    assert (first, _missing(shelf, after=first[-1])) == (ids[:GROUP], ids[GROUP:])
    assert _missing(shelf, after=ids[-1]) == []


def test_wanting_again_for_a_run_asks_once_more_whether_it_is_still_so(shelf: Shelf) -> None:
    """Between finding and wanting others may have been quicker."""
    first, again = open_run(shelf), open_run(shelf)
    failed, cured = numbered(shelf, 2)
    want(shelf, first, [failed, cured])
    finish(shelf, [failed, cured], OutcomeKind.TIMEOUT)
    found = _ended_so(shelf, OutcomeKind.TIMEOUT)
    shelf.database.write(partial(ledger.want_again, image_ids=[cured]))
    finish(shelf, [cured])
    shelf.database.write(
        partial(
            wants.want_again_for,
            model_id=shelf.model.id,
            image_ids=found,
            outcomes=[OutcomeKind.TIMEOUT],
            run_id=again,
        )
    )
    assert (numbers(shelf, again), pending_of(shelf, again)) == ((1, 0, 0), [failed])
