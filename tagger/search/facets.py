"""What else is on the photos that a search finds: its tags, with how many of the photos each is on.

Of searches that find many photos only the first are looked at, and that is said. For a single tag there is
more to be had without a look: how many photos it is on, and each of the tags below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Connection, TextClause, bindparam, text

from tagger.search import bearings
from tagger.search.expression import All, Expression, Has
from tagger.search.find import choose_way, find
from tagger.search.query import Query

MOST: Final = 120
"""Photos whose tags are counted."""
LISTED: Final = 100
"""Tags that are listed, the commonest of them."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A tag, and on how many of the photos it is."""

    tag: str
    images: int


@dataclass(frozen=True, slots=True)
class Facets:
    """``tags`` are those of the first ``counted`` photos; ``complete`` if these are all. ``total`` is how
    many photos there are, None if that would take a look at each. ``kinds`` are the tags below a single tag,
    over all photos."""

    counted: int
    complete: bool
    total: int | None
    kinds: tuple[Facet, ...]
    tags: tuple[Facet, ...]


def count(connection: Connection, expression: Expression, least: float = 0.0) -> Facets:
    """The facets of a search. The connection is in a transaction that reads."""
    if expression == All(()) and not least:
        total = _present(connection)
        return Facets(total, True, total, (), _facets(connection, _counts(connection, _EVERYWHERE)))
    page = find(connection, Query(expression, least, MOST))
    ids = [photo.image_id for photo in page.photos]
    complete = page.next is None
    choose_way(connection, bearings.take(connection, expression), None)
    tags = _facets(connection, _AMONG, ids=ids) if ids else ()
    if not isinstance(expression, Has) or expression.bound is not None or least:
        return Facets(len(ids), complete, len(ids) if complete else None, (), tags)
    counted = _facets(connection, _counts(connection, _BELOW), tag=expression.tag)
    whole = next((each.images for each in counted if each.tag == expression.tag), len(ids))
    return Facets(len(ids), complete, whole, tuple(e for e in counted if e.tag != expression.tag), tags)


def _present(connection: Connection) -> int:
    whole = connection.execute(text("SELECT COUNT(*) FROM images")).scalar_one()
    gone = connection.execute(text("SELECT COUNT(*) FROM images WHERE vanished_at IS NOT NULL")).scalar_one()
    return int(whole - gone)


def _counts(connection: Connection, question: str) -> TextClause:
    """The question, of the numbers themselves if all of them hold: PostgreSQL takes twenty milliseconds to
    make a plan of the view, which would count the others."""
    is_stale = connection.execute(text("SELECT 1 FROM stale_tags LIMIT 1")).first() is not None
    return text(question.format(counts="tag_counts" if is_stale else _TALLIES))


def _facets(connection: Connection, question: TextClause, **values: object) -> tuple[Facet, ...]:
    return tuple(Facet(*row) for row in connection.execute(question, {"most": LISTED, **values}))


_TALLIES = (
    "(SELECT t.name AS tag, n.images FROM tag_tallies n JOIN tags t ON t.id = n.tag_id WHERE n.images > 0)"
)
_EVERYWHERE = "SELECT c.tag, c.images FROM {counts} c ORDER BY c.images DESC, c.tag LIMIT :most"
_BELOW = (
    "SELECT c.tag, c.images FROM tag_closure p JOIN {counts} c ON c.tag = p.descendant "
    "WHERE p.ancestor = :tag ORDER BY c.images DESC, c.tag LIMIT :most"
)
# The ids stand in the statement: PostgreSQL would else keep a plan that was made for others.
_AMONG = text(
    "SELECT tag, COUNT(*) FROM effective_tags WHERE image_id IN :ids "
    "GROUP BY tag ORDER BY 2 DESC, 1 LIMIT :most"
).bindparams(bindparam("ids", type_=BigInteger(), expanding=True, literal_execute=True))
