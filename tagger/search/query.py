"""What is asked: a value, whoever typed it and however."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """Photos that have each tag of ``all_of`` (at least one) and none of ``none_of``, by their names.

    ``least`` is the lowest confidence, 0-1. A page is ``limit`` photos from the ``offset``-th on; without
    a limit it is all.
    """

    all_of: tuple[str, ...]
    none_of: tuple[str, ...] = ()
    least: float = 0.0
    limit: int | None = None
    offset: int = 0

    @property
    def wanted(self) -> int | None:
        """How many photos must be found for the page."""
        return None if self.limit is None else self.offset + self.limit


@dataclass(frozen=True, slots=True)
class Found:
    """A photo, and the tag of those asked for that is the least sure: its confidence is the photo's."""

    image_id: int
    uri: str
    tag: str
    confidence: float
    source: str
    model: str | None
