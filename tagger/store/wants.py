"""What is known and might be wanted again: found by id, some hundreds at a time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from tagger.store import counts, ledger
from tagger.store.catalog import GROUP, Scope, lies_within, within
from tagger.store.schema import ImageRow, TaggingRow
from tagger.values import OutcomeKind


def missing(connection: Connection, model_id: int, scope: Scope, after: int) -> list[int]:
    """Present images of which nothing is known from the model, nor is anybody seeing to it."""
    lacking = or_(
        TaggingRow.image_id.is_(None),
        and_(TaggingRow.outcome.is_(None), TaggingRow.run_id.is_(None), TaggingRow.lease_id.is_(None)),
    )
    return list(
        connection.execute(
            select(ImageRow.id)
            .outerjoin(TaggingRow, and_(TaggingRow.image_id == ImageRow.id, TaggingRow.model_id == model_id))
            .where(ImageRow.id > after, ImageRow.vanished_at.is_(None), lacking, within(scope))
            .order_by(ImageRow.id)
            .limit(GROUP)
        ).scalars()
    )


def ended_so(
    connection: Connection, model_id: int, scope: Scope, outcomes: Sequence[OutcomeKind], after: int
) -> list[int]:
    """Present images whose outcome from the model is one of these."""
    return list(
        connection.execute(
            select(TaggingRow.image_id)
            .where(
                TaggingRow.model_id == model_id,
                TaggingRow.outcome.in_([kind.value for kind in outcomes]),
                TaggingRow.image_id > after,
                lies_within(TaggingRow.image_id, scope, ImageRow.vanished_at.is_(None)),
            )
            .order_by(TaggingRow.image_id)
            .limit(GROUP)
        ).scalars()
    )


def finished(connection: Connection, model_id: int) -> int:
    """Present images that have an outcome from the model."""
    return _present(connection, model_id, TaggingRow.outcome.is_not(None))


def unfinished(connection: Connection, model_id: int) -> int:
    """Present images that are wanted from the model and have no outcome yet."""
    return _present(connection, model_id, TaggingRow.outcome.is_(None))


def _present(connection: Connection, model_id: int, which: ColumnElement[bool]) -> int:
    return connection.execute(
        select(func.count())
        .select_from(TaggingRow)
        .join(ImageRow, ImageRow.id == TaggingRow.image_id)
        .where(TaggingRow.model_id == model_id, which, ImageRow.vanished_at.is_(None))
    ).scalar_one()


def vanished_so(connection: Connection, model_id: int, outcomes: Sequence[OutcomeKind]) -> int:
    """How many images with such an outcome have vanished."""
    return connection.execute(
        select(func.count())
        .select_from(TaggingRow)
        .join(ImageRow, ImageRow.id == TaggingRow.image_id)
        .where(
            TaggingRow.model_id == model_id,
            TaggingRow.outcome.in_([kind.value for kind in outcomes]),
            ImageRow.vanished_at.is_not(None),
        )
    ).scalar_one()


def want_for(connection: Connection, model_id: int, image_ids: Sequence[int], run_id: int) -> None:
    """Want these for a run."""
    counts.guard(connection)
    ledger.want(connection, model_id, image_ids, run_id)


def want_again_for(
    connection: Connection,
    model_id: int,
    image_ids: Sequence[int],
    outcomes: Sequence[OutcomeKind],
    run_id: int,
) -> None:
    """Make those of them that ended so pending again, for a run."""
    counts.guard(connection)
    ledger.want_again(connection, image_ids, model_id, outcomes, run_id)
