"""Bringing a database to this program's version, and keeping a copy of it.

A new SQLite file is brought up by itself; any other database is upgraded when its owner says so, since
other programs may be reading it. Every command checks the version, and so it does that without Alembic,
which takes a tenth of a second to import. A new file is made from a snapshot, the SQL that the migrations
come to: in a twentieth of the time, while a person waits for the first tag.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

import tagger
from tagger.errors import DatabaseError
from tagger.store.session import Database, exclusive, open_database

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

NEWEST = "0007"
"""The version of the schema that this program works with: the last of the migrations."""

SNAPSHOT = "sqlite.sql"
"""What :func:`snapshot` gives, among the migrations; written anew by `make snapshot`."""

_SCHEMA = 7_461_676
"""Guards the schema: two machines that start at once must not both migrate."""


def upgrade(database: Database) -> str:
    """Bring the schema to the newest version (created if new) by migrations; the version it now has."""
    from alembic import command

    _make_folder(database)
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
        _create(database)
    check(database)


def snapshot() -> str:
    """The SQL that makes a new SQLite file what the migrations would; kept beside them."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "new.db"
        database = open_database(str(place))
        upgrade(database)
        database.close()
        with closing(sqlite3.connect(place)) as made:
            statements = list(made.iterdump())[1:-1]  # between BEGIN and COMMIT
    return "\n".join(statements) + "\n"


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
    _make(target.parent)
    with closing(sqlite3.connect(database.path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def _create(database: Database) -> None:
    _make_folder(database)
    with database.writing() as connection:
        if not inspect(connection).get_table_names():  # else another process was faster
            for statement in _statements((_scripts() / SNAPSHOT).read_text(encoding="utf-8")):
                connection.exec_driver_sql(statement)


def _statements(script: str) -> Iterator[str]:
    """One by one, since SQLite's own way to run a script ends the transaction that it is in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _make_folder(database: Database) -> None:
    if database.path is not None:
        _make(database.path.parent)


def _make(folder: Path) -> None:
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
