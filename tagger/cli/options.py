"""Options that many commands share, and what they lead to: settings and an open database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.errors import DatabaseMissing

if TYPE_CHECKING:
    from tagger.settings import Settings
    from tagger.sources import Roots
    from tagger.store.session import Database

DbOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        help="Where the tags are: a URL, or a path for SQLite.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, slots=True)
class Globals:
    """Options given before the command."""

    db: str | None = None


def settings_of(context: typer.Context, db: str | None, **overrides: object) -> Settings:
    """The settings: the environment's, with the command line's over them."""
    from tagger.settings import load_settings

    settings = load_settings(database_url=named_database(context, db), **overrides)
    if settings.own_models.is_dir():  # else nothing need be imported
        from tagger.library import versions

        versions.adopt_own(settings.own_models)
    return settings


def named_database(context: typer.Context, db: str | None) -> str | None:
    """What ``--db`` says, behind the command or before it; None if it is not there."""
    outer = context.find_object(Globals) or Globals()
    return db or outer.db


def roots_of(settings: Settings) -> Roots:
    """The places that may be read."""
    from tagger.sources import Roots

    return Roots.parse(settings.roots)


@contextmanager
def open_library(settings: Settings, *, create: bool = False) -> Iterator[Database]:
    """The database, checked; with ``create`` a new SQLite file is made ready.

    Raises :class:`DatabaseError` when it is not there or not of this program's version.
    """
    from tagger.store import migrate
    from tagger.store.session import open_database

    database = open_database(settings.database)
    try:
        if create:
            migrate.ensure(database)
        elif database.path is not None and not database.path.exists():
            raise DatabaseMissing(f"there is no database at {database.path} yet: run `tagger tag PATH` first")
        else:
            migrate.check(database)
        yield database
    finally:
        database.close()
