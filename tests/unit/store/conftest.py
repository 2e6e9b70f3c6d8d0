"""A tiny library: one model, a handful of tags, and short ways to put images into it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from tagger.store import catalog, ledger, outcomes, runs
from tagger.store.catalog import Model, ModelEntry, Scope, TagEntry
from tagger.store.census import Seen, Tally, taking
from tagger.store.ledger import Owner
from tagger.store.outcomes import Provenance
from tagger.store.session import Database
from tagger.values import ImageFacts, ImageRef, Label, LabelScore, Outcome, OutcomeKind, TagScore

TREE = {
    "animal": (),
    "dog": ("animal",),
    "retriever": ("dog",),
    "cat": ("animal",),
    "car": (),
}
ROOT = "file:///photos"
HERE = Provenance("openvino", "f32", "pillow")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOMEBODY = Owner("host", 4711, 1_700_000_000.0)


def entry(fingerprint: str = "a" * 64, vocabulary: str = "imagenet", floor: float = 0.05) -> ModelEntry:
    paths = [(tag, tag, 0) for tag in TREE]
    paths += [(parent, tag, 1) for tag, parents in TREE.items() for parent in parents]
    paths.append(("animal", "retriever", 2))
    return ModelEntry(
        spec="tiny",
        vocabulary=vocabulary,
        fingerprint=fingerprint,
        floor=floor,
        labels=tuple(Label(f"n{index}", tag) for index, tag in enumerate(TREE)),
        tags=(
            TagEntry("animal", ("beast",), 0.4),
            TagEntry("dog", ("puppy", "cat"), 0.5),
            TagEntry("retriever", (), 0.5),
            TagEntry("cat", (), 0.5),
            TagEntry("car", ("automobile",), 0.7),
        ),
        paths=tuple(paths),
    )


@dataclass(frozen=True)
class Shelf:
    """A database with a model in it."""

    database: Database
    model: Model

    def rows(self, query: str, **values: object) -> list[tuple[object, ...]]:
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def write(self, statement: str, **values: object) -> None:
        with self.database.writing() as connection:
            connection.execute(text(statement), values)

    def scan(
        self, *files: Seen | str, under: tuple[str, ...] = (ROOT,), unlisted: tuple[str, ...] = ()
    ) -> Tally:
        """A whole scan that finds just these files beneath the root."""
        seen = [file if isinstance(file, Seen) else Seen(f"{ROOT}/{file}", 10, 1) for file in files]
        with taking(self.database, self.model.id) as census:
            census.observe(seen)
            census.close(Scope(under, unlisted))
        return census.tally

    def lease(self, owner: Owner = SOMEBODY) -> int:
        with self.database.writing() as connection:
            return ledger.open_lease(connection, owner)

    def claim(self, lease: int, limit: int = 100) -> list[ImageRef]:
        with self.database.writing() as connection:
            return ledger.claim(connection, self.model.id, lease, Scope((ROOT,)), limit)

    def suspects(self, lease: int, limit: int = 256) -> list[ImageRef]:
        with self.database.writing() as connection:
            return ledger.claim_suspects(connection, self.model.id, lease, Scope((ROOT,)), limit)

    def die(self, lease: int) -> None:
        """The owner of the lease is dead; what it held is taken back, as every start does, and the
        pause that follows is over."""
        with self.database.writing() as connection:
            ledger.close_lease(connection, lease)
            outcomes.quarantine(connection, ledger.poison(connection))
        self.write("UPDATE taggings SET not_before = NULL")

    def record(self, lease: int, *group: Outcome) -> list[int]:
        with self.database.writing() as connection:
            return sorted(outcomes.record(connection, self.model.id, lease, group, HERE).image_ids)

    def tag(self, **photos: Mapping[str, float]) -> None:
        """Scan, claim and record photos by name; the content of each is its name."""
        self.scan(*(f"{name}.jpg" for name in photos))
        lease = self.lease()
        done = []
        for ref in self.claim(lease):
            name = ref.uri.rsplit("/", 1)[1].removesuffix(".jpg")
            done.append(outcome(ref.image_id, name, photos[name]))
        self.record(lease, *done)

    def effective(self, name: str) -> dict[str, float]:
        rows = self.rows(
            "SELECT tag, confidence FROM effective_tags WHERE uri = :uri", uri=f"{ROOT}/{name}.jpg"
        )
        assert len(rows) == len({tag for tag, _ in rows}), "unique on image and tag"
        return dict(rows)  # type: ignore[arg-type]

    def counts(self) -> dict[str, int]:
        return dict(self.rows("SELECT tag, images FROM tag_counts"))  # type: ignore[arg-type]

    def counted(self) -> dict[str, int]:
        return dict(self.rows("SELECT tag, COUNT(*) FROM effective_tags GROUP BY tag"))  # type: ignore[arg-type]


def outcome(image_id: int, content: str, tags: Mapping[str, float]) -> Outcome:
    """What a model says of a picture."""
    ordered = sorted(tags.items(), key=lambda item: -item[1])
    return Outcome(
        image_id,
        OutcomeKind.OK if tags else OutcomeKind.EMPTY,
        digest=hashlib.sha256(content.encode()).digest(),
        facts=ImageFacts(640, 480, "JPEG", "2020-01-02T03:04:05"),
        tags=tuple(TagScore(tag, score) for tag, score in ordered),
        labels=tuple(LabelScore(index, 0.9 - index / 10) for index in range(5)),
    )


@pytest.fixture
def shelf(database: Database) -> Shelf:
    with database.writing() as connection:
        model = catalog.register_model(connection, entry())
    return Shelf(database, model)


class Clock:
    """What runs take for now, in seconds after noon."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, _connection: Connection) -> datetime:
        return self.moment

    @property
    def moment(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """It stands still until a test moves it, however long that takes."""
    made = Clock()
    monkeypatch.setattr(runs, "now", made)
    return made
