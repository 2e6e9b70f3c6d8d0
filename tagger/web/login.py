"""A browser says the token once, and keeps a session for a month."""

from __future__ import annotations

from html import escape
from typing import cast
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from tagger.web.security import COOKIE, SESSION_SECONDS, Door, client_of, is_local

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tagger</title>
<form method="post" action="/login">
<p role="alert">{said}</p>
<input type="hidden" name="next" value="{next}">
<label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Sign in</button>
</form></html>
"""


def _door(request: Request) -> Door:
    return cast("Door", request.app.state.door)


@router.get("/login")
async def ask(request: Request, next: str = "/") -> Response:
    """The form; nothing is asked where there is no token."""
    if _door(request).token is None:
        return RedirectResponse(_within(next), 303)
    return _page(_within(next))


@router.post("/login")
async def enter(request: Request) -> Response:
    """A session for the token."""
    form = await _form(request)
    to, door = _within(form.get("next", "/")), _door(request)
    if not door.opens(form.get("token", "").encode(errors="replace"), client_of(request)):
        return _page(to, "This is not the token.", 401)
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
    return answer


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "a form is wanted: application/x-www-form-urlencoded")
    body = (await request.body()).decode("latin-1")
    try:
        return {name: values[-1] for name, values in parse_qs(body, max_num_fields=10).items()}
    except ValueError as fault:
        raise HTTPException(422, "that is not what the form sends") from fault


def _within(path: str) -> str:
    """A page of ours; the first where it is none."""
    return path if is_local(path) else "/"


def _page(to: str, said: str = "", status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(said=escape(said), next=escape(to, quote=True)), status)
