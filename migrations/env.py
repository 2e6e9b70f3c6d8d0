"""Alembic's entry: which database, which tables, and the views dropped and created around it."""

from typing import Literal

from alembic import context
from sqlalchemy import Connection, ForeignKeyConstraint

from tagger.settings import load_settings
from tagger.store.derived import create_derived, drop_derived
from tagger.store.schema import PARTITIONED, Base, Moment
from tagger.store.session import open_database

ADDED_LATER = {("runs", "lease_id"), ("taggings", "run_id")}
"""References that came with a column: of these SQLite does not tell what happens on deletion."""


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Partitions belong to their models, not to the schema."""
    return not (kind == "table" and name and name.startswith(tuple(f"{table}_m" for table in PARTITIONED)))


def _is_compared(item: object, name: str | None, _kind: str, _reflected: bool, _other: object) -> bool:
    """What differs between the databases is written by hand (0002, 0003) and left alone."""
    if isinstance(item, ForeignKeyConstraint) and context.get_context().dialect.name == "sqlite":
        return (item.table.name, *item.column_keys) not in ADDED_LATER
    return name not in ("uq_images_uri", "ix_images_uri")


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Revisions stand on their own: no import of types that later versions may change."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Moment) else False


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_name=_is_ours,
        include_object=_is_compared,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=_render,
    )
    with context.begin_transaction():
        drop_derived(connection)
        context.run_migrations()
        # After a downgrade the tables are not those that this version's views speak of.
        if context.get_context().get_current_revision() == context.script.get_current_head():
            create_derived(connection)


handed: Connection | None = context.config.attributes.get("connection")
if handed is not None:
    _run(handed)
else:
    database = open_database(load_settings().database)
    with database.writing() as own:
        _run(own)
    database.close()
