"""The walk: photos come from an index, the rarest tag's surest first, until the page is certain.

A photo is as sure as the least sure of the tags asked for. Whoever comes later in the walk is no surer
than the photo at hand, so once there are enough that are as sure as this one, none better comes. Among
equals what a person confirmed is first, then the newer photo.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from tagger.search import bearings as known
from tagger.search import sql
from tagger.search.bearings import Bearings
from tagger.search.query import Found, Query

_FETCH = 64
"""Rows that PostgreSQL sends at one time."""
_GROUP = 500
"""Images that are asked about together."""


def find(connection: Connection, query: Query) -> list[Found]:
    """The page, surest first. The connection is in a transaction that reads."""
    bearings = known.take(connection, query)
    if bearings.is_empty or not all(tag.id for tag in bearings.wanted):
        return []
    best = _Best(query.wanted)
    if query.wanted == 0:
        return []
    for candidate in _spoken_of(connection, bearings):
        if best.beats(1.0):
            break  # nobody is surer than a person
        if candidate.answers(query.least):
            best.add(candidate)
    for candidate in _walked(connection, bearings, query.least):
        if best.beats(candidate.confidences[0]):
            break
        if candidate.answers(query.least):
            best.add(candidate)
    names = {model.id: model.name for model in bearings.models}
    return [_found(bearings, names, candidate) for candidate in best.surest()[query.offset :]]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A photo that may be an answer: what holds of each tag, and by whose word (None is a person)."""

    image_id: int
    uri: str
    confidences: Sequence[float | None]
    """Of the wanted tags; None where one does not hold."""
    barred: bool
    models: Sequence[int | None]

    @property
    def confidence(self) -> float:
        """That of the least sure tag."""
        return min(confidence or 0.0 for confidence in self.confidences)

    def answers(self, least: float) -> bool:
        """Whether it is one."""
        return not self.barred and all(
            confidence is not None and confidence >= least for confidence in self.confidences
        )


def _spoken_of(connection: Connection, bearings: Bearings) -> Iterator[_Candidate]:
    ids = connection.execute(text(sql.spoken_of(bearings))).scalars().all()
    for start in range(0, len(ids), _GROUP):
        step = sql.these(bearings, ids[start : start + _GROUP])
        yield from _candidates(connection.execute(text(step)), bearings)


def _candidates(rows: Iterable[Any], bearings: Bearings) -> Iterator[_Candidate]:
    wanted, barred = len(bearings.wanted), len(bearings.barred)
    for image_id, uri, *rest in rows:
        yield _Candidate(
            image_id,
            uri,
            rest[:wanted],
            any(confidence is not None for confidence in rest[wanted : wanted + barred]),
            rest[wanted + barred :],
        )


class _Best:
    """The surest, no more than are wanted; of equals the first that came."""

    def __init__(self, wanted: int | None) -> None:
        self._wanted = wanted
        self._heap: list[tuple[float, int, _Candidate]] = []
        self._came = 0

    def beats(self, confidence: float | None) -> bool:
        """Whether there are enough, all of them at least as sure as this."""
        is_full = self._wanted is not None and len(self._heap) >= self._wanted
        return is_full and self._heap[0][0] >= (confidence or 0.0)

    def add(self, candidate: _Candidate) -> None:
        """Take it if it is among the surest."""
        self._came += 1
        entry = (candidate.confidence, -self._came, candidate)
        if self._wanted is None or len(self._heap) < self._wanted:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def surest(self) -> list[_Candidate]:
        """The surest first."""
        return [
            candidate for _, _, candidate in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        ]


def _walked(connection: Connection, bearings: Bearings, least: float) -> Iterator[_Candidate]:
    """The walks of all live models as one."""
    steps = [sql.walk(bearings, model, least) for model in bearings.models]
    walks = [_candidates(_rows(connection, bearings, step), bearings) for step in steps if step is not None]
    return heapq.merge(*walks, key=lambda candidate: -(candidate.confidences[0] or 0.0))


def _rows(connection: Connection, bearings: Bearings, step: str) -> Iterator[Any]:
    """The rows of a walk, as they are asked for."""
    choose_way(connection, bearings)
    options = {"stream_results": True, "max_row_buffer": _FETCH}
    with connection.execute(text(step), execution_options=options) as rows:
        yield from rows


def choose_way(connection: Connection, bearings: Bearings) -> None:
    """Tell PostgreSQL, to the end of the transaction, how walks go; SQLite goes that way by itself."""
    first = bearings.wanted[0]
    narrow = any(bearings.apart(first, other) for other in bearings.wanted[1:])
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


def _found(bearings: Bearings, names: dict[int, str], candidate: _Candidate) -> Found:
    """The photo by its least sure tag."""
    confidence = candidate.confidence
    place = candidate.confidences.index(confidence)
    model = candidate.models[place]
    return Found(
        candidate.image_id,
        candidate.uri,
        bearings.wanted[place].name,
        float(confidence),
        "person" if model is None else "model",
        None if model is None else names[model],
    )
