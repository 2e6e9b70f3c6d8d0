"""Searches, what the photos found have in common, and what may be typed next."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from tagger.library import lookup
from tagger.search import facets as found
from tagger.search.expression import spelled
from tagger.search.grammar import LONGEST
from tagger.search.query import Place
from tagger.web.api.parameters import After, Album, Answer, Expression, Least, Limit, Words
from tagger.web.api.tags import TagUse
from tagger.web.site import SiteHere

router = APIRouter(prefix="/search", tags=["search"])


class FoundPhoto(Answer):
    """A photo, and the tag that its confidence is of; none where the search names no tag."""

    image_id: int
    uri: str
    tag: str | None
    confidence: float
    source: str | None
    """`model` or `person`."""
    model: str | None


class Photos(Answer):
    """A page of what a search finds, surest first."""

    expression: str
    """The search as it was understood."""
    photos: list[FoundPhoto]
    next: str | None


class Facets(Answer):
    """How often tags are on the photos that a search finds."""

    counted: int
    """So many photos were looked at,"""
    complete: bool
    """and whether that were all of them."""
    total: int | None
    """How many there are; null where that would take a look at each."""
    kinds: list[TagUse]
    """Of a search for a single tag those below it, over all photos."""
    tags: list[TagUse]


class Completion(Answer):
    """What a search may become."""

    text: str
    """The whole search, completed."""
    at: int
    """Where the caret is then."""
    tag: str
    images: int
    meant: str | None
    """The other word for the tag that was typed."""


class Completions(Answer):
    """What a search may become, the likeliest first."""

    completions: list[Completion]


@router.get("", summary="Photos of which an expression is true")
def search_photos(
    site: SiteHere,
    typed: Expression = "",
    album: Album = None,
    least: Least = 0.0,
    limit: Limit = 60,
    after: After = None,
) -> Photos:
    """Surest first; what is wrong with an expression is said with its place in the text."""
    answer = lookup.search(
        site.database,
        typed if typed.strip() else None,
        within=album,
        min_confidence=least,
        limit=limit,
        after=None if after is None else Place.read(after),
    )
    return Photos(
        expression=spelled(answer.expression),
        photos=[FoundPhoto.model_validate(photo) for photo in answer.photos],
        next=None if answer.next is None else answer.next.written(),
    )


@router.get("/facets", summary="The tags of what a search finds", response_model=Facets)
def search_facets(
    site: SiteHere, typed: Expression = "", album: Album = None, least: Least = 0.0
) -> found.Facets:
    """How many of the photos have each tag, the commonest first."""
    return lookup.facets(site.database, typed if typed.strip() else None, within=album, min_confidence=least)


@router.get("/complete", summary="What may be meant by what is being typed")
def complete_search(
    site: SiteHere,
    typed: Annotated[Words, Query(alias="q", max_length=LONGEST, description="What stands there.")] = "",
    at: Annotated[int | None, Query(ge=0, le=LONGEST, description="The caret; none is the end.")] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 8,
) -> Completions:
    """Tags that begin as the word at the caret does."""
    tags = lookup.complete(site.database, typed, len(typed) if at is None else min(at, len(typed)), limit)
    return Completions(completions=[Completion.model_validate(each) for each in tags])
