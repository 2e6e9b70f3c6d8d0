"""A query as SQL over the tables: what the view ``effective_tags`` says, asked of one image at a time.

Numbers are written into the statements: PostgreSQL then knows how common each tag is, and keeps no
plan that was made for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tagger.search.bearings import Bearings, Limits, Live, Tag
from tagger.search.expression import Fact
from tagger.search.facts import Facts
from tagger.search.plan import Scan, Walk
from tagger.search.query import Place, Query

SLACK = 1e-3
"""Probabilities that are added up may come to a little more than 1."""

_ONE = "LIMIT 1 OFFSET 0"
"""Keeps PostgreSQL from turning a question about one row into a join over the library."""


def walk(bearings: Bearings, asked: Asked, source: Walk, model: Live, query: Query) -> str | None:
    """The photos that may have a tag by the word of a model, the surest first; behind the place of the query
    if that can be told.

    Columns: image id, content id, URI, and :func:`_columns`. Which of them are an answer is told from these,
    so that nothing is asked twice. Photos of which somebody confirmed any wanted tag are left out: these are
    :func:`spoken_of`. None where the model does not know the tag.
    """
    first = source.tag
    if model.id not in first.limits:
        return None
    limits = first.limits[model.id]
    surest = "".join(_surer_than(first, model, other) for other in bearings.models)
    unsaid = "".join(f" AND NOT {_confirmed(tag)}" for tag in asked.wanted)
    lowest = max(limits.bound, source.least, query.least)
    behind = "" if query.after is None or not source.tells else _behind_score(query.after)
    return (
        f"SELECT i.id, i.content_id, i.uri, {_columns(bearings, asked)} "
        "FROM tag_scores s CROSS JOIN images i "  # in this order, for SQLite
        f"WHERE i.content_id = s.content_id AND s.tag_id = {first.id} AND s.model_id = {model.id} "
        f"AND s.confidence >= {lowest!r}{behind}{_narrowed(bearings, source, model, query.least)} "
        f"AND i.vanished_at IS NULL{asked.facts.all_of(source.facts)}{unsaid} AND NOT {_rejected(first)} "
        f"AND {_holds(first, model, limits)}{surest} ORDER BY s.confidence DESC, s.content_id DESC, i.id DESC"
    )


def images(bearings: Bearings, asked: Asked, source: Scan, after: Place | None) -> str:
    """The photos of which facts are true, the newest first, for a search that wants no tag; with the columns
    of :func:`walk`, but for the content."""
    behind = "" if after is None else f" AND i.id < {after.image_id}"
    return (
        f"SELECT i.id, NULL, i.uri, {_columns(bearings, asked)} FROM images i "
        f"WHERE i.vanished_at IS NULL{asked.facts.all_of(source.facts)}{behind} ORDER BY i.id DESC"
    )


def scans(bearings: Bearings, asked: Asked, source: Scan, after: Place | None) -> list[str]:
    """The photos of which facts are true beside what tags find, those with the newest contents first, and
    those without any in a statement of their own; with the columns of :func:`walk`. But for those of which
    somebody confirmed a wanted tag."""
    unsaid = "".join(f" AND NOT {_confirmed(tag)}" for tag in asked.wanted)
    seen, unseen = "", ""
    if after is not None and source.tells:
        if after.confidence < 1:
            return []  # all that is found here is certain
        if not after.person:
            seen = (
                f" AND i.content_id <= {after.content_id} AND (i.content_id, i.id) < "
                f"({after.content_id}, {after.image_id})"
            )
            unseen = "" if after.content_id else f" AND i.id < {after.image_id}"
    first = (
        f"SELECT i.id, i.content_id, i.uri, {_columns(bearings, asked)} FROM images i "
        f"WHERE i.vanished_at IS NULL{asked.facts.all_of(source.facts)}{unsaid}"
    )
    return [
        f"{first} AND i.content_id IS NOT NULL{seen} ORDER BY i.content_id DESC, i.id DESC",
        f"{first} AND i.content_id IS NULL{unseen} ORDER BY i.id DESC",
    ]


def _behind_score(after: Place) -> str:
    """That score ``s`` of image ``i`` comes behind a place; as the index has it."""
    if after.person:
        return ""
    confidence, content = repr(after.confidence), after.content_id
    return (
        f" AND (s.confidence, s.content_id) <= ({confidence}, {content}) AND NOT "
        f"(s.confidence = {confidence} AND s.content_id = {content} AND i.id >= {after.image_id})"
    )


def spoken_of(asked: Asked, after: Place | None) -> str | None:
    """The ids of the present images of which somebody confirmed a wanted tag, in their order behind a place
    whose photo a person is sure of; None where none is wanted."""
    if not asked.wanted:
        return None
    tags = ", ".join(str(tag.id) for tag in asked.wanted)
    behind = (
        f" HAVING (COALESCE(i.content_id, 0), i.id) < ({after.content_id}, {after.image_id})" if after else ""
    )
    return (
        "SELECT i.id FROM verdicts v JOIN tag_paths p ON p.descendant_id = v.tag_id "
        "JOIN images i ON i.id = v.image_id "
        f"WHERE p.ancestor_id IN ({tags}) AND v.verdict = 'confirm' AND i.vanished_at IS NULL "
        f"GROUP BY i.id, i.content_id{behind} ORDER BY COALESCE(i.content_id, 0) DESC, i.id DESC"
    )


def these(bearings: Bearings, asked: Asked, image_ids: Sequence[int]) -> str:
    """What holds for these images, some hundreds, with the columns of :func:`walk`; in their order."""
    ids = ", ".join(map(str, image_ids))
    return (
        f"SELECT i.id, i.content_id, i.uri, {_columns(bearings, asked)} FROM images i "
        f"WHERE i.vanished_at IS NULL AND i.id IN ({ids}) ORDER BY COALESCE(i.content_id, 0) DESC, i.id DESC"
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What is told of each photo: the confidence of ``tags``, who says so of those ``wanted``, and whether
    filters are true, whose conditions and values ``facts`` has."""

    tags: tuple[Tag, ...]
    wanted: tuple[Tag, ...]
    filters: tuple[Fact, ...]
    facts: Facts


