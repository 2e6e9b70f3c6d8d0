"""Facets count what the view holds on the photos that a search finds."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import Connection, text

from tagger.search import facets
from tagger.search.expression import All, Bound, Expression, Has
from tagger.search.find import find
from tagger.search.query import Query
from tagger.store.session import Database
from tests.unit.search.test_find import Library


def _held(connection: Connection) -> dict[int, set[str]]:
    held: dict[int, set[str]] = {}
    for image, tag in connection.execute(text("SELECT image_id, tag FROM effective_tags")):
        held.setdefault(image, set()).add(tag)
    return held


def _counted(held: dict[int, set[str]], images: list[int]) -> dict[str, int]:
    return dict(Counter(tag for image in images for tag in held.get(image, ())))


def _found(connection: Connection, expression: Expression, most: int | None = None) -> list[int]:
    return [photo.image_id for photo in find(connection, Query(expression, limit=most)).photos]


@pytest.mark.parametrize("seed", [1, 2])
def test_all_photos_of_a_small_search_are_counted(database: Database, seed: int) -> None:
    with database.writing() as connection:
        library = Library(connection, seed)
        held = _held(connection)
        for query in library.queries()[::3]:
            if query.least or query.expression == All(()):
                continue
            found = facets.count(connection, query.expression)
            images = _found(connection, query.expression)
            assert (found.counted, found.complete) == (len(images), True)
            counted = {each.tag: each.images for each in found.tags}
            assert counted == _counted(held, images), query
            order = [(-each.images, each.tag) for each in found.tags]
            assert order == sorted(order)


def test_of_many_photos_the_first_are_counted_and_kinds_over_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facets, "MOST", 5)
    with database.writing() as connection:
        Library(connection, 2)
        held = _held(connection)
        found = facets.count(connection, Has("animal"))
        images = _found(connection, Has("animal"))
        assert len(images) > 5
        assert (found.counted, found.complete, found.total) == (5, False, len(images))
        assert {each.tag: each.images for each in found.tags} == _counted(held, images[:5])
        whole = _counted(held, images)
        below = ("dog", "retriever", "poodle", "cat", "bird")
        assert {each.tag: each.images for each in found.kinds} == {
            tag: whole[tag] for tag in below if tag in whole
        }
        bounded = facets.count(connection, Has("animal", Bound(">=", 0.0)))
        assert (bounded.total, bounded.kinds, bounded.complete) == (None, (), False)


def test_without_a_search_it_is_the_whole_library(database: Database) -> None:
    with database.writing() as connection:
        Library(connection, 2)
        held = _held(connection)
        present = connection.execute(
            text("SELECT COUNT(*) FROM images WHERE vanished_at IS NULL")
        ).scalar_one()
        found = facets.count(connection, All(()))
        assert (found.counted, found.complete, found.total) == (present, True, present)
        assert {each.tag: each.images for each in found.tags} == _counted(held, list(held))


def test_a_tag_that_is_on_no_photo_has_no_facets(database: Database) -> None:
    with database.writing() as connection:
        Library(connection, 2)
        assert facets.count(connection, Has("unicorn")) == facets.Facets(0, True, 0, (), ())
