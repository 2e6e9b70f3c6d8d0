"""What came of the images: outcomes, contents and scores, written group by group.

:func:`record` writes only where the tagging still carries the writer's lease, so a process that
was thought dead and wakes up again cannot overwrite its successor. The scores of a content are its
first writer's, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select, update

from tagger.store import counts, moves, runs
from tagger.store.bulk import ask, insert_rows, is_sqlite, update_rows
from tagger.store.ledger import PASSING, want_again
from tagger.store.runs import Gain
from tagger.store.schema import (
    ClassScoreRow,
    ContentRow,
    ImageRow,
    TaggingRow,
    TagScoreRow,
)
from tagger.store.session import now
from tagger.values import DEATHS, ImageFacts, LabelScore, Outcome, OutcomeKind

BYTES_GONE = (
    OutcomeKind.CORRUPT,
    OutcomeKind.UNSUPPORTED,
    OutcomeKind.TOO_LARGE,
    OutcomeKind.OUTSIDE,
    OutcomeKind.TIMEOUT,
    OutcomeKind.QUARANTINED,
)
"""Failures after which nothing holds of what the place held before. Not so for a file that cannot
be read just now; and one that is missing has vanished, and may come back as it was."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a tagging came about; recorded with it, and no part of the model's fingerprint. ``loader``
    is that of all outcomes that name no other."""

    engine: str
    precision: str
    loader: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Which images were written, and how many of them had moved from elsewhere."""

    image_ids: frozenset[int]
    moved: int


def known_contents(
    asked: Callable[..., Sequence[tuple[Any, ...]]], model_id: int, digests: Sequence[bytes]
) -> dict[bytes, OutcomeKind]:
    """Which of these contents the model has tagged already, and whether it found anything.

    ``asked`` is :func:`tagger.store.bulk.ask` of a connection, or an :class:`~tagger.store.session.Inquiry`.
    """
    rows = asked(_KNOWN, model_id, among=digests, after=(model_id,))
    return {digest: OutcomeKind.OK if tags else OutcomeKind.EMPTY for digest, tags in rows}


_KNOWN = """
    SELECT c.digest, EXISTS (SELECT 1 FROM tag_scores t WHERE t.content_id = c.id AND t.model_id = {mark})
    FROM contents c
    WHERE c.digest {among}
      AND EXISTS (SELECT 1 FROM class_scores s WHERE s.content_id = c.id AND s.model_id = {mark}
                  AND s.rank = 1 LIMIT 1 OFFSET 0)"""
"""With an OFFSET PostgreSQL cannot turn it round, and read the classes to find the contents."""


def settle(connection: Connection, model_id: int, failures: Mapping[int, tuple[OutcomeKind, str]]) -> None:
    """Record what the scan alone can tell (a link that leads outside); no claim is needed."""
    with counts.kept_up(connection, list(failures)):
        blank = [image_id for image_id, (kind, _) in failures.items() if kind in BYTES_GONE]
        connection.execute(update(ImageRow).where(ImageRow.id.in_(blank)).values(content_id=None))
    moment = now(connection)
    runs.fail(connection, and_(TaggingRow.model_id == model_id, TaggingRow.image_id.in_(failures)))
    connection.execute(
        update(TaggingRow)
        .where(
            TaggingRow.model_id == model_id,
            TaggingRow.image_id == bindparam("image"),
            TaggingRow.outcome.is_(None),
        )
        .values(outcome=bindparam("kind"), reason=bindparam("why"), finished_at=moment, lease_id=None),
        [{"image": image_id, "kind": kind.value, "why": why} for image_id, (kind, why) in failures.items()],
    )


def quarantine(connection: Connection, poison: Sequence[tuple[int, int]]) -> None:
    """Settle these pairs of model and image, which kill whatever process has them in hand."""
    reason = f"{DEATHS} processes died while they had this image, and no other, in hand"
    for model_id in {model_id for model_id, _ in poison}:
        images = [image_id for model, image_id in poison if model == model_id]
        settle(connection, model_id, dict.fromkeys(images, (OutcomeKind.QUARANTINED, reason)))


