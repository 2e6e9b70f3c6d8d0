"""Contents are asked about in handfuls, from many threads, and answered together."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from tagger.library.known import KnownContents
from tagger.store import catalog
from tagger.store.session import Database, Inquiry
from tagger.values import OutcomeKind
from tests.unit.store.conftest import Shelf, entry

DOG = {"animal": 0.9, "dog": 0.8}


def _digest(content: str) -> bytes:
    return hashlib.sha256(content.encode()).digest()


def _shelf(database: Database) -> Shelf:
    with database.writing() as connection:
        return Shelf(database, catalog.register_model(connection, entry()))


@pytest.fixture
def shelf(database: Database) -> Shelf:
    return _shelf(database)


def test_what_was_tagged_is_known_at_once_and_nothing_else(shelf: Shelf) -> None:
    known = KnownContents(shelf.database, shelf.model.id)
    assert known([_digest("rex")]) == [None]
    shelf.tag(rex=DOG, wall={})  # while the connection is kept
    assert known([_digest(name) for name in ("rex", "wall", "nobody")]) == [
        OutcomeKind.OK,
        OutcomeKind.EMPTY,
        None,
    ]
    known.close()


def test_no_transaction_is_left_open_between_two_questions(postgresql: Database) -> None:
    shelf = _shelf(postgresql)
    known = KnownContents(shelf.database, shelf.model.id)
    known([_digest("rex")])
    assert shelf.rows(
        "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND query LIKE '%digest%'"
    ) == [("idle",)]
    known.close()


class Slow(Inquiry):
    """Waits in the midst of its first question."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.asked = 0

    def __call__(self, question: str, *before: object, **values: Any) -> Sequence[tuple[Any, ...]]:
        self.asked += 1
        self.begun.set()
        assert self.go_on.wait(10)
        return super().__call__(question, *before, **values)


def test_who_waits_meanwhile_is_answered_by_one_question(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = _shelf(sqlite)
    shelf.tag(**{f"photo{number}": DOG for number in range(20)})
    slow = Slow(shelf.database)
    monkeypatch.setattr(Database, "inquiry", lambda database: slow)
    known = KnownContents(shelf.database, shelf.model.id)
    with ThreadPoolExecutor(21) as pool:
        first: Future[Sequence[OutcomeKind | None]] = pool.submit(known, [_digest("photo0")])
        assert slow.begun.wait(10)
        others = [pool.submit(known, [_digest(f"photo{number}")]) for number in range(20)]
        while known.waiting < 20:
            pass
        slow.go_on.set()
        assert [each.result() for each in (first, *others)] == [[OutcomeKind.OK]] * 21
    assert slow.asked == 2
    known.close()


def test_a_connection_that_breaks_is_made_anew_without_a_word(
    postgresql: Database, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = _shelf(postgresql)
    shelf.tag(rex=DOG)
    known = KnownContents(shelf.database, shelf.model.id)
    assert known([_digest("rex")]) == [OutcomeKind.OK]
    with shelf.database.writing() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert known([_digest("rex")]) == [OutcomeKind.OK]
    assert known([_digest("rex")]) == [OutcomeKind.OK]
    known.close()
    assert not caplog.records


def test_a_fault_reaches_who_asked_and_spoils_nothing(sqlite: Database) -> None:
    shelf = _shelf(sqlite)
    known = KnownContents(shelf.database, shelf.model.id)
    with pytest.raises(StatementError):
        known([object()])  # type: ignore[list-item]
    assert known([_digest("rex")]) == [None]
    known.close()
