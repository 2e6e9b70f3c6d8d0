"""What messages say: checked before anything is done, since anybody may have written them.

A chunk comes from our own dispatcher; a request from producers in any language:
``{"paths": ["root://photos/2019/a.jpg"], "run": "upload", "bulk": false}``.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tagger.errors import TaggerError
from tagger.library.dispatch import LARGEST
from tagger.library.filling import Ask
from tagger.sources import LONGEST
from tagger.store.dispatch import Chunk
from tagger.store.runs import RunKind

PATHS = 10_000
"""Paths in one request at most: more belong into several, or into a folder."""
MESSAGES, BULK_MESSAGES = "messages", "bulk messages"
"""The runs of requests that name none: so that a million of them do not make a million runs, and what
is new does not wait with bulk work."""


def run_of_messages(*, bulk: bool) -> str:
    """The run of those that name none."""
    return BULK_MESSAGES if bulk else MESSAGES


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no NUL may stand in it")
    return text


_Id = Annotated[int, Field(ge=1, lt=2**63)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_nul)]
_Place = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST), AfterValidator(_without_nul)]


class RefusedMessage(TaggerError):
    """The message says nothing that can be done; it is dropped, and nothing else happens."""


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


M = TypeVar("M", bound=_Message)


class ChunkMessage(_Message):
    """Some images of a run to be tagged with a model version."""

    run: _Id
    model: _Name
    images: Annotated[list[_Id], Field(min_length=1, max_length=LARGEST)]


class RequestMessage(_Message):
    """Paths and URIs to be tagged, of images and folders beneath the roots."""

    paths: Annotated[list[_Place], Field(min_length=1, max_length=PATHS)]
    run: _Name | None = None
    model: _Name | None = None
    bulk: bool = False
    retry_failed: bool = False

    def ask(self) -> Ask:
        """The same for the library."""
        return Ask(
            RunKind.ENQUEUE,
            model=self.model,
            name=self.run or run_of_messages(bulk=self.bulk),
            bulk=self.bulk,
            items=tuple(self.paths),
            retry_failed=self.retry_failed,
        )


def chunk_of(arguments: dict[str, Any]) -> ChunkMessage:
    """Raises :class:`RefusedMessage`."""
    return _checked(ChunkMessage, arguments)


def request_of(arguments: dict[str, Any]) -> RequestMessage:
    """Raises :class:`RefusedMessage`."""
    return _checked(RequestMessage, arguments)


def arguments_of(chunk: Chunk) -> dict[str, Any]:
    """A chunk as its message's arguments."""
    return {"run": chunk.run_id, "model": chunk.model, "images": list(chunk.image_ids)}


def _checked(kind: type[M], arguments: dict[str, Any]) -> M:
    try:
        return kind.model_validate(arguments)
    except ValidationError as fault:
        said = "; ".join(
            f"{'.'.join(map(_shown, error['loc'])) or 'arguments'}: {error['msg']}"
            for error in fault.errors(include_input=False, include_url=False)[:5]
        )
        raise RefusedMessage(f"the arguments do not fit: {said}") from None


def _shown(part: int | str) -> str:
    """A field's name for the log; one that should not be there may be anything."""
    return ascii(str(part)[:50])[1:-1]
