"""Requests: what is still to be added to runs, by whoever comes.

A row each, deleted when all of it is added. One whose filler dies is free for another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from tagger.store import runs
from tagger.store.schema import RequestRow, RunRow
from tagger.store.session import locked, now


@dataclass(frozen=True, slots=True)
class Request:
    """What is still to be added to a run: a body that :mod:`tagger.library.filling` understands.

    ``attempts`` counts how often that was begun, this time included.
    """

    id: int
    run_id: int
    body: str
    attempts: int


def add(connection: Connection, run_id: int, body: str, lease_id: int | None = None) -> int:
    """Note what is to be added to a run, by the holder of the lease, or by whoever comes; its id."""
    return connection.execute(
        insert(RequestRow)
        .values(run_id=run_id, body=body, lease_id=lease_id, attempts=0 if lease_id is None else 1)
        .returning(RequestRow.id)
    ).scalar_one()


def _waiting(connection: Connection) -> ColumnElement[bool]:
    due = or_(RequestRow.not_before.is_(None), RequestRow.not_before <= now(connection))
    return and_(RequestRow.lease_id.is_(None), due)


def are_waiting(connection: Connection) -> bool:
    """Whether there is a request that is due and that nobody sees to."""
    found = connection.execute(select(RequestRow.id).where(_waiting(connection)).limit(1)).first()
    return found is not None


def is_unfilled(connection: Connection, kind: runs.RunKind) -> bool:
    """Whether a run of this kind is still being filled, or waits for that."""
    found = connection.execute(
        select(RequestRow.id)
        .join(RunRow, RunRow.id == RequestRow.run_id)
        .where(RunRow.kind == kind.value)
        .limit(1)
    )
    return found.first() is not None


def take(connection: Connection, lease_id: int) -> Request | None:
    """Take a request that is due and that nobody sees to, of the most urgent the oldest; what somebody
    enqueued goes before what is looked for by a scan. The attempt is counted."""
    row = connection.execute(
        locked(
            connection,
            select(RequestRow.id, RequestRow.run_id, RequestRow.body, RequestRow.attempts)
            .join(RunRow, RunRow.id == RequestRow.run_id)
            .where(_waiting(connection))
            .order_by(RunRow.priority, RunRow.kind != runs.RunKind.ENQUEUE.value, RequestRow.id)
            .limit(1),
            of=RequestRow,
            skip=True,
        )
    ).first()
    if row is None:
        return None
    connection.execute(
        update(RequestRow)
        .where(RequestRow.id == row.id)
        .values(lease_id=lease_id, attempts=RequestRow.attempts + 1)
    )
    return Request(row.id, row.run_id, row.body, row.attempts + 1)


def put_off(connection: Connection, request_id: int, delay: timedelta) -> None:
    """Leave a request to whoever comes after a while."""
    connection.execute(
        update(RequestRow)
        .where(RequestRow.id == request_id)
        .values(lease_id=None, not_before=now(connection) + delay)
    )


def give_back(connection: Connection, request_id: int) -> None:
    """Leave a request to others at once: whoever had it was told to stop, so that it was no attempt."""
    connection.execute(
        update(RequestRow)
        .where(RequestRow.id == request_id)
        .values(lease_id=None, attempts=RequestRow.attempts - 1)
    )


def answered(connection: Connection, request_id: int, run_id: int, note: str | None = None) -> None:
    """Note that all that was asked for is added, and what could not be had."""
    connection.execute(delete(RequestRow).where(RequestRow.id == request_id))
    if note is not None:
        connection.execute(update(RunRow).where(RunRow.id == run_id).values(note=note))
    runs.close_finished(connection)
