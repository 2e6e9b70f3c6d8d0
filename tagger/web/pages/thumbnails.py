"""The pictures of photos, small and large. They are asked for by a photo's id, never by a path: what may be
read is for the roots to say."""

from __future__ import annotations

from typing import Final, Literal

from fastapi import APIRouter, Request, Response

from tagger.library import lookup
from tagger.library.thumbnails import ThumbnailSize
from tagger.values import LoadFailure, OutcomeKind
from tagger.web.api.parameters import IdInPath
from tagger.web.errors import refusal
from tagger.web.site import SiteHere

router = APIRouter(include_in_schema=False)

KEPT: Final = "private, max-age=600, stale-while-revalidate=86400"
"""A browser asks again after ten minutes, since a photo may have been edited."""
_STATUS: Final = {OutcomeKind.OUTSIDE: 403, OutcomeKind.DENIED: 403, OutcomeKind.MISSING: 404}
_SIZES: Final = {"small": ThumbnailSize.SMALL, "large": ThumbnailSize.LARGE}


@router.get("/photos/{image_id}/{size}")
def thumbnail(
    request: Request, site: SiteHere, image_id: IdInPath, size: Literal["small", "large"]
) -> Response:
    """The picture, upright, fitted into a square."""
    ref, digest = lookup.reference(site.database, image_id)
    found = site.thumbnails.get(ref, digest, _SIZES[size])
    if isinstance(found, LoadFailure):
        return refusal(_STATUS.get(found.kind, 422), found.reason, found.kind.value)
    headers = {"ETag": f'"{found.etag}"', "Cache-Control": KEPT}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    return Response(found.data, 200, headers, found.media_type)
