"""What is asked: a value, whoever typed it and however."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import astuple, dataclass

from tagger.errors import TaggerError
from tagger.search.expression import Expression


class CursorError(TaggerError):
    """What should say where a page begins says nothing of the kind."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a photo stands in the order of answers: the next page begins behind it."""

    confidence: float
    person: bool
    content_id: int
    image_id: int

    def written(self) -> str:
        """As text for a URL."""
        return base64.urlsafe_b64encode(json.dumps(astuple(self)).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Place:
        """The reverse; raises :class:`CursorError`."""
        try:
            confidence, person, content_id, image_id = json.loads(
                base64.urlsafe_b64decode(text.encode() + b"==")
            )
            return cls(float(confidence), bool(person), int(content_id), int(image_id))
        except (ValueError, TypeError, binascii.Error) as fault:
            raise CursorError("this is no place in a list: begin again without it") from fault


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
