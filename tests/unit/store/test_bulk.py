"""What goes with every group is written for the drivers: the same on both databases, and on PostgreSQL by
indexes, even while it knows nothing of a young table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from tagger.store import catalog, ledger, queries, wants
from tagger.store.bulk import ask, insert_rows, update_rows
from tagger.store.catalog import Scope
from tagger.store.census import Seen
from tagger.store.schema import ContentRow
from tagger.store.session import Database
from tagger.values import ImageFacts, OutcomeKind

from .conftest import ROOT, Shelf, entry, outcome

CORRUPT = OutcomeKind.CORRUPT
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


ROWS_READ = """
    SELECT SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
    WHERE relname IN ('images', 'taggings')"""


@pytest.mark.parametrize(
    "question",
    [
        lambda connection, model, lease, scope: ledger.claim(connection, model, lease, scope, 100),
        lambda connection, model, lease, scope: ledger.claim_suspects(connection, model, lease, scope, 100),
        lambda connection, model, _lease, scope: ledger.claimable(connection, model, scope),
        lambda connection, model, _lease, scope: ledger.pending(connection, model, scope),
        lambda connection, model, _lease, scope: queries.failed(connection, model, scope),
        lambda connection, model, _lease, scope: wants.missing(connection, model, scope, 0),
        lambda connection, model, _lease, scope: wants.ended_so(connection, model, scope, [CORRUPT], 0),
    ],
    ids=["claim", "suspects", "claimable", "pending", "failed", "missing", "ended so"],
)
def test_a_new_folder_is_asked_of_by_keys_while_the_planner_believes_that_there_is_none(
    postgresql: Database, question: Callable[[Connection, int, int, Scope], object]
) -> None:
    with postgresql.writing() as connection:
        shelf = Shelf(postgresql, catalog.register_model(connection, entry()))
    shelf.tag(**{f"old{number}": {"dog": 0.9} for number in range(100)})
    with postgresql.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE images, taggings"))
    new = f"{ROOT}/new"
    shelf.scan(*(Seen(f"{new}/{number}.jpg", 10, 1) for number in range(2_000)), under=(new,))
    shelf.write("UPDATE taggings SET outcome = 'corrupt' WHERE outcome IS NULL AND image_id % 2 = 0")
    lease = shelf.lease()
    with postgresql.writing() as connection:
        before = connection.execute(text(ROWS_READ)).scalar_one()
        question(connection, shelf.model.id, lease, Scope((new,)))
        read = connection.execute(text(ROWS_READ)).scalar_one() - before
    assert read < 10_000, "each row a few times, and not all for each"


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
