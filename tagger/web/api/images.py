"""Images: which there are, and all that is known of one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import TypeAdapter

from tagger.library import lookup
from tagger.store.pages import Which
from tagger.store.queries import ImageReport
from tagger.values import OutcomeKind
from tagger.web.api.parameters import USUAL, After, Answer, Cursor, Id, IdInPath, Limit, Place
from tagger.web.site import SiteHere

router = APIRouter(prefix="/images", tags=["images"])


class ListedImage(Answer):
    """An image with its facts."""

    image_id: int
    uri: str
    size: int | None
    """In bytes."""
    width: int | None
    height: int | None
    format: str | None
    taken_at: str | None
    """As the photo tells it, as a rule without a zone."""
    vanished_at: datetime | None
    outcome: str | None
    """What came of it under the live model; `pending` until then, null if it is not wanted."""


class ImagePage(Answer):
    """A page of images, by their ids."""

    images: list[ListedImage]
    next: str | None


class HeldTag(Answer):
    """A tag that holds for the image."""

    tag: str
    confidence: float
    source: Literal["model", "person"]
    model: str | None


class ImageStatus(Answer):
    """What came of the image under a model version."""

    model: str
    live: bool
    outcome: str
    reason: str | None
    attempts: int
    finished_at: datetime | None


class Label(Answer):
    """A class that a live model gave the image, in the model's own words."""

    model: str
    key: str
    """For ImageNet its WordNet id."""
    label: str
    confidence: float


class Verdict(Answer):
    """What a person said of a tag on the image."""

    tag: str
    verdict: Literal["confirm", "reject"]
    decided_at: datetime


class Image(Answer):
    """All that is known of one image."""

    image_id: int
    uri: str
    size: int | None
    """In bytes."""
    width: int | None
    height: int | None
    format: str | None
    taken_at: str | None
    latitude: float | None
    longitude: float | None
    vanished: bool
    statuses: list[ImageStatus]
    """One for each model version that it is wanted from, the live ones first."""
    tags: list[HeldTag]
    """Surest first."""
    labels: list[Label]
    """Of the live models one after the other, best first."""
    verdicts: list[Verdict]


_PLACES: Cursor[int] = Cursor(TypeAdapter(Id))


@router.get("", summary="Images of the library")
def list_images(
    site: SiteHere,
    under: Annotated[Place | None, Query(description="Only at or beneath this path or URI.")] = None,
    outcome: Annotated[
        OutcomeKind | Literal["pending"] | None, Query(description="Only of this outcome.")
    ] = None,
    vanished: Annotated[bool, Query(description="Those that have vanished too.")] = False,
    limit: Limit = USUAL,
    after: After = None,
) -> ImagePage:
    """By their ids: those that were found first come first."""
    prefixes = () if under is None else lookup.prefixes_of(under, site.roots)
    which = Which(prefixes, outcome and str(outcome), vanished)
    found = lookup.images_page(site.database, which, _PLACES.read(after) or 0, limit + 1)
    page, following = _PLACES.page(found, limit, lambda image: image.image_id)
    return ImagePage(images=[ListedImage.model_validate(image) for image in page], next=following)


@router.get("/{image_id}", summary="All that is known of an image", response_model=Image)
def get_image(site: SiteHere, image_id: IdInPath) -> ImageReport:
    """Its facts, tags, outcomes, the models' own words, and what people said."""
    return lookup.show(site.database, image_id, site.roots)


@router.delete("/{image_id}", summary="Forget an image", status_code=204)
def forget_image(site: SiteHere, image_id: IdInPath) -> None:
    """Remove every trace of it from the database, verdicts too. The file is not touched, and the next scan of
    its folder finds it again."""
    lookup.forget_image(site.database, image_id)
