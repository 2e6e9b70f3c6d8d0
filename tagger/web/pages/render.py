"""Templates to answers: every name in them is escaped, whatever a file is called."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from tagger.search.expression import Has, spelled
from tagger.sources import name_of
from tagger.web.site import site_of

_FRAGMENT: Final = "HX-Request"
_RESTORE: Final = "HX-History-Restore-Request"
_SAID: Final = "tagger_said"
"""A cookie that lives to the next page: an address could be anybody's words."""


def page(request: Request, template: str, code: int = 200, **values: Any) -> Response:
    """A page; ``template`` extends ``base.html``, or ``part.html`` where htmx wants a part of it."""
    is_part, site = wants_part(request), site_of(request)
    body = (
        _environment()
        .get_template(template)
        .render(
            **values,
            base="part.html" if is_part else "base.html",
            here=request.url.path,
            told="" if is_part else unquote(request.cookies.get(_SAID, "")),
            is_locked=site.token is not None,
            may_read=bool(site.roots.items or site.roots.remote),
        )
    )
    # The same address is a whole page and a part of it: no cache may give one for the other. Asked for anew
    # each time, but for going back, which shows the page as it was left.
    headers = {"Vary": f"{_FRAGMENT}, {_RESTORE}", "Cache-Control": "private, no-cache"}
    answer = HTMLResponse(body, code, headers)
    if _SAID in request.cookies and not is_part:
        answer.delete_cookie(_SAID, httponly=True, samesite="strict")
    return answer


def wants_part(request: Request) -> bool:
    """Whether htmx asks, who puts the answer into a page that is there."""
    return _FRAGMENT in request.headers and _RESTORE not in request.headers


def back(to: str, said: str = "") -> Response:
    """After a form: the page that shows what came of it, and once what was ``said``."""
    answer = RedirectResponse(to, 303)
    if said:
        answer.set_cookie(_SAID, quote(said[:1000]), max_age=60, httponly=True, samesite="strict")
    return answer


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tagger.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"static": static, "with_query": with_query}
    environment.filters |= {
        "file_name": file_name,
        "folder": folder,
        "name_of": name_of,
        "sure": sure,
        "number": "{:,}".format,
        "moment": moment,
        "ago": ago,
        "span": span,
        "size": size,
        "places": places,
        "plural": plural,
        "typed": typed,
    }
    return environment


def compile_templates() -> None:
    """All of them, before the first is asked for."""
    for name in _environment().list_templates():
        _environment().get_template(name)


@cache
def static(name: str) -> str:
    """The address of a file of ours, which changes with it: browsers may keep it for good."""
    data = resources.files("tagger.web").joinpath("static", name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(data).hexdigest()[:12]}"


def with_query(path: str, **values: object) -> str:
    """An address with a query, without what is None or empty."""
    kept = {name: value for name, value in values.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


# -- values as people read them ----------------------------------------------------------------


def file_name(uri: str) -> str:
    """The last part of a path."""
    return name_of(uri).rpartition("/")[2]


def folder(uri: str) -> str:
    """A path without its last part."""
    return name_of(uri).rpartition("/")[0]


def places(written: str) -> str:
    """What a run is about, in one line."""
    return ", ".join(name_of(place) for place in written.split("\n"))


def typed(tag: str) -> str:
    """The search for a tag, whatever it is called."""
    return spelled(Has(tag))


def sure(confidence: float) -> str:
    """``0.97``; never rounded up to a certainty that is not there."""
    return f"{min(confidence, 0.99) if confidence < 1 else confidence:.2f}"


def moment(value: datetime | None) -> str:
    """In UTC, to the minute."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def ago(value: datetime | None) -> str:
    """How long since."""
    return "" if value is None else f"{span((datetime.now(UTC) - value).total_seconds())} ago"


def span(seconds: float | None) -> str:
    """``12 s``, ``3 min``, ``2 h 5 min``, ``4 days``."""
    if seconds is None:
        return ""
    if seconds < 1:
        return "under 1 s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def size(count: int | None) -> str:
    """Bytes, in the unit that has few digits."""
    if count is None:
        return ""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def plural(number: int, word: str) -> str:
    """``1 photo``, ``2,000 photos``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
