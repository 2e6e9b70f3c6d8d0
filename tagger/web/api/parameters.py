"""What requests are made of: texts, numbers and places in lists, each with its limits."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tagger.search.query import CursorError
from tagger.sources import LONGEST, is_address

T = TypeVar("T")
K = TypeVar("K")

MOST: Final = 500
"""Of a page."""
USUAL: Final = 100


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no NUL may stand in it")
    return text


def _absolute(place: str) -> str:
    if not (place.startswith(("/", "file://", "root://")) or is_address(place)):
        raise ValueError("an absolute path, or a URI: this server stands in another folder than you")
    return place


Words = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[Words, Field(min_length=1, max_length=200)]
Place = Annotated[Words, Field(min_length=1, max_length=LONGEST), AfterValidator(_absolute)]
Id = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
IdInPath = Annotated[int, Path(ge=1, lt=2**63)]
NameInPath = Annotated[Name, Path()]
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many.")]
After = Annotated[
    Words | None, Query(max_length=2_000, description="The `next` of the page before; none for the first.")
]
Least = Annotated[float, Query(alias="min", ge=0, le=1, description="Only confidences from this on.")]
Expression = Annotated[
    Words, Query(alias="q", description="As in `tagger search`; nothing is every photo, the newest first.")
]
Album = Annotated[Words | None, Query(description="Only what this album finds.")]


class Body(BaseModel):
    """What a request says; nothing else may stand in it, so that a slip of the pen is not overlooked."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Answer(BaseModel):
    """What is answered, made from the library's values by the names of their fields."""

    model_config = ConfigDict(from_attributes=True, frozen=True, use_attribute_docstrings=True)


class Cursor(Generic[K]):
    """Places in a list, by the key of the row that a page ended with, as text for a URL."""

    def __init__(self, kind: TypeAdapter[K]) -> None:
        self._kind = kind

    def written(self, key: K) -> str:
        """The text."""
        return base64.urlsafe_b64encode(self._kind.dump_json(key)).decode().rstrip("=")

    def read(self, text: str | None) -> K | None:
        """The reverse; raises :class:`CursorError`."""
        if text is None:
            return None
        try:
            plain = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            return self._kind.validate_json(plain, strict=True)
        except (binascii.Error, ValidationError) as fault:
            raise CursorError("this is no `next` of this list: begin again without `after`") from fault

    def page(self, found: Sequence[T], limit: int, key: Callable[[T], K]) -> tuple[Sequence[T], str | None]:
        """Of one row more than a page has those of the page, and where the next begins."""
        page = found[:limit]
        return page, self.written(key(page[-1])) if len(found) > limit else None
