"""What must be known before the first row is read: a handful of rows on the tags and the live models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, bindparam, text

from tagger.search.expression import Expression, Has, leaves


@dataclass(frozen=True, slots=True)
class Live:
    """A live model. ``exclusive``: its classes exclude each other, so that their confidences add up to 1."""

    id: int
    name: str
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """From which confidence a tag is effective under a model: ``threshold`` by itself, ``bound`` through a
    tag below it. No score under the bound counts, since a tag is never less sure than one below it."""

    threshold: float
    bound: float


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of a query; ``limits`` by live model, of those that know it; ``images`` as last counted."""

    id: int
    name: str
    images: int
    limits: Mapping[int, Limits]


@dataclass(frozen=True, slots=True)
class Bearings:
    """The tags of an expression by their names, and what lies between them. A tag that the database does not
    know is not among them: it is on no photo."""

    models: tuple[Live, ...]
    tags: Mapping[str, Tag]
    above: frozenset[tuple[int, int]]
    """(ancestor, descendant) of all these tags, each tag itself too."""
    meeting: frozenset[tuple[int, int]]
    """Pairs of tags that share a tag below them."""

    def apart(self, one: Tag, other: Tag) -> bool:
        """Whether the confidences of two tags add up to no more than 1, on every photo."""
        exclusive = len(self.models) == 1 and self.models[0].exclusive
        return exclusive and (one.id, other.id) not in self.meeting


def take(connection: Connection, expression: Expression) -> Bearings:
    """Read them."""
    names = list(dict.fromkeys(leaf.tag for leaf in leaves(expression) if isinstance(leaf, Has)))
    models = tuple(
        Live(*row)
        for row in connection.execute(text("SELECT id, name, exclusive FROM models WHERE live ORDER BY id"))
    )
    tags = _tags(connection, names)
    ids = [tag.id for tag in tags.values()]
    return Bearings(
        models,
        {name: tags[name] for name in names if name in tags},
        _pairs(connection, _ABOVE, ids),
        _meeting(connection, ids),
    )


def _tags(connection: Connection, names: Sequence[str]) -> dict[str, Tag]:
    rows = connection.execute(_TAGS, {"names": list(names) or [""]}).all()
    limits: dict[int, dict[int, Limits]] = {row.id: {} for row in rows}
    for tag_id, model_id, threshold, bound in connection.execute(_LIMITS, {"tags": list(limits) or [0]}):
        limits[tag_id][model_id] = Limits(threshold, bound)
    return {row.name: Tag(row.id, row.name, row.images, limits[row.id]) for row in rows}


def _meeting(connection: Connection, ids: Sequence[int]) -> frozenset[tuple[int, int]]:
    return _pairs(connection, _MEETING, ids) if len(ids) > 1 else frozenset()


def _pairs(connection: Connection, query: TextClause, ids: Sequence[int]) -> frozenset[tuple[int, int]]:
    return frozenset((row[0], row[1]) for row in connection.execute(query, {"tags": list(ids) or [0]}))


_TAGS = text(
    "SELECT t.id, t.name, COALESCE(n.images, 0) AS images FROM tags t "
    "LEFT JOIN tag_tallies n ON n.tag_id = t.id WHERE t.name IN :names"
).bindparams(bindparam("names", expanding=True))
_LIMITS = text(
    "SELECT own.tag_id, own.model_id, own.threshold, MIN(h.threshold) "
    "FROM thresholds own JOIN models m ON m.id = own.model_id AND m.live "
    "JOIN tag_paths p ON p.ancestor_id = own.tag_id "
    "JOIN thresholds h ON h.model_id = own.model_id AND h.tag_id = p.descendant_id "
    "WHERE own.tag_id IN :tags GROUP BY own.tag_id, own.model_id, own.threshold"
).bindparams(bindparam("tags", expanding=True))
_ABOVE = text(
    "SELECT ancestor_id, descendant_id FROM tag_paths WHERE ancestor_id IN :tags AND descendant_id IN :tags"
).bindparams(bindparam("tags", expanding=True))
_MEETING = text(
    "SELECT DISTINCT a.ancestor_id, b.ancestor_id FROM tag_paths a "
    "JOIN tag_paths b ON b.descendant_id = a.descendant_id "
    "WHERE a.ancestor_id IN :tags AND b.ancestor_id IN :tags"
).bindparams(bindparam("tags", expanding=True))
