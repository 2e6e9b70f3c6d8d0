"""The tables, in the words of the design. People query the views in :mod:`tagger.store.derived`.

One schema for SQLite and PostgreSQL. Integer surrogate keys; text that is compared or sorted has
one collation on both (bytewise); moments are UTC. Confidence is double precision: as a real,
0.7 would not be >= 0.7.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A moment in UTC: ``timestamptz`` on PostgreSQL, ISO text on SQLite; aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite keeps no zone: write UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """SQLite keeps no zone: what was written is UTC."""
        if not isinstance(value, datetime):
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


BigInt = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite gives row ids only to a column declared exactly INTEGER."""

Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text compared byte for byte, as SQLite does, so that order and prefix ranges agree."""

naming = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The metadata that Alembic compares with the database."""

    metadata = MetaData(naming_convention=naming)


def _fk(target: str, ondelete: str = "CASCADE") -> ForeignKey:
    return ForeignKey(target, ondelete=ondelete)


class ContentRow(Base):
    """Bytes, by digest. Copies and renames share one; facts are the picture's own."""

    __tablename__ = "contents"
    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    format: Mapped[str | None] = mapped_column(Name)
    taken_at: Mapped[str | None] = mapped_column(Name)
    latitude: Mapped[float | None] = mapped_column(Double)
    longitude: Mapped[float | None] = mapped_column(Double)


class ImageRow(Base):
    """A place where an image is or was. Its id outlives moves; ``size`` in bytes."""

    __tablename__ = "images"
    __table_args__ = (
        # Few, as a rule: what is present is counted as all but these.
        Index(
            "ix_images_vanished",
            "id",
            sqlite_where=text("vanished_at IS NOT NULL"),
            postgresql_where=text("vanished_at IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},  # an id once given is never given again
    )
    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    uri: Mapped[str] = mapped_column(Name, unique=True)  # on PostgreSQL by a hash: it may be long
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    content_id: Mapped[int | None] = mapped_column(BigInt, _fk("contents.id", "SET NULL"), index=True)
    added_at: Mapped[datetime] = mapped_column(Moment)
    vanished_at: Mapped[datetime | None] = mapped_column(Moment)


class ModelRow(Base):
    """A model version: immutable but for ``live``. ``name`` is ``architecture@fingerprint``.

    ``exclusive``: its classes exclude each other, and their confidences add up to 1 (softmax).
    """

    __tablename__ = "models"
    __table_args__ = (
        Index(
            "uq_models_live",
            "vocabulary",
            unique=True,
            sqlite_where=text("live"),
            postgresql_where=text("live"),
        ),
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    spec: Mapped[str] = mapped_column(Name)
    vocabulary: Mapped[str] = mapped_column(Name)
    fingerprint: Mapped[str] = mapped_column(Name, unique=True)
    floor: Mapped[float] = mapped_column(Double)
    exclusive: Mapped[bool] = mapped_column(server_default=text("false"))
    live: Mapped[bool]
    added_at: Mapped[datetime] = mapped_column(Moment)


class PromotionRow(Base):
    """A version took over from another (None: from nobody); and when that was taken back, if it was."""

    __tablename__ = "promotions"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    model_id: Mapped[int] = mapped_column(_fk("models.id"), index=True)
    previous_id: Mapped[int | None] = mapped_column(_fk("models.id", "SET NULL"), index=True)
    promoted_at: Mapped[datetime] = mapped_column(Moment)
    rolled_back_at: Mapped[datetime | None] = mapped_column(Moment)


class AlbumRow(Base):
    """A search under a name, and the view of what it finds: its name, and the statement behind it."""

    __tablename__ = "albums"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    expression: Mapped[str] = mapped_column(Name)
    view: Mapped[str] = mapped_column(Name, unique=True)
    statement: Mapped[str] = mapped_column(Name)
    made_at: Mapped[datetime] = mapped_column(Moment)


class LabelRow(Base):
    """A class of a model, at its index in the network's output."""

    __tablename__ = "labels"
    model_id: Mapped[int] = mapped_column(_fk("models.id"), primary_key=True)
    index: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(Name)
    name: Mapped[str] = mapped_column(Name)


class TagRow(Base):
    """A word that people search for; lower case."""

    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)


class AliasRow(Base):
    """Another word for a tag (automobile: car)."""

    __tablename__ = "tag_aliases"
    alias: Mapped[str] = mapped_column(Name, primary_key=True)
    tag_id: Mapped[int] = mapped_column(_fk("tags.id"), index=True)


class PathRow(Base):
    """The closure of *is a*: every ancestor of every tag, itself included at depth 0."""

    __tablename__ = "tag_paths"
    ancestor_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True)
    descendant_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True, index=True)
    depth: Mapped[int] = mapped_column(Integer)