def record(
    connection: Connection,
    model_id: int,
    lease_id: int,
    outcomes: Sequence[Outcome],
    provenance: Provenance,
    moved_away: Callable[[str, str], bool] = lambda old, new: False,
) -> Recorded:
    """Write a group of outcomes in the caller's transaction; what was written.

    An image whose tagging no longer carries the lease is left out: another has it, or the file has
    changed since. An image that is new and has the content of a vanished one *is* that one, moved:
    it takes over its row, id, verdicts and all. So it is with one that has not been missed yet, if
    ``moved_away(old URI, new URI)`` says that it is no longer at its old place. Of several it is the one
    that :func:`tagger.store.moves.partners` chooses, for all of the group together.
    """
    counts.guard(connection)
    counts.by_index(connection)
    before = _still_ours(connection, model_id, lease_id, [outcome.image_id for outcome in outcomes])
    group = [outcome for outcome in outcomes if outcome.image_id in before]
    group = _without_forgotten(connection, model_id, group)
    if not group:
        return Recorded(frozenset(), 0)
    contents = _add_contents(connection, group)
    moved = _moved(connection, group, contents, before, moved_away)
    scores = _unwritten_scores(connection, model_id, group, contents)
    fresh = _fresh(connection, model_id, group, contents, scores, before, moved)
    copies = _copies(connection, scores.keys() & contents.old)
    touched = {*before, *moved.values(), *copies} - fresh.keys()
    with counts.kept_up(connection, sorted(touched)):
        _add_scores(connection, model_id, scores)
        # What came of a moved image's old place is of no account, if that was in the group too.
        told = [outcome for outcome in group if outcome.image_id not in moved.values()]
        _place(connection, told, contents.ids, moved)
        _finish(connection, model_id, told, contents.ids, moved, provenance)
    counts.add_new(connection, model_id, list(fresh.values()))
    runs.advance(connection, _gains(group, before))
    return Recorded(frozenset(outcome.image_id for outcome in group), len(moved))


def _copies(connection: Connection, content_ids: Collection[int]) -> list[int]:
    """All images with contents that get their first scores now: what holds for one holds for its copies,
    whose own outcomes may come in another group."""
    if not content_ids:
        return []
    return list(connection.execute(select(ImageRow.id).where(ImageRow.content_id.in_(content_ids))).scalars())


@dataclass(frozen=True, slots=True)
class _Image:
    """An image as it was before its outcome is written."""

    run_id: int | None
    """The run that wants it."""
    uri: str
    content_id: int | None
    vanished: bool
    spoken_of: bool
    """Whether a person has said anything of it."""


def _still_ours(
    connection: Connection, model_id: int, lease_id: int, image_ids: Sequence[int]
) -> dict[int, _Image]:
    """Those that still carry the lease, which nobody else can take to the end of the transaction."""
    question = _STILL_OURS if is_sqlite(connection) else f"{_STILL_OURS} FOR UPDATE OF g"
    rows = ask(connection, question, among=image_ids, after=(model_id, lease_id))
    return {image_id: _Image(*image) for image_id, *image in rows}


_STILL_OURS = """
    SELECT g.image_id, g.run_id, i.uri, i.content_id, i.vanished_at IS NOT NULL,
           EXISTS (SELECT 1 FROM verdicts v WHERE v.image_id = i.id)
    FROM taggings g JOIN images i ON i.id = g.image_id
    WHERE g.image_id {among} AND g.model_id + 0 = {mark} AND g.lease_id = {mark}"""
"""What carries a lease has no outcome: they are never written but together."""


