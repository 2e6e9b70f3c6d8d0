"""Enqueuing: having images tagged by the workers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from tagger.errors import SettingsError, SourceError
from tagger.library.filling import Ask, Bad
from tagger.sources import LONGEST, Roots
from tagger.store.runs import RunKind
from tagger.web.api.filling import Filled, fill
from tagger.web.api.parameters import Answer, Body, Name, Words
from tagger.web.site import SiteHere

router = APIRouter(tags=["enqueue"])

MOST = 10_000
"""Items in one request: more belong into several, or into a folder."""


class Wish(Body):
    """What is to be tagged."""

    items: Annotated[list[Annotated[Words, Field(max_length=LONGEST)]], Field(min_length=1, max_length=MOST)]
    """Absolute paths or URIs, of images or folders, beneath TAGGER_ROOTS."""
    run: Name | None = None
    """Add to the unfinished run of this name, or begin it."""
    bulk: bool = False
    """After everything else, and in its hours."""
    model: Name | None = None
    """The model to tag with; the live one, if nothing is said."""
    retry_failed: bool = False
    """Try again what failed before, though it is unchanged."""


class LeftOut(Answer):
    """An item that is not wanted, and why."""

    item: str
    reason: str


class Enqueued(Filled):
    """The run, and what of the wish could not be had."""

    left_out: list[LeftOut]
    sent: str
    """What became of the first messages to workers, for people: nothing is lost if there are none yet."""


@router.post("/enqueue", summary="Have images tagged by the workers", status_code=202)
def enqueue_images(site: SiteHere, wish: Wish) -> Enqueued:
    """Enqueuing the same twice does nothing twice. A folder is looked through before the answer comes."""
    if not site.roots.items and not site.roots.remote:
        raise SettingsError("no roots are set: TAGGER_ROOTS=photos=/mnt/photos, by the same name everywhere")
    items, left_out = _sorted(wish.items, site.roots)
    if not items:
        raise SourceError("; ".join(f"{bad.item}: {bad.reason}" for bad in left_out[:5]))
    model = wish.model or site.settings.model
    ask = Ask(RunKind.ENQUEUE, model, wish.run, wish.bulk, tuple(items), retry_failed=wish.retry_failed)
    filled = Filled.of(fill(site, ask))
    return Enqueued(
        **filled.model_dump(),
        left_out=[LeftOut.model_validate(bad) for bad in left_out],
        sent=site.send(wish.bulk),
    )


def _sorted(items: list[str], roots: Roots) -> tuple[list[str], list[Bad]]:
    """Those that lie beneath the roots, and the others."""
    good, bad = [], []
    for item in items:
        try:
            good.append(roots.canonical(item))
        except SourceError as fault:
            bad.append(Bad(item, str(fault)))
    return good, bad
