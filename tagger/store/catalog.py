"""Images, models and tags: what there is, as against what came of it (:mod:`tagger.store.ledger`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from tagger.errors import DatabaseError, ModelError
from tagger.store import counts
from tagger.store.bulk import insert_or_ignore
from tagger.store.schema import (
    PARTITIONED,
    AliasRow,
    ContentRow,
    ImageRow,
    LabelRow,
    ModelRow,
    PathRow,
    PromotionRow,
    TaggingRow,
    TagRow,
    ThresholdRow,
)
from tagger.store.session import exclusive, now
from tagger.values import Label

_MODELS = 7_461_678
"""Guards the models: two machines that start at once must not both register one."""

GROUP = 500
"""Values in one IN list: SQLite allows 32,766 parameters, and plans stay cached."""


@dataclass(frozen=True, slots=True)
class TagEntry:
    """A tag as the store keeps it: its other names, and from which confidence on it counts."""

    name: str
    aliases: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model version to be registered: everything that its rows are made of.

    ``paths`` are (ancestor, descendant, depth), each tag itself at depth 0 included. ``exclusive`` is
    true of a softmax head.
    """

    spec: str
    vocabulary: str
    fingerprint: str
    floor: float
    labels: tuple[Label, ...]
    tags: tuple[TagEntry, ...]
    paths: tuple[tuple[str, str, int], ...]
    exclusive: bool = False

    @property
    def name(self) -> str:
        """The version's name, the same in every database: ``efficientnet-lite0@1a2b3c4d``."""
        return f"{self.spec}@{self.fingerprint[:8]}"


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model version."""

    id: int
    name: str
    spec: str
    vocabulary: str
    fingerprint: str
    live: bool


# -- models and tags ------------------------------------------------------------------------


def register_model(connection: Connection, entry: ModelEntry) -> Model:
    """The version with this fingerprint, its tags and thresholds made if they are new.

    The first version of a vocabulary is live at once; later ones wait to be promoted.
    """
    exclusive(connection, _MODELS)
    found = find_fingerprint(connection, entry.fingerprint)
    if found is not None:
        return found
    live = live_model(connection, entry.vocabulary) is None
    model_id = connection.execute(
        insert(ModelRow)
        .values(
            name=entry.name,
            spec=entry.spec,
            vocabulary=entry.vocabulary,
            fingerprint=entry.fingerprint,
            floor=entry.floor,
            exclusive=entry.exclusive,
            live=live,
            added_at=now(connection),
        )
        .returning(ModelRow.id)
    ).scalar_one()
    _add_partitions(connection, model_id)
    connection.execute(
        insert(LabelRow),
        [
            {"model_id": model_id, "index": index, "key": label.key, "name": label.name}
            for index, label in enumerate(entry.labels)
        ],
    )
    tag_ids = _add_tags(connection, entry)
    connection.execute(
        insert(ThresholdRow),
        [
            {"model_id": model_id, "tag_id": tag_ids[tag.name], "threshold": max(tag.threshold, entry.floor)}
            for tag in entry.tags
        ],
    )
    return Model(model_id, entry.name, entry.spec, entry.vocabulary, entry.fingerprint, live)


def models(connection: Connection) -> list[Model]:
    """All registered versions, oldest first."""
    return _models(connection)


def find_fingerprint(connection: Connection, fingerprint: str) -> Model | None:
    """The version with this fingerprint."""
    return next(iter(_models(connection, ModelRow.fingerprint == fingerprint)), None)


def live_model(connection: Connection, vocabulary: str) -> Model | None:
    """The version of a vocabulary that holds now."""
    return next(iter(_models(connection, ModelRow.vocabulary == vocabulary, ModelRow.live.is_(True))), None)


def find_model(connection: Connection, name: str) -> Model:
    """A registered version by its full name, by its model's where that has one version, or by the beginning
    of it where that is unique.

    Raises :class:`ModelError` naming the versions there are.
    """
    known = models(connection)
    hits = (
        [model for model in known if model.name == name]
        or [model for model in known if model.spec == name]
        or [model for model in known if model.name.startswith(name)]
    )
    if len(hits) == 1:
        return hits[0]
    names = ", ".join(model.name for model in (hits or known)) or "none"
    if hits:
        raise ModelError(f"{name!r} stands for several versions: {names}")
    raise ModelError(
        f"no version called {name!r} has tagged anything in this database (those that have: {names}): "
        f"`tagger tag PATH --model {name.partition('@')[0]}`"
    )


def promote(connection: Connection, model: Model) -> None:
    """Make a version the live one of its vocabulary.

    Raises :class:`ModelError` while it lacks an outcome for any present image.
    """
    if number := lacking(connection, model):
        first = ", ".join(connection.execute(_lacking(model).order_by(ImageRow.uri).limit(3)).scalars())
        which, folders, them = (
            (f"1 image, {first}", "its folder", "it")
            if number == 1
            else (f"{number:,} images, such as {first}", "their folders", "them")
        )
        raise ModelError(
            f"{model.name} has no outcome yet for {which}: tag {folders} with "
            f"`tagger tag PATH --model {model.spec}` first, or `tagger forget` {them}"
        )
    before = live_model(connection, model.vocabulary)
    if before == model:
        return
    connection.execute(
        insert(PromotionRow).values(
            model_id=model.id, previous_id=before.id if before else None, promoted_at=now(connection)
        )
    )
    _make_live(connection, model)


def roll_back(connection: Connection, vocabulary: str) -> Model:
    """Have the version hold again that the live one took over from; it.

    Raises :class:`ModelError` when the live one took over from nobody, or from one that was pruned since.
    """
    live = live_model(connection, vocabulary)
    if live is None:
        raise ModelError(f"no version of {vocabulary} is live in this database")
    last = _last_promotion(connection, live)
    if last is None:
        raise ModelError(f"{live.name} took over from no other version: there is nothing to go back to")
    if last.previous_id is None:
        raise ModelError(f"the version that {live.name} took over from is not there any more")
    connection.execute(
        update(PromotionRow).where(PromotionRow.id == last.id).values(rolled_back_at=now(connection))
    )
    (previous,) = _models(connection, ModelRow.id == last.previous_id)
    _make_live(connection, previous)
    return replace(previous, live=True)


def predecessor(connection: Connection, live: Model) -> str | None:
    """The name of the version that would hold again if the live one were rolled back, if there is one."""
    last = _last_promotion(connection, live)
    if last is None or last.previous_id is None:
        return None
    (previous,) = _models(connection, ModelRow.id == last.previous_id)
    return previous.name


def _last_promotion(connection: Connection, live: Model) -> Any:
    return connection.execute(
        select(PromotionRow.id, PromotionRow.previous_id)
        .where(PromotionRow.model_id == live.id, PromotionRow.rolled_back_at.is_(None))
        .order_by(PromotionRow.id.desc())
        .limit(1)
    ).first()


def _make_live(connection: Connection, model: Model) -> None:
    connection.execute(
        update(ModelRow).where(ModelRow.vocabulary == model.vocabulary, ModelRow.live).values(live=False)
    )
    connection.execute(update(ModelRow).where(ModelRow.id == model.id).values(live=True))


def floor(connection: Connection, model: Model) -> float:
    """Below this confidence a version's scores were never kept."""
    return connection.execute(select(ModelRow.floor).where(ModelRow.id == model.id)).scalar_one()


