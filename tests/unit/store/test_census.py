"""Passing over what is unchanged: only where a look at each file would come to nothing."""

from __future__ import annotations

import pytest

from tagger.store.catalog import Scope
from tagger.store.census import Seen, Standing, Tally, taking
from tests.unit.store.conftest import ROOT, Shelf

NAMES = ("a.jpg", "b.jpg", "c.jpg")


def _ask(
    shelf: Shelf,
    *names: str,
    sizes: tuple[int, ...] = (),
    mtimes_ns: tuple[int, ...] = (),
    retry_failed: bool = False,
    run_id: int | None = None,
) -> tuple[Standing, Tally]:
    """Whether these are passed over; and what the census comes to, if they are and nothing else is there."""
    uris = [f"{ROOT}/{name}" for name in names]
    with taking(shelf.database, shelf.model.id, retry_failed=retry_failed, run_id=run_id) as census:
        standing = census.passes_over(uris, sizes or [10] * len(names), mtimes_ns or [1] * len(names))
        if standing is Standing.UNCHANGED:
            census.close(Scope((ROOT,)))
    return standing, census.tally


@pytest.fixture
def done(shelf: Shelf) -> Shelf:
    """Three images with an outcome."""
    shelf.scan(*NAMES)
    shelf.write("UPDATE taggings SET outcome = 'ok'")
    return shelf


def test_what_is_unchanged_is_passed_over_and_has_not_vanished(done: Shelf) -> None:
    assert _ask(done, *NAMES) == (Standing.UNCHANGED, Tally(unchanged=3))


def test_what_is_pending_is_unchanged_too(shelf: Shelf) -> None:
    shelf.scan(*NAMES)
    assert _ask(shelf, *NAMES)[0] is Standing.UNCHANGED


def test_what_lies_outside_and_was_not_seen_has_vanished(done: Shelf) -> None:
    assert _ask(done, *NAMES[:2]) == (Standing.UNCHANGED, Tally(unchanged=2, vanished=1))
    assert done.rows("SELECT uri FROM images WHERE vanished_at IS NOT NULL") == [(f"{ROOT}/c.jpg",)]


def test_many_gaps_between_what_was_seen_are_all_looked_at(shelf: Shelf) -> None:
    names = [f"{number:03d}.jpg" for number in range(100)]
    shelf.scan(*names)
    with taking(shelf.database, shelf.model.id) as census:
        census.observe([Seen(f"{ROOT}/{name}", 10, 1) for name in names[::2]])
        census.close(Scope((ROOT,)))
    assert census.tally == Tally(unchanged=50, vanished=50)


def test_a_file_that_is_gone_from_between_is_no_matter_to_pass_over(done: Shelf) -> None:
    assert _ask(done, "a.jpg", "c.jpg")[0] is Standing.MIXED


def test_a_file_that_is_new_between_is_no_matter_to_pass_over(done: Shelf) -> None:
    assert _ask(done, "a.jpg", "b.jpg", "b2.jpg", "c.jpg")[0] is Standing.MIXED


def test_a_changed_size_or_time_is_no_matter_to_pass_over(done: Shelf) -> None:
    assert _ask(done, *NAMES, sizes=(10, 11, 10))[0] is Standing.MIXED
    assert _ask(done, *NAMES, mtimes_ns=(1, 1, 2))[0] is Standing.MIXED


def test_a_file_that_took_the_name_but_not_the_place_of_another_is_told_from_it(done: Shelf) -> None:
    assert _ask(done, "a.jpg", "b3.jpg", "c.jpg")[0] is Standing.MIXED


def test_what_had_vanished_and_is_back_is_not_passed_over(done: Shelf) -> None:
    done.scan("a.jpg", "c.jpg")
    assert _ask(done, *NAMES)[0] is Standing.MIXED


def test_what_was_never_wanted_from_the_model_is_not_passed_over(done: Shelf) -> None:
    done.write("DELETE FROM taggings")
    assert _ask(done, *NAMES)[0] is Standing.NEW


@pytest.mark.parametrize(
    ("outcome", "always", "if_asked"), [("missing", False, False), ("corrupt", True, False)]
)
def test_what_is_to_be_tried_again_is_not_passed_over(
    done: Shelf, outcome: str, always: bool, if_asked: bool
) -> None:
    done.write("UPDATE taggings SET outcome = :outcome WHERE image_id = 2", outcome=outcome)
    assert (_ask(done, *NAMES)[0] is Standing.UNCHANGED) is always
    assert (_ask(done, *NAMES, retry_failed=True)[0] is Standing.UNCHANGED) is if_asked


def test_what_is_pending_for_nobody_is_not_passed_over_by_a_run(shelf: Shelf) -> None:
    shelf.scan(*NAMES)
    assert _ask(shelf, *NAMES, run_id=7)[0] is Standing.NEW
    shelf.write("UPDATE taggings SET outcome = 'ok'")
    assert _ask(shelf, *NAMES, run_id=7)[0] is Standing.UNCHANGED


def test_nothing_is_known_of_new_files(shelf: Shelf) -> None:
    assert _ask(shelf, *NAMES)[0] is Standing.NEW
