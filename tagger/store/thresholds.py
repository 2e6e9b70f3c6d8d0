"""From which confidence on a score counts as a tag: rows, which hold as soon as they are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select, text, update

from tagger.errors import ModelError
from tagger.store import catalog, counts
from tagger.store.catalog import Model
from tagger.store.schema import TagRow, ThresholdRow
from tagger.store.verdicts import IMPLIED
from tagger.values import Case


@dataclass(frozen=True, slots=True)
class Threshold:
    """That of a tag under a model version."""

    tag: str
    threshold: float


def listed(connection: Connection, model: Model) -> list[Threshold]:
    """All of a version, by tag."""
    rows = connection.execute(
        select(TagRow.name, ThresholdRow.threshold)
        .join(TagRow, TagRow.id == ThresholdRow.tag_id)
        .where(ThresholdRow.model_id == model.id)
        .order_by(TagRow.name)
    )
    return [Threshold(*row) for row in rows]


def change(connection: Connection, model: Model, thresholds: Mapping[str, float]) -> None:
    """Set those of some tags, in the caller's transaction; the tallies hold afterwards.

    Raises :class:`ModelError` for one below the model's floor (what is less was never kept), and for a tag
    that the model does not know.
    """
    floor = catalog.floor(connection, model)
    for tag, threshold in sorted(thresholds.items()):
        if not floor <= threshold <= 1:
            raise ModelError(
                f"the threshold of {tag} must be from {floor:g}, the floor of {model.name}, to 1: "
                f"{threshold:g} is not"
            )
        changed = connection.execute(
            update(ThresholdRow)
            .where(
                ThresholdRow.model_id == model.id,
                ThresholdRow.tag_id == select(TagRow.id).where(TagRow.name == tag).scalar_subquery(),
            )
            .values(threshold=threshold)
        )
        if not changed.rowcount:
            raise ModelError(f"{model.name} has no tag {tag}")
    counts.refresh(connection)


def cases(connection: Connection, model: Model) -> dict[str, list[Case]]:
    """By tag, all images of which people said whether it is right and which the model gave a score for it.

    A confirmed tag makes those above it right too, a rejected one those below it wrong.
    """
    found: dict[str, list[Case]] = defaultdict(list)
    for tag, confidence, right in connection.execute(_CASES, {"model": model.id}):
        found[tag].append(Case(confidence, bool(right)))
    return found


_CASES = text(f"""
    SELECT t.name, s.confidence, MIN(w.is_right)
    FROM ({IMPLIED}) w
    JOIN images i ON i.id = w.image_id
    JOIN tag_scores s ON s.content_id = i.content_id AND s.model_id = :model AND s.tag_id = w.tag_id
    JOIN tags t ON t.id = w.tag_id
    GROUP BY t.name, i.id, s.confidence""")
