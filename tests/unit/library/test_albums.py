"""Albums hold what their searches find, in SQL too."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text

from tagger.errors import DatabaseError, NotFound, SettingsError
from tagger.library import albums, lookup
from tagger.search.expression import ExpressionError
from tagger.store.derived import create_derived, drop_derived
from tests.unit.store.conftest import Shelf


@pytest.fixture
def photos(shelf: Shelf) -> Shelf:
    shelf.tag(rex={"animal": 0.9, "dog": 0.8}, tom={"animal": 0.7, "cat": 0.6}, beetle={"car": 0.9})
    return shelf


def _names(shelf: Shelf, view: str) -> dict[str, float]:
    with shelf.database.reading() as connection:
        rows = connection.execute(text(f"SELECT uri, confidence FROM {view}")).all()
    return {uri.rpartition("/")[2].removesuffix(".jpg"): confidence for uri, confidence in rows}


def test_a_view_holds_what_the_search_finds_now(photos: Shelf) -> None:
    album = albums.save(photos.database, "  At  the l\u00e4ke ", "animal NOT dog")
    assert (album.name, album.view) == ("At the l\u00e4ke", "album_at_the_lake")
    assert album.expression == "animal AND NOT dog"
    assert _names(photos, album.view) == {"tom": 0.7}
    photos.tag(felix={"animal": 0.95, "cat": 0.9})  # the others have vanished
    assert _names(photos, album.view) == {"felix": 0.95}


def test_what_is_typed_is_searched_for_within_the_album(photos: Shelf) -> None:
    albums.save(photos.database, "pets", "dog OR cat")

    def found(typed: str | None) -> set[str]:
        answer = lookup.search(photos.database, typed, within=" pets\n")
        return {photo.uri.rpartition("/")[2].removesuffix(".jpg") for photo in answer.photos}

    assert found(None) == {"rex", "tom"}
    assert found("cat OR car") == {"tom"}
    with pytest.raises(ExpressionError) as fault:
        found("cat OR")
    assert fault.value.start == 6


def test_an_album_is_replaced_and_removed(photos: Shelf) -> None:
    albums.save(photos.database, "mine", "dog")
    albums.save(photos.database, "mine", "dog OR path:%BEETLE")
    albums.save(photos.database, "other", "path:beet* size>0 OR format:'o\"b:c'")
    assert [album.name for album in albums.listed(photos.database)] == ["mine", "other"]
    assert _names(photos, "album_mine") == {"rex": 0.8}
    with pytest.raises(DatabaseError, match="'mine' has the view album_mine"):
        albums.save(photos.database, "Mine!", "dog")
    albums.remove(photos.database, "mine")
    with pytest.raises(NotFound, match="there are other"):
        albums.remove(photos.database, "mine")
    with photos.database.reading() as connection, pytest.raises(Exception, match="album_mine"):
        connection.execute(text("SELECT * FROM album_mine"))


def test_views_of_albums_are_there_after_an_upgrade(photos: Shelf) -> None:
    albums.save(photos.database, "mine", "dog path:*r?x*")
    with photos.database.writing() as connection:
        drop_derived(connection)
        create_derived(connection)
    assert _names(photos, "album_mine") == {"rex": 0.8}


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\tb\x07"])
def test_what_is_no_name_is_refused(photos: Shelf, name: str) -> None:
    with pytest.raises(SettingsError):
        albums.save(photos.database, name, "dog")


def test_a_name_of_any_letters_has_a_view_of_plain_ones(photos: Shelf) -> None:
    view = albums.save(photos.database, "\u732b", "dog").view
    assert re.fullmatch(r"album_[0-9a-f]{8}", view)
    assert albums.save(photos.database, "\u72ac", "dog").view != view
    assert photos.rows(f"SELECT COUNT(*) FROM {view}") != [(0,)]


def test_an_album_is_kept_within_another_and_never_over_one_unasked(photos: Shelf) -> None:
    albums.save(photos.database, "dogs", "dog")
    kept = albums.save(photos.database, "both", "animal", within="dogs", replace=False)
    assert kept.expression == "dog AND animal"
    assert albums.save(photos.database, "dogs", "puppy", replace=False).expression == "dog"  # it is the same
    with pytest.raises(SettingsError, match="already, of dog"):
        albums.save(photos.database, "dogs", "cat", replace=False)
    with pytest.raises(SettingsError, match="all photos"):
        albums.save(photos.database, "all", None)
    assert albums.save(photos.database, "dogs", "cat").expression == "cat"


def test_what_is_no_expression_is_no_album(photos: Shelf) -> None:
    with pytest.raises(ExpressionError):
        albums.save(photos.database, "mine", "dog AND")
    with pytest.raises(NotFound, match="tagger album save"):
        lookup.search(photos.database, None, within="mine")
