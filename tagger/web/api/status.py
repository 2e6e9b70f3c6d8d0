"""The library at a glance."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import field_validator

from tagger.library import lookup
from tagger.web.api.parameters import Answer
from tagger.web.api.runs import Failure, Run
from tagger.web.site import SiteHere

router = APIRouter(tags=["status"])


class Outcome(Answer):
    """Present images of one outcome under a model version."""

    model: str
    live: bool
    outcome: str
    images: int


class Worker(Answer):
    """A living worker."""

    name: str
    host: str
    pid: int
    device: str | None
    images: int
    """So many it has done in its life."""
    rate: float | None
    """Images a second."""
    held: int
    """In its hands now."""
    note: str | None


class Library(Answer):
    """The library at a glance."""

    present: int
    vanished: int
    outcomes: list[Outcome]
    failures: list[Failure]
    """The last ones."""
    runs: list[Run]
    """Those that go on, and the last of the others."""
    workers: list[Worker]
    beats: list[str]
    """Who keeps the schedule."""

    @field_validator("outcomes", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return [
            dict(zip(Outcome.model_fields, row, strict=True)) if isinstance(row, tuple) else row
            for row in value
        ]


class LibraryStatus(Library):
    """And what waits in the queues."""

    queues: dict[str, int] | str | None
    """Messages in each queue; why that is not known; null where there is no broker."""


@router.get("/status", summary="The library at a glance")
def get_status(site: SiteHere) -> LibraryStatus:
    """Outcomes, runs, workers, queues, the last failures."""
    library = Library.model_validate(lookup.status(site.database))
    return LibraryStatus(**dict(library), queues=site.queues())