def lacking(connection: Connection, model: Model) -> int:
    """How many present images have no outcome of a version."""
    return connection.execute(select(func.count()).select_from(_lacking(model).subquery())).scalar_one()


def retire(connection: Connection, model: Model) -> None:
    """Have no version of a vocabulary hold; its tags are to be counted anew."""
    connection.execute(update(ModelRow).where(ModelRow.id == model.id).values(live=False))


def prune(connection: Connection, model: Model) -> None:
    """Remove a version that is not live, with all that it said; verdicts and tags stay."""
    if connection.dialect.name == "postgresql":
        # Whoever waits for these holds up all that reads scores, so not for long; and in the order in which
        # they are written, or a writer and this one might wait for each other.
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        for table in sorted(PARTITIONED):  # classes first, as outcomes are written
            connection.execute(text(f"DROP TABLE {table}_m{model.id}"))
    connection.execute(delete(ModelRow).where(ModelRow.id == model.id))


def _lacking(model: Model) -> Select[str]:
    return (
        select(ImageRow.uri)
        .outerjoin(TaggingRow, and_(TaggingRow.image_id == ImageRow.id, TaggingRow.model_id == model.id))
        .where(ImageRow.vanished_at.is_(None), TaggingRow.outcome.is_(None))
    )


def _models(connection: Connection, *where: ColumnElement[bool]) -> list[Model]:
    rows = connection.execute(
        select(
            ModelRow.id,
            ModelRow.name,
            ModelRow.spec,
            ModelRow.vocabulary,
            ModelRow.fingerprint,
            ModelRow.live,
        )
        .where(*where)
        .order_by(ModelRow.id)
    )
    return [Model(*row) for row in rows]


