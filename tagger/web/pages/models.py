"""Model versions side by side: what would change with another one, and making it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response

from tagger.errors import ModelError
from tagger.library import lookup, versions
from tagger.library.versions import Version
from tagger.store.queries import Changed
from tagger.web.pages.render import back, page, plural
from tagger.web.site import Site, SiteHere

router = APIRouter(include_in_schema=False)

SHOWN: Final = 12
"""Pictures of each kind of change."""
EXAMPLES: Final = 5 * SHOWN
"""Changes that these are taken from."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The versions that serve it, the live one first; ``candidates`` are the others."""

    name: str
    live: Version | None
    candidates: tuple[Version, ...]


@router.get("/models")
def models(request: Request, site: SiteHere) -> Response:
    """All versions, by vocabulary."""
    return _models(request, site)


@router.post("/models/promote")
def promote(request: Request, site: SiteHere, name: Annotated[str, Form(max_length=300)]) -> Response:
    """Have a version hold from now on."""
    try:
        model = versions.promote(site.database, name)
    except ModelError as fault:
        return _models(request, site, complaint=str(fault), code=409)
    return back("/models", f"{model.name} holds from now on.")


@router.post("/models/rollback")
def roll_back(request: Request, site: SiteHere, vocabulary: Annotated[str, Form(max_length=300)]) -> Response:
    """Have the version hold again that the live one took over from."""
    try:
        done = versions.roll_back(site.database, vocabulary)
    except ModelError as fault:
        return _models(request, site, complaint=str(fault), code=409)
    said = f"{done.model.name} holds again."
    if done.lacking:
        said += f" {plural(done.lacking, 'photo')} came since: `tagger reindex --missing` has them seen."
    return back("/models", said)


@router.get("/models/diff")
def diff(request: Request, site: SiteHere, before: str, after: str) -> Response:
    """What changes from one version to another, with pictures."""
    found = versions.diff(site.database, before, after, EXAMPLES)
    ids = lookup.ids_of(site.database, [each.uri for each in found.examples])
    kinds = [
        (kind, _photos([each for each in found.examples if each.change == kind], ids))
        for kind in ("gained", "lost", "shifted")
    ]
    live = {each.name for each in versions.with_counts(site.database) if each.live}
    return page(
        request,
        "diff.html",
        before=before,
        after=after,
        diff=found,
        kinds=[(kind, some) for kind, some in kinds if some],
        may_promote=after not in live,
    )


def _photos(changes: list[Changed], ids: dict[str, int]) -> list[tuple[int, Changed]]:
    """Each photo once, by what changes most there: a tag above or below it changes as well."""
    first: dict[int, Changed] = {}
    for each in changes:
        if each.uri in ids:
            first.setdefault(ids[each.uri], each)
    return list(first.items())[:SHOWN]


def _models(request: Request, site: Site, *, complaint: str | None = None, code: int = 200) -> Response:
    found = versions.with_counts(site.database)
    names = dict.fromkeys(each.vocabulary for each in found)
    return page(
        request,
        "models.html",
        code,
        vocabularies=[_vocabulary(name, found) for name in names],
        complaint=complaint,
    )


def _vocabulary(name: str, found: list[Version]) -> Vocabulary:
    mine = [each for each in found if each.vocabulary == name]
    live = next((each for each in mine if each.live), None)
    return Vocabulary(name, live, tuple(each for each in reversed(mine) if not each.live))
