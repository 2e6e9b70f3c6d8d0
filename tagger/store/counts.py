"""How many images each tag is effective on, kept as numbers so that no query counts a library.

Whoever changes what holds for some images does so inside :func:`kept_up`, which counts their tags
before and after and adds the difference. Images that are new, and of which nobody has said anything,
had no tags before, and the scores of their contents are in hand: these are counted without a question
(:func:`add_new`). Whoever changes what holds for all (a threshold, the live
model) changes only data: triggers mark the tags, the view ``tag_counts`` counts these afresh, and
:func:`refresh` makes the numbers hold again.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, delete, select, text

from tagger.store.bulk import ask
from tagger.store.schema import ModelRow, StaleTagRow, TallyRow
from tagger.store.session import exclusive

_TALLIES = 7_461_677
"""Guards the tallies: two writers that count at once would each miss the other's images."""


@contextmanager
def kept_up(connection: Connection, image_ids: Sequence[int]) -> Iterator[None]:
    """Keep the tallies right over a change to these images (some hundreds), and only these.

    Images that the block deletes count as gone.
    """
    guard(connection)
    before = _effective(connection, image_ids)
    yield
    after = _effective(connection, image_ids)
    after.subtract(before)
    _add(connection, {tag: change for tag, change in sorted(after.items()) if change})


@dataclass(frozen=True, slots=True)
class Rules:
    """What a model's scores come to, as the view ``model_tags`` says it; by tag, its threshold, and, of those
    that have one, the tags below it. Tags without are never effective."""

    thresholds: Mapping[int, float]
    below: Mapping[int, set[int]]

    def effective(self, scores: Mapping[int, float]) -> list[int]:
        """The tags that are effective on a content with these scores, where nobody rejects any."""
        thresholds, below = self.thresholds, self.below
        over = [tag for tag, confidence in scores.items() if confidence >= thresholds[tag]]
        if len(over) < len(scores):
            under = [tag for tag, confidence in scores.items() if confidence < thresholds[tag]]
            over += [tag for tag in under if tag in below and not below[tag].isdisjoint(over)]
        return over


def rules(connection: Connection, model_id: int, tags: Collection[int]) -> Rules:
    """The rules for a model's scores as they are at this moment, for these tags."""
    question = "SELECT tag_id, threshold FROM thresholds WHERE model_id = {mark} AND tag_id {among}"
    thresholds = dict(ask(connection, question, model_id, among=tags))
    below = defaultdict(set)
    for lower, tag in ask(connection, _ABOVE, among=tags):
        if tag in thresholds:
            below[tag].add(lower)
    return Rules(dict.fromkeys(tags, math.inf) | thresholds, dict(below))


_ABOVE = "SELECT descendant_id, ancestor_id FROM tag_paths WHERE descendant_id {among} AND depth > 0"


def only_live(connection: Connection, model_id: int) -> bool:
    """Whether this is the only model whose word holds."""
    live = select(ModelRow.id).where(ModelRow.live)
    return list(connection.execute(live).scalars()) == [model_id]


def add_new(connection: Connection, model_id: int, scores: Sequence[Mapping[int, float]]) -> None:
    """Count the tags of images that had none before, by the scores of the only live model.

    Of these images nobody has said anything, and none has vanished. :func:`guard` was called.
    """
    if not scores:
        return
    known = rules(connection, model_id, {tag for one in scores for tag in one})
    found = Counter(tag for one in scores for tag in known.effective(one))
    _add(connection, dict(sorted(found.items())))


def refresh(connection: Connection) -> int:
    """Count again what a threshold or the live model has changed; how many tags that were."""
    if connection.execute(select(StaleTagRow.tag_id).limit(1)).first() is None:
        return 0
    guard(connection)
    # Taken away first: a mark that another transaction sets meanwhile stays for the next time.
    stale = list(connection.execute(delete(StaleTagRow).returning(StaleTagRow.tag_id)).scalars())
    connection.execute(delete(TallyRow).where(TallyRow.tag_id.in_(stale)))
    connection.execute(
        text(
            "INSERT INTO tag_tallies (tag_id, images) "
            "SELECT t.id, (SELECT COUNT(*) FROM effective_tags e WHERE e.tag_id = t.id) "
            "FROM tags t WHERE t.id IN :stale"
        ).bindparams(bindparam("stale", expanding=True)),
        {"stale": stale},
    )
    return len(stale)


def guard(connection: Connection) -> None:
    """Be the only one who counts, to the end of the transaction.

    Taken before any row is held, by everybody: two that held rows and waited here would wait for
    each other.
    """
    exclusive(connection, _TALLIES)


def by_index(connection: Connection) -> None:
    """Have PostgreSQL go by indexes to the end of the transaction.

    It knows little of a young or growing table, and would else read the whole library rather than the
    rows of some hundred images.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_BY_INDEX)


def _effective(connection: Connection, image_ids: Sequence[int]) -> Counter[int]:
    if not image_ids:
        return Counter()
    by_index(connection)
    return Counter(dict(connection.execute(_EFFECTIVE, {"ids": list(image_ids)}).all()))


# The ids are written into the statement, so that none is like another: PostgreSQL would else keep the
# plan that it made while the tables were empty.
_EFFECTIVE = text(
    "SELECT tag_id, COUNT(*) FROM effective_tags WHERE image_id IN :ids GROUP BY tag_id"
).bindparams(bindparam("ids", type_=BigInteger(), expanding=True, literal_execute=True))
_BY_INDEX = text(
    "SELECT "
    + ", ".join(
        f"set_config('enable_{way}', 'off', true)" for way in ("seqscan", "hashjoin", "mergejoin", "material")
    )
)


def _add(connection: Connection, changes: dict[int, int]) -> None:
    if not changes:
        return
    if connection.dialect.name == "sqlite":
        listed = "VALUES (?, ?)"
        rows: Any = list(changes.items())
    else:
        listed = "SELECT * FROM unnest(%s::int[], %s::bigint[])"
        rows = (list(changes), list(changes.values()))
    connection.exec_driver_sql(
        f"INSERT INTO tag_tallies (tag_id, images) {listed} "
        "ON CONFLICT (tag_id) DO UPDATE SET images = tag_tallies.images + excluded.images",
        rows,
    )
