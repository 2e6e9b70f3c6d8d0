"""Celery's Redis transport, for a queue into which anybody may write anything.

What is no Celery message at all (no JSON, no envelope) makes the transport as it is raise in the midst
of consuming, which ends the process. Here it is dropped with a word, like any other message that says
nothing that can be done.
"""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from queue import Empty
from typing import Annotated, Any, Literal

from kombu.transport import TRANSPORT_ALIASES, redis
from kombu.utils import json as kombu_json
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from redis.backoff import NoBackoff
from redis.retry import Retry

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
    body_encoding: Literal["base64"] | None = None


class _Headers(_Part):
    task: _Text
    id: _Text


class _Envelope(_Part):
    """What is taken of a message, in Celery's protocol 2; all else that may stand there (times, limits,
    callbacks, stamps) is none of ours and is left behind."""

    body: str
    content_type: Literal["application/json"] = Field(alias="content-type")
    headers: _Headers
    properties: _Properties


_BODY: TypeAdapter[tuple[list[Any], dict[str, Any], Any]] = TypeAdapter(tuple[list[Any], dict[str, Any], Any])


class _NoMessageError(Exception):
    """It is no message. The text says why, in one line."""


class Message(redis.Channel.Message):  # type: ignore[misc]
    """One that is made anew from what was looked at, so that Celery meets nothing else."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        """Raises :class:`_NoMessageError`."""
        try:
            super().__init__(_clean(_Envelope.model_validate(payload)), channel=channel, **kwargs)
        except ValidationError as fault:
            first = fault.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))[:100] or "message"
            raise _NoMessageError(f"{place}: {first['msg']}") from None
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as fault:
            raise _NoMessageError(f"body: {fault}") from None


def _clean(envelope: _Envelope) -> dict[str, Any]:
    """The message as Celery writes it. Raises whatever its parts do."""
    properties, headers = envelope.properties, envelope.headers
    encoded = envelope.body.encode()
    body = b64decode(encoded, validate=True) if properties.body_encoding else encoded
    kombu_json.loads(body.decode())  # its readings of "__type__" may fail, and better here than later
    positional, named, _ = _BODY.validate_python(tuple(json.loads(body)))
    return {
        "body": b64encode(json.dumps([positional, named, {}]).encode()).decode(),
        "content-type": envelope.content_type,
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": headers.task, "id": headers.id, "root_id": headers.id},
        "properties": {
            "correlation_id": headers.id,
            "delivery_tag": properties.delivery_tag,
            "delivery_info": properties.delivery_info.model_dump(),
            "delivery_mode": 2,
            "body_encoding": "base64",
        },
    }


class Channel(redis.Channel):  # type: ignore[misc]
    """Drops what is no message; and says soon that there is no broker, or that the password is wrong.

    redis-py by itself tries for half a minute. Whoever can wait does so with a word each time.
    """

    Message = Message
    _is_read = False

    def _connparams(self, asynchronous: bool = False) -> Any:
        return super()._connparams(asynchronous) | {"retry": Retry(NoBackoff(), retries=1)}

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[Any], Any], consumer_tag: str, **kwargs: Any
    ) -> Any:
        """As it is, but noted that a message was read: what goes wrong from there on is no fault of it."""

        def read(message: Message) -> Any:
            self._is_read = True
            return callback(message)

        return super().basic_consume(queue, no_ack, read, consumer_tag, **kwargs)

    def _brpop_read(self, **options: Any) -> Any:
        self._is_read = False
        try:
            return super()._brpop_read(**options)
        except (_NoMessageError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as fault:
            if self._is_read:
                raise
            log.error("message refused: it is none of Celery's (%s)", str(fault)[:200])
            self.connection.client.transport_options[REFUSED]()
            raise Empty from None  # as if nothing had come


class Transport(redis.Transport):  # type: ignore[misc]
    """The transport by this channel."""

    Channel = Channel


TRANSPORT_ALIASES[NAME] = f"{__name__}:{Transport.__name__}"
