"""A search finds just what the view ``effective_tags`` holds, on random small libraries."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from tagger.search.find import find
from tagger.search.query import Found, Query
from tagger.store import catalog
from tagger.store.catalog import ModelEntry, TagEntry
from tagger.store.session import Database
from tagger.values import Label

TREE = {
    "animal": (),
    "pet": (),
    "dog": ("animal", "pet"),
    "retriever": ("dog",),
    "poodle": ("dog",),
    "cat": ("animal", "pet"),
    "bird": ("animal",),
    "vehicle": (),
    "car": ("vehicle",),
    "boat": ("vehicle",),
}
LEAVES = ("retriever", "poodle", "cat", "bird", "car", "boat")
IMAGES = 40


def _above(tag: str) -> dict[str, int]:
    found = {tag: 0}
    for parent in TREE[tag]:
        found |= {name: depth + 1 for name, depth in _above(parent).items() if name not in found}
    return found


def _entry(letter: str, *, exclusive: bool) -> ModelEntry:
    return ModelEntry(
        spec="tiny",
        vocabulary=f"words of {letter}",
        fingerprint=letter * 64,
        floor=0.05,
        labels=tuple(Label(f"n{index}", tag) for index, tag in enumerate(LEAVES)),
        tags=tuple(TagEntry(tag, (), 0.5) for tag in TREE),
        paths=tuple((up, tag, depth) for tag in TREE for up, depth in _above(tag).items()),
        exclusive=exclusive,
    )


class Library:
    """A database with two or three models, photos, copies, verdicts and thresholds, all by chance."""

    def __init__(self, connection: Connection, seed: int) -> None:
        self.dice = random.Random(seed)
        self.connection = connection
        softmax = catalog.register_model(connection, _entry("a", exclusive=True))
        self.models = [(softmax.id, True)]
        if seed % 2:
            self.models.append((catalog.register_model(connection, _entry("b", exclusive=False)).id, False))
        candidate = replace(_entry("c", exclusive=True), vocabulary="words of a")
        self.models.append((catalog.register_model(connection, candidate).id, True))
        self.tags = dict(connection.execute(text("SELECT name, id FROM tags")).all())
        for content in range(1, IMAGES + 1):
            self._add_content(content)
        for image in range(1, IMAGES + 1):
            self._add_image(image)
        self._change_thresholds()
        self._say()

    def _run(self, statement: str, **values: object) -> None:
        self.connection.execute(text(statement), values)

    def _add_content(self, content: int) -> None:
        self._run(
            "INSERT INTO contents (id, digest) VALUES (:id, :digest)", id=content, digest=b"%032d" % content
        )
        for model, exclusive in self.models:
            for tag, confidence in self._scores(exclusive=exclusive).items():
                self._run(
                    "INSERT INTO tag_scores VALUES (:content, :model, :tag, :confidence)",
                    content=content,
                    model=model,
                    tag=self.tags[tag],
                    confidence=confidence,
                )

    def _scores(self, *, exclusive: bool) -> dict[str, float]:
        """As a classifier's: ancestors are sums, or the highest, of the leaves below them."""
        parts = [self.dice.choice((0, 0, 1, 3, 8)) for _ in LEAVES]
        whole = (sum(parts) or 1) if exclusive else 8
        leaves = {leaf: part / whole for leaf, part in zip(LEAVES, parts, strict=True)}
        found = {}
        for tag in TREE:
            below = [score for leaf, score in leaves.items() if tag in _above(leaf)]
            score = round(min(1.0, sum(below) if exclusive else max(below)), 3)
            if score >= 0.05:
                found[tag] = score
        return found

    def _add_image(self, image: int) -> None:
        self._run(
            "INSERT INTO images (id, uri, content_id, added_at, vanished_at) "
            "VALUES (:id, :uri, :content, CURRENT_TIMESTAMP, "
            + ("CURRENT_TIMESTAMP)" if self.dice.random() < 0.1 else "NULL)"),
            id=image,
            uri=f"file:///{image}.jpg",
            content=self.dice.choice((None, *range(1, IMAGES))) if self.dice.random() < 0.2 else image,
        )

    def _change_thresholds(self) -> None:
        for model, _ in self.models:
            for tag in self.tags.values():
                self._run(
                    "UPDATE thresholds SET threshold = :to WHERE model_id = :model AND tag_id = :tag",
                    to=self.dice.choice((0.05, 0.2, 0.4, 0.5, 0.8, 1.0)),
                    model=model,
                    tag=tag,
                )

    def _say(self) -> None:
        for image in range(1, IMAGES + 1):
            for tag in self.dice.sample(list(self.tags.values()), self.dice.choice((0, 0, 0, 1, 2))):
                self._run(
                    "INSERT INTO verdicts VALUES (:image, :tag, :word, CURRENT_TIMESTAMP)",
                    image=image,
                    tag=tag,
                    word=self.dice.choice(("confirm", "reject")),
                )

    def expected(self, query: Query) -> dict[int, float]:
        """By image what it is, as the view says it."""
        held: dict[int, dict[str, float]] = {}
        for image, tag, confidence in self.connection.execute(
            text("SELECT image_id, tag, confidence FROM effective_tags")
        ):
            held.setdefault(image, {})[tag] = confidence
        return {
            image: min(tags[tag] for tag in query.all_of)
            for image, tags in held.items()
            if all(tags.get(tag, -1.0) >= query.least for tag in query.all_of)
            and not tags.keys() & set(query.none_of)
        }

    def told(self, found: Found) -> tuple[str, str | None]:
        """Source and model of that tag, as the view says it."""
        row = self.connection.execute(
            text("SELECT source, model FROM effective_tags WHERE image_id = :image AND tag = :tag"),
            {"image": found.image_id, "tag": found.tag},
        ).one()
        return row.source, row.model

    def queries(self) -> list[Query]:
        names = list(TREE)
        single = [Query((name,)) for name in names]
        several = [
            Query(
                tuple(self.dice.sample(names, self.dice.choice((1, 2, 2, 3)))),
                tuple(self.dice.sample(names, self.dice.choice((0, 0, 1, 2)))),
                self.dice.choice((0.0, 0.0, 0.3, 0.7)),
            )
            for _ in range(25)
        ]
        return single + several


@pytest.mark.parametrize("seed", range(8))
def test_a_search_finds_what_the_view_holds(database: Database, seed: int) -> None:
    with database.writing() as connection:
        library = Library(connection, seed)
        for query in library.queries():
            found = find(connection, query)
            assert {one.image_id: one.confidence for one in found} == library.expected(query), query
            assert len({one.image_id for one in found}) == len(found)
            order = [one.confidence for one in found]
            assert order == sorted(order, reverse=True)
            assert all((one.source, one.model) == library.told(one) for one in found)
            for start, most in ((0, 1), (0, 3), (2, 5), (len(found), 2)):
                page = find(connection, replace(query, limit=most, offset=start))
                assert page == found[start : start + most], query


def test_a_tag_that_nobody_knows_is_on_no_photo(database: Database) -> None:
    with database.writing() as connection:
        catalog.register_model(connection, _entry("a", exclusive=True))
        assert find(connection, Query(("unicorn",))) == []
        assert find(connection, Query(("dog", "unicorn"))) == []


def test_an_empty_page_is_empty(database: Database) -> None:
    with database.writing() as connection:
        Library(connection, 1)
        assert find(connection, Query(("dog",), limit=1)), "else this shows nothing"
        assert find(connection, Query(("dog",), limit=0)) == []
