"""What the benchmark of the databases makes of what it measured."""

from __future__ import annotations

import pytest

from tagger.store.session import Database
from tests.benchmarks.database import ASKINGS, MOST_MS, NARROW, asked_all, different, summary, verdict


def test_percentiles_are_of_all_askings_the_first_of_each_too() -> None:
    found = summary([[90.0, 1.0, 1.0, 1.0]] * 10)
    assert (found["questions"], found["asked"]) == (10, 40)
    assert (found["p50"], found["p95"], found["most"]) == (1.0, 90.0, 90.0)
    assert summary([[90.0] + [1.0] * 99])["p95"] == 1.0


def test_the_first_askings_are_told_apart() -> None:
    assert summary([[7.0, 90.0], [3.0, 90.0]])["first p95"] == 7.0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("questions", [1, 20, 100])
def test_a_kind_is_asked_often_however_few_questions_it_has(database: Database, questions: int) -> None:
    asked: list[int] = []
    spent = asked_all(database, [lambda _connection: asked.append(1)] * questions)
    assert sum(map(len, spent)) == len(asked) >= max(ASKINGS, 5 * questions)


def test_pairs_differ() -> None:
    words = iter(["ab", "ba", "ac"] * 100)
    assert different(lambda: list(next(words)), 2) == [("a", "b"), ("a", "c")]


def test_the_slowest_kind_of_one_tag_or_two_is_judged() -> None:
    spent = {kind: {"p95": 1.0} for kind in (*NARROW, "two without a third")}
    assert verdict(spent)["holds"]
    spent["two without a third"] = {"p95": 3 * MOST_MS}
    assert verdict(spent)["holds"], "no bound is set for three"
    spent["two of one photo"] = {"p95": MOST_MS}
    assert verdict(spent) == {"slowest": "two of one photo", "p95": MOST_MS, "holds": False}
