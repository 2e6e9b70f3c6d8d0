"""Migrations and models agree, on both databases."""

from __future__ import annotations

from alembic import command
from sqlalchemy import text

from tagger.store import migrate
from tagger.store.session import Database

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
    assert migrate.upgrade(database) == migrate.newest()
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
    assert migrate.upgrade(shelf.database) == migrate.newest()
    assert before == (shelf.rows("SELECT * FROM effective_tags"), shelf.rows("SELECT * FROM image_info"))
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1}
