"""Albums: searches that are kept, for people under their names and for SQL as views."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from tagger.errors import SettingsError
from tagger.library import lookup
from tagger.search.expression import All, spelled
from tagger.search.view import statement
from tagger.store import albums
from tagger.store.albums import Album
from tagger.store.session import Database

LONGEST = 100
"""Letters of an album's name."""


def save(
    database: Database, name: str, typed: str | None, *, within: str | None = None, replace: bool = True
) -> Album:
    """Keep a search under a name, ``within`` another album or not; with ``replace`` instead of what had the
    name.

    Raises :class:`ExpressionError`; :class:`SettingsError` for what is no name, or is another album's; and
    :class:`DatabaseError` when another album has its view.
    """
    name = albums.plain(name)
    if not name or len(name) > LONGEST or not name.isprintable():
        raise SettingsError(f"an album's name has 1 to {LONGEST} letters that can be printed")
    with database.writing() as connection:
        expression = lookup.asked(connection, typed, (), within)
        if expression == All(()):
            raise SettingsError("all photos are no album: search for something first")
        album = Album(name, spelled(expression), view_of(name))
        if lookup.understood(connection, album.expression) != expression:
            raise SettingsError(f"this search cannot be kept, for it would read {album.expression}")
        known = {each.name: each.expression for each in albums.listed(connection)}
        if not replace and known.get(name, album.expression) != album.expression:
            raise SettingsError(f"there is an album {name!r} already, of {known[name]}: choose another name")
        albums.save(
            connection, album, statement(expression, "sqlite" if database.is_sqlite else "postgresql")
        )
    return album


def view_of(name: str) -> str:
    """The view's name: ``album_`` and the plain letters and digits of the album's, or eight that stand for it
    if it has none."""
    apart = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter)).lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return f"album_{words[:50] or hashlib.sha256(name.encode()).hexdigest()[:8]}"


def listed(database: Database) -> list[Album]:
    """All of them, by name."""
    with database.reading() as connection:
        return albums.listed(connection)


def remove(database: Database, name: str) -> None:
    """Remove one, and its view; no photo. Raises :class:`NotFound`."""
    with database.writing() as connection:
        albums.remove(connection, name)
