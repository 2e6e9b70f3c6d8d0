"""What is refused, and why: in one form, for programs by its code and for people by its message."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from tagger.errors import (
    DatabaseError,
    DatabaseMissing,
    DatabaseUnavailable,
    ModelError,
    NotFound,
    SettingsError,
    SourceError,
    TaggerError,
    masked,
)
from tagger.search.expression import ExpressionError, UnknownTagError
from tagger.search.query import CursorError
from tagger.sources import printable

log = logging.getLogger(__name__)


class Fault(BaseModel):
    """What was wrong."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description="Stable, for programs: `not_found`, `expression`, `unknown_tag`, ...")
    message: str = Field(description="For people: what was wrong, and what to do.")
    start: int | None = Field(
        default=None, description="Where in a search the fault begins; of `expression` and `unknown_tag`."
    )
    end: int | None = Field(default=None, description="Where it ends.")
    fields: list[dict[str, str]] | None = Field(
        default=None, description="What of the request did not fit; of `invalid`."
    )


class ErrorAnswer(BaseModel):
    """Every answer that is none."""

    error: Fault


class Stopping(TaggerError):
    """The server ends while it was at it; what was asked for is kept."""

    transient = True


class TooMany(TaggerError):
    """More than can be done at once."""


_STATUS: Final[tuple[tuple[type[TaggerError], int, str], ...]] = (
    (UnknownTagError, 422, "unknown_tag"),
    (ExpressionError, 422, "expression"),
    (CursorError, 422, "cursor"),
    (TooMany, 422, "too_many"),
    (NotFound, 404, "not_found"),
    (SourceError, 422, "source"),
    (Stopping, 503, "stopping"),
    (DatabaseUnavailable, 503, "database_unavailable"),
    (DatabaseMissing, 503, "database_missing"),
    (DatabaseError, 409, "database"),
    (ModelError, 409, "model"),
    (SettingsError, 409, "settings"),
)
"""The first that fits."""


def refusal(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An answer in the one form."""
    code = code or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return JSONResponse({"error": {"code": code, "message": message} | more}, status, headers)


def answer_for(app: FastAPI) -> None:
    """Have everything that goes wrong answered in the one form."""
    app.add_exception_handler(TaggerError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_request)
    app.add_exception_handler(HTTPException, _of_http)


async def _of_ours(request: Request, fault: Exception) -> JSONResponse:
    for kind, status, code in _STATUS:
        if isinstance(fault, kind):
            return refusal(status, _plain(fault), code, **_place(fault))
    log.error("%s %s: %s", request.method, ascii(request.url.path), fault)
    return refusal(500, _plain(fault))


def _place(fault: TaggerError) -> dict[str, Any]:
    """Where in the text of a search it is wrong."""
    return {"start": fault.start, "end": fault.end} if isinstance(fault, ExpressionError) else {}


def _plain(fault: Exception) -> str:
    """The message as any program can show it: names in it may be of any bytes."""
    return "\n".join(printable(line) for line in masked(str(fault)).split("\n"))


async def _of_request(request: Request, fault: Exception) -> JSONResponse:
    """What was given is not repeated: it may be long, or secret."""
    assert isinstance(fault, RequestValidationError)
    fields = [
        {"field": ".".join(map(_shown, error["loc"])), "message": str(error["msg"])[:200]}
        for error in fault.errors()[:10]
    ]
    said = "; ".join(f"{each['field']}: {each['message']}" for each in fields)
    return refusal(422, f"the request does not fit: {said}", "invalid", fields=fields)


def _shown(part: int | str) -> str:
    """A field's name; one that should not be there may be anything."""
    return ascii(str(part)[:50])[1:-1]


async def _of_http(request: Request, fault: Exception) -> JSONResponse:
    assert isinstance(fault, HTTPException)
    return refusal(fault.status_code, fault.detail, headers=dict(fault.headers or {}))
