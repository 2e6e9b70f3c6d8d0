"""Scheduled jobs: each due time is begun once, however many schedulers there are."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select

from tagger.store.bulk import insert_or_ignore
from tagger.store.schema import JobRow
from tagger.store.session import now

KEPT = timedelta(days=30)
"""How far back from its last due time it is remembered when a job was begun."""


def begin(connection: Connection, name: str, due_at: datetime) -> bool:
    """Note that the job which is due at that time is begun; False if somebody has begun it."""
    moment = now(connection)
    ours = connection.execute(
        insert_or_ignore(connection, JobRow)
        .values(name=name, due_at=due_at, began_at=moment)
        .returning(JobRow.name)
    ).first()
    connection.execute(delete(JobRow).where(JobRow.name == name, JobRow.due_at < due_at - KEPT))
    return ours is not None


def last_due(connection: Connection, name: str) -> datetime | None:
    """The last due time of the job that was begun."""
    return connection.execute(select(func.max(JobRow.due_at)).where(JobRow.name == name)).scalar()
