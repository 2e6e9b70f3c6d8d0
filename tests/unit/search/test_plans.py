"""What is asked of a library goes by indexes: no statement reads a large table from end to end.

The library is large enough that a planner which may choose takes the indexes; whole tables are its choice
below some ten thousand images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

import pytest
from sqlalchemy import Connection, text

from tagger.store import queries
from tagger.store.session import Database
from tests.benchmarks import made
from tests.benchmarks.database import questions, searches
from tests.benchmarks.plans import LARGE, Question, plans

IMAGES = 30_000
WALKS = {"not one", "tagger status"}
"""Kinds that are meant to: the newest photos first until the page is full, and a count of all."""
RECOUNT = {"SCAN i", "Seq Scan, images, (vanished_at IS NULL)"}
"""Steps of the view ``tag_counts`` for tags that wait to be counted anew: for none, as a rule."""


@pytest.fixture
def few_distinct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most photos are as others are, which takes a third of the time."""
    monkeypatch.setattr(made, "DISTINCT", made.BATCH)


@pytest.mark.usefixtures("few_distinct")
def test_no_question_goes_through_a_large_table(sqlite: Database, postgresql: Database) -> None:
    made.fill([sqlite, postgresql], IMAGES)
    for database in (sqlite, postgresql):
        with database.reading() as connection:
            asked = {**searches(connection, 8), **questions(connection, 8)}
        found = {kind: _whole(database, some) for kind, some in asked.items() if kind not in WALKS}
        assert found.pop("counts of all tags") <= RECOUNT
        assert {kind: steps for kind, steps in found.items() if steps} == {}
        assert len(found) > 12


def _whole(database: Database, some: Sequence[Question]) -> set[str]:
    """The steps through large tables that any of these questions has. Some statement of each must read one,
    or nothing was looked at."""
    with database.reading() as connection:
        found = list(chain.from_iterable(plans(connection, question) for question in some[-8:]))
    assert any(plan.large for plan in found) or some == [queries.tags]
    return {step for plan in found for step in plan.whole}


# -- what is looked for would be found --------------------------------------------------------


@pytest.mark.usefixtures("few_distinct")
def test_a_step_through_a_large_table_is_seen(database: Database) -> None:
    made.fill([database], 1_000)
    for table in LARGE:
        column = "id" if table == "images" else "model_id"
        assert _seen(database, partial(_read, statement=f"SELECT * FROM {table} x WHERE x.{column} + 1 = 3"))
    with database.reading() as connection:
        tag = searches(connection, 1)["middling"][0]
    run = partial(queries.run_report, run_id=1, failures=10)
    for question, index in ((tag, "ix_tag_scores_search"), (run, "ix_taggings_failures")):
        assert _seen(database, question, without=index) - _seen(database, question)


def _read(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def _seen(database: Database, question: Question, without: str | None = None) -> set[str]:
    """The steps through large tables, in a transaction that is rolled back."""
    with database.reading() as connection:
        if without:
            connection.execute(text(f"DROP INDEX {without}"))
        return {step for plan in plans(connection, question) for step in plan.whole}