def _gains(group: Sequence[Outcome], before: Mapping[int, _Image]) -> dict[int, Gain]:
    """What the group adds to each run."""
    of_run: dict[int, list[Outcome]] = {}
    for outcome in group:
        if (run_id := before[outcome.image_id].run_id) is not None:
            of_run.setdefault(run_id, []).append(outcome)
    return {
        run_id: Gain(
            done=len(some),
            failed=sum(not outcome.kind.tagged for outcome in some),
            reused=sum(outcome.reused for outcome in some),
        )
        for run_id, some in of_run.items()
    }


def _without_forgotten(connection: Connection, model_id: int, group: list[Outcome]) -> list[Outcome]:
    """Leave out what relies on scores that were forgotten meanwhile; it is free to be claimed again."""
    relying = {outcome.digest: outcome for outcome in group if outcome.kind.tagged and not outcome.labels}
    if not relying:
        return group
    known = known_contents(partial(ask, connection), model_id, [digest for digest in relying if digest])
    orphans = {
        outcome.image_id
        for outcome in group
        if outcome.kind.tagged and not outcome.labels and outcome.digest not in known
    }
    if orphans:
        connection.execute(
            update(TaggingRow)
            .where(TaggingRow.model_id == model_id, TaggingRow.image_id.in_(orphans))
            .values(lease_id=None, attempts=TaggingRow.attempts - 1)
        )
    return [outcome for outcome in group if outcome.image_id not in orphans]


@dataclass(frozen=True, slots=True)
class _Contents:
    """The contents of a group by digest, and which of them there were before."""

    ids: Mapping[bytes, int]
    old: frozenset[int]


_FACTS = tuple(field.name for field in fields(ImageFacts))


_FOUND = f"SELECT digest, id, {', '.join(_FACTS)} FROM contents WHERE digest {{among}}"


_values: Callable[[ImageFacts], tuple[Any, ...]] = attrgetter(*_FACTS)
_UNKNOWN = _values(ImageFacts())


def _add_contents(connection: Connection, group: Sequence[Outcome]) -> _Contents:
    """The content row of each digest, made if it is new, with the facts that are known now."""
    facts: dict[bytes, ImageFacts | None] = {}
    for outcome in sorted(group, key=lambda outcome: outcome.digest or b""):
        if outcome.digest is not None:
            facts[outcome.digest] = outcome.facts or facts.get(outcome.digest)
    if not facts:
        return _Contents({}, frozenset())
    found = ask(connection, _FOUND, among=facts)
    # What was recorded without having been opened, or by an older version, may be known better now.
    better = [
        (*_values(known), content_id)
        for digest, content_id, *before in found
        if (known := facts[digest]) is not None and _values(known) != tuple(before)
    ]
    update_rows(connection, ContentRow, _FACTS, ("id",), better)
    old = {digest: content_id for digest, content_id, *_ in found}
    new = [digest for digest in facts if digest not in old]
    values = [(digest, *(_values(known) if (known := facts[digest]) else _UNKNOWN)) for digest in new]
    insert_rows(connection, ContentRow, ("digest", *_FACTS), values)
    made = ask(connection, "SELECT digest, id FROM contents WHERE digest {among}", among=new) if new else []
    return _Contents(old | dict(made), frozenset(old.values()))


def _moved(
    connection: Connection,
    group: Sequence[Outcome],
    contents: _Contents,
    before: Mapping[int, _Image],
    moved_away: Callable[[str, str], bool],
) -> dict[int, int]:
    """New images that are old ones from elsewhere: new id to old id, each old one once."""
    new: dict[int, dict[int, str]] = {}
    for outcome in group:
        image, content = before[outcome.image_id], contents.ids.get(outcome.digest or b"")
        # One that a person has spoken of stays itself: to become another it would lose that word.
        if content in contents.old and image.content_id is None and not image.spoken_of:
            new.setdefault(content, {})[outcome.image_id] = image.uri
    if not new:
        return {}
    old: dict[int, list[moves.Old]] = {content: [] for content in new}
    for content, *one in ask(connection, _WITH_CONTENT, among=new):
        old[content].append(moves.Old(*one))
    found = [moves.partners(new[content], old[content], moved_away) for content in new]
    return {image_id: partner for pairs in found for image_id, partner in pairs.items()}


