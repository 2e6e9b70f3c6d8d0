"""The walk: photos come from an index, those of each source surest first, until the page is certain.

Of tags that a photo must all have it is as sure as of the least sure one, of tags that will do each as of the
surest. Whoever comes later from a source is no surer than the photo at hand, so once there are enough that
are as sure as this one, none better comes. Among equals what a person confirmed is first, then what comes
first: of one tag the newer photo.
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
from tagger.search.plan import Scan, Source, Walk, sources
from tagger.search.query import Found, Query
from tagger.search.sql import Asked

_FETCH = 64
"""Rows that PostgreSQL sends at one time."""
_GROUP = 500
"""Images that are asked about together."""


def find(connection: Connection, query: Query) -> list[Found]:
    """The page, surest first. The connection is in a transaction that reads."""
    bearings = known.take(connection, query.expression)
    places = sources(bearings, query.expression)
    if not places or query.wanted == 0:
        return []
    return _Search(connection, query, bearings, places).page()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A photo that may be an answer: what holds of each tag (None: it does not), by whose word (None: a
    person), and which filters are true of it."""

    image_id: int
    uri: str
    confidences: Mapping[str, float | None]
    models: Mapping[str, int | None]
    facts: Mapping[Fact, bool]
    bound: float
    """No photo that comes later from this source is surer than this."""


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
    """The surest, no more than are wanted; of equals the first that came."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self._heap: list[tuple[float, int, _Candidate, _Answer]] = []
        self._came = 0

    def beats(self, confidence: float) -> bool:
        """Whether there are enough, all of them at least as sure as this."""
        is_full = self._wanted is not None and len(self._heap) >= self._wanted
        return is_full and self._heap[0][0] >= confidence

    def add(self, candidate: _Candidate, answer: _Answer) -> None:
        """Take it if it is among the surest."""
        self._came += 1
        entry = (answer.confidence, -self._came, candidate, answer)
        if self._wanted is None or len(self._heap) < self._wanted:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def surest(self) -> list[tuple[_Candidate, _Answer]]:
        """The surest first."""
        return [entry[2:] for entry in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


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

    def page(self) -> list[Found]:
        """The photos of the page."""
        best, seen = _Best(self._query.wanted), set[int]()
        for candidates in (self._spoken_of(), self._come()):
            for candidate in candidates:
                if best.beats(candidate.bound):
                    break
                if candidate.image_id in seen:
                    continue
                seen.add(candidate.image_id)
                answer = _answer(self._query.expression, candidate)
                if answer is not None and answer.confidence >= self._query.least:
                    best.add(candidate, answer)
        names = {model.id: model.name for model in self._bearings.models}
        return [_found(names, *each) for each in best.surest()[self._query.offset :]]

    def _spoken_of(self) -> Iterator[_Candidate]:
        """Those of which somebody confirmed a wanted tag: nobody is surer than a person."""
        step = sql.spoken_of(self._asked)
        ids = self._connection.execute(text(step)).scalars().all() if step else []
        for start in range(0, len(ids), _GROUP):
            these = sql.these(self._bearings, self._asked, ids[start : start + _GROUP])
            yield from self._candidates(self._connection.execute(text(these), self._asked.facts.values))

    def _come(self) -> Iterator[_Candidate]:
        """All others, from all sources as one."""
        walks = []
        for source in self._places:
            if isinstance(source, Scan):
                walks.append(self._candidates(self._rows(sql.scan(self._bearings, self._asked, source))))
                continue
            for model in self._bearings.models:
                step = sql.walk(self._bearings, self._asked, source, model, self._query.least)
                if step is not None:
                    walks.append(self._candidates(self._rows(step, source), source.tag.name))
        return heapq.merge(*walks, key=lambda candidate: -candidate.bound)

    def _rows(self, step: str, source: Walk | None = None) -> Iterator[Any]:
        """The rows of a source, as they are asked for."""
        choose_way(self._connection, self._bearings, source)
        options = {"stream_results": True, "max_row_buffer": _FETCH}
        with self._connection.execute(
            text(step), self._asked.facts.values, execution_options=options
        ) as rows:
            yield from rows

    def _candidates(self, rows: Iterable[Any], first: str | None = None) -> Iterator[_Candidate]:
        tags = [tag.name for tag in self._asked.tags]
        told = [tag.name for tag in self._asked.wanted]
        filters = self._asked.filters
        for image_id, uri, *rest in rows:
            confidences = dict(zip(tags, rest, strict=False))
            yield _Candidate(
                image_id,
                uri,
                confidences,
                dict(zip(told, rest[len(tags) :], strict=False)),
                dict(zip(filters, map(bool, rest[len(tags) + len(told) :]), strict=False)),
                1.0 if first is None else confidences[first] or 0.0,
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
