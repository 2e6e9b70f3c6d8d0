"""A search finds just what the view ``effective_tags`` holds, on random small libraries."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

import pytest
from sqlalchemy import Connection, text

from tagger.search.expression import All, AnyOf, Bound, Comparison, Expression, Fact, Has, Not
from tagger.search.find import find
from tagger.search.query import CursorError, Found, Page, Place, Query
from tagger.search.view import statement
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
SEEDS = int(os.environ.get("SEEDS", "2"))
"""Random libraries, of 40 searches each; `SEEDS=60 pytest tests/unit/search` for a long look."""
FOLDERS = ("", "trip/", "Trip/a_b/", "50%25/", "o%27b/")


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
            "INSERT INTO contents (id, digest, width, format, taken_at) "
            "VALUES (:id, :digest, :width, :format, :taken)",
            id=content,
            digest=b"%032d" % content,
            width=self.dice.choice((None, 100, 200, 300)),
            format=self.dice.choice((None, "JPEG", "PNG")),
            taken=self.dice.choice(
                (None, "2019-07-20T16:05:09", "2019-12-31T23:59:59+01:00", "2020-02-03T00:00:00")
            ),
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
            "INSERT INTO images (id, uri, content_id, size, added_at, vanished_at) "
            "VALUES (:id, :uri, :content, :size, CURRENT_TIMESTAMP, "
            + ("CURRENT_TIMESTAMP)" if self.dice.random() < 0.1 else "NULL)"),
            id=image,
            uri=f"file:///{self.dice.choice(FOLDERS)}{image}.jpg",
            size=self.dice.choice((None, 100, 500, 1000)),
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
        """By image how sure it is, judged one by one by what the views say."""
        held: dict[int, dict[str, float]] = {}
        for image, tag, confidence in self.connection.execute(
            text("SELECT image_id, tag, confidence FROM effective_tags")
        ):
            held.setdefault(image, {})[tag] = confidence
        facts = self.connection.execute(text("SELECT * FROM image_info WHERE vanished_at IS NULL")).mappings()
        answers = {
            row["image_id"]: judged(query.expression, held.get(row["image_id"], {}), row) for row in facts
        }
        return {image: sure for image, sure in answers.items() if sure is not None and sure >= query.least}

    def told(self, found: Found) -> tuple[str, str | None]:
        """Source and model of that tag, as the view says it."""
        row = self.connection.execute(
            text("SELECT source, model FROM effective_tags WHERE image_id = :image AND tag = :tag"),
            {"image": found.image_id, "tag": found.tag},
        ).one()
        return row.source, row.model

    def queries(self) -> list[Query]:
        names = list(TREE)
        single = [Query(Has(name)) for name in names]
        several = [
            Query(
                All(
                    (
                        *map(Has, self.dice.sample(names, self.dice.choice((1, 2, 2, 3)))),
                        *(Not(Has(name)) for name in self.dice.sample(names, self.dice.choice((0, 0, 1, 2)))),
                    )
                ),
                self.dice.choice((0.0, 0.0, 0.3, 0.7)),
            )
            for _ in range(10)
        ]
        any_tree = [
            Query(self._expression(self.dice.choice((1, 2, 3))), self.dice.choice((0.0, 0.0, 0.4)))
            for _ in range(20)
        ]
        return single + several + any_tree

    def _expression(self, deep: int) -> Expression:
        if deep == 0 or self.dice.random() < 0.2:
            return self.dice.choice((self._has, self._has, self._has, self._fact))()
        if self.dice.random() < 0.25:
            return Not(self._expression(deep - 1))
        kind = self.dice.choice((All, AnyOf))
        return kind(tuple(self._expression(deep - 1) for _ in range(self.dice.choice((1, 2, 2, 3)))))

    def _has(self) -> Has:
        name = self.dice.choice((*TREE, *TREE, "unicorn"))
        bounds = [Bound(way, self.dice.choice((0.2, 0.5, 0.9, 1.0))) for way in ("<", "<=", "=", ">=", ">")]
        return Has(name, self.dice.choice((None, None, None, *bounds)))

    def _fact(self) -> Fact:
        way: Comparison = self.dice.choice(("<", "<=", "=", ">=", ">"))
        return self.dice.choice(
            (
                Fact("size", way, float(self.dice.choice((100, 500, 900)))),
                Fact("width", way, 200.0),
                Fact("taken", way, self.dice.choice(("2019", "2019-07", "2020-02-03", "2019-07-20T16:05"))),
                Fact("format", "=", self.dice.choice(("jpeg", "PNG"))),
                Fact(
                    "path",
                    "=",
                    self.dice.choice(("1", "*.jpg", "Trip/*", "trip/?.jpg", "%", "_", "*_*", "o'b*")),
                ),
            )
        )


def turned(connection: Connection, query: Query, size: int) -> Iterator[Found]:
    """All photos, page by page, each behind the one before; places go over the wire as text."""
    page = find(connection, replace(query, limit=size))
    yield from page.photos
    while page.next is not None:
        assert len(page.photos) == size
        page = find(connection, replace(query, limit=size, after=Place.read(page.next.written())))
        yield from page.photos


def _plain(view: str) -> str:
    return f"SELECT image_id, confidence FROM ({view}) v".replace(":", "\\:")


def judged(expression: Expression, tags: Mapping[str, float], facts: Mapping[str, Any]) -> float | None:
    """How sure a photo is of an expression; None if that is not true. As simple as can be."""
    match expression:
        case Has(tag, bound):
            if tag not in tags:
                return None
            limit = 0.0 if bound is None else bound.confidence
            ways = {None: True, "<": tags[tag] < limit, "<=": tags[tag] <= limit, "=": tags[tag] == limit}
            ways |= {">=": tags[tag] >= limit, ">": tags[tag] > limit}
            return tags[tag] if ways[bound and bound.comparison] else None
        case Not(part):
            return 1.0 if judged(part, tags, facts) is None else None
        case All(parts):
            found = [judged(part, tags, facts) for part in parts]
            return None if None in found else min(found)  # type: ignore[type-var]
        case AnyOf(parts):
            found = [judged(part, tags, facts) for part in parts]
            return max((each for each in found if each is not None), default=None)
        case Fact():
            return 1.0 if fact_holds(expression, facts) else None
    raise AssertionError(expression)


def fact_holds(fact: Fact, facts: Mapping[str, Any]) -> bool:
    value: Any = fact.value
    if fact.field == "path":
        path = unquote(facts["uri"]).lower()
        if not set(value) & set("*?"):
            return value.lower() in path
        return any(
            fnmatchcase(path[at + 1 :], value.lower()) for at, letter in enumerate(path) if letter == "/"
        )
    found = facts["taken_at" if fact.field == "taken" else fact.field]
    if found is None:
        return False
    if fact.field == "format":
        return bool(found == value.upper())
    if fact.field == "taken" and fact.comparison in ("=", "<=", ">"):
        found = found[: len(value)]  # the whole of what is named, a year say, is one moment
    return {"<": found < value, "<=": found <= value, "=": found == value, ">=": found >= value}.get(
        fact.comparison, found > value
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_search_finds_what_the_view_holds(database: Database, seed: int) -> None:
    with database.writing() as connection:
        library = Library(connection, seed)
        for query in library.queries():
            whole = find(connection, query)
            found = whole.photos
            assert whole.next is None
            assert {one.image_id: one.confidence for one in found} == library.expected(query), query
            assert len({one.image_id for one in found}) == len(found)
            order = [one.confidence for one in found]
            assert order == sorted(order, reverse=True)
            assert all((one.source, one.model) == library.told(one) for one in found if one.tag)
            assert all(one.confidence == 1.0 for one in found if one.tag is None)
            for start, most in ((0, 1), (0, 3), (2, 5), (len(found), 2)):
                page = find(connection, replace(query, limit=most, offset=start))
                assert page.photos == found[start : start + most], query
                assert (page.next is None) == (start + most >= len(found))
            assert list(turned(connection, query, library.dice.choice((1, 3, 7)))) == found, query
        for query in library.queries()[-8:]:
            rows = connection.execute(text(_plain(statement(query.expression, connection.dialect.name))))
            assert dict(rows.all()) == library.expected(replace(query, least=0.0)), query


def test_a_tag_that_nobody_knows_is_on_no_photo(database: Database) -> None:
    with database.writing() as connection:
        catalog.register_model(connection, _entry("a", exclusive=True))
        assert find(connection, Query(Has("unicorn"))) == Page([], None)
        assert find(connection, Query(All((Has("dog"), Has("unicorn"))))) == Page([], None)


def test_an_empty_page_is_empty(database: Database) -> None:
    with database.writing() as connection:
        Library(connection, 1)
        assert find(connection, Query(Has("dog"), limit=1)).photos, "else this shows nothing"
        assert find(connection, Query(Has("dog"), limit=0)) == Page([], None)


@pytest.mark.parametrize(
    "text", ["", "x", "bnVsbA", "W10", "WzEsMiwzXQ", "é", "W251bGwsMSwxLDFd", "WzIuMCwwLDEsMV0"]
)
def test_what_is_no_cursor_is_told_so(text: str) -> None:
    with pytest.raises(CursorError, match="take `next`"):
        Place.read(text)


def test_every_photo_comes_when_nothing_is_asked(database: Database) -> None:
    with database.writing() as connection:
        Library(connection, 3)
        ids = connection.execute(text("SELECT id FROM images WHERE vanished_at IS NULL")).scalars().all()
        found = list(turned(connection, Query(All(())), 7))
        assert sorted(one.image_id for one in found) == sorted(ids)
