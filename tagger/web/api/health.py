"""Whether the server and its database answer: for whoever starts them anew if not."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tagger.errors import DatabaseError
from tagger.library import lookup
from tagger.web.api.parameters import Answer
from tagger.web.site import SiteHere

router = APIRouter(tags=["status"])


class Health(Answer):
    """That all is well."""

    ok: Literal[True] = True


@router.get(
    "/healthz",
    summary="Whether the database answers",
    response_model=Health,
    responses={503: {"description": "It does not."}},
)
def is_healthy(site: SiteHere) -> Health | JSONResponse:
    """Needs no token, and tells nothing else."""
    try:
        lookup.require_answer(site.database)
    except DatabaseError:
        return JSONResponse({"ok": False}, 503)
    return Health()
