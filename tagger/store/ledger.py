"""The ledger: which images are wanted from which model, and who works on them.

A *lease* is a living process's hold on its claims; its id is the fencing token. A *claim* takes
pending taggings for a lease and counts the attempt before the work begins. What came of them is
written by :mod:`tagger.store.outcomes`.

An image whose claim ended in death is a *suspect*: any of those in hand may have been the cause.
Suspects are claimed last, and in ever smaller claims, half of what they were in before, until the
one that kills is alone. So many deaths alone (:data:`tagger.values.DEATHS`), and it is *poison*: quarantined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from tagger.store import runs
from tagger.store.bulk import ask, driven, insert_or_ignore, is_sqlite
from tagger.store.catalog import Scope, lies_within
from tagger.store.schema import (
    ImageRow,
    LeaseRow,
    Moment,
    RunRow,
    TaggingRow,
)
from tagger.store.session import locked, now
from tagger.values import DEATHS, ImageRef, OutcomeKind

LEASE_SECONDS = 60.0
"""How long a lease lasts without renewal; a heartbeat renews it several times in that span."""

PASSING = (OutcomeKind.MISSING, OutcomeKind.DENIED, OutcomeKind.OUTSIDE, OutcomeKind.UNREADABLE)
"""Outcomes that speak of the file's place, not of its bytes: worth another look at each scan."""


class Role(StrEnum):
    """What the owner of a lease does."""

    TAG = "tag"
    WORKER = "worker"
    FILL = "fill"
    """Adds images to a run."""
    BEAT = "beat"
    """Looks after the whole; its lease holds nothing, and is a sign of life."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from an earlier one with the same number by its start (epoch seconds)."""

    host: str
    pid: int
    process_started: float


# -- wants ----------------------------------------------------------------------------------


def want(connection: Connection, model_id: int, image_ids: Sequence[int], run_id: int | None = None) -> None:
    """Want these images from this model; those that are wanted already stay as they are.

    With ``run_id`` they are that run's, and so are those that are pending for no run, or for one that
    is paused or less urgent, if somebody asks for just these. The caller is the only one who wants
    (:func:`tagger.store.counts.guard`).
    """
    if not image_ids:
        return
    adopted = 0 if run_id is None else _adopt(connection, model_id, image_ids, run_id)
    wanted = select(ImageRow.id, literal(model_id), literal(run_id, BigInteger)).where(
        ImageRow.id.in_(image_ids)
    )
    fresh = connection.execute(
        insert_or_ignore(connection, TaggingRow).from_select(["image_id", "model_id", "run_id"], wanted),
        execution_options={"preserve_rowcount": True},
    ).rowcount
    if run_id is not None:
        runs.grow(connection, run_id, fresh + adopted)


def _adopt(connection: Connection, model_id: int, image_ids: Sequence[int], run_id: int) -> int:
    """Take over what is pending for nobody, or for somebody who can wait longer."""
    urgency = select(RunRow.priority).where(RunRow.id == run_id).scalar_subquery()
    asked_for = select(RunRow.kind).where(RunRow.id == run_id).scalar_subquery()
    patient = select(RunRow.id).where(
        # What is found by a scan or the like may be paused, or wait for its hours, for a reason.
        asked_for == runs.RunKind.ENQUEUE.value,
        RunRow.id != run_id,
        RunRow.finished_at.is_(None),
        or_(RunRow.state == runs.RunState.PAUSED.value, RunRow.priority > urgency),
    )
    free = and_(
        TaggingRow.model_id == model_id,
        TaggingRow.image_id.in_(image_ids),
        TaggingRow.outcome.is_(None),
        or_(TaggingRow.run_id.is_(None), TaggingRow.run_id.in_(patient)),
    )
    for other, images in runs.pending_by_run(connection, free).items():
        runs.grow(connection, other, -images)
    return connection.execute(update(TaggingRow).where(free).values(run_id=run_id)).rowcount


