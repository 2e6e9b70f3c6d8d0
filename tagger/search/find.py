"""The walk: photos come from an index, those of each source surest first, until the page is certain.

Of tags that a photo must all have it is as sure as of the least sure one, of tags that will do each as of the
surest. Whoever comes later from a source is no surer than the photo at hand, so once there are enough that
are as sure as this one, none better comes. Among equals what a person confirmed is first, then what has the
newer content: each photo has a :class:`~tagger.search.query.Place`, and a page may begin behind any. Where
the sources tell how sure a photo is they are entered there, and else walked from their beginning.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from tagger.search import bearings as known
from tagger.search import sql
from tagger.search.bearings import Bearings
from tagger.search.expression import All, AnyOf, Expression, Fact, Has, Not, leaves, wanted
from tagger.search.facts import Facts
from tagger.search.plan import Source, Walk, holds_by_word, is_certain, sources
from tagger.search.query import Found, Page, Place, Query
from tagger.search.sql import Asked

_FETCH = 64
"""Rows that PostgreSQL sends at one time."""
_GROUP = 500
"""Images that are asked about together."""


def find(connection: Connection, query: Query) -> Page:
    """The page, surest first. The connection is in a transaction that reads."""
    bearings = known.take(connection, query.expression)
    places = sources(bearings, query.expression)
    if not places or query.limit == 0:
        return Page([], None)
    return _Search(connection, query, bearings, places).page()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A photo that may be an answer: what holds of each tag (None: it does not), by whose word (None: a
    person), and which filters are true of it."""

    image_id: int
    content_id: int
    uri: str
    confidences: Mapping[str, float | None]
    models: Mapping[str, int | None]
    facts: Mapping[Fact, bool]
    bound: Place
    """No photo that comes later from this source has a place before this."""

    def place(self, answer: _Answer) -> Place:
        """Where it stands with that answer."""
        said = answer.tag is not None and self.models[answer.tag] is None
        return Place(answer.confidence, said, self.content_id, self.image_id)


@dataclass(frozen=True, slots=True)
class _Answer:
    """How sure a photo is, and of which tag; of none where it need not have any."""

    confidence: float
    tag: str | None = None


_CERTAIN = _Answer(1.0)


def _answer(expression: Expression, photo: _Candidate) -> _Answer | None:
    """What an expression is of a photo; None if it is not true."""
    match expression:
        case Has(tag, bound):
            confidence = photo.confidences.get(tag)
            holds = confidence is not None and (bound is None or bound.admits(confidence))
            return _Answer(confidence, tag) if holds and confidence is not None else None
        case Fact():
            return _CERTAIN if photo.facts[expression] else None
        case Not(part):
            return None if _answer(part, photo) else _CERTAIN
        case All(parts):
            every = [_answer(part, photo) for part in parts]
            sure = [each for each in every if each is not None]
            return min(sure, key=_least, default=_CERTAIN) if len(sure) == len(every) else None
        case AnyOf(parts):
            some = [each for each in (_answer(part, photo) for part in parts) if each is not None]
            return max(some, key=_most, default=None)
    raise AssertionError(f"a name that was not resolved: {expression}")


def _least(answer: _Answer) -> tuple[float, bool]:
    """A tag speaks before what is certain by itself."""
    return answer.confidence, answer.tag is None


def _most(answer: _Answer) -> tuple[float, bool]:
    return answer.confidence, answer.tag is not None


