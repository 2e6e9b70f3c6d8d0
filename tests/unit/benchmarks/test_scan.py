"""What is said of a second look at an unchanged library."""

from __future__ import annotations

from tests.benchmarks.scan import MOST, holds, verdict

TIMES = {
    "unchanged, SQLite": MOST - 0.1,
    "unchanged, PostgreSQL": MOST + 0.1,
    "all of tagger tag, SQLite": 8.0,
    "all of tagger tag, PostgreSQL": 9.5,
}


def test_both_databases_are_judged() -> None:
    assert holds(TIMES) == {"SQLite": True, "PostgreSQL": False}
    assert holds(TIMES | {"unchanged, SQLite": MOST + 0.1, "unchanged, PostgreSQL": MOST}) == {
        "SQLite": False,
        "PostgreSQL": True,
    }


def test_the_whole_command_stands_beside_the_verdict() -> None:
    lite, great = verdict(TIMES)
    assert "SQLite: 2.90 times find" in lite and ": holds" in lite and "8.00 times find" in lite
    assert "PostgreSQL: 3.10 times find" in great and "does NOT hold" in great and "9.50 times" in great
