"""What the application stands on: everything is passed in, nothing is looked up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from tagger.library.thumbnails import Thumbnails
from tagger.settings import Settings
from tagger.sources import Roots
from tagger.store.session import Database

MOST_BYTES = 1_000_000
"""Of the body of a request."""
PATIENCE_SECONDS = 5.0
"""How long an answer waits for a database that is away: who asked is better told."""


def _never() -> bool:
    return False


def _no_queues() -> dict[str, int] | str | None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """A library and what belongs to it.

    ``send`` has the first messages of a run sent to workers, ``bulk`` or not, and says what came of it;
    ``queues`` says how many messages wait in each, or why that is not known, or None where there is no
    broker; ``stopping`` whether the process is to end.
    """

    database: Database
    settings: Settings
    roots: Roots
    thumbnails: Thumbnails
    send: Callable[[bool], str]
    queues: Callable[[], dict[str, int] | str | None] = _no_queues
    stopping: Callable[[], bool] = _never
    most_bytes: int = MOST_BYTES

    @property
    def token(self) -> str | None:
        """What must be said to be let in; None where everybody is, who is on this machine."""
        return self.settings.token.get_secret_value() if self.settings.token else None


def site_of(request: Request) -> Site:
    """What the application that answers a request stands on."""
    return cast("Site", request.app.state.site)


async def _site(request: Request) -> Site:
    return site_of(request)


SiteHere = Annotated[Site, Depends(_site)]
"""The site, for an endpoint."""
