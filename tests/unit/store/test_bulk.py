"""What goes with every group is written for the drivers: the same on both databases, and on PostgreSQL by
indexes, even while it knows nothing of a young table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from tagger.store import catalog
from tagger.store.bulk import ask, insert_rows, update_rows
from tagger.store.schema import ContentRow
from tagger.store.session import Database
from tagger.values import ImageFacts

from .conftest import Shelf, entry, outcome

COLUMNS = ("digest", "width", "format", "latitude")


def test_rows_come_back_as_they_went_in(shelf: Shelf) -> None:
    rows = [(b"\0" * 32, 640, "JPEG", 0.1), (b"\xff%'" * 8, None, 'it\'s "%s" {x} é', None)]
    with shelf.database.writing() as connection:
        insert_rows(connection, ContentRow, COLUMNS, rows)
        insert_rows(connection, ContentRow, COLUMNS, [(rows[0][0], 1, "other", None)])
        question = f"SELECT {', '.join(COLUMNS)} FROM contents WHERE digest {{among}} ORDER BY id"
        assert [*ask(connection, question, among=[digest for digest, *_ in rows])] == rows, "the first stays"
        assert [*ask(connection, question, among=[b"nobody"])] == []
        assert [*ask(connection, question, among=[])] == []


def test_updates_touch_what_their_keys_name(shelf: Shelf) -> None:
    with shelf.database.writing() as connection:
        insert_rows(connection, ContentRow, COLUMNS, [(bytes([n]), n, "JPEG", None) for n in range(4)])
        ids = dict(connection.execute(select(ContentRow.width, ContentRow.id)).all())
        update_rows(
            connection,
            ContentRow,
            ("height", "format"),
            ("id",),
            [(7, "PNG", ids[1]), (None, None, ids[2])],
            latitude=0.5,
        )
        update_rows(connection, ContentRow, ("height",), ("id",), [])
        question = "SELECT width, height, format, latitude FROM contents WHERE id {among} ORDER BY width"
        assert [*ask(connection, question, among=[*ids.values()])] == [
            (0, None, "JPEG", None),
            (1, 7, "PNG", 0.5),
            (2, None, None, 0.5),
            (3, None, "JPEG", None),
        ]


def _plans(connection: Connection, statement: str, parameters: Any) -> str:
    assert connection.connection.dbapi_connection is not None
    cursor = connection.connection.dbapi_connection.cursor()
    cursor.execute(f"EXPLAIN {statement}", parameters)
    return "\n".join(line for (line,) in cursor.fetchall())


def test_a_young_postgresql_goes_by_keys_and_not_through_all_that_is_pending(postgresql: Database) -> None:
    with postgresql.writing() as connection:
        shelf = Shelf(postgresql, catalog.register_model(connection, entry()))
    shelf.scan(*(f"{number}.jpg" for number in range(2_000)))
    lease = shelf.lease()
    refs = shelf.claim(lease, 300)
    plans: dict[str, str] = {}

    def explain(connection: Connection, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        if sql.lstrip().startswith(("UPDATE", "SELECT")) and "set_config" not in sql:
            plans[sql] = _plans(connection, sql, parameters)

    event.listen(postgresql.engine, "before_cursor_execute", explain)
    done = [outcome(ref.image_id, ref.uri, {"dog": 0.9, "animal": 0.95}) for ref in refs]
    assert len(shelf.record(lease, *done)) == 300
    (finish,) = (plan for sql, plan in plans.items() if "UPDATE taggings" in sql)
    assert "pk_taggings" in finish
    assert "ix_taggings_pending" not in "".join(plans.values())
    assert "Seq Scan on taggings" not in "".join(plans.values())


@pytest.mark.parametrize("known", [ImageFacts(640, 480, "JPEG"), ImageFacts()])
def test_facts_that_are_known_better_are_written_over(shelf: Shelf, known: ImageFacts) -> None:
    shelf.scan("a.jpg", "b.jpg")
    lease = shelf.lease()
    a, b = shelf.claim(lease)
    first = replace(outcome(a.image_id, "same", {"dog": 0.9}), facts=known)
    shelf.record(lease, first)
    better = ImageFacts(640, 480, "JPEG", "2021-01-02T03:04:05", 1.5, 2.5)
    shelf.record(lease, replace(outcome(b.image_id, "same", {"dog": 0.9}), facts=better))
    assert shelf.rows("SELECT width, height, format, taken_at, latitude, longitude FROM contents") == [
        (640, 480, "JPEG", "2021-01-02T03:04:05", 1.5, 2.5)
    ]
