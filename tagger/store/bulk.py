"""What is asked and written for every image: many rows in one statement, and by the driver itself.

SQLAlchemy takes longer over a row, and over each value of a long list, than the database does. So
what goes with every group of outcomes is put together here, as each of the two databases likes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Insert,
    TableValuedAlias,
    Text,
    bindparam,
    func,
    select,
    update,
)
from sqlalchemy.types import TypeEngine

from tagger.store.schema import Base


def is_sqlite(connection: Connection) -> bool:
    """Whether this is SQLite, whose parameters are written ``?``; PostgreSQL's driver has ``%s``."""
    return connection.dialect.name == "sqlite"


def driven(
    for_sqlite: bool,
    statement: str,
    *before: object,
    among: Collection[object],
    after: Sequence[object] = (),
) -> tuple[str, tuple[object, ...]]:
    """SQL as the driver has it, and its parameters.

    In ``statement`` stand ``{mark}`` for each value of ``before`` and ``after``, and between them ``{among}``
    for those of which there are many: ``WHERE id {among}``. The values are numbers, texts or bytes, those of
    ``among`` all of one type.
    """
    if for_sqlite:
        listed = f"IN ({', '.join('?' * len(among))})"
        return statement.format(mark="?", among=listed), (*before, *among, *after)
    return statement.format(mark="%s", among="= ANY(%s)"), (*before, list(among), *after)


def ask(connection: Connection, question: str, *before: object, **values: Any) -> Sequence[tuple[Any, ...]]:
    """The rows that answer ``question``; for its form and the other arguments see :func:`driven`."""
    return fetched(connection, *driven(is_sqlite(connection), question, *before, **values))


def fetched(connection: Connection, sql: str, parameters: tuple[object, ...]) -> Sequence[tuple[Any, ...]]:
    """The rows of a question in the driver's form, as the driver gives them."""
    answer = connection.exec_driver_sql(sql, parameters)
    assert answer.cursor is not None
    return answer.cursor.fetchall()


def insert_or_ignore(connection: Connection, table: type[Base]) -> Insert:
    """The database's own ``INSERT ... ON CONFLICT DO NOTHING``."""
    if is_sqlite(connection):
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql  # only here: it brings drivers of its own

    return postgresql.insert(table).on_conflict_do_nothing()


def insert_rows(
    connection: Connection, table: type[Base], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of numbers, texts and bytes; those that are there stay."""
    if not rows:
        return
    if is_sqlite(connection):
        marks = ", ".join("?" * len(columns))
        into = f"{table.__tablename__} ({', '.join(columns)})"
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks}) ON CONFLICT DO NOTHING", list(rows))
        return
    listed = _listed(table, columns)
    connection.execute(
        insert_or_ignore(connection, table).from_select(columns, select(*listed.c)),
        _arrays(columns, rows),
    )


def update_rows(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    **same: Any,
) -> None:
    """Update rows by their ``keys``: each has values for ``columns``, numbers and texts, and then those of
    its keys, which are numbers, the one that an index begins with first. ``same`` is for all.

    Nothing but the first key offers PostgreSQL an index: it knows little of a young table, and would else
    take another condition for the better one, and hold all rows that it is true of against all of the listed.
    """
    if not rows:
        return
    if is_sqlite(connection):
        _update_each(connection, table, columns, keys, rows, same)
        return
    column, names = table.__table__.c, (*columns, *keys)
    listed = _listed(table, names)
    connection.execute(
        update(table)
        .where(column[keys[0]] == listed.c[keys[0]])
        .where(*(column[key] + 0 == listed.c[key] for key in keys[1:]))
        .values({name: listed.c[name] for name in columns} | same),
        _arrays(names, rows),
    )


def _update_each(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    same: Mapping[str, Any],
) -> None:
    fixed = tuple(_for_driver(connection, table, name, value) for name, value in same.items())
    changes = ", ".join(f'"{name}" = ?' for name in (*same, *columns))
    which = " AND ".join(f'"{key}" = ?' for key in keys)
    connection.exec_driver_sql(
        f"UPDATE {table.__tablename__} SET {changes} WHERE {which}", [fixed + row for row in rows]
    )


def _for_driver(connection: Connection, table: type[Base], name: str, value: Any) -> Any:
    kind = table.__table__.c[name].type
    process = kind.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    return process(value) if process else value


def _listed(table: type[Base], columns: Sequence[str]) -> TableValuedAlias:
    """Rows as an array for each column (PostgreSQL): many single ones are many steps for either side."""
    arrays = [bindparam(f"all_{name}", type_=ARRAY(_plain(table.__table__.c[name].type))) for name in columns]
    return func.unnest(*arrays).table_valued(*columns).render_derived("listed")


def _arrays(columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {
        f"all_{name}": list(values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)
    }


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Arrays have no collation."""
    return Text() if isinstance(kind, Text) else kind
