"""Migrations and models agree, on both databases."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy import text

from tagger.store import migrate
from tagger.store.session import Database, open_database

from .conftest import Shelf


def test_the_migrations_make_just_what_the_schema_says(database: Database) -> None:
    config = migrate._config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.check(config)


def test_downgrading_to_nothing_and_up_again_works(database: Database) -> None:
    config = migrate._config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert migrate.upgrade(database) == migrate.NEWEST
    migrate.check(database)


def test_an_upgrade_keeps_what_is_there(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.99, "dog": 0.97}, empty={})
    before = shelf.rows("SELECT * FROM effective_tags"), shelf.rows("SELECT * FROM image_info")
    config = migrate._config()
    with shelf.database.writing() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with shelf.database.reading() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM taggings")).scalar_one() == 2
    assert migrate.upgrade(shelf.database) == migrate.NEWEST
    assert before == (shelf.rows("SELECT * FROM effective_tags"), shelf.rows("SELECT * FROM image_info"))
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1}


def test_the_newest_version_is_that_of_the_last_migration() -> None:
    assert migrate.scripts().get_current_head() == migrate.NEWEST


def test_a_new_file_is_made_what_the_migrations_make(tmp_path: Path) -> None:
    """If this fails: `make snapshot`."""
    database = open_database(str(tmp_path / "folder" / "new.db"))
    migrate.ensure(database)
    database.close()
    assert database.path is not None
    with closing(sqlite3.connect(database.path)) as made:
        assert "\n".join(list(made.iterdump())[1:-1]) + "\n" == migrate.snapshot()


def test_two_processes_make_one_new_file(tmp_path: Path) -> None:
    place = str(tmp_path / "new.db")
    code = (
        "import sys; from tagger.store import migrate; from tagger.store.session import open_database; "
        "migrate.ensure(open_database(sys.argv[1])); assert 'alembic' not in sys.modules"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, place]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    migrate.check(open_database(place))


def test_checking_a_database_needs_no_alembic(sqlite: Database) -> None:
    """Every command does it."""
    code = (
        "import sys; from tagger.store import migrate; from tagger.store.session import open_database; "
        f"migrate.check(open_database({sqlite.url!r})); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
