"""How many images each tag is effective on, kept as numbers so that no query counts a library.

Whoever changes what holds for some images does so inside :func:`kept_up`, which counts their tags
before and after and adds the difference. Whoever changes what holds for all (a threshold, the live
model) changes only data: triggers mark the tags, the view ``tag_counts`` counts these afresh, and
:func:`refresh` makes the numbers hold again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import BigInteger, Connection, bindparam, delete, select, text, update

from tagger.store.schema import StaleTagRow, TallyRow
from tagger.store.session import exclusive

_TALLIES = 7_461_677
"""Guards the tallies: two writers that count at once would each miss the other's images."""


@contextmanager
def kept_up(connection: Connection, image_ids: Sequence[int]) -> Iterator[None]:
    """Keep the tallies right over a change to these images (a few hundred at most), and only these.

    Images that the block deletes count as gone.
    """
    guard(connection)
    before = _effective(connection, image_ids)
    yield
    after = _effective(connection, image_ids)
    after.subtract(before)
    _add(connection, {tag: change for tag, change in sorted(after.items()) if change})


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


def _effective(connection: Connection, image_ids: Sequence[int]) -> Counter[int]:
    if not image_ids:
        return Counter()
    if connection.dialect.name == "postgresql":
        connection.execute(_BY_INDEX)
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
"""To the end of the transaction. PostgreSQL, which knows little of a young or growing table, would else
read the scores of the whole library rather than those of some hundred images."""


def _add(connection: Connection, changes: dict[int, int]) -> None:
    if not changes:
        return
    known = set(connection.execute(select(TallyRow.tag_id).where(TallyRow.tag_id.in_(changes))).scalars())
    new = [{"tag_id": tag, "images": 0} for tag in changes if tag not in known]
    if new:
        connection.execute(TallyRow.__table__.insert(), new)  # type: ignore[attr-defined]
    connection.execute(
        update(TallyRow)
        .where(TallyRow.tag_id == bindparam("tag"))
        .values(images=TallyRow.images + bindparam("change")),
        [{"tag": tag, "change": change} for tag, change in changes.items()],
    )