def _columns(bearings: Bearings, asked: Asked) -> str:
    """The confidence of each tag, NULL where it does not hold; of each wanted one the model that says so,
    NULL for a person; of each filter 1 or 0."""
    columns = [*_confidences(bearings, asked.tags), *(_teller(bearings, tag) for tag in asked.wanted)]
    columns += [f"CASE WHEN {asked.facts.condition(fact)} THEN 1 ELSE 0 END" for fact in asked.filters]
    return ", ".join(columns) or "NULL"


def _confidences(bearings: Bearings, tags: Sequence[Tag]) -> list[str]:
    """The confidence of each tag on image ``i``; NULL where it does not hold."""
    return [
        f"CASE WHEN {_rejected(tag)} THEN NULL WHEN {_confirmed(tag)} THEN 1.0 "
        f"ELSE {_of_models(bearings, tag, 'MAX(w.confidence)')} END"
        for tag in tags
    ]


def _teller(bearings: Bearings, tag: Tag) -> str:
    """The id of the model that is the surest of a tag that holds on image ``i``; NULL for a person."""
    told = (
        str(bearings.models[0].id)
        if len(bearings.models) == 1
        else _of_models(bearings, tag, "w.model_id", " ORDER BY w.confidence DESC, w.model_id LIMIT 1")
    )
    return f"CASE WHEN {_confirmed(tag)} THEN NULL ELSE {told} END"


def _of_models(bearings: Bearings, tag: Tag, what: str, last: str = "") -> str:
    said = [
        "SELECT s.confidence, s.model_id FROM tag_scores s WHERE s.content_id = i.content_id "
        f"AND s.model_id = {model.id} AND s.tag_id = {tag.id} AND s.confidence >= {limits.bound!r} "
        f"AND {_holds(tag, model, limits)}"
        for model in bearings.models
        if (limits := tag.limits.get(model.id)) is not None
    ]
    return f"(SELECT {what} FROM ({' UNION ALL '.join(said)}) w{last})" if said else "NULL"


