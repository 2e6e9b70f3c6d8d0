"""What goes wrong, as a page: the same words as the API has them, for whoever asked with a browser."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response

from tagger.web.pages.render import page, wants_part

Handler = Callable[[Request, Any], Awaitable[Response]]


def for_people(handler: Any) -> Handler:
    """The handler, whose answers are pages where a page was asked for."""

    async def answer(request: Request, fault: Any) -> Response:
        refused: Response = await handler(request, fault)
        if not _asks_for_page(request):
            return refused
        message = json.loads(bytes(refused.body))["error"]["message"]
        title = HTTPStatus(refused.status_code).phrase
        if message == title:
            message = "There is nothing at this address."
        return page(request, "error.html", refused.status_code, title=title, message=message)

    return answer


def _asks_for_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not wants_part(request)
