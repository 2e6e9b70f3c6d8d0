"""Verdicts: what people say of tags, which outlives every model."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field, TypeAdapter, model_validator

from tagger.library import lookup, verdicts
from tagger.library.verdicts import Saying
from tagger.store.verdicts import Verdict
from tagger.web.api.parameters import USUAL, After, Answer, Body, Cursor, Id, Limit, Words
from tagger.web.errors import TooMany
from tagger.web.site import SiteHere

router = APIRouter(prefix="/verdicts", tags=["verdicts"])

MOST_NAMED = 1_000
"""Images named in one request."""
MOST_FOUND = 10_000
"""Images found by a search of which something is said at once."""


class Spoken(Answer):
    """What a person said of a tag on an image."""

    image_id: int
    uri: str
    tag: str
    verdict: Literal["confirm", "reject"]
    decided_at: datetime


class VerdictPage(Answer):
    """A page of what people said, the latest first."""

    verdicts: list[Spoken]
    next: str | None


class Word(Body):
    """A word on one tag of some images: of those named, or of all that a search finds."""

    tag: Words
    """By its name, or another word for it."""
    verdict: Literal["confirm", "reject", "none"]
    """`confirm` implies all tags above it, `reject` all below; `none` takes back what was said."""
    images: Annotated[list[Id | Words], Field(min_length=1, max_length=MOST_NAMED)] | None = None
    """By their ids, paths, URIs, or the ends of their paths."""
    where: Words | None = None
    """Instead of these: all that a search finds, 10,000 at most; nothing typed is all of an album."""
    album: Words | None = None
    """With `where`: only what this album finds."""
    min: Annotated[float, Field(ge=0, le=1)] = 0.0
    """With `where`: only confidences from this on."""
    new: bool = False
    """Whether a word that is no tag becomes one."""

    @model_validator(mode="after")
    def _names_images(self) -> Self:
        if (self.images is None) == (self.where is None):
            raise ValueError("say which photos: either images, or where with an expression")
        if self.where is None and (self.album is not None or self.min):
            raise ValueError("album and min go with where")
        return self

    @property
    def said(self) -> Verdict | None:
        """For the library."""
        return None if self.verdict == "none" else Verdict(self.verdict)


class Noted(Answer):
    """What came of it."""

    new: int
    """Images on which it is new."""
    taken_back: int
    """Earlier verdicts that it took back."""
    images: list[int] | None = None
    """With `where`: of which it was said, by their ids; with these it can be taken back."""


_PLACES: Cursor[tuple[datetime, int, str]] = Cursor(TypeAdapter(tuple[AwareDatetime, Id, Words]))


@router.get("", summary="What people said, the latest first")
def list_verdicts(
    site: SiteHere,
    tag: Annotated[Words | None, Query(description="Only of this tag.")] = None,
    limit: Limit = USUAL,
    after: After = None,
) -> VerdictPage:
    """Of all tags, or of one."""
    found = verdicts.page(site.database, tag, _PLACES.read(after), limit + 1)
    page, following = _PLACES.page(found, limit, lambda each: (each.decided_at, each.image_id, each.tag))
    return VerdictPage(verdicts=[Spoken.model_validate(each) for each in page], next=following)


@router.post(
    "",
    summary="Confirm or reject a tag, or take that back",
    response_model_exclude_none=True,
)
def say_verdict(site: SiteHere, word: Word) -> Noted:
    """Of all the images in one transaction, or of none."""
    if word.where is None:
        sayings = [Saying(image, word.tag, word.said) for image in word.images or ()]
        said = verdicts.say(site.database, sayings, site.roots, new_tags=word.new)
        return Noted(new=said.new, taken_back=said.taken_back)
    typed = None if word.album is not None and not word.where.strip() else word.where
    found = lookup.search(
        site.database, typed, within=word.album, min_confidence=word.min, limit=MOST_FOUND + 1
    )
    if len(found.photos) > MOST_FOUND:
        raise TooMany(
            f"the search finds more than {MOST_FOUND:,} photos: narrow it, and say it several times"
        )
    ids = [photo.image_id for photo in found.photos]
    said = verdicts.say_of(site.database, ids, word.tag, word.said, new_tags=word.new)
    return Noted(new=said.new, taken_back=said.taken_back, images=ids)
