"""Which images are sent to workers next, and in which chunks.

What is sent is marked by ``not_before``: for so long it is not sent again, whatever has become of
the message. A message that was lost costs that time; one that comes twice, or too late, finds
nothing to claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute

from tagger.store.catalog import GROUP
from tagger.store.runs import Priority, RunKind, RunState
from tagger.store.schema import ModelRow, RunRow, TaggingRow
from tagger.store.session import locked, now

SENT_SECONDS = 30.0
"""How long what is sent is left to its message: longer than it waits in a queue that is kept short."""

SUSPECTS = 256
"""Suspects of one death are sent in chunks of half as many, those of two in quarters, and so on."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one message asks for: images wanted by one run from one model version, by its name."""

    run_id: int
    model: str
    image_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Due:
    image_id: int
    model: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Sendable:
    """A run that may be sent, with about so many images ``left``."""

    id: int
    left: int


def sendable(connection: Connection, *, bulk: bool) -> list[Sendable]:
    """The runs of which something is to be sent now, the most urgent first; bulk ones only in their
    hours. There may be thousands that wait: they are passed over in one question."""
    where: list[ColumnElement[bool]] = [
        or_(_has_any(TaggingRow.not_before.is_(None)), _has_any(TaggingRow.not_before <= now(connection))),
        RunRow.finished_at.is_(None),
        RunRow.state == RunState.RUNNING.value,
        RunRow.kind != RunKind.TAG.value,
    ]
    if not bulk:
        where.append(RunRow.priority < Priority.BULK.value)
    rows = connection.execute(
        select(RunRow.id, RunRow.total - RunRow.done).where(*where).order_by(RunRow.priority, RunRow.id)
    )
    return [Sendable(*row) for row in rows]


def _has_any(when: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the run wants an image for which this holds, and which nobody has in hand."""
    # In the order of the index, one row: as an EXISTS it might be read for all runs at once, by PostgreSQL.
    first = (
        select(TaggingRow.image_id)
        .where(
            TaggingRow.run_id == RunRow.id, TaggingRow.outcome.is_(None), TaggingRow.lease_id.is_(None), when
        )
        .order_by(TaggingRow.not_before, TaggingRow.image_id)
        .limit(1)
        .scalar_subquery()
    )
    return first.is_not(None)


def take(connection: Connection, run_id: int, size: int, most: int) -> list[Chunk]:
    """Up to ``most`` chunks of up to ``size`` images that the run still wants, marked as sent.

    What was never sent comes first, in the order of ids; then what is due again, in chunks that are
    the smaller the more often its worker died.
    """
    chunks = _chunks(run_id, _never_sent(connection, run_id, size * most), size)
    if len(chunks) < most:
        again = _due_again(connection, run_id, size * (most - len(chunks)))
        for attempts, group in groupby(again, key=lambda due: due.attempts):
            alike = list(group)
            # Halves at least of what one claim may have held: it may have held fewer than usual.
            half = max(1, min(SUSPECTS >> attempts, -(-len(alike) // 2)))
            chunks += _chunks(run_id, alike, min(size, half) if attempts else size)
    _mark(connection, chunks[:most])
    return chunks[:most]


def _chunks(run_id: int, due: Sequence[_Due], size: int) -> list[Chunk]:
    found = []
    for model in dict.fromkeys(one.model for one in due):
        ids = [one.image_id for one in due if one.model == model]
        found += [
            Chunk(run_id, model, tuple(ids[start : start + size])) for start in range(0, len(ids), size)
        ]
    return found


def _never_sent(connection: Connection, run_id: int, limit: int) -> list[_Due]:
    # Ordered by what is null, too: so it is the order of the index, which PostgreSQL sees no other way.
    order = [TaggingRow.not_before, TaggingRow.image_id]
    return _select(connection, run_id, TaggingRow.not_before.is_(None), order, limit)


def _due_again(connection: Connection, run_id: int, limit: int) -> list[_Due]:
    """Sent in vain, put off, or freed by a death: alike ones together, those that died least first."""
    due = _select(
        connection,
        run_id,
        TaggingRow.not_before <= now(connection),
        [TaggingRow.not_before, TaggingRow.image_id],
        limit,
    )
    return sorted(due, key=lambda one: (one.attempts, one.image_id))


def _select(
    connection: Connection,
    run_id: int,
    when: ColumnElement[bool],
    order: Sequence[InstrumentedAttribute[Any]],
    limit: int,
) -> list[_Due]:
    free = and_(
        TaggingRow.run_id == run_id, TaggingRow.outcome.is_(None), TaggingRow.lease_id.is_(None), when
    )
    rows = connection.execute(
        locked(
            connection,
            select(TaggingRow.image_id, ModelRow.name, TaggingRow.attempts)
            .join(ModelRow, ModelRow.id == TaggingRow.model_id)
            .where(free)
            .order_by(*order)
            .limit(limit),
            of=TaggingRow,
            skip=True,
        )
    )
    return [_Due(*row) for row in rows]


def _mark(connection: Connection, chunks: Sequence[Chunk]) -> None:
    until = now(connection) + timedelta(seconds=SENT_SECONDS)
    for chunk in chunks:
        _send_not_before(connection, chunk, until)


def unsend(connection: Connection, chunk: Chunk) -> None:
    """The chunk is not worked on after all: what nobody has begun of it is due at once."""
    # What is put off, or has ended a process, has its own time.
    unbegun = and_(TaggingRow.lease_id.is_(None), TaggingRow.outcome.is_(None), TaggingRow.attempts == 0)
    _send_not_before(connection, chunk, now(connection), unbegun)


def _send_not_before(
    connection: Connection, chunk: Chunk, moment: datetime, *where: ColumnElement[bool]
) -> None:
    model_id = select(ModelRow.id).where(ModelRow.name == chunk.model).scalar_subquery()
    for start in range(0, len(chunk.image_ids), GROUP):
        connection.execute(
            update(TaggingRow)
            .where(
                TaggingRow.model_id == model_id,
                TaggingRow.image_id.in_(chunk.image_ids[start : start + GROUP]),
                *where,
            )
            .values(not_before=moment)
        )
