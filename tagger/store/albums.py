"""Searches that people keep, each with a view of its own."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, text

from tagger.errors import DatabaseError, NotFound
from tagger.store.derived import create_view
from tagger.store.schema import AlbumRow
from tagger.store.session import now


@dataclass(frozen=True, slots=True)
class Album:
    """A search under a name, and the name of its view."""

    name: str
    expression: str
    view: str


def plain(name: str) -> str:
    """A name with single blanks."""
    return " ".join(name.split())


def save(connection: Connection, album: Album, statement: str) -> None:
    """Keep an album, instead of one of the same name; ``statement`` is that of its view.

    Raises :class:`DatabaseError` when another album has that view.
    """
    other = connection.execute(
        select(AlbumRow.name).where(AlbumRow.view == album.view, AlbumRow.name != album.name)
    ).scalar()
    if other is not None:
        raise DatabaseError(f"the album {other!r} has the view {album.view} already: choose another name")
    _drop(connection, album.name)
    connection.execute(
        insert(AlbumRow).values(
            name=album.name,
            expression=album.expression,
            view=album.view,
            statement=statement,
            made_at=now(connection),
        )
    )
    create_view(connection, album.view, statement)


def listed(connection: Connection) -> list[Album]:
    """All of them, by name."""
    rows = connection.execute(
        select(AlbumRow.name, AlbumRow.expression, AlbumRow.view).order_by(AlbumRow.name)
    )
    return [Album(*row) for row in rows]


def find(connection: Connection, name: str) -> Album:
    """The album of that name; raises :class:`NotFound`, naming those that there are."""
    known = listed(connection)
    for album in known:
        if album.name == plain(name):
            return album
    names = ", ".join(album.name for album in known[:10]) or "none yet; `tagger album save` makes one"
    raise NotFound(f"there is no album {name!r}: there are {names}")


def remove(connection: Connection, name: str) -> None:
    """Remove an album and its view; raises :class:`NotFound`."""
    _drop(connection, find(connection, name).name)


def _drop(connection: Connection, name: str) -> None:
    view = connection.execute(select(AlbumRow.view).where(AlbumRow.name == name)).scalar()
    if view is not None:
        connection.execute(text(f"DROP VIEW IF EXISTS {view}"))
        connection.execute(delete(AlbumRow).where(AlbumRow.name == name))
