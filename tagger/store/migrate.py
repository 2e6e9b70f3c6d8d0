"""Bringing a database to this program's version, and keeping a copy of it.

Only :func:`upgrade` changes a schema. A new SQLite file is brought up by itself; any other
database is upgraded when its owner says so, since other programs may be reading it. Every command
checks the version, and so it does that without Alembic, which takes a tenth of a second to import.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

import tagger
from tagger.errors import DatabaseError
from tagger.store.session import Database, exclusive

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

NEWEST = "0004"
"""The version of the schema that this program works with: the last of the migrations."""

_SCHEMA = 7_461_676
"""Guards the schema: two machines that start at once must not both migrate."""


def upgrade(database: Database) -> str:
    """Bring the schema to the newest version (created if new); the version it now has."""
    from alembic import command

    if database.path is not None:
        _make_folder(database.path.parent)
    with database.writing() as connection:
        exclusive(connection, _SCHEMA)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return NEWEST


def check(database: Database) -> None:
    """Raise :class:`DatabaseError` unless the schema is at this program's version."""
    found = current(database)
    if found == NEWEST:
        return
    if found is None:
        raise DatabaseError(f"the database at {database.url} is empty: run `tagger db upgrade`")
    if found in _revisions():
        raise DatabaseError(
            f"the database at {database.url} is at version {found}, this program needs {NEWEST}: "
            "run `tagger db backup`, then `tagger db upgrade`"
        )
    raise DatabaseError(
        f"the database at {database.url} is at version {found}, which this program does not know: "
        "a newer tagger wrote it; update this one"
    )


def ensure(database: Database) -> None:
    """Make a new SQLite file ready; check any other database."""
    if database.is_sqlite and current(database) is None:
        upgrade(database)
    else:
        check(database)


def current(database: Database) -> str | None:
    """The version that the database has; None when it is new."""
    if database.path is not None and not database.path.exists():
        return None  # looking would create the file
    with database.reading() as connection:
        tables = inspect(connection).get_table_names()
        if "alembic_version" not in tables:
            if tables:
                raise DatabaseError(f"{database.url} holds tables of another program: name an empty database")
            return None
        version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return version


def scripts() -> ScriptDirectory:
    """The migrations."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def backup(database: Database, target: Path) -> Path:
    """Copy an SQLite database, consistent even while others write; ``target`` must be new.

    Raises :class:`DatabaseError` for a server, which has tools of its own, and when the target
    is there already.
    """
    if database.path is None:
        raise DatabaseError("`tagger db backup` copies SQLite files; for PostgreSQL use pg_dump")
    if not database.path.exists():
        raise DatabaseError(f"there is no database at {database.path} yet")
    if target.exists():
        raise DatabaseError(f"{target} is there already: name another file")
    _make_folder(target.parent)
    with closing(sqlite3.connect(database.path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise DatabaseError(f"the folder {folder} cannot be made: {fault.strerror}; name another") from fault


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    """Inside the package when installed, beside it in a checkout."""
    package = Path(tagger.__file__).parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _revisions() -> set[str]:
    return {script.revision for script in scripts().walk_revisions()}
