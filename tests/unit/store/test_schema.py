"""Migrations and models agree, on both databases."""

from __future__ import annotations

from alembic import command

from tagger.store import migrate
from tagger.store.session import Database


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
