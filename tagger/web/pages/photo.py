"""One photo: its picture, what is said of it and how surely, and a person's word on that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request, Response

from tagger.errors import NotFound
from tagger.library import lookup, verdicts
from tagger.store.queries import Hit, ImageReport
from tagger.store.verdicts import Verdict
from tagger.taxonomy import load_taxonomy
from tagger.web.api.parameters import IdInPath
from tagger.web.pages.render import back, page, wants_part
from tagger.web.site import Site, SiteHere

router = APIRouter(include_in_schema=False)

DEEPEST: Final = 6
"""Steps to the right; what is below stands as far."""


@dataclass(frozen=True, slots=True)
class Line:
    """A tag that holds, ``depth`` steps below the topmost one that it stands under."""

    hit: Hit
    depth: int


@router.get("/photos/{image_id}")
def photo(request: Request, site: SiteHere, image_id: IdInPath) -> Response:
    """All that is known of a photo."""
    return _page(request, site, image_id)


@router.post("/photos/{image_id}/verdicts")
def say(
    request: Request,
    site: SiteHere,
    image_id: IdInPath,
    tag: Annotated[str, Form(max_length=200)],
    verdict: Annotated[Literal["confirm", "reject", "none", "new"], Form()],
) -> Response:
    """A person's word on a tag of the photo: ``new`` confirms a tag that may be none yet."""
    complaint = None
    word = {"confirm": Verdict.CONFIRM, "new": Verdict.CONFIRM, "reject": Verdict.REJECT}.get(verdict)
    try:
        saying = verdicts.Saying(image_id, tag, word)
        verdicts.say(site.database, [saying], site.roots, new_tags=verdict == "new")
    except NotFound:
        lookup.show(site.database, image_id, site.roots)  # else it is the photo that is not there
        near = load_taxonomy().suggest(tag, at_most=3)
        complaint = f"There is no tag {tag!r}." + (f" Did you mean {' or '.join(near)}?" if near else "")
    if wants_part(request) or complaint:
        return _page(request, site, image_id, complaint=complaint, missing=tag if complaint else None)
    return back(f"/photos/{image_id}")


def _page(
    request: Request,
    site: Site,
    image_id: int,
    *,
    complaint: str | None = None,
    missing: str | None = None,
) -> Response:
    report = lookup.show(site.database, image_id, site.roots)
    above = lookup.parents(site.database, [hit.tag for hit in report.tags])
    return page(
        request,
        "photo.html",
        photo=report,
        lines=lines(report.tags, above),
        rejected=[said.tag for said in report.verdicts if said.verdict == Verdict.REJECT],
        said={said.tag: said.verdict for said in report.verdicts},
        failed=_failure(report),
        complaint=complaint,
        missing=missing,
    )


def lines(hits: Sequence[Hit], above: dict[str, str]) -> list[Line]:
    """The tags as a tree, each below the nearest one that stands above it, of equals the surest first."""
    below: dict[str | None, list[Hit]] = defaultdict(list)
    for hit in hits:
        below[above.get(hit.tag)].append(hit)

    def walk(tag: str | None, depth: int) -> Iterator[Line]:
        for hit in sorted(below[tag], key=lambda hit: (-hit.confidence, hit.tag)):
            yield Line(hit, min(depth, DEEPEST))
            yield from walk(hit.tag, depth + 1)

    return list(walk(None, 0))


def _failure(report: ImageReport) -> str | None:
    """Why there may be no picture to see."""
    if report.vanished:
        return "The file was gone when it was last looked for."
    bad = [one for one in report.statuses if one.outcome not in ("ok", "empty", "pending")]
    return f"{bad[0].outcome}: {bad[0].reason}" if bad else None
