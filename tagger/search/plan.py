"""Where the photos of an expression are looked for.

A *source* gives every photo of which some part of the expression is true: those with a tag, surest first,
or those with a fact, newest first. Of parts that must all be true the cheapest one's sources are enough; of
parts of which any will do, those of each are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tagger.search.bearings import Bearings, Tag
from tagger.search.expression import All, AnyOf, Expression, Fact, Has, Not


@dataclass(frozen=True, slots=True)
class Walk:
    """The photos with a tag of at least such a confidence; ``beside`` are tags that they must have too, each
    with its own least confidence, and ``facts`` must be true of them.

    ``tells``: a photo is as sure as this tag makes it, or surer by another source, so that what comes behind
    a place in the answer comes behind it here.
    """

    tag: Tag
    least: float
    beside: tuple[tuple[Tag, float], ...] = ()
    facts: tuple[Fact, ...] = ()
    tells: bool = True


@dataclass(frozen=True, slots=True)
class Scan:
    """All photos of which ``facts`` are true: every one, where there are none; ``tells`` as for a
    :class:`Walk`."""

    facts: tuple[Fact, ...] = ()
    tells: bool = True


Source = Walk | Scan


def sources(bearings: Bearings, expression: Expression) -> tuple[Source, ...]:
    """Where to look; nowhere if it is plain that nothing can be found."""
    match expression:
        case Has(tag, bound):
            known = bearings.tags.get(tag)
            return () if known is None else (Walk(known, bound.least if bound else 0.0),)
        case Fact():
            return (Scan((expression,)),)
        case AnyOf(parts):
            return tuple(source for part in parts for source in sources(bearings, part))
        case All():
            return _of_all(bearings, tuple(_flat(expression)))
    return (Scan(),)


def _of_all(bearings: Bearings, parts: tuple[Expression, ...]) -> tuple[Source, ...]:
    if _contradict(bearings, parts):
        return ()
    places = [(part, sources(bearings, part)) for part in parts if not isinstance(part, Not)]
    if not all(found for _, found in places):
        return ()
    chosen, cheapest = min(places, key=lambda each: _cost(each[1]), default=(None, (Scan(),)))
    facts = tuple(part for part in parts if isinstance(part, Fact))
    tags = [
        (bearings.tags[part.tag], part.bound.least if part.bound else 0.0)
        for part in parts
        if isinstance(part, Has)
    ]
    tells = all(part is chosen or is_certain(part) for part in parts)
    narrowed = [_narrowed(source, tags, facts) for source in cheapest]
    return tuple(source if tells else replace(source, tells=False) for source in narrowed)


def is_certain(expression: Expression) -> bool:
    """Whether it says nothing of how sure a photo is."""
    match expression:
        case Fact() | Not():
            return True
        case All(parts) | AnyOf(parts):
            return all(map(is_certain, parts))
    return False


def holds_by_word(expression: Expression) -> bool:
    """Whether a photo of which a wanted tag is confirmed is either no answer or a certain one."""
    match expression:
        case Has(_, bound):
            return bound is None or bound.admits(1.0)
        case AnyOf(parts):
            return all(isinstance(part, Has) and holds_by_word(part) for part in parts)
        case All(parts):
            rest = [part for part in parts if not is_certain(part)]
            return len(rest) < 2 and all(map(holds_by_word, rest))
    return is_certain(expression)


def _narrowed(source: Source, tags: list[tuple[Tag, float]], facts: tuple[Fact, ...]) -> Source:
    every = tuple(dict.fromkeys((*source.facts, *facts)))
    if isinstance(source, Scan):
        return replace(source, facts=every)
    beside = {tag.name: (tag, least) for tag, least in (*source.beside, *tags) if tag != source.tag}
    return replace(source, beside=tuple(beside.values()), facts=every)


def _cost(places: tuple[Source, ...]) -> tuple[bool, bool, int, int]:
    """Tags are cheaper than facts, facts than nothing at all; of tags the rarest."""
    scans = [source for source in places if isinstance(source, Scan)]
    walks = [source.tag for source in places if isinstance(source, Walk)]
    bare = any(not source.facts for source in scans)
    return bare, bool(scans), sum(tag.images for tag in walks), min((tag.id for tag in walks), default=0)


def _contradict(bearings: Bearings, parts: tuple[Expression, ...]) -> bool:
    """Whether a tag is wanted that brings with it one that is not."""
    wanted = [bearings.tags.get(part.tag) for part in parts if isinstance(part, Has)]
    barred = [
        bearings.tags.get(part.part.tag)
        for part in parts
        if isinstance(part, Not) and isinstance(part.part, Has) and part.part.bound is None
    ]
    return any((no.id, yes.id) in bearings.above for no in barred for yes in wanted if no and yes)


def _flat(expression: Expression) -> Iterator[Expression]:
    """The parts of which all must be true, however deep in brackets."""
    if isinstance(expression, All):
        for part in expression.parts:
            yield from _flat(part)
    else:
        yield expression
