"""What is logged, in one form: a line for each record, with the run, chunk and image that it is of.

``json`` is for machines that collect logs, one object a line; ``text`` is for people, with the same
fields. Whoever works on something says so once, around it, with :func:`context`; what Celery, kombu
or the pipeline's threads log meanwhile says it too.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Final, Literal, ParamSpec, TypeVar

from tagger.errors import SettingsError, masked

Format = Literal["text", "json"]
"""How records are written."""

P = ParamSpec("P")
T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_CONTEXT: ContextVar[Mapping[str, object]] = ContextVar("tagger_log_context", default=_NOTHING)

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; all else was given with ``extra=``."""
_FIXED: Final = ("time", "level", "logger", "message", "exception", "stack")
_LONGEST: Final = 10_000
"""Letters of one field; what is cut out of longer ones is their middle."""
_MOST: Final = 1000
"""Entries of one field that is a list: as many image ids as a chunk may have."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def configure(format: Format, level: str | int = "INFO") -> None:
    """Write all records of ``level`` and above to standard error, warnings and what nobody caught
    among them. Calling again replaces what was set before.

    Raises :class:`SettingsError` when there is no such level.
    """
    root = logging.getLogger()
    try:
        root.setLevel(level.upper() if isinstance(level, str) else level)
    except (ValueError, TypeError) as fault:
        raise SettingsError(f"there is no such log level as {level!r}; take DEBUG, INFO, WARNING") from fault
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler(_Json() if format == "json" else _Text()))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def already_configured(**_: object) -> None:
    """To be connected to Celery's signal ``setup_logging``: where somebody listens, Celery leaves
    all loggers as they are. Without, its task logger gets a handler of its own, hijacking or not."""


@contextmanager
def context(**fields: object) -> Iterator[None]:
    """Everything that is logged inside has these fields (``run=12, chunk="..."``), beside those
    from outside; what is logged by a thread too, if it was started with :func:`carried`."""
    token = _CONTEXT.set({**_CONTEXT.get(), **fields})
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """The function with the context of here, for a thread that is to call it: threads begin with none."""
    here = copy_context()

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        # A copy for each call, since two threads may not be inside one context.
        return here.copy().run(function, *args, **kwargs)

    return call


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """To standard error as it is at the moment; told apart from the handlers of others."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)


class _Json(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({**_head(record), **_fields(record), **_tail(self, record)})


class _Text(logging.Formatter):
    """The same for people. What has many lines is indented, so that a line which is not begins a
    record, whatever a file's name may hold."""

    def format(self, record: logging.LogRecord) -> str:
        fields = (f"{key}={_quoted(value)}" for key, value in _fields(record).items())
        first = " ".join([*_head(record).values(), *fields])
        lines = "\n".join([first, *_tail(self, record).values()])
        return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", lines).replace("\n", "\n    ")


def _head(record: logging.LogRecord) -> dict[str, str]:
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {
        "time": when.replace("+00:00", "Z"),
        "level": record.levelname,
        "logger": record.name,
        "message": _clipped(masked(record.getMessage())),
    }


def _tail(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    tail = {}
    if record.exc_info:
        tail["exception"] = _clipped(masked(formatter.formatException(record.exc_info)))
    if record.stack_info:
        tail["stack"] = _clipped(masked(record.stack_info))
    return tail


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """What is said of the work, and what this record says of itself."""
    extra = {key: value for key, value in vars(record).items() if key not in _OWN and _is_plain(value)}
    fields = {**_CONTEXT.get(), **extra}
    return {key: _value(value) for key, value in fields.items() if key not in _FIXED}


def _is_plain(value: object) -> bool:
    """Whether it is meant to be read; Celery adds whole messages, as dictionaries."""
    return isinstance(value, (str, int, float, list, tuple))


def _value(value: object) -> object:
    """As JSON has it."""
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [_value(each) for each in value[:_MOST]]
        case _:
            return _clipped(masked(str(value)))


def _quoted(value: object) -> str:
    """A word as it is, and all else so that one sees where it ends."""
    plain = isinstance(value, str) and value and not re.search(r'[\s"=]', value)
    return str(value) if plain else json.dumps(value, separators=(",", ":"))


def _clipped(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2
    return f"{text[:half]} [... {len(text) - 2 * half} letters ...] {text[-half:]}"


def _uncaught(
    kind: type[BaseException], fault: BaseException, trace: TracebackType | None, thread: str = "main"
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, fault, trace)
    return _LOG.critical("nobody caught this in thread %s", thread, exc_info=(kind, fault, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback, name)