class ThresholdRow(Base):
    """From which confidence on a score counts as a tag: data, changed at will."""

    __tablename__ = "thresholds"
    __table_args__ = (CheckConstraint("threshold >= 0 AND threshold <= 1", name="range"),)
    model_id: Mapped[int] = mapped_column(_fk("models.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True)
    threshold: Mapped[float] = mapped_column(Double)


class RunRow(Base):
    """One command's worth of work: when it ran, over what, and how far it is.

    ``lease_id`` is that of the process which does a ``tag`` run; others are for all workers.
    ``rate`` is in images a second, a mean that fades; it was right at ``rated_at``. ``note`` says what
    of the wish could not be had.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index(
            "uq_runs_name",
            "name",
            "model_id",
            "priority",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(
            "ix_runs_unfinished",
            "priority",
            "id",
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    kind: Mapped[str] = mapped_column(Name)
    name: Mapped[str | None] = mapped_column(Name)
    state: Mapped[str] = mapped_column(Name, server_default="running")
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    lease_id: Mapped[int | None] = mapped_column(BigInt, _fk("leases.id", "SET NULL"))
    model_id: Mapped[int | None] = mapped_column(_fk("models.id", "SET NULL"))
    places: Mapped[str] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    total: Mapped[int] = mapped_column(BigInt, server_default="0")
    done: Mapped[int] = mapped_column(BigInt, server_default="0")
    failed: Mapped[int] = mapped_column(BigInt, server_default="0")
    reused: Mapped[int] = mapped_column(BigInt, server_default="0")
    seconds: Mapped[float | None] = mapped_column(Double)
    rate: Mapped[float] = mapped_column(Double, server_default="0")
    rated_at: Mapped[datetime | None] = mapped_column(Moment)
    note: Mapped[str | None] = mapped_column(Text)


class RunTickRow(Base):
    """How many images of a run got their outcome in one slice of time, for a plot.

    ``at`` is when the slice began, in seconds since 1970: slices are put together by dividing, which both
    databases do alike with numbers, and not with moments. A run has one row for each slice in which it
    came on, at most 8,640 a day (:data:`tagger.store.runs.SLICE_SECONDS`).
    """

    __tablename__ = "run_ticks"
    __table_args__ = ({"sqlite_with_rowid": False},)
    run_id: Mapped[int] = mapped_column(BigInt, _fk("runs.id"), primary_key=True)
    at: Mapped[int] = mapped_column(BigInt, primary_key=True)
    done: Mapped[int] = mapped_column(BigInt)
    failed: Mapped[int] = mapped_column(BigInt)


class RequestRow(Base):
    """What is still to be added to a run: deleted when it is, and free again when its filler dies."""

    __tablename__ = "requests"
    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    run_id: Mapped[int] = mapped_column(BigInt, _fk("runs.id"), index=True)
    lease_id: Mapped[int | None] = mapped_column(BigInt, _fk("leases.id", "SET NULL"))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    not_before: Mapped[datetime | None] = mapped_column(Moment)
    body: Mapped[str] = mapped_column(Text)


class JobRow(Base):
    """A scheduled job that was begun: unique on its due time, so that two schedulers begin it once."""

    __tablename__ = "jobs"
    name: Mapped[str] = mapped_column(Name, primary_key=True)
    due_at: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    began_at: Mapped[datetime] = mapped_column(Moment)


class LeaseRow(Base):
    """A process's hold on what it has claimed. Deleted or expired, its images are free again.

    The id is the fencing token: it is never given twice, and a result is written only while the
    tagging still carries it. ``role`` is what the process does; a worker's also tells its ``name``,
    its ``device``, how many ``images`` it has done in its life, and its ``rate`` in images a second.
    """

    __tablename__ = "leases"
    __table_args__ = ({"sqlite_autoincrement": True},)
    id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    host: Mapped[str] = mapped_column(Name)
    pid: Mapped[int] = mapped_column(Integer)
    process_started: Mapped[float] = mapped_column(Double)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    role: Mapped[str] = mapped_column(Name, server_default="tag")
    name: Mapped[str | None] = mapped_column(Name)
    device: Mapped[str | None] = mapped_column(Name)
    images: Mapped[int] = mapped_column(BigInt, server_default="0")
    rate: Mapped[float | None] = mapped_column(Double)
    note: Mapped[str | None] = mapped_column(Text)


class TaggingRow(Base):
    """A wanted pair of image and model, and what came of it; pending while ``outcome`` is null.

    ``attempts`` counts how often work on it began, ``deaths`` how often a process died with this
    image alone in hand. ``run_id`` is the run that wants it; ``not_before`` says until when it is not
    to be sent to a worker (again): it has been sent, or is put off. ``previous`` is the outcome that is
    tried again, for as long as it is pending.
    """

    __tablename__ = "taggings"
    __table_args__ = (
        Index(
            "ix_taggings_pending",
            "model_id",
            "image_id",
            sqlite_where=text("outcome IS NULL"),
            postgresql_where=text("outcome IS NULL"),
        ),
        # What the dispatcher reads: never sent first, in the order of ids; then what is due again.
        Index(
            "ix_taggings_dispatch",
            "run_id",
            "not_before",
            "image_id",
            sqlite_where=text("outcome IS NULL"),
            postgresql_where=text("outcome IS NULL"),
        ),
        # A handful at most: every pass of the dispatcher looks for what has died too often.
        Index(
            "ix_taggings_deaths",
            "deaths",
            sqlite_where=text("outcome IS NULL AND deaths > 0"),
            postgresql_where=text("outcome IS NULL AND deaths > 0"),
        ),
        Index("ix_taggings_model_id_outcome", "model_id", "outcome"),
        # What failed, by run and the latest first: few, as a rule.
        Index(
            "ix_taggings_failures",
            "run_id",
            "finished_at",
            "outcome",
            sqlite_where=text("outcome NOT IN ('ok', 'empty')"),
            postgresql_where=text("outcome NOT IN ('ok', 'empty')"),
        ),
        Index(
            "ix_taggings_lease_id",
            "lease_id",
            sqlite_where=text("lease_id IS NOT NULL"),
            postgresql_where=text("lease_id IS NOT NULL"),
        ),
    )
    image_id: Mapped[int] = mapped_column(BigInt, _fk("images.id"), primary_key=True)
    model_id: Mapped[int] = mapped_column(_fk("models.id"), primary_key=True)
    lease_id: Mapped[int | None] = mapped_column(BigInt, _fk("leases.id", "SET NULL"))
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    deaths: Mapped[int] = mapped_column(Integer, server_default="0")
    not_before: Mapped[datetime | None] = mapped_column(Moment)
    run_id: Mapped[int | None] = mapped_column(BigInt, _fk("runs.id", "SET NULL"))
    previous: Mapped[str | None] = mapped_column(Name)
    outcome: Mapped[str | None] = mapped_column(Name)
    reason: Mapped[str | None] = mapped_column(Text)
    content_id: Mapped[int | None] = mapped_column(BigInt, _fk("contents.id", "SET NULL"), index=True)
    engine: Mapped[str | None] = mapped_column(Name)
    precision: Mapped[str | None] = mapped_column(Name)
    loader: Mapped[str | None] = mapped_column(Name)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)


class TagScoreRow(Base):
    """Confidence in a tag, for a content under a model; above the floor; the first writer wins.

    Partitioned by model on PostgreSQL, so that pruning a version is a drop. Without references, which
    cost a third of the writing on PostgreSQL: all three are read in the transaction that writes, tags stay
    for ever, and triggers see to the rest (:mod:`tagger.store.derived`).
    """

    __tablename__ = "tag_scores"
    __table_args__ = (
        Index("ix_tag_scores_search", "tag_id", "model_id", "confidence", "content_id"),
        {"postgresql_partition_by": "LIST (model_id)", "sqlite_with_rowid": False},
    )
    content_id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    model_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    tag_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    confidence: Mapped[float] = mapped_column(Double)


class ClassScoreRow(Base):
    """The classifier's own top classes for a content, by rank from 1; the first writer wins.

    Without references, as :class:`TagScoreRow`.
    """

    __tablename__ = "class_scores"
    __table_args__ = ({"postgresql_partition_by": "LIST (model_id)", "sqlite_with_rowid": False},)
    content_id: Mapped[int] = mapped_column(BigInt, primary_key=True)
    model_id: Mapped[int] = mapped_column(Integer, primary_key=True)
    rank: Mapped[int] = mapped_column(Integer, primary_key=True)
    label_index: Mapped[int] = mapped_column(Integer)
    confidence: Mapped[float] = mapped_column(Double)


class VerdictRow(Base):
    """A person's word on an image and a tag; it outlives every model."""

    __tablename__ = "verdicts"
    __table_args__ = (
        CheckConstraint("verdict IN ('confirm', 'reject')", name="word"),
        Index("ix_verdicts_said", "tag_id", "verdict", "image_id"),
    )
    image_id: Mapped[int] = mapped_column(BigInt, _fk("images.id"), primary_key=True)
    tag_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True)
    verdict: Mapped[str] = mapped_column(Name)
    decided_at: Mapped[datetime] = mapped_column(Moment)


class TallyRow(Base):
    """How many images a tag is effective on, kept up to date by those who write."""

    __tablename__ = "tag_tallies"
    tag_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger)


class StaleTagRow(Base):
    """A tag whose tally no longer holds, as a threshold or the live model changed (by trigger)."""

    __tablename__ = "stale_tags"
    tag_id: Mapped[int] = mapped_column(_fk("tags.id"), primary_key=True)


class TallyKeeperRow(Base):
    """Is there for as long as a transaction says verdicts and counts their tags by itself: no trigger need
    mark these, which for *animal* are hundreds at each verdict. Nobody else ever sees it."""

    __tablename__ = "tally_keepers"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


PARTITIONED = (TagScoreRow.__tablename__, ClassScoreRow.__tablename__)
"""Tables with a partition for each model on PostgreSQL."""
