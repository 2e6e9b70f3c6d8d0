"""Albums: searches that are kept, for people under their names and for SQL as views."""

from __future__ import annotations

import re
import unicodedata

from tagger.errors import SettingsError
from tagger.library import lookup
from tagger.search.expression import spelled
from tagger.search.view import statement
from tagger.store import albums
from tagger.store.albums import Album
from tagger.store.session import Database

LONGEST = 100
"""Letters of an album's name."""


def save(database: Database, name: str, typed: str) -> Album:
    """Keep a search under a name, instead of what had that name.

    Raises :class:`ExpressionError`; :class:`SettingsError` for what is no name; and
    :class:`DatabaseError` when another album has its view.
    """
    name = albums.plain(name)
    if not name or len(name) > LONGEST or not name.isprintable():
        raise SettingsError(f"an album's name has 1 to {LONGEST} letters that can be printed")
    with database.writing() as connection:
        expression = lookup.understood(connection, typed)
        album = Album(name, spelled(expression), view_of(name))
        if lookup.understood(connection, album.expression) != expression:
            raise SettingsError(f"this search cannot be kept, for it would read {album.expression}")
        albums.save(
            connection, album, statement(expression, "sqlite" if database.is_sqlite else "postgresql")
        )
    return album


def view_of(name: str) -> str:
    """The view's name: ``album_`` and the plain letters and digits of the album's."""
    apart = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter)).lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    if not words:
        raise SettingsError(
            f"{name!r} has no letter that a view's name could have: add one of a to z, or a digit"
        )
    return f"album_{words[:50]}"


def listed(database: Database) -> list[Album]:
    """All of them, by name."""
    with database.reading() as connection:
        return albums.listed(connection)


def remove(database: Database, name: str) -> None:
    """Remove one, and its view; no photo. Raises :class:`NotFound`."""
    with database.writing() as connection:
        albums.remove(connection, name)
