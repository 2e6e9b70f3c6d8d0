"""Tags: those in use, and what each is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import TypeAdapter

from tagger.library import lookup
from tagger.store.pages import TagReport
from tagger.web.api.parameters import USUAL, After, Answer, Count, Cursor, Limit, NameInPath, Words
from tagger.web.site import SiteHere

router = APIRouter(prefix="/tags", tags=["tags"])


class TagUse(Answer):
    """A tag, and on how many photos it is."""

    tag: str
    images: int


class TagPage(Answer):
    """A page of the tags in use, the commonest first."""

    tags: list[TagUse]
    next: str | None


class Tag(Answer):
    """A tag, what is above and below it, nearest first, and other words for it."""

    name: str
    images: int
    ancestors: list[str]
    """A photo with the tag has these too."""
    descendants: list[str]
    """Photos with any of these have the tag too."""
    aliases: list[str]


_PLACES: Cursor[tuple[int, str]] = Cursor(TypeAdapter(tuple[Count, Words]))


@router.get("", summary="Tags in use")
def list_tags(
    site: SiteHere,
    prefix: Annotated[Words, Query(max_length=200, description="Only those that begin so.")] = "",
    limit: Limit = USUAL,
    after: After = None,
) -> TagPage:
    """The commonest first."""
    found = lookup.tags_page(site.database, prefix, _PLACES.read(after), limit + 1)
    page, following = _PLACES.page(found, limit, lambda use: (use.images, use.tag))
    return TagPage(tags=[TagUse.model_validate(use) for use in page], next=following)


@router.get("/{name:path}", summary="One tag", response_model=Tag)
def get_tag(site: SiteHere, name: NameInPath) -> TagReport:
    """By its name, or another word for it: `automobile` is `car`."""
    return lookup.tag(site.database, name)
