"""What people say of images: that a tag is right or wrong, whatever a model makes of it.

Confirm implies the tag's ancestors, reject its descendants. The last word counts: who confirms a tag no
longer rejects anything above it, and who rejects it no longer confirms anything below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, exists, insert, select, text

from tagger.store import counts
from tagger.store.bulk import insert_or_ignore
from tagger.store.schema import PathRow, TagRow, TallyKeeperRow, ThresholdRow, VerdictRow
from tagger.store.session import now

AT_ONCE = 200
"""Images whose tags are counted before and after together."""


class Verdict(StrEnum):
    """A person's word on an image and a tag."""

    CONFIRM = "confirm"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a word on some images: on how many it is new, and what it took back there."""

    new: int
    taken_back: int


def say(connection: Connection, verdict: Verdict, tag_id: int, image_ids: Sequence[int]) -> Said:
    """Note a verdict on a tag for some images (:data:`AT_ONCE` at most), in the caller's transaction."""
    with _counted(connection, image_ids):
        before = _held(connection, tag_id, image_ids)
        taken_back = _take_back_contrary(connection, verdict, tag_id, image_ids)
        connection.execute(
            delete(VerdictRow).where(VerdictRow.tag_id == tag_id, VerdictRow.image_id.in_(image_ids))
        )
        moment = now(connection)
        rows = [
            {"image_id": image_id, "tag_id": tag_id, "verdict": verdict.value, "decided_at": moment}
            for image_id in image_ids
        ]
        if rows:
            connection.execute(insert(VerdictRow), rows)
    new = sum(before.get(image_id) != verdict.value for image_id in image_ids)
    return Said(new, taken_back + sum(word != verdict.value for word in before.values()))


def take_back(connection: Connection, tag_id: int, image_ids: Sequence[int]) -> Said:
    """Have nothing said of this tag for these images."""
    with _counted(connection, image_ids):
        gone = connection.execute(
            delete(VerdictRow).where(VerdictRow.tag_id == tag_id, VerdictRow.image_id.in_(image_ids))
        )
    _drop_unused(connection, tag_id)
    return Said(0, gone.rowcount)


def images_with(connection: Connection, verdict: Verdict, tag_id: int) -> list[int]:
    """All images of which this was said."""
    rows = select(VerdictRow.image_id).where(VerdictRow.tag_id == tag_id, VerdictRow.verdict == verdict.value)
    return list(connection.execute(rows.order_by(VerdictRow.image_id)).scalars())


@dataclass(frozen=True, slots=True)
class Word:
    """What people say of a present image: whether a tag is right for it."""

    uri: str
    tag: str
    is_right: bool


def words(connection: Connection, *, implied: bool) -> list[Word]:
    """All that was said, by image; with ``implied`` also of the tags above what is confirmed and below what
    is rejected."""
    rows = connection.execute(_IMPLIED_WORDS if implied else _WORDS)
    return [Word(uri, tag, bool(is_right)) for uri, tag, is_right in rows]


def _drop_unused(connection: Connection, tag_id: int) -> None:
    """A person's own word goes with the last that was said of it; a model's stays."""
    used = connection.execute(
        select(exists().where(VerdictRow.tag_id == tag_id) | exists().where(ThresholdRow.tag_id == tag_id))
    ).scalar_one()
    if not used:
        connection.execute(delete(TagRow).where(TagRow.id == tag_id))


def make_tag(connection: Connection, name: str) -> int:
    """The tag of that name, made if there is none: a person's own word, above and below nothing."""
    connection.execute(insert_or_ignore(connection, TagRow), [{"name": name}])
    tag_id: int = connection.execute(select(TagRow.id).where(TagRow.name == name)).scalar_one()
    connection.execute(
        insert_or_ignore(connection, PathRow),
        [{"ancestor_id": tag_id, "descendant_id": tag_id, "depth": 0}],
    )
    return tag_id


def _held(connection: Connection, tag_id: int, image_ids: Sequence[int]) -> dict[int, str]:
    rows = connection.execute(
        select(VerdictRow.image_id, VerdictRow.verdict).where(
            VerdictRow.tag_id == tag_id, VerdictRow.image_id.in_(image_ids)
        )
    )
    return dict(rows.all())


def _take_back_contrary(
    connection: Connection, verdict: Verdict, tag_id: int, image_ids: Sequence[int]
) -> int:
    """Rejections above a tag that is confirmed, confirmations below one that is rejected."""
    above = select(PathRow.ancestor_id).where(PathRow.descendant_id == tag_id, PathRow.depth > 0)
    below = select(PathRow.descendant_id).where(PathRow.ancestor_id == tag_id, PathRow.depth > 0)
    tags, contrary = (above, Verdict.REJECT) if verdict is Verdict.CONFIRM else (below, Verdict.CONFIRM)
    gone = connection.execute(
        delete(VerdictRow).where(
            VerdictRow.image_id.in_(image_ids),
            VerdictRow.tag_id.in_(tags),
            VerdictRow.verdict == contrary.value,
        )
    )
    return gone.rowcount


@contextmanager
def _counted(connection: Connection, image_ids: Sequence[int]) -> Iterator[None]:
    """Keep the tallies right by counting the tags of these images alone.

    The triggers are for whoever writes verdicts by hand: they would have all tags above and below counted
    anew over the whole library.
    """
    with counts.kept_up(connection, image_ids):
        connection.execute(insert(TallyKeeperRow), {"id": 1})
        yield
        connection.execute(delete(TallyKeeperRow))


_SPOKEN = "SELECT image_id, tag_id, CASE verdict WHEN 'confirm' THEN 1 ELSE 0 END AS is_right FROM verdicts"
IMPLIED = """
    SELECT v.image_id, p.ancestor_id AS tag_id, 1 AS is_right
    FROM verdicts v JOIN tag_paths p ON p.descendant_id = v.tag_id WHERE v.verdict = 'confirm'
    UNION ALL
    SELECT v.image_id, p.descendant_id, 0
    FROM verdicts v JOIN tag_paths p ON p.ancestor_id = v.tag_id WHERE v.verdict = 'reject'"""
"""What is right and wrong of images by what people said; of a tag of which both follows, it is wrong."""
_NAMED = """
    SELECT i.uri, t.name, MIN(w.is_right) FROM ({}) w
    JOIN images i ON i.id = w.image_id JOIN tags t ON t.id = w.tag_id
    WHERE i.vanished_at IS NULL GROUP BY i.uri, t.name ORDER BY i.uri, t.name"""
_WORDS, _IMPLIED_WORDS = text(_NAMED.format(_SPOKEN)), text(_NAMED.format(IMPLIED))
