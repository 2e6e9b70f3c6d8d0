"""What is asked: a value, whoever typed it and however."""

from __future__ import annotations

from dataclasses import dataclass

from tagger.search.expression import Expression


@dataclass(frozen=True, slots=True)
class Query:
    """Photos of which an expression is true, its names resolved.

    ``least`` is the lowest confidence of a photo, 0-1. A page is ``limit`` photos from the ``offset``-th on;
    without a limit it is all.
    """

    expression: Expression
    least: float = 0.0
    limit: int | None = None
    offset: int = 0

    @property
    def wanted(self) -> int | None:
        """How many photos must be found for the page."""
        return None if self.limit is None else self.offset + self.limit


@dataclass(frozen=True, slots=True)
class Found:
    """A photo, and the tag that its confidence is of: of all that it must have the least sure, of any that it
    may have the surest. None where it need not have any: then its confidence is 1, and nobody says so."""

    image_id: int
    uri: str
    tag: str | None
    confidence: float
    source: str | None
    model: str | None