def _add_partitions(connection: Connection, model_id: int) -> None:
    if connection.dialect.name == "sqlite":
        return
    for table in PARTITIONED:
        connection.execute(
            text(f"CREATE TABLE {table}_m{model_id} PARTITION OF {table} FOR VALUES IN ({model_id})")
        )


def _add_tags(connection: Connection, entry: ModelEntry) -> dict[str, int]:
    """Tags are shared by all vocabularies; a newer taxonomy adds to them and takes nothing away."""
    connection.execute(insert_or_ignore(connection, TagRow), [{"name": tag.name} for tag in entry.tags])
    rows = connection.execute(select(TagRow.name, TagRow.id))
    ids = dict(rows.all())
    aliases = [
        {"alias": alias, "tag_id": ids[tag.name]}
        for tag in entry.tags
        for alias in tag.aliases
        if alias not in ids  # a name wins over an alias
    ]
    if aliases:
        connection.execute(insert_or_ignore(connection, AliasRow), aliases)
    connection.execute(
        insert_or_ignore(connection, PathRow),
        [
            {"ancestor_id": ids[ancestor], "descendant_id": ids[descendant], "depth": depth}
            for ancestor, descendant, depth in entry.paths
        ],
    )
    return ids


# -- images ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image row as the scan compares it with the disk."""

    id: int
    uri: str
    size: int | None
    mtime_ns: int | None
    vanished: bool


def known_images(connection: Connection, uris: Sequence[str]) -> dict[str, KnownImage]:
    """The rows of those ``uris`` that have one."""
    rows = connection.execute(
        select(
            ImageRow.id, ImageRow.uri, ImageRow.size, ImageRow.mtime_ns, ImageRow.vanished_at.is_not(None)
        ).where(ImageRow.uri.in_(uris))
    )
    return {row.uri: KnownImage(*row) for row in rows}


def under(prefixes: Iterable[str]) -> ColumnElement[bool]:
    """Images at or beneath any of the URI ``prefixes`` (given without a slash at the end).

    A range over the unique index on the URI: 0 is the character after the slash.
    """
    ranges = [
        or_(
            ImageRow.uri == prefix,
            and_(ImageRow.uri >= f"{prefix}/", ImageRow.uri < f"{prefix}0"),
        )
        for prefix in (prefix.rstrip("/") for prefix in prefixes)
    ]
    return or_(*ranges)


@dataclass(frozen=True, slots=True)
class Scope:
    """The images at or beneath ``prefixes`` but for those at or beneath ``without`` (URIs)."""

    prefixes: tuple[str, ...]
    without: tuple[str, ...] = ()