def want_again(
    connection: Connection,
    image_ids: Sequence[int],
    model_id: int | None = None,
    outcomes: Iterable[OutcomeKind] | None = None,
    run_id: int | None = None,
) -> int:
    """Make taggings pending again, for all models or one; how many that were.

    Those that are being worked on too (unless ``outcomes`` says which): what their worker has read
    is not what is wanted any more, and losing the lease it cannot write it. What was finished is the
    run's from now on; what was pending stays with its own.
    """
    if not image_ids:
        return 0
    where: list[ColumnElement[bool]] = [TaggingRow.image_id.in_(image_ids)]
    if model_id is not None:
        where.append(TaggingRow.model_id == model_id)
    begun_again = 0
    if outcomes is None:
        begun_again = connection.execute(
            update(TaggingRow).where(*where, TaggingRow.outcome.is_(None)).values(_AS_NEW)
        ).rowcount
        finished = TaggingRow.outcome.is_not(None)
    else:
        finished = TaggingRow.outcome.in_([kind.value for kind in outcomes])
    # Tried again, the same bytes may come to the same; changed ones never come to what was.
    before = TaggingRow.outcome if outcomes is not None else None
    again = connection.execute(
        update(TaggingRow).where(*where, finished).values({**_AS_NEW, "run_id": run_id, "previous": before})
    ).rowcount
    if run_id is not None:
        runs.grow(connection, run_id, again)
    return begun_again + again


_AS_NEW: dict[str, Any] = {
    "outcome": None,
    "reason": None,
    "finished_at": None,
    "attempts": 0,
    "deaths": 0,
    "not_before": None,
    "lease_id": None,
    "previous": None,
}
"""A tagging that nobody has begun."""


def pending(connection: Connection, model_id: int, scope: Scope) -> int:
    """How many images in ``scope`` still await an outcome from the model."""
    return connection.execute(
        select(func.count())
        .select_from(TaggingRow)
        .where(
            TaggingRow.model_id == model_id,
            TaggingRow.outcome.is_(None),
            lies_within(TaggingRow.image_id, scope),
        )
    ).scalar_one()


def claimable(connection: Connection, model_id: int, scope: Scope) -> bool:
    """Whether anything in ``scope`` is pending that nobody holds."""
    return (
        connection.execute(
            select(TaggingRow.image_id).where(_free(connection, model_id, scope)).limit(1)
        ).first()
        is not None
    )


# -- leases and claims ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker tells of itself: images done in its life, and how many a second."""

    device: str | None = None
    images: int = 0
    rate: float | None = None
    note: str | None = None


def open_lease(connection: Connection, owner: Owner, role: Role = Role.TAG, name: str | None = None) -> int:
    """A new lease for a process; its id is the fencing token."""
    return connection.execute(
        insert(LeaseRow)
        .values(
            host=owner.host,
            pid=owner.pid,
            process_started=owner.process_started,
            expires_at=now(connection) + timedelta(seconds=LEASE_SECONDS),
            role=role.value,
            name=name,
        )
        .returning(LeaseRow.id)
    ).scalar_one()


def renew_lease(connection: Connection, lease_id: int, report: Report | None = None) -> bool:
    """Push the lease's end away; False when it was taken back in the meantime."""
    until = now(connection) + timedelta(seconds=LEASE_SECONDS)
    told = asdict(report) if report is not None else {}
    done = connection.execute(
        update(LeaseRow).where(LeaseRow.id == lease_id).values(expires_at=until, **told)
    )
    return done.rowcount == 1


def let_go(connection: Connection, lease_id: int) -> int:
    """Give back what the lease still holds, which was never begun, so that it was no attempt."""
    suspect_now = case((TaggingRow.attempts > 1, literal(now(connection), Moment)), else_=None)
    return connection.execute(
        update(TaggingRow)
        .where(TaggingRow.lease_id == lease_id)
        .values(lease_id=None, not_before=suspect_now, attempts=TaggingRow.attempts - 1)
    ).rowcount


def hand_back(connection: Connection, lease_id: int) -> None:
    """End the lease in good order."""
    let_go(connection, lease_id)
    connection.execute(delete(LeaseRow).where(LeaseRow.id == lease_id))


