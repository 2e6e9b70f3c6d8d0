"""What is asked, and where in the order of the answers: values, whoever typed them and however."""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import astuple, dataclass

from tagger.errors import TaggerError
from tagger.search.expression import Expression


class CursorError(TaggerError):
    """A cursor that names no place in a search."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a photo stands in a search: the greater comes first. No two photos share one, so that whoever
    remembers a place can go on behind it, whatever was added meanwhile.

    ``person``: somebody said so, which of equals is first. ``content_id`` is 0 without a content, and where
    all photos are equally sure: then the newest image is first.
    """

    confidence: float
    person: bool
    content_id: int
    image_id: int

    def written(self) -> str:
        """As text that an address can hold; :meth:`read` is the reverse."""
        return urlsafe_b64encode(json.dumps(astuple(self)).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Place:
        """Raises :class:`CursorError` for what :meth:`written` did not write."""
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            confidence, person, content_id, image_id = json.loads(data)
            place = cls(float(confidence), bool(person), int(content_id), int(image_id))
        except (binascii.Error, TypeError, ValueError, OverflowError, RecursionError):
            raise CursorError("this is no cursor of a search: take `next` as an answer has it") from None
        if not (0 <= place.confidence <= 1 and max(place.content_id, place.image_id) < 2**63):
            raise CursorError("this cursor names no place: take `next` as an answer has it")
        return place


@dataclass(frozen=True, slots=True)
class Query:
    """Photos of which an expression is true, its names resolved.

    ``least`` is the lowest confidence of a photo, 0-1. A page is ``limit`` photos from the ``offset``-th on,
    of those that come behind ``after``; without a limit it is all.
    """

    expression: Expression
    least: float = 0.0
    limit: int | None = None
    offset: int = 0
    after: Place | None = None

    @property
    def wanted(self) -> int | None:
        """How many photos must be found for the page, and to know whether there are more."""
        return None if self.limit is None else self.offset + self.limit + 1


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


@dataclass(frozen=True, slots=True)
class Page:
    """Photos in their order; ``next`` is the place of the last if more come behind it."""

    photos: list[Found]
    next: Place | None