def _narrowed(bearings: Bearings, source: Walk, model: Live, least: float) -> str:
    """What the tags beside it leave of a tag's scores, where two cannot both be sure.

    The contents of both ranges are listed and met, which is quicker than to look up each of one (the plus
    keeps SQLite from that).
    """
    first, said = source.tag, ""
    for other, lowest in source.beside:
        if not bearings.apart(first, other) or model.id not in other.limits:
            scored = [_scored(other, live, max(least, lowest)) for live in bearings.models]
            said += f" AND ({' OR '.join(scored)})"
            continue
        low = max(first.limits[model.id].bound, least, source.least)
        high = max(other.limits[model.id].bound, least, lowest)
        said += (
            f" AND s.confidence <= {1 - high + SLACK!r} AND +s.content_id IN (SELECT o.content_id "
            f"FROM tag_scores o WHERE o.tag_id = {other.id} AND o.model_id = {model.id} "
            f"AND o.confidence >= {high!r} AND o.confidence <= {1 - low + SLACK!r})"
        )
    return said


def _scored(tag: Tag, model: Live, least: float) -> str:
    """That the content of score ``s`` has a score for the tag that may count: asked before all else."""
    limits = tag.limits.get(model.id)
    if limits is None:
        return "false"
    return (
        f"(SELECT o.confidence FROM tag_scores o WHERE o.content_id = s.content_id AND o.tag_id = {tag.id} "
        f"AND o.model_id = {model.id}) >= {max(limits.bound, least)!r}"
    )


def _holds(tag: Tag, model: Live, limits: Limits, score: str = "s") -> str:
    """That a score is over the tag's threshold, or that of a tag below is over its own."""
    if limits.bound >= limits.threshold:
        return f"{score}.confidence >= {limits.threshold!r}"
    return (
        f"({score}.confidence >= {limits.threshold!r} OR EXISTS (SELECT 1 FROM tag_scores d "
        f"WHERE d.content_id = {score}.content_id AND d.model_id = {model.id} "
        f"AND d.confidence >= {limits.bound!r} AND d.confidence >= (SELECT h.threshold FROM thresholds h "
        f"WHERE h.model_id = {model.id} AND h.tag_id = d.tag_id) "
        f"AND EXISTS (SELECT 1 FROM tag_paths p WHERE p.ancestor_id = {tag.id} "
        f"AND p.descendant_id = d.tag_id AND p.depth > 0 {_ONE}) AND NOT {_rejects('d.tag_id')} {_ONE}))"
    )


def _surer_than(tag: Tag, model: Live, other: Live) -> str:
    """That no other model is surer of score ``s``; of two that are as sure the older one speaks."""
    limits = tag.limits.get(other.id)
    if other.id == model.id or limits is None:
        return ""
    surer = ">=" if other.id < model.id else ">"
    return (
        f" AND NOT EXISTS (SELECT 1 FROM tag_scores n WHERE n.content_id = s.content_id "
        f"AND n.model_id = {other.id} AND n.tag_id = {tag.id} AND n.confidence {surer} s.confidence "
        f"AND {_holds(tag, other, limits, 'n')} {_ONE})"
    )


def _rejected(tag: Tag) -> str:
    return _rejects(str(tag.id))


def _rejects(tag_id: str) -> str:
    """That somebody rejected the tag on image ``i``, or a tag above it."""
    return (
        "EXISTS (SELECT 1 FROM verdicts v CROSS JOIN tag_paths up WHERE v.image_id = i.id "
        f"AND v.verdict = 'reject' AND up.ancestor_id = v.tag_id AND up.descendant_id = {tag_id} {_ONE})"
    )


def _confirmed(tag: Tag) -> str:
    """That somebody confirmed the tag on image ``i``, or a tag below it."""
    return (
        "EXISTS (SELECT 1 FROM verdicts v CROSS JOIN tag_paths down WHERE v.image_id = i.id AND "
        f"v.verdict = 'confirm' AND down.descendant_id = v.tag_id AND down.ancestor_id = {tag.id} {_ONE})"
    )
