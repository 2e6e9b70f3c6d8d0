"""How a database goes about what the product asks: the plans of the very statements that it sends.

A statement is explained on the product's own connection just before it is sent, with what was set for the
transaction, and on PostgreSQL as the cursor that it is sent as. A plan is judged by whether a step of it goes
through all of a large table: a scan of the table, or of an index without a condition on its first column.
Partial indexes may be walked whole, since they hold little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import Connection, event, text

LARGE = ("images", "taggings", "tag_scores", "class_scores")
"""Tables with a row or more for every image; the partitions of PostgreSQL are theirs."""

Question = Callable[[Connection], object]
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one statement: ``lines`` as the database tells it, ``large`` tables that it reads, and those
    steps that go through ``whole`` large tables."""

    statement: str
    lines: tuple[str, ...]
    large: frozenset[str]
    whole: tuple[str, ...]


def plans(connection: Connection, question: Question) -> list[Plan]:
    """The plans of all statements that a question sends, in their order; the question is asked."""
    explained = _Sqlite(connection) if connection.dialect.name == "sqlite" else _Postgres(connection)
    found: list[Plan] = []

    def explain(_connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found.append(explained(cursor, statement, parameters))

    event.listen(connection, "before_cursor_execute", explain)
    try:
        question(connection)
    finally:
        event.remove(connection, "before_cursor_execute", explain)
    return found


class _Sqlite:
    """Its plans name tables as the statement does, or a view below it: by an alias."""

    def __init__(self, connection: Connection) -> None:
        schema = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        rows = schema.all()
        self._raw: Any = connection.connection.driver_connection
        self._views = " ".join(row.sql for row in rows if row.type == "view")
        self._partial = {row.name for row in rows if row.type == "index" and " WHERE " in row.sql.upper()}

    def __call__(self, _cursor: Any, statement: str, parameters: Any) -> Plan:
        # By a number no two are alike: the driver keeps what was explained, whatever becomes of the indexes.
        explain = f"/* {next(_NUMBERS)} */ EXPLAIN QUERY PLAN {statement}"
        steps = self._raw.execute(explain, parameters).fetchall()
        lines = [str(step[-1]) for step in steps]
        tables = self._tables(statement)
        read = {line: tables.get(_second_word(line)) for line in lines}
        return Plan(
            statement,
            tuple(lines),
            frozenset(table for table in read.values() if table),
            tuple(line for line, table in read.items() if table and self._goes_through(line)),
        )

    def _tables(self, statement: str) -> Mapping[str, str]:
        """The large tables by every name that the statement, or a view, has for them."""
        named = re.findall(rf"\b({'|'.join(LARGE)})\b(?: AS)? \"?(\w+)", f"{statement} {self._views}")
        return {alias: table for table, alias in named} | {table: table for table in LARGE}

    def _goes_through(self, line: str) -> bool:
        index = re.search(r"USING (?:COVERING )?INDEX (\w+)", line)
        whole = (line.startswith("SCAN") or "ANY(" in line) and not (index and index[1] in self._partial)
        return whole or "AUTOMATIC" in line


class _Postgres:
    """Its plans name tables and indexes as they are."""

    def __init__(self, connection: Connection) -> None:
        self._raw: Any = connection.connection.driver_connection
        self._tables: dict[str | None, str] = dict(connection.execute(_TABLES).all())
        self._indexes: dict[str | None, Any] = {row[0]: row for row in connection.execute(_INDEXES)}

    def __call__(self, cursor: Any, statement: str, parameters: Any) -> Plan:
        # Of a cursor the first rows are to come soon, for which there may be another plan.
        named = getattr(cursor, "name", None)
        sent = f"DECLARE explained NO SCROLL CURSOR FOR {statement}" if named else statement
        lines = [row[0] for row in self._explain("COSTS OFF", sent, parameters)]
        ((tree,),) = self._explain("COSTS OFF, FORMAT JSON", sent, parameters)
        steps = list(_steps(tree[0]["Plan"]))
        return Plan(
            statement,
            tuple(lines),
            frozenset(filter(None, map(self._table, steps))),
            tuple(_words(step) for step in steps if self._table(step) and self._goes_through(step)),
        )

    def _explain(self, options: str, statement: str, parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._raw.cursor() as cursor:
            rows: Sequence[tuple[Any, ...]] = cursor.execute(
                f"EXPLAIN ({options}) {statement}", parameters
            ).fetchall()
            return rows

    def _table(self, step: Mapping[str, Any]) -> str | None:
        """The large table that a step reads."""
        index = self._indexes.get(step.get("Index Name"))
        table = index.table if index else self._tables.get(step.get("Relation Name"))
        return table if table in LARGE else None

    def _goes_through(self, step: Mapping[str, Any]) -> bool:
        index = self._indexes.get(step.get("Index Name"))
        if index is None:
            return str(step["Node Type"]).endswith("Seq Scan")
        begins = re.search(rf"\b{index.first}\b", step.get("Index Cond", ""))
        return not (begins or index.partial)


_TABLES = text(
    "SELECT relname, COALESCE(pg_partition_root(oid), oid)::regclass::text FROM pg_class "
    "WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
)
_INDEXES = text(
    "SELECT c.relname AS index, COALESCE(pg_partition_root(x.indrelid), x.indrelid)::regclass::text "
    "AS table, a.attname AS first, x.indpred IS NOT NULL AS partial FROM pg_index x "
    "JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 "
    "WHERE c.relnamespace = 'public'::regnamespace"
)


def _second_word(line: str) -> str:
    return [*line.split(), "", ""][1]


def _steps(step: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield step
    for below in step.get("Plans", ()):
        yield from _steps(below)


def _words(step: Mapping[str, Any]) -> str:
    told = ("Node Type", "Index Name", "Relation Name", "Index Cond", "Filter")
    return ", ".join(str(step[name]) for name in told if name in step)
