"""Searching: the grid of photos, what else is on them, and what may be meant by the word being typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from tagger.errors import DatabaseError, NotFound, TaggerError
from tagger.library import albums, lookup
from tagger.library.lookup import Answer
from tagger.search.expression import SHOWN, AnyOf, ExpressionError, Has, UnknownTagError, spelled
from tagger.search.facets import Facet, Facets
from tagger.search.grammar import LONGEST, parse
from tagger.search.query import CursorError, Place
from tagger.taxonomy import load_taxonomy
from tagger.web.pages.render import back, page, wants_part, with_query
from tagger.web.site import Site, SiteHere

router = APIRouter(include_in_schema=False)

FIRST: Final = 60
"""Photos that come with the page."""
MORE: Final = 240
"""Photos that are fetched at one time as somebody scrolls, at most."""
TAGS: Final = 30
"""Facets that are shown before somebody asks for all."""


class Asked(BaseModel):
    """A search as it stands in the address of a page; ``min`` is the lowest confidence."""

    model_config = ConfigDict(frozen=True)

    q: str = ""
    min: float = Field(default=0.0, ge=0, le=1)
    album: str = ""
    after: str = ""

    @property
    def typed(self) -> str | None:
        """The expression; None for all photos."""
        return self.q if self.q.strip() else None

    @property
    def within(self) -> str | None:
        """The album."""
        return self.album or None

    @property
    def is_of_tags(self) -> bool:
        """Whether photos may be more or less sure."""
        return bool(self.typed or self.album)

    @property
    def least(self) -> float:
        """The lowest confidence, where it means anything."""
        return self.min if self.is_of_tags else 0.0

    @property
    def query(self) -> dict[str, object]:
        """The parts of an address, but for the place."""
        return {"q": self.q.strip(), "min": self.least or None, "album": self.album}

    def narrowed(self, tag: str, *, without: bool = False) -> dict[str, object]:
        """The same search of photos with one more tag, or without it."""
        more = ("NOT " if without else "") + spelled(Has(tag))
        typed = self.q.strip()
        if typed and _has_alternatives(typed):
            typed = f"({typed})"
        return self.query | {"q": f"{typed} AND {more}" if typed else more}

    def instead(self, tag: str) -> dict[str, object]:
        """The same search of another tag."""
        return self.query | {"q": spelled(Has(tag))}


def _has_alternatives(typed: str) -> bool:
    try:
        return isinstance(parse(typed), AnyOf)
    except ExpressionError:
        return True  # brackets do no harm


def _search(site: Site, asked: Asked, limit: int) -> Answer:
    """Raises as :func:`lookup.search`, or :class:`CursorError`."""
    return lookup.search(
        site.database,
        asked.typed,
        within=asked.within,
        min_confidence=asked.least,
        limit=limit,
        after=Place.read(asked.after) if asked.after else None,
    )


@router.get("/")
def gallery(request: Request, site: SiteHere, asked: Annotated[Asked, Query()]) -> Response:
    """The first page of a search, or of all photos."""
    return _gallery(request, site, asked)


def _gallery(request: Request, site: Site, asked: Asked, complaint: str = "") -> Response:
    """The same, with a ``complaint`` of an album that could not be kept."""
    shown = _Shown(asked)
    try:
        shown = _Shown(asked, found=_search(site, asked, FIRST))
    except (ExpressionError, CursorError, NotFound) as fault:
        shown = _Shown(asked, fault=fault)
    except DatabaseError as fault:
        if fault.transient:
            raise
        return page(request, "gallery.html", shown=_Shown(asked, empty=str(fault)), albums=[], complaint="")
    code = 422 if shown.fault else 409 if complaint else 200
    listed = albums.listed(site.database)
    answer = page(request, "gallery.html", code, shown=shown, albums=listed, complaint=complaint)
    if wants_part(request):
        answer.headers["HX-Push-Url"] = with_query("/", **asked.query)  # without what the form has empty
    return answer


@dataclass(frozen=True, slots=True)
class _Shown:
    """A search and what came of it: photos, or why there are none."""

    asked: Asked
    found: Answer | None = None
    fault: TaggerError | None = None
    empty: str | None = None

    @property
    def marked(self) -> tuple[str, str, str] | None:
        """What was typed, before, at and after its fault."""
        if not isinstance(self.fault, ExpressionError):
            return None
        start, end, typed = self.fault.start, self.fault.end, self.asked.q
        first = max(0, start - SHOWN)
        return typed[first:start], typed[start:end][:SHOWN], typed[max(start, end) :][:SHOWN]

    @property
    def meant(self) -> list[tuple[str, dict[str, object]]]:
        """Tags that may be meant by one that there is not, and the search with each."""
        if not isinstance(self.fault, UnknownTagError):
            return []
        start, end, typed = self.fault.start, self.fault.end, self.asked.q
        tags = load_taxonomy().suggest(typed[start:end], at_most=3)
        return [
            (tag, self.asked.query | {"q": typed[:start] + spelled(Has(tag)) + typed[end:]}) for tag in tags
        ]

    @property
    def understood(self) -> str:
        """The search as it was taken."""
        return spelled(self.found.expression) if self.found else ""

    @property
    def complaint(self) -> str:
        """The fault in words, without its picture for terminals."""
        return str(self.fault).partition("\n")[0]


@router.post("/albums")
def keep(
    request: Request,
    site: SiteHere,
    name: Annotated[str, Form(max_length=200)],
    q: Annotated[str, Form(max_length=LONGEST)] = "",
    album: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Keep a search under a name that no other has."""
    asked = Asked(q=q, album=album)
    try:
        kept = albums.save(site.database, name, asked.typed, within=asked.within, replace=False)
    except TaggerError as fault:
        if fault.transient:
            raise
        return _gallery(request, site, asked, str(fault))
    return back(with_query("/", album=kept.name))


@router.post("/albums/remove")
def remove(site: SiteHere, name: Annotated[str, Form(max_length=200)]) -> Response:
    """Remove an album, and no photo."""
    albums.remove(site.database, name)
    return back("/")


@router.get("/grid")
def grid(
    request: Request,
    site: SiteHere,
    asked: Annotated[Asked, Query()],
    limit: Annotated[int, Query(ge=1, le=MORE)] = MORE,
) -> Response:
    """More photos of a search, behind a place."""
    return page(request, "_grid.html", found=_search(site, asked, limit))


@router.get("/facets")
def facets(request: Request, site: SiteHere, asked: Annotated[Asked, Query()], all: bool = False) -> Response:
    """What else is on the photos of a search."""
    found = lookup.facets(site.database, asked.typed, within=asked.within, min_confidence=asked.least)
    return page(
        request,
        "_facets.html",
        asked=asked,
        facets=found,
        others=_others(found) if asked.typed or asked.album else found.tags,
        most=None if all else TAGS,
    )


def _others(found: Facets) -> list[Facet]:
    """The tags that would narrow the search: not those that all of the photos have."""
    kinds = {each.tag for each in found.kinds}
    narrower = [each for each in found.tags if each.images < found.counted and each.tag not in kinds]
    return narrower if narrower or kinds else list(found.tags)


@router.get("/completions")
def completions(
    request: Request, site: SiteHere, q: Annotated[str, Query(max_length=LONGEST)] = "", at: int = 0
) -> Response:
    """Tags that may be meant by the word being typed."""
    return page(request, "_completions.html", found=lookup.complete(site.database, q, at))
