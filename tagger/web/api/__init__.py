"""The API: a file for each resource, all beneath one version."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer

from tagger.web.api import albums, enqueue, images, models, runs, search, status, tags, verdicts
from tagger.web.errors import ErrorAnswer

PREFIX: Final = "/api/v1"

_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": ErrorAnswer, "description": "The token is needed, or a session."},
    403: {"model": ErrorAnswer, "description": "Another web site asked for it."},
    404: {"model": ErrorAnswer, "description": "It is not in this database."},
    409: {"model": ErrorAnswer, "description": "It cannot be done as things stand."},
    413: {"model": ErrorAnswer, "description": "The request is too large."},
    421: {"model": ErrorAnswer, "description": "Asked by a name that is not this server's; without a token."},
    422: {"model": ErrorAnswer, "description": "The request cannot be understood."},
    429: {"model": ErrorAnswer, "description": "Too many wrong tokens."},
    500: {"model": ErrorAnswer, "description": "It went wrong here; the server's log says how."},
    503: {"model": ErrorAnswer, "description": "The database does not answer."},
}

router = APIRouter(
    prefix=PREFIX,
    responses=_FAULTS,
    # Says in the document what the guard sees to.
    dependencies=[Security(HTTPBearer(auto_error=False, description="TAGGER_TOKEN"))],
)
for _part in (search, images, tags, albums, runs, models, verdicts, enqueue, status):
    router.include_router(_part.router)