_WITH_CONTENT = """
    SELECT i.content_id, i.id, i.uri, i.vanished_at IS NOT NULL,
           EXISTS (SELECT 1 FROM verdicts v WHERE v.image_id = i.id)
    FROM images i WHERE i.content_id {among}"""


@dataclass(frozen=True, slots=True)
class _Scores:
    """What a model says of a content, its tags by their ids."""

    tags: Mapping[int, float]
    labels: Sequence[LabelScore]


def _unwritten_scores(
    connection: Connection, model_id: int, group: Sequence[Outcome], contents: _Contents
) -> dict[int, _Scores]:
    """The scores of contents that have none yet under this model: the first writer's, whole."""
    scored = {contents.ids[outcome.digest]: outcome for outcome in group if outcome.digest and outcome.labels}
    if old := contents.old & scored.keys():
        have = connection.execute(
            select(ClassScoreRow.content_id).where(
                ClassScoreRow.model_id == model_id,
                ClassScoreRow.rank == 1,
                ClassScoreRow.content_id.in_(old),
            )
        ).scalars()
        for content_id in have:
            del scored[content_id]
    if not scored:
        return {}
    names = {tag.tag for outcome in scored.values() for tag in outcome.tags}
    tag_ids = dict(ask(connection, "SELECT name, id FROM tags WHERE name {among}", among=names))
    return {
        content_id: _Scores({tag_ids[tag.tag]: tag.confidence for tag in outcome.tags}, outcome.labels)
        for content_id, outcome in scored.items()
    }


def _fresh(
    connection: Connection,
    model_id: int,
    group: Sequence[Outcome],
    contents: _Contents,
    scores: Mapping[int, _Scores],
    before: Mapping[int, _Image],
    moved: Mapping[int, int],
) -> dict[int, Mapping[int, float]]:
    """The images that can be counted by the scores in hand (:func:`tagger.store.counts.add_new`)."""
    if not counts.only_live(connection, model_id):
        return {}
    new = {
        image_id
        for image_id, image in before.items()
        if image.content_id is None and not image.vanished and not image.spoken_of
    }
    return {
        outcome.image_id: scores[content].tags
        for outcome in group
        if outcome.digest and (content := contents.ids[outcome.digest]) in scores
        if outcome.image_id in new and outcome.image_id not in moved
    }


def _add_scores(connection: Connection, model_id: int, scores: Mapping[int, _Scores]) -> None:
    insert_rows(
        connection,
        ClassScoreRow,
        ("content_id", "model_id", "rank", "label_index", "confidence"),
        [
            (content_id, model_id, rank, label.index, label.confidence)
            for content_id, one in sorted(scores.items())
            for rank, label in enumerate(one.labels, start=1)
        ],
    )
    insert_rows(
        connection,
        TagScoreRow,
        ("content_id", "model_id", "tag_id", "confidence"),
        [
            (content_id, model_id, tag_id, confidence)
            for content_id, one in sorted(scores.items())
            for tag_id, confidence in sorted(one.tags.items())
        ],
    )


def _place(
    connection: Connection,
    group: Sequence[Outcome],
    content_ids: Mapping[bytes, int],
    moved: Mapping[int, int],
) -> None:
    """Tie images to their contents; merge the moved; mark those that are gone."""
    tied = [
        (content_ids[outcome.digest], outcome.image_id)
        for outcome in group
        if outcome.digest is not None and outcome.image_id not in moved
    ]
    update_rows(connection, ImageRow, ("content_id",), ("id",), tied)
    # Of these the old bytes are gone for certain, and no new ones are known.
    blank = [outcome.image_id for outcome in group if outcome.digest is None and outcome.kind in BYTES_GONE]
    if blank:
        connection.execute(update(ImageRow).where(ImageRow.id.in_(blank)).values(content_id=None))
    _take_over(connection, moved)
    gone = [outcome.image_id for outcome in group if outcome.kind is OutcomeKind.MISSING]
    if gone:
        connection.execute(update(ImageRow).where(ImageRow.id.in_(gone)).values(vanished_at=now(connection)))


