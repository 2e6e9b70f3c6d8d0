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
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from tagger.store.catalog import GROUP, Scope, insert_or_ignore, within
from tagger.store.schema import (
    ImageRow,
    LeaseRow,
    TaggingRow,
)
from tagger.store.session import locked, now
from tagger.values import DEATHS, ImageRef, OutcomeKind

LEASE_SECONDS = 60.0
"""How long a lease lasts without renewal; a heartbeat renews it several times in that span."""

PASSING = (OutcomeKind.MISSING, OutcomeKind.DENIED, OutcomeKind.OUTSIDE, OutcomeKind.UNREADABLE)
"""Outcomes that speak of the file's place, not of its bytes: worth another look at each scan."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, told apart from an earlier one with the same number by its start (epoch seconds)."""

    host: str
    pid: int
    process_started: float


# -- wants ----------------------------------------------------------------------------------


def want(connection: Connection, model_id: int, image_ids: Sequence[int]) -> None:
    """Want these images from this model; those that are wanted already stay as they are."""
    if image_ids:
        connection.execute(
            insert_or_ignore(connection, TaggingRow),
            [{"image_id": image_id, "model_id": model_id} for image_id in image_ids],
        )


def want_again(
    connection: Connection,
    image_ids: Sequence[int],
    model_id: int | None = None,
    outcomes: Iterable[OutcomeKind] | None = None,
) -> int:
    """Make taggings pending again, for all models or one; how many that were.

    Those that are being worked on too (unless ``outcomes`` says which): what their worker has read
    is not what is wanted any more, and losing the lease it cannot write it.
    """
    if not image_ids:
        return 0
    where: list[ColumnElement[bool]] = [TaggingRow.image_id.in_(image_ids)]
    if model_id is not None:
        where.append(TaggingRow.model_id == model_id)
    if outcomes is not None:
        where.append(TaggingRow.outcome.in_([kind.value for kind in outcomes]))
    return connection.execute(
        update(TaggingRow)
        .where(*where)
        .values(
            outcome=None,
            reason=None,
            finished_at=None,
            attempts=0,
            deaths=0,
            not_before=None,
            lease_id=None,
        )
    ).rowcount


def pending(connection: Connection, model_id: int, scope: Scope) -> int:
    """How many images in ``scope`` still await an outcome from the model."""
    return connection.execute(
        select(func.count())
        .select_from(TaggingRow)
        .join(ImageRow, ImageRow.id == TaggingRow.image_id)
        .where(TaggingRow.model_id == model_id, TaggingRow.outcome.is_(None), within(scope))
    ).scalar_one()


def claimable(connection: Connection, model_id: int, scope: Scope) -> bool:
    """Whether anything in ``scope`` is pending that nobody holds."""
    return (
        connection.execute(
            select(TaggingRow.image_id)
            .join(ImageRow, ImageRow.id == TaggingRow.image_id)
            .where(_free(connection, model_id, scope))
            .limit(1)
        ).first()
        is not None
    )


# -- leases and claims ----------------------------------------------------------------------


def open_lease(connection: Connection, owner: Owner) -> int:
    """A new lease for a process; its id is the fencing token."""
    return connection.execute(
        insert(LeaseRow)
        .values(
            host=owner.host,
            pid=owner.pid,
            process_started=owner.process_started,
            expires_at=now(connection) + timedelta(seconds=LEASE_SECONDS),
        )
        .returning(LeaseRow.id)
    ).scalar_one()


def renew_lease(connection: Connection, lease_id: int) -> bool:
    """Push the lease's end away; False when it was taken back in the meantime."""
    until = now(connection) + timedelta(seconds=LEASE_SECONDS)
    done = connection.execute(update(LeaseRow).where(LeaseRow.id == lease_id).values(expires_at=until))
    return done.rowcount == 1


def hand_back(connection: Connection, lease_id: int) -> None:
    """End the lease in good order: what it still holds was never begun, so it was no attempt."""
    connection.execute(
        update(TaggingRow).where(TaggingRow.lease_id == lease_id).values(attempts=TaggingRow.attempts - 1)
    )
    close_lease(connection, lease_id)


def close_lease(connection: Connection, lease_id: int) -> None:
    """Take the lease back from an owner that died: all that it holds is free, the attempt counted.

    If that is a single image, then the owner had nothing else in hand when it died.
    """
    held = connection.execute(
        select(func.count()).select_from(TaggingRow).where(TaggingRow.lease_id == lease_id)
    ).scalar_one()
    connection.execute(
        update(TaggingRow)
        .where(TaggingRow.lease_id == lease_id)
        .values(lease_id=None, deaths=TaggingRow.deaths + (1 if held == 1 else 0))
    )
    connection.execute(delete(LeaseRow).where(LeaseRow.id == lease_id))


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
            TaggingRow.outcome.is_(None), TaggingRow.lease_id.is_(None), TaggingRow.deaths >= DEATHS
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
        within(scope),
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
    attempts: int | None = connection.execute(
        select(func.min(TaggingRow.attempts)).join(ImageRow, ImageRow.id == TaggingRow.image_id).where(free)
    ).scalar_one()
    if attempts is None:
        return []
    alike = and_(free, TaggingRow.attempts == attempts)
    return _claim(connection, model_id, lease_id, alike, max(1, limit >> attempts))


def _claim(
    connection: Connection, model_id: int, lease_id: int, which: ColumnElement[bool], limit: int
) -> list[ImageRef]:
    rows = connection.execute(
        locked(
            connection,
            select(ImageRow.id, ImageRow.uri, ImageRow.size, ImageRow.mtime_ns, TaggingRow.deaths)
            .join(TaggingRow, TaggingRow.image_id == ImageRow.id)
            .where(which)
            .order_by(TaggingRow.image_id)
            .limit(limit),
            of=TaggingRow,
            skip=True,
        )
    ).all()
    for start in range(0, len(rows), GROUP):
        connection.execute(
            update(TaggingRow)
            .where(
                TaggingRow.model_id == model_id,
                TaggingRow.image_id.in_([row.id for row in rows[start : start + GROUP]]),
            )
            .values(lease_id=lease_id, attempts=TaggingRow.attempts + 1)
        )
    return [ImageRef(row.id, row.uri, row.size, row.mtime_ns, row.deaths) for row in rows]
