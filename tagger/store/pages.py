"""Lists a page at a time: each begins behind the last row of the page before, found by an index and never by
counting rows, so that nothing is seen twice or left out though others write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select, text

from tagger.store import catalog, queries
from tagger.store.catalog import under
from tagger.store.queries import Failure, Spoken, TagUse
from tagger.store.runs import Run
from tagger.store.schema import AliasRow, ContentRow, ImageRow, ModelRow, TaggingRow, TagRow, VerdictRow
from tagger.values import OutcomeKind

PENDING = "pending"
"""The outcome of what has none."""


@dataclass(frozen=True, slots=True)
class Which:
    """The images of a list: at or beneath ``prefixes`` (everywhere, if there are none), of one ``outcome``
    under the live model, those that have ``vanished`` too."""

    prefixes: Sequence[str] = ()
    outcome: str | None = None
    vanished: bool = False

    @property
    def is_common(self) -> bool:
        """Whether most images are such: then they are walked by their ids, where an index of outcomes would
        have them all sorted first."""
        return self.outcome in (None, OutcomeKind.OK)


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image with its facts; ``outcome`` is that under the live model, None if it is not wanted."""

    image_id: int
    uri: str
    size: int | None
    width: int | None
    height: int | None
    format: str | None
    taken_at: str | None
    vanished_at: datetime | None
    outcome: str | None


def images(connection: Connection, which: Which, after: int, limit: int) -> list[ListedImage]:
    """Those with ids after one, in their order."""
    # Of several vocabularies the oldest one's version speaks, from which every image is wanted as a rule.
    live = select(ModelRow.id).where(ModelRow.live).order_by(ModelRow.id).limit(1)
    model_id = connection.execute(live).scalar()
    tagging = and_(TaggingRow.image_id == ImageRow.id, TaggingRow.model_id == model_id)
    rows = connection.execute(
        select(
            ImageRow.id,
            ImageRow.uri,
            ImageRow.size,
            ContentRow.width,
            ContentRow.height,
            ContentRow.format,
            ContentRow.taken_at,
            ImageRow.vanished_at,
            case((TaggingRow.image_id.is_not(None), func.coalesce(TaggingRow.outcome, PENDING))),
        )
        .join(TaggingRow, tagging, isouter=which.is_common)
        .outerjoin(ContentRow, ContentRow.id == ImageRow.content_id)
        .where(ImageRow.id > after, *_conditions(which))
        .order_by(ImageRow.id)
        .limit(limit)
    )
    return [ListedImage(*row) for row in rows]


def _conditions(which: Which) -> Iterator[ColumnElement[bool]]:
    if which.prefixes:
        yield under(which.prefixes)
    if not which.vanished:
        yield ImageRow.vanished_at.is_(None)
    if which.outcome == PENDING:
        yield TaggingRow.outcome.is_(None)
    elif which.outcome == OutcomeKind.OK:
        yield func.coalesce(TaggingRow.outcome, PENDING) == which.outcome
    elif which.outcome is not None:
        yield TaggingRow.outcome == which.outcome


@dataclass(frozen=True, slots=True)
class TagReport:
    """A tag: on how many images it is, what is above and below it, nearest first, and other words for it."""

    name: str
    images: int
    ancestors: tuple[str, ...]
    descendants: tuple[str, ...]
    aliases: tuple[str, ...]


def tags(connection: Connection, prefix: str, after: tuple[int, str] | None, limit: int) -> list[TagUse]:
    """The tags in use that begin with ``prefix``, the commonest first; behind one with so many images, and
    such a name."""
    behind = "AND (images < :images OR (images = :images AND tag > :tag)) " if after else ""
    images, tag = after or (0, "")
    rows = connection.execute(
        text(
            "SELECT tag, images FROM tag_counts WHERE SUBSTR(tag, 1, :letters) = :prefix "
            f"{behind}ORDER BY images DESC, tag LIMIT :limit"
        ),
        {"letters": len(prefix), "prefix": prefix, "limit": limit}
        | ({"images": images, "tag": tag} if after else {}),
    )
    return [TagUse(*row) for row in rows]


def tag(connection: Connection, name: str) -> TagReport | None:
    """All that is known of the tag that a word means; None if it means none."""
    found = catalog.resolve_tag(connection, name)
    if found is None:
        return None
    images = connection.execute(text("SELECT images FROM tag_counts WHERE tag = :tag"), {"tag": found})
    aliases = select(AliasRow.alias).join(TagRow, TagRow.id == AliasRow.tag_id).where(TagRow.name == found)
    return TagReport(
        name=found,
        images=images.scalar() or 0,
        ancestors=_kin(connection, "ancestor", "descendant", found),
        descendants=_kin(connection, "descendant", "ancestor", found),
        aliases=tuple(connection.execute(aliases.order_by(AliasRow.alias)).scalars()),
    )


def _kin(connection: Connection, side: str, other: str, name: str) -> tuple[str, ...]:
    rows = connection.execute(
        text(f"SELECT {side} FROM tag_closure WHERE {other} = :tag AND depth > 0 ORDER BY depth, {side}"),
        {"tag": name},
    )
    return tuple(rows.scalars())


def failures(
    connection: Connection, run: Run, outcome: str | None, after: tuple[datetime, int] | None, limit: int
) -> Sequence[Failure]:
    """What failed in a run, of one outcome or of all, the latest first; behind one that ended then, with such
    an id."""
    where = [queries.of_run(run)]
    if outcome is not None:
        where.append(TaggingRow.outcome == outcome)
    if after is not None:
        moment, image_id = after
        same = and_(TaggingRow.finished_at == moment, TaggingRow.image_id > image_id)
        where.append(or_(TaggingRow.finished_at < moment, same))
    return queries.last_failures(connection, limit, *where)


def verdicts(
    connection: Connection, tag_id: int | None, after: tuple[datetime, int, str] | None, limit: int
) -> list[Spoken]:
    """What people said, of one tag or of all, the latest first; behind what was said then, of that image and
    tag."""
    where = [] if tag_id is None else [VerdictRow.tag_id == tag_id]
    if after is not None:
        moment, image_id, tag = after
        same_image = and_(VerdictRow.image_id == image_id, TagRow.name > tag)
        same = and_(VerdictRow.decided_at == moment, or_(VerdictRow.image_id > image_id, same_image))
        where.append(or_(VerdictRow.decided_at < moment, same))
    return queries.spoken(connection, *where, limit=limit)