def _take_over(connection: Connection, moved: Mapping[int, int]) -> None:
    """The old rows go on at the new places; what was wanted of a new one is wanted of the old."""
    if not moved:
        return
    places = ask(connection, "SELECT uri, size, mtime_ns, id FROM images WHERE id {among}", among=moved)
    wanted = ask(
        connection,
        "SELECT image_id, model_id, lease_id, run_id FROM taggings WHERE image_id {among}",
        among=moved,
    )
    connection.execute(delete(ImageRow).where(ImageRow.id.in_(moved)))
    rows = [(*place, moved[new]) for *place, new in places]
    update_rows(connection, ImageRow, ("uri", "size", "mtime_ns"), ("id",), rows, vanished_at=None)
    # They were missing, and are not any more.
    want_again(connection, list(moved.values()), outcomes=PASSING)
    wants = [(moved[new], model_id, lease_id) for new, model_id, lease_id, _ in wanted]
    insert_rows(connection, TaggingRow, ("image_id", "model_id", "lease_id"), wants)
    of_run: dict[tuple[int, int | None], list[int]] = {}
    for new, model_id, _, run_id in wanted:
        of_run.setdefault((model_id, run_id), []).append(moved[new])
    for (model_id, run_id), image_ids in of_run.items():
        _hand_to(connection, run_id, model_id, image_ids)


def _hand_to(connection: Connection, run_id: int | None, model_id: int, image_ids: Sequence[int]) -> None:
    """The run that waited for the new ones waits for the old ones, if these are to be done for nobody."""
    connection.execute(
        update(TaggingRow)
        .where(
            TaggingRow.image_id.in_(image_ids),
            TaggingRow.model_id == model_id,
            TaggingRow.outcome.is_(None),
            TaggingRow.run_id.is_(None),
        )
        .values(run_id=run_id)
    )


def _finish(
    connection: Connection,
    model_id: int,
    group: Sequence[Outcome],
    content_ids: Mapping[bytes, int],
    moved: Mapping[int, int],
    provenance: Provenance,
) -> None:
    """Write the outcomes themselves. A moved image that was finished before stays as it was."""
    finished = _finished(connection, model_id, moved.values())
    by_model, by_none = (provenance.engine, provenance.precision), (None, None)
    rows = [
        (
            outcome.kind.value,
            outcome.reason,
            content_ids.get(outcome.digest) if outcome.digest else None,
            *(by_model if outcome.kind.tagged and not outcome.reused else by_none),
            None if outcome.reused else outcome.loader or provenance.loader,
            moved.get(outcome.image_id, outcome.image_id),
            model_id,
        )
        for outcome in group
        if moved.get(outcome.image_id) not in finished
    ]
    columns, keys = (
        ("outcome", "reason", "content_id", "engine", "precision", "loader"),
        ("image_id", "model_id"),
    )
    update_rows(connection, TaggingRow, columns, keys, rows, finished_at=now(connection), lease_id=None)


def _finished(connection: Connection, model_id: int, image_ids: Collection[int]) -> set[int]:
    """Those that have an outcome."""
    if not image_ids:
        return set()
    finished = select(TaggingRow.image_id).where(
        TaggingRow.model_id == model_id,
        TaggingRow.image_id.in_(image_ids),
        TaggingRow.outcome.is_not(None),
    )
    return set(connection.execute(finished).scalars())
