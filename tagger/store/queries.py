"""What the command line asks of the store: reads only, over the contract's own views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Text,
    and_,
    bindparam,
    func,
    select,
    text,
    true,
)

from tagger.store.catalog import Model, Scope, lies_within, under
from tagger.store.ledger import PASSING, Worker, beats, workers
from tagger.store.runs import Run, RunKind, find_run, last_runs
from tagger.store.schema import ContentRow, ImageRow, ModelRow, RunRow, TaggingRow, TagRow, VerdictRow
from tagger.values import ImageRef, OutcomeKind


@dataclass(frozen=True, slots=True)
class Hit:
    """A tag that holds for a photo."""

    image_id: int
    uri: str
    tag: str
    confidence: float
    source: str
    model: str | None


@dataclass(frozen=True, slots=True)
class TagUse:
    """A tag, on how many present images it is effective."""

    tag: str
    images: int


@dataclass(frozen=True, slots=True)
class Status:
    """What came of a wanted pair of image and model."""

    model: str
    live: bool
    outcome: str
    reason: str | None
    attempts: int
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a person said: ``confirm`` or ``reject`` of a tag on an image."""

    image_id: int
    uri: str
    tag: str
    verdict: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class OwnWord:
    """A class that a model gave an image, by its key and its name."""

    model: str
    key: str
    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class ImageReport:
    """All that the store knows of one image."""

    image_id: int
    uri: str
    size: int | None
    width: int | None
    height: int | None
    format: str | None
    taken_at: str | None
    latitude: float | None
    longitude: float | None
    vanished: bool
    statuses: tuple[Status, ...]
    tags: tuple[Hit, ...]
    labels: tuple[OwnWord, ...]
    """Of the live models, one after the other, best first."""
    verdicts: tuple[Spoken, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be tagged, and why."""

    image_id: int
    uri: str
    outcome: str
    reason: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """The library at a glance. ``outcomes`` counts present images by (model, outcome)."""

    present: int
    vanished: int
    outcomes: tuple[tuple[str, bool, str, int], ...]
    failures: tuple[Failure, ...]
    runs: tuple[Run, ...]
    workers: tuple[Worker, ...]
    beats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run, what its images came to, and the last of those that failed.

    ``tagged`` is what it counted as it went, ``ok`` and ``empty`` together. A failure that a later run
    tried again is that one's.
    """

    run: Run
    outcomes: tuple[tuple[str, int], ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class TagChange:
    """How one tag fares under another version: on so many images it is gained, lost, or more or less sure;
    ``shift`` is the mean change of those, in confidence."""

    tag: str
    gained: int
    lost: int
    shifted: int
    shift: float


@dataclass(frozen=True, slots=True)
class Changed:
    """One image on which a tag is gained, lost or shifted; a confidence is None below the floor."""

    uri: str
    tag: str
    change: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class ModelDiff:
    """What changes from one version to another, over the ``images`` that both have finished."""

    images: int
    tags: tuple[TagChange, ...]
    examples: tuple[Changed, ...]


def diff(connection: Connection, before: Model, after: Model, examples: int) -> ModelDiff:
    """Every tag that changes, the most changed first; and so many ``examples`` of each kind of change, the
    greatest first."""
    pair = {"before": before.name, "after": after.name}
    return ModelDiff(
        images=connection.execute(_BOTH, {"before": before.id, "after": after.id}).scalar_one(),
        tags=tuple(TagChange(*row) for row in connection.execute(_CHANGES, pair)),
        examples=tuple(
            Changed(*row)
            for change in ("gained", "lost", "shifted")
            for row in connection.execute(_EXAMPLES, pair | {"change": change, "most": examples})
        ),
    )


_BOTH = text(
    "SELECT COUNT(*) FROM taggings a JOIN taggings b ON b.image_id = a.image_id AND b.model_id = :after "
    "JOIN images i ON i.id = a.image_id WHERE a.model_id = :before AND i.vanished_at IS NULL "
    "AND a.outcome IN ('ok', 'empty') AND b.outcome IN ('ok', 'empty')"
)
_OF_PAIR = "FROM tag_diff WHERE from_model = :before AND to_model = :after"
_CHANGES = text(
    "SELECT d.* FROM (SELECT tag, SUM(CASE change WHEN 'gained' THEN 1 ELSE 0 END) AS gained, "
    "SUM(CASE change WHEN 'lost' THEN 1 ELSE 0 END) AS lost, "
    "SUM(CASE change WHEN 'shifted' THEN 1 ELSE 0 END) AS shifted, "
    "COALESCE(AVG(CASE change WHEN 'shifted' THEN to_confidence - from_confidence END), 0) AS shift "
    f"{_OF_PAIR} GROUP BY tag) d ORDER BY gained + lost DESC, shifted DESC, tag"
).columns(tag=Text, gained=BigInteger, lost=BigInteger, shifted=BigInteger, shift=Double)
_EXAMPLES = text(
    f"SELECT uri, tag, change, from_confidence, to_confidence {_OF_PAIR} AND change = :change "
    "ORDER BY ABS(COALESCE(to_confidence, 0) - COALESCE(from_confidence, 0)) DESC, uri, tag LIMIT :most"
)


def tags(connection: Connection) -> list[TagUse]:
    """Every tag in use, the commonest first."""
    rows = connection.execute(text("SELECT tag, images FROM tag_counts ORDER BY images DESC, tag"))
    return [TagUse(*row) for row in rows]


def effective_tags(connection: Connection, image_ids: Sequence[int]) -> dict[int, tuple[Hit, ...]]:
    """What holds for each of these images, surest first."""
    found: dict[int, list[Hit]] = {image_id: [] for image_id in image_ids}
    rows = connection.execute(
        text(
            "SELECT image_id, uri, tag, confidence, source, model FROM effective_tags "
            "WHERE image_id IN :ids ORDER BY confidence DESC, tag"
        ).bindparams(bindparam("ids", expanding=True)),
        {"ids": list(image_ids)},
    )
    for row in rows:
        found[row.image_id].append(Hit(*row))
    return {image_id: tuple(hits) for image_id, hits in found.items()}


def parents(connection: Connection, tags: Sequence[str]) -> dict[str, str]:
    """For each of some tags that stands below others of them the nearest of these."""
    rows = connection.execute(
        text(
            "SELECT descendant, ancestor FROM tag_closure WHERE descendant IN :tags AND ancestor IN :tags "
            "AND depth > 0 ORDER BY depth DESC, ancestor DESC"
        ).bindparams(bindparam("tags", expanding=True)),
        {"tags": list(tags) or [""]},
    )
    return {below: above for below, above in rows}  # noqa: C416 -- the nearest comes last, and stays


def reference(connection: Connection, image_id: int) -> tuple[ImageRef, bytes | None] | None:
    """Where an image is, and the digest of its content if it is known; None for no image."""
    row = connection.execute(
        select(ImageRow.uri, ImageRow.size, ContentRow.digest)
        .outerjoin(ContentRow, ContentRow.id == ImageRow.content_id)
        .where(ImageRow.id == image_id)
    ).first()
    return None if row is None else (ImageRef(image_id, row.uri, row.size), row.digest)


def places_of_tag_runs(connection: Connection) -> list[str]:
    """What the URIs of the images of all ``tag`` runs begin with."""
    rows = connection.execute(select(RunRow.places).where(RunRow.kind == RunKind.TAG.value).distinct())
    return sorted({prefix for places in rows.scalars() for prefix in places.split("\n")})


def specificity(connection: Connection) -> dict[str, int]:
    """How many tags stand above each tag, itself included: the more, the more it says."""
    rows = connection.execute(text("SELECT descendant, COUNT(*) FROM tag_closure GROUP BY descendant"))
    return {tag: above for tag, above in rows}  # noqa: C416 -- dict() would take the result for a mapping


def find_images(connection: Connection, uri: str | None, ending: str, limit: int) -> list[tuple[int, str]]:
    """Images at exactly ``uri``; else those whose URI ends in ``/ending``, present ones first."""
    if uri is not None:
        exact = connection.execute(select(ImageRow.id, ImageRow.uri).where(ImageRow.uri == uri)).all()
        if exact:
            return [(row.id, row.uri) for row in exact]
    rows = connection.execute(
        select(ImageRow.id, ImageRow.uri)
        # Not LIKE, for which upper and lower case are one on SQLite.
        .where(_last(connection, len(ending) + 1) == f"/{ending}")
        .order_by(ImageRow.vanished_at.is_not(None), ImageRow.id)
        .limit(limit)
    )
    return [(row.id, row.uri) for row in rows]


def _last(connection: Connection, letters: int) -> ColumnElement[str]:
    """The end of a URI."""
    if connection.dialect.name == "sqlite":
        return func.substr(ImageRow.uri, -letters)
    return func.right(ImageRow.uri, letters)


def images_under(
    connection: Connection, prefixes: Sequence[str], limit: int
) -> list[tuple[int, str, str | None]]:
    """The first present images there, by URI: id, URI, and the outcome under a live model."""
    outcome = (
        select(func.coalesce(TaggingRow.outcome, "pending"))
        .join(ModelRow, and_(ModelRow.id == TaggingRow.model_id, ModelRow.live))
        .where(TaggingRow.image_id == ImageRow.id)
        .order_by(ModelRow.id)
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(ImageRow.id, ImageRow.uri, outcome)
        .where(under(prefixes), ImageRow.vanished_at.is_(None))
        .order_by(ImageRow.uri)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def known(connection: Connection, prefixes: Sequence[str]) -> tuple[int, int]:
    """How many images there are at or beneath ``prefixes``, and how many verdicts on them."""
    images = connection.execute(select(func.count()).select_from(ImageRow).where(under(prefixes)))
    verdicts = connection.execute(
        select(func.count())
        .select_from(VerdictRow)
        .join(ImageRow, ImageRow.id == VerdictRow.image_id)
        .where(under(prefixes))
    )
    return images.scalar_one(), verdicts.scalar_one()


def failed(connection: Connection, model_id: int, scope: Scope) -> int:
    """How many present images in ``scope`` failed with the model for what their bytes are.

    What failed for its place's sake is not counted: every scan looks at it again.
    """
    lasting = [kind.value for kind in OutcomeKind if not kind.tagged and kind not in PASSING]
    present = lies_within(TaggingRow.image_id, scope, ImageRow.vanished_at.is_(None))
    return connection.execute(
        select(func.count())
        .select_from(TaggingRow)
        .where(TaggingRow.model_id == model_id, TaggingRow.outcome.in_(lasting), present)
    ).scalar_one()


def image_report(connection: Connection, image_id: int) -> ImageReport:
    """All that is known of an image that is known to be there."""
    info = connection.execute(
        text(
            "SELECT uri, size, width, height, format, taken_at, latitude, longitude, vanished_at "
            "FROM image_info WHERE image_id = :id"
        ),
        {"id": image_id},
    ).one()
    statuses = connection.execute(
        select(
            ModelRow.name,
            ModelRow.live,
            func.coalesce(TaggingRow.outcome, "pending"),
            TaggingRow.reason,
            TaggingRow.attempts,
            TaggingRow.finished_at,
        )
        .join(ModelRow, ModelRow.id == TaggingRow.model_id)
        .where(TaggingRow.image_id == image_id)
        .order_by(ModelRow.live.desc(), ModelRow.id)
    )
    labels = connection.execute(
        text(
            "SELECT s.model, s.label_key AS key, s.label, s.confidence FROM label_scores s "
            "JOIN models m ON m.name = s.model WHERE s.image_id = :id AND m.live ORDER BY m.id, s.rank"
        ),
        {"id": image_id},
    )
    return ImageReport(
        image_id=image_id,
        uri=info.uri,
        size=info.size,
        width=info.width,
        height=info.height,
        format=info.format,
        taken_at=info.taken_at,
        latitude=info.latitude,
        longitude=info.longitude,
        vanished=info.vanished_at is not None,
        statuses=tuple(Status(*row) for row in statuses),
        tags=effective_tags(connection, [image_id])[image_id],
        labels=tuple(OwnWord(*row) for row in labels),
        verdicts=tuple(spoken(connection, VerdictRow.image_id == image_id)),
    )


def spoken(connection: Connection, *where: ColumnElement[bool], limit: int | None = None) -> list[Spoken]:
    """What people said, the latest first."""
    rows = connection.execute(
        select(VerdictRow.image_id, ImageRow.uri, TagRow.name, VerdictRow.verdict, VerdictRow.decided_at)
        .join(ImageRow, ImageRow.id == VerdictRow.image_id)
        .join(TagRow, TagRow.id == VerdictRow.tag_id)
        .where(*where)
        .order_by(VerdictRow.decided_at.desc(), VerdictRow.image_id, TagRow.name)
        .limit(limit)
    )
    return [Spoken(*row) for row in rows]


def run_report(connection: Connection, run_id: int, failures: int) -> RunReport:
    """One run; raises :class:`NotFound`. Read are what is pending and what failed: the rest went well."""
    run = find_run(connection, run_id)
    mine = of_run(run)
    failed = connection.execute(
        select(TaggingRow.outcome, func.count()).where(_FAILED, mine).group_by(TaggingRow.outcome)
    )
    pending = connection.execute(
        select(func.count()).select_from(TaggingRow).where(TaggingRow.outcome.is_(None), mine)
    ).scalar_one()
    outcomes = {"tagged": run.done - run.failed, "pending": pending} | {
        row[0] or "": row[1] for row in failed
    }
    return RunReport(
        run=run,
        outcomes=tuple(
            sorted(((kind, n) for kind, n in outcomes.items() if n), key=lambda one: (-one[1], one[0]))
        ),
        failures=last_failures(connection, failures, mine),
    )


def of_run(run: Run) -> ColumnElement[bool]:
    """The taggings that are a run's."""
    return _done_by(run) if run.kind == RunKind.TAG else TaggingRow.run_id == run.id


def _done_by(run: Run) -> ColumnElement[bool]:
    """What a ``tag`` run did: its images are not marked as its own, but have its model, places and time."""
    model = select(ModelRow.id).where(ModelRow.name == run.model).scalar_subquery()
    place = lies_within(TaggingRow.image_id, Scope(tuple(run.places.split("\n"))))
    began = TaggingRow.finished_at >= run.started_at
    ended = true() if run.finished_at is None else TaggingRow.finished_at <= run.finished_at
    return and_(TaggingRow.model_id == model, TaggingRow.outcome.is_not(None), began, ended, place)


_FAILED = text("taggings.outcome NOT IN ('ok', 'empty')")
"""As the index says it, so that SQLite uses it."""


def last_failures(connection: Connection, limit: int, *which: ColumnElement[bool]) -> tuple[Failure, ...]:
    """The last images that could not be tagged."""
    rows: Iterable[Any] = connection.execute(
        select(
            ImageRow.id,
            ImageRow.uri,
            TaggingRow.outcome,
            func.coalesce(TaggingRow.reason, ""),
            TaggingRow.finished_at,
        )
        .join(TaggingRow, TaggingRow.image_id == ImageRow.id)
        .where(_FAILED, *which)
        .order_by(TaggingRow.finished_at.desc(), ImageRow.id)
        .limit(limit)
    )
    return tuple(Failure(*row) for row in rows)


def library_status(connection: Connection, failures: int, runs: int) -> LibraryStatus:
    """The library at a glance, with the last few failures and runs."""
    gone = ImageRow.vanished_at.is_not(None)
    total = connection.execute(select(func.count()).select_from(ImageRow)).scalar_one()
    vanished = connection.execute(select(func.count()).select_from(ImageRow).where(gone)).scalar_one()
    return LibraryStatus(
        present=total - vanished,
        vanished=vanished,
        outcomes=_outcomes(connection),
        failures=last_failures(connection, failures, ImageRow.vanished_at.is_(None)),
        runs=tuple(last_runs(connection, runs, empty=False)),
        workers=tuple(workers(connection)),
        beats=tuple(beats(connection)),
    )


def _outcomes(connection: Connection) -> tuple[tuple[str, bool, str, int], ...]:
    """Present images by (model, live, outcome): all but the vanished, which are few and have an index."""
    key = (TaggingRow.model_id, TaggingRow.outcome)
    found = {
        (model_id, outcome): images
        for model_id, outcome, images in connection.execute(select(*key, func.count()).group_by(*key))
    }
    gone = connection.execute(
        select(*key, func.count())
        .join(ImageRow, ImageRow.id == TaggingRow.image_id)
        .where(ImageRow.vanished_at.is_not(None))
        .group_by(*key)
    )
    for model_id, outcome, images in gone:
        found[model_id, outcome] -= images
    models = {row.id: row for row in connection.execute(select(ModelRow.id, ModelRow.name, ModelRow.live))}
    rows = [
        (models[model_id].name, models[model_id].live, outcome or "pending", images)
        for (model_id, outcome), images in found.items()
        if images
    ]
    return tuple(sorted(rows, key=lambda row: (not row[1], row[0], -row[3])))