def close_lease(connection: Connection, lease_id: int) -> None:
    """Take the lease back from an owner that died: all that it holds is free, the attempt counted.

    If that is a single image, then the owner had nothing else in hand when it died. What was tried
    before waits a while (:func:`back_off`).
    """
    held = dict(
        connection.execute(
            select(TaggingRow.attempts, func.count())
            .where(TaggingRow.lease_id == lease_id)
            .group_by(TaggingRow.attempts)
        ).all()
    )
    alone = sum(held.values()) == 1
    moment = now(connection)
    for attempts in held:
        connection.execute(
            update(TaggingRow)
            .where(TaggingRow.lease_id == lease_id, TaggingRow.attempts == attempts)
            .values(
                lease_id=None,
                not_before=moment + back_off(attempts),
                deaths=TaggingRow.deaths + (1 if alone else 0),
            )
        )
    connection.execute(delete(LeaseRow).where(LeaseRow.id == lease_id))


def back_off(attempts: int) -> timedelta:
    """How long to wait after so many attempts: not at all after the first, then longer, to a limit.

    The limit is short, since finding one killer among some hundreds takes ten attempts.
    """
    return timedelta(seconds=0 if attempts <= 1 else min(2.5 * 2 ** (attempts - 1), 10.0))


def put_off(
    connection: Connection, lease_id: int, image_ids: Sequence[int], delay: timedelta, *, counted: bool = True
) -> None:
    """Give these back, to be tried again after a while; if ``counted``, it was an attempt."""
    connection.execute(
        update(TaggingRow)
        .where(TaggingRow.lease_id == lease_id, TaggingRow.image_id.in_(image_ids))
        .values(
            lease_id=None,
            not_before=now(connection) + delay,
            attempts=TaggingRow.attempts - (0 if counted else 1),
        )
    )


@dataclass(frozen=True, slots=True)
class Worker:
    """A living worker, by its lease; ``held`` images are in its hands."""

    lease_id: int
    name: str
    host: str
    pid: int
    device: str | None
    images: int
    rate: float | None
    held: int
    note: str | None


def workers(connection: Connection) -> list[Worker]:
    """The workers that gave a sign of life in time."""
    held = (
        select(func.count())
        .select_from(TaggingRow)
        .where(TaggingRow.lease_id == LeaseRow.id)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(
            LeaseRow.id,
            func.coalesce(LeaseRow.name, LeaseRow.host),
            LeaseRow.host,
            LeaseRow.pid,
            LeaseRow.device,
            LeaseRow.images,
            LeaseRow.rate,
            held,
            LeaseRow.note,
        )
        .where(LeaseRow.role == Role.WORKER.value, LeaseRow.expires_at >= now(connection))
        .order_by(LeaseRow.id)
    )
    return [Worker(*row) for row in rows]


def beats(connection: Connection) -> list[str]:
    """The names of those that look after the whole and gave a sign of life in time."""
    rows = connection.execute(
        select(func.coalesce(LeaseRow.name, LeaseRow.host))
        .where(LeaseRow.role == Role.BEAT.value, LeaseRow.expires_at >= now(connection))
        .order_by(LeaseRow.id)
    )
    return list(rows.scalars())


def note_death(connection: Connection, lease_id: int, image_id: int) -> None:
    """A process died with this image alone in hand, and the lease's owner is about to try again."""
    connection.execute(
        update(TaggingRow)
        .where(TaggingRow.lease_id == lease_id, TaggingRow.image_id == image_id)
        .values(deaths=TaggingRow.deaths + 1, attempts=TaggingRow.attempts + 1)
    )


def poison(connection: Connection) -> list[tuple[int, int]]:
    """(model, image) of what is pending, held by nobody, and has died alone too often."""
    rows = connection.execute(
        select(TaggingRow.model_id, TaggingRow.image_id).where(
            TaggingRow.outcome.is_(None),
            TaggingRow.lease_id.is_(None),
            TaggingRow.deaths >= DEATHS,
            text("taggings.deaths > 0"),  # as the index says it, so that SQLite uses it too
        )
    )
    return [(row.model_id, row.image_id) for row in rows]


