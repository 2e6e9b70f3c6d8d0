"""Celery's Redis transport, for a queue into which anybody may write anything.

What is no Celery message at all (no JSON, no envelope) makes the transport as it is raise in the midst
of consuming, which ends the process. Here it is dropped with a word, like any other message that says
nothing that can be done.
"""

from __future__ import annotations

import logging
from json import JSONDecodeError
from queue import Empty
from typing import Annotated, Any

from kombu.transport import TRANSPORT_ALIASES, redis
from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

NAME = "checked-redis"
"""To be named in Celery's ``broker_transport``."""
REFUSED = "refused"
"""The transport option that is called, without arguments, for each message that is dropped."""

_Text = Annotated[str, Field(max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _DeliveryInfo(_Part):
    exchange: _Text
    routing_key: _Text


class _Properties(_Part):
    delivery_tag: _Text
    delivery_info: _DeliveryInfo
    body_encoding: _Text | None = None


class _Envelope(_Part):
    """What of a message the transport itself relies on."""

    body: str
    properties: _Properties
    headers: dict[str, Any]


class _NoMessageError(Exception):
    """It is no message. The text says why, in one line."""


class Message(redis.Channel.Message):  # type: ignore[misc]
    """One whose envelope was looked at first."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        """Raises :class:`_NoMessageError`."""
        try:
            _Envelope.model_validate(payload)
            super().__init__(payload, channel=channel, **kwargs)
        except ValidationError as fault:
            first = fault.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))[:100] or "message"
            raise _NoMessageError(f"{place}: {first['msg']}") from None
        except ValueError as fault:  # no base64
            raise _NoMessageError(f"body: {fault}") from None


class Channel(redis.Channel):  # type: ignore[misc]
    """Drops what is no message."""

    Message = Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (_NoMessageError, JSONDecodeError, UnicodeDecodeError, RecursionError) as fault:
            log.error("message refused: it is none of Celery's (%s)", str(fault)[:200])
            self.connection.client.transport_options[REFUSED]()
            raise Empty from None  # as if nothing had come


class Transport(redis.Transport):  # type: ignore[misc]
    """The transport by this channel."""

    Channel = Channel


TRANSPORT_ALIASES[NAME] = f"{__name__}:{Transport.__name__}"
