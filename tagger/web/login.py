"""A browser says the token once, and keeps a session for a month."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from tagger.web.pages.render import page
from tagger.web.security import COOKIE, SESSION_SECONDS, Door, client_of, is_local

router = APIRouter(include_in_schema=False)


def _door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


@router.get("/login")
async def ask(request: Request, next: str = "/") -> Response:
    """The form; nothing is asked where there is no token."""
    if _door(request).token is None:
        return RedirectResponse(_within(next), 303)
    return page(request, "login.html", next=_within(next), complaint="")


@router.post("/login")
async def enter(
    request: Request, token: Annotated[str, Form(max_length=2_000)] = "", next: Annotated[str, Form()] = "/"
) -> Response:
    """A session for the token."""
    to, door = _within(next), _door(request)
    if not door.opens(token.encode(errors="replace"), client_of(request)):
        return page(request, "login.html", 401, next=to, complaint="This is not the token.")
    answer = RedirectResponse(to, 303)
    answer.set_cookie(
        COOKIE,
        door.session(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
async def leave() -> Response:
    """Have the browser forget its session."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache"'  # and what going back would show
    return answer


def _within(path: str) -> str:
    """A page of ours; the first where it is none."""
    return path if is_local(path) else "/"