def leases(connection: Connection) -> list[tuple[int, Owner]]:
    """Every lease there is, with its owner."""
    rows = connection.execute(select(LeaseRow.id, LeaseRow.host, LeaseRow.pid, LeaseRow.process_started))
    return [(row.id, Owner(row.host, row.pid, row.process_started)) for row in rows]


def expired_leases(connection: Connection) -> list[int]:
    """Leases whose owners gave no sign of life in time."""
    return list(
        connection.execute(select(LeaseRow.id).where(LeaseRow.expires_at < now(connection))).scalars()
    )


def _free(connection: Connection, model_id: int, scope: Scope) -> ColumnElement[bool]:
    """Pending, due, in the scope, and held by nobody."""
    due = or_(TaggingRow.not_before.is_(None), TaggingRow.not_before <= now(connection))
    return and_(
        TaggingRow.model_id == model_id,
        TaggingRow.outcome.is_(None),
        TaggingRow.lease_id.is_(None),
        due,
        lies_within(TaggingRow.image_id, scope),
    )


def claim(connection: Connection, model_id: int, lease_id: int, scope: Scope, limit: int) -> list[ImageRef]:
    """Take up to ``limit`` pending images in ``scope`` that were never begun, in the order of their ids.

    The attempt is counted here, before the work: what kills its worker has been counted.
    """
    fresh = and_(_free(connection, model_id, scope), TaggingRow.attempts == 0)
    return _claim(connection, model_id, lease_id, fresh, limit)


def claim_suspects(
    connection: Connection, model_id: int, lease_id: int, scope: Scope, limit: int
) -> list[ImageRef]:
    """Take suspects that died equally often, together: up to ``limit``, halved for each death.

    The caller is to finish with them before it claims more, so that another death tells more.
    """
    free = _free(connection, model_id, scope)
    attempts: int | None = connection.execute(select(func.min(TaggingRow.attempts)).where(free)).scalar_one()
    if attempts is None:
        return []
    alike = and_(free, TaggingRow.attempts == attempts)
    return _claim(connection, model_id, lease_id, alike, max(1, limit >> attempts))


def claim_these(
    connection: Connection, model_id: int, lease_id: int, image_ids: Sequence[int]
) -> list[ImageRef]:
    """Take those of ``image_ids`` that are pending, held by nobody, and not of a run that is paused.

    They may be claimed though they are sent already, or put off: whoever names them was sent.
    """
    resting = select(RunRow.id).where(
        RunRow.finished_at.is_(None), RunRow.state == runs.RunState.PAUSED.value
    )
    free = and_(
        TaggingRow.model_id == model_id,
        TaggingRow.image_id.in_(image_ids),
        TaggingRow.outcome.is_(None),
        TaggingRow.lease_id.is_(None),
        or_(TaggingRow.run_id.is_(None), TaggingRow.run_id.not_in(resting)),
    )
    return _claim(connection, model_id, lease_id, free, len(image_ids))


def _claim(
    connection: Connection, model_id: int, lease_id: int, which: ColumnElement[bool], limit: int
) -> list[ImageRef]:
    rows = connection.execute(
        locked(
            connection,
            select(TaggingRow.image_id, TaggingRow.deaths, TaggingRow.attempts)
            .where(which)
            .order_by(TaggingRow.image_id)
            .limit(limit),
            of=TaggingRow,
            skip=True,
        )
    ).all()
    if not rows:
        return []
    taken = [row[0] for row in rows]
    connection.exec_driver_sql(*driven(is_sqlite(connection), _TAKE, lease_id, model_id, among=taken))
    tries = {image_id: (deaths, attempts + 1) for image_id, deaths, attempts in rows}
    return [
        ImageRef(image_id, uri, size, mtime_ns, *tries[image_id])
        for image_id, uri, size, mtime_ns in ask(connection, _FILES, among=taken)
    ]


_FILES = "SELECT id, uri, size, mtime_ns FROM images WHERE id {among} ORDER BY id"

_TAKE = """
    UPDATE taggings SET lease_id = {mark}, attempts = attempts + 1
    WHERE model_id + 0 = {mark} AND image_id {among}"""
"""By images alone, and not through all that a model has, whatever PostgreSQL believes of a young table."""