def within(scope: Scope) -> ColumnElement[bool]:
    """The images of a scope, as a condition."""
    return and_(under(scope.prefixes), ~under(scope.without)) if scope.without else under(scope.prefixes)


def lies_within(
    image_id: InstrumentedAttribute[int], scope: Scope, *also: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether the image that a row of another table speaks of is in the scope, and ``also`` holds of it.

    Each is looked up by its id, which ``OFFSET 0`` keeps PostgreSQL to: it knows little of a young table,
    and would else take the scope for one image, and go through all of it for each row.
    """
    found = select(literal(1)).where(ImageRow.id == image_id, within(scope), *also)
    return found.correlate(image_id.class_).offset(0).exists()


def forget(connection: Connection, prefixes: Sequence[str]) -> int:
    """Delete every trace of the images at or beneath ``prefixes``; how many there were.

    Contents that no other image has go too, scores and all.
    """
    ids = list(connection.execute(select(ImageRow.id).where(under(prefixes))).scalars())
    forget_images(connection, ids)
    return len(ids)


def forget_images(connection: Connection, ids: Sequence[int]) -> None:
    """The same for images by their ids."""
    for start in range(0, len(ids), GROUP):
        _forget(connection, ids[start : start + GROUP])


def is_known(connection: Connection, image_id: int) -> bool:
    """Whether there is an image of that id."""
    return connection.execute(select(ImageRow.id).where(ImageRow.id == image_id)).first() is not None


def _forget(connection: Connection, ids: Sequence[int]) -> None:
    held = select(ImageRow.content_id).where(ImageRow.id.in_(ids))
    tagged = select(TaggingRow.content_id).where(TaggingRow.image_id.in_(ids))
    contents = set(connection.execute(held.union(tagged)).scalars()) - {None}
    with counts.kept_up(connection, ids):
        connection.execute(delete(ImageRow).where(ImageRow.id.in_(ids)))
    connection.execute(
        delete(ContentRow).where(
            ContentRow.id.in_(contents),
            ~select(ImageRow.id).where(ImageRow.content_id == ContentRow.id).exists(),
            ~select(TaggingRow.image_id).where(TaggingRow.content_id == ContentRow.id).exists(),
        )
    )


def resolve_tag(connection: Connection, word: str) -> str | None:
    """The tag that a word means: its own name, else as an alias; case does not matter."""
    wanted = " ".join(word.lower().split())
    name = connection.execute(select(TagRow.name).where(TagRow.name == wanted)).scalar()
    if name is not None:
        return name
    alias: str | None = connection.execute(
        select(TagRow.name).join(AliasRow, AliasRow.tag_id == TagRow.id).where(AliasRow.alias == wanted)
    ).scalar()
    return alias


def tag_id(connection: Connection, name: str) -> int | None:
    """The id of the tag of just that name."""
    found: int | None = connection.execute(select(TagRow.id).where(TagRow.name == name)).scalar()
    return found


def tag_names(connection: Connection) -> list[str]:
    """All tags by name."""
    return list(connection.execute(select(TagRow.name).order_by(TagRow.name)).scalars())


def topmost(connection: Connection, names: Sequence[str]) -> list[str]:
    """Those of some tags that are below none of the others."""
    ids = dict(connection.execute(select(TagRow.id, TagRow.name).where(TagRow.name.in_(names))).all())
    below = select(PathRow.descendant_id).where(
        PathRow.ancestor_id.in_(ids), PathRow.descendant_id.in_(ids), PathRow.depth > 0
    )
    lower = set(connection.execute(below).scalars())
    return sorted(name for tag, name in ids.items() if tag not in lower)


def require_models(connection: Connection) -> None:
    """Raise :class:`DatabaseError` when nothing was ever tagged here."""
    if connection.execute(select(ModelRow.id).limit(1)).first() is None:
        raise DatabaseError("nothing is tagged in this database yet: run `tagger tag PATH` first")