class _Best:
    """The first in order, no more than are wanted."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self._heap: list[tuple[Place, _Candidate, _Answer]] = []  # no two places are equal

    def beats(self, bound: Place) -> bool:
        """Whether there are enough, all of them before this."""
        is_full = self._wanted is not None and len(self._heap) >= self._wanted
        return is_full and self._heap[0][0] >= bound

    def add(self, place: Place, candidate: _Candidate, answer: _Answer) -> None:
        """Take it if it is among the first."""
        entry = (place, candidate, answer)
        if self._wanted is None or len(self._heap) < self._wanted:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def in_order(self) -> list[tuple[Place, _Candidate, _Answer]]:
        """From the first to the last."""
        return sorted(self._heap, key=lambda entry: entry[0], reverse=True)


class _Search:
    """One search under way."""

    def __init__(
        self, connection: Connection, query: Query, bearings: Bearings, places: Sequence[Source]
    ) -> None:
        self._connection = connection
        self._query = query
        self._bearings = bearings
        self._places = places
        named = dict.fromkeys(leaf.tag for leaf in wanted(query.expression))
        filters = dict.fromkeys(leaf for leaf in leaves(query.expression) if isinstance(leaf, Fact))
        self._asked = Asked(
            tuple(bearings.tags.values()),
            tuple(bearings.tags[name] for name in named if name in bearings.tags),
            tuple(filters),
            Facts(),
        )

    def page(self) -> Page:
        """The photos of the page."""
        query, best, seen = self._query, _Best(self._query.wanted), set[int]()
        for candidates in (self._spoken_of(), self._come()):
            for candidate in candidates:
                if best.beats(candidate.bound):
                    break
                if candidate.image_id in seen:
                    continue
                seen.add(candidate.image_id)
                answer = _answer(query.expression, candidate)
                if answer is None or answer.confidence < query.least:
                    continue
                place = candidate.place(answer)
                if query.after is None or place < query.after:
                    best.add(place, candidate, answer)
        return self._page(best.in_order())

    def _page(self, found: Sequence[tuple[Place, _Candidate, _Answer]]) -> Page:
        query = self._query
        end = len(found) if query.limit is None else query.offset + query.limit
        names = {model.id: model.name for model in self._bearings.models}
        photos = [_found(names, photo, answer) for _, photo, answer in found[query.offset : end]]
        return Page(photos, found[end - 1][0] if end < len(found) else None)

    def _spoken_of(self) -> Iterator[_Candidate]:
        """Those of which somebody confirmed a wanted tag: nobody is surer than a person."""
        after = self._query.after if holds_by_word(self._query.expression) else None
        if after is not None and not after.person:
            return
        step = sql.spoken_of(self._asked, after)
        ids = self._connection.execute(text(step)).scalars().all() if step else []
        for start in range(0, len(ids), _GROUP):
            these = sql.these(self._bearings, self._asked, ids[start : start + _GROUP])
            rows = self._connection.execute(text(these), self._asked.facts.values)
            yield from self._candidates(rows, person=True)

    def _come(self) -> Iterator[_Candidate]:
        """All others, from all sources as one."""
        walks = [
            self._candidates(self._rows(step, walk), walk.tag.name if walk else None)
            for source in self._places
            for step, walk in self._steps(source)
        ]
        return heapq.merge(*walks, key=lambda candidate: candidate.bound, reverse=True)

    def _steps(self, source: Source) -> Iterator[tuple[str, Walk | None]]:
        """The statements of a source, and the walk that each is of if it is one."""
        after = self._query.after
        if isinstance(source, Walk):
            for model in self._bearings.models:
                step = sql.walk(self._bearings, self._asked, source, model, self._query)
                if step is not None:
                    yield step, source
        elif is_certain(self._query.expression):
            yield sql.images(self._bearings, self._asked, source, after), None
        else:
            yield from ((step, None) for step in sql.scans(self._bearings, self._asked, source, after))

    def _rows(self, step: str, source: Walk | None = None) -> Iterator[Any]:
        """The rows of a source, as they are asked for."""
        choose_way(self._connection, self._bearings, source)
        options = {"stream_results": True, "max_row_buffer": _FETCH}
        with self._connection.execute(
            text(step), self._asked.facts.values, execution_options=options
        ) as rows:
            yield from rows

    def _candidates(
        self, rows: Iterable[Any], first: str | None = None, *, person: bool = False
    ) -> Iterator[_Candidate]:
        tags = [tag.name for tag in self._asked.tags]
        told = [tag.name for tag in self._asked.wanted]
        filters = self._asked.filters
        for image_id, content, uri, *rest in rows:
            confidences = dict(zip(tags, rest, strict=False))
            content_id = content or 0
            yield _Candidate(
                image_id,
                content_id,
                uri,
                confidences,
                dict(zip(told, rest[len(tags) :], strict=False)),
                dict(zip(filters, map(bool, rest[len(tags) + len(told) :]), strict=False)),
                Place(1.0 if first is None else confidences[first] or 0.0, person, content_id, image_id),
            )


def choose_way(connection: Connection, bearings: Bearings, source: Walk | None) -> None:
    """Tell PostgreSQL, to the end of the transaction, how walks go; SQLite goes that way by itself."""
    narrow = source is not None and any(bearings.apart(source.tag, other) for other, _ in source.beside)
    if connection.dialect.name == "postgresql":
        connection.execute(_PLAN if narrow else _WALK)


def _settings(**ways: str) -> str:
    return "SELECT " + ", ".join(f"set_config('enable_{way}', '{to}', true)" for way, to in ways.items())


_WALK = text(
    _settings(seqscan="off", hashjoin="off", mergejoin="off", material="off", bitmapscan="off", sort="off")
)
"""Have PostgreSQL go along the index: it would rather read and sort all, since it cannot know how soon
the page is full."""
_PLAN = text(
    _settings(seqscan="off", hashjoin="on", mergejoin="on", material="on", bitmapscan="off", sort="on")
)
"""Have it decide: what is left to read is little."""


def _found(names: Mapping[int, str], photo: _Candidate, answer: _Answer) -> Found:
    """The photo by the tag that its confidence is of."""
    if answer.tag is None:
        return Found(photo.image_id, photo.uri, None, 1.0, None, None)
    model = photo.models[answer.tag]
    return Found(
        photo.image_id,
        photo.uri,
        answer.tag,
        float(answer.confidence),
        "person" if model is None else "model",
        None if model is None else names[model],
    )
