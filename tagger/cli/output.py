"""How things look: consoles, names of photos, confidences, JSON."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tagger.errors import SourceError, TaggerError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tagger.sources import Roots

PIPED_WIDTH = 200
"""Columns where there is no terminal to ask: nothing that a program reads is cut off."""

# No markup: a folder may well be called [x].
out = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(markup=False, highlight=False, stderr=True, soft_wrap=True)


def show_any_character() -> None:
    """Let a terminal that knows only some characters show the others escaped, and not stop for them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class OutputError(TaggerError):
    """Standard output takes no more: its disk is full, or its reader has gone (``unheard``)."""

    def __init__(self, fault: OSError) -> None:
        super().__init__(f"the output cannot be written: {fault.strerror}")
        self.unheard = fault.errno == errno.EPIPE


class _Output(FileIO):
    """Standard output, whose fault is told apart from those of other files, and told once."""

    _failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:  # what is still in the buffers, at the end of the process
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as fault:
            self._fail(fault)

    def _fail(self, fault: OSError) -> NoReturn:
        self._failed = True
        raise OutputError(fault) from fault


def watch_output() -> None:
    """From here on a fault of standard output is an :class:`OutputError`."""
    stream = sys.stdout
    if not isinstance(stream, TextIOWrapper):
        return  # a test's, or none at all
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if isinstance(raw, FileIO):
        stream.flush()
        sys.stdout = TextIOWrapper(
            BufferedWriter(_Output(raw.fileno(), "w", closefd=False)),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )


def escaped(message: str) -> str:
    """A message with whatever names are in it, on the lines that it was given."""
    from tagger.sources import printable

    return "\n".join(printable(line) for line in message.split("\n"))


def table(*columns: str, numbers: Sequence[str] = (), title: str | None = None) -> Table:
    """A table whose cells wrap rather than lose their ends; ``numbers`` are set to the right."""
    made = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title) if title else None, title_justify="left"
    )
    for column in columns:
        made.add_column(column, overflow="fold", justify="right" if column in numbers else "left")
    return made


def print_json(value: Any) -> None:
    """One JSON document on standard output, in plain ASCII for any terminal."""
    print(json.dumps(value, indent=2, default=_plain))


def name_of(uri: str) -> str:
    """A URI as a person reads it."""
    from tagger.sources import name_of

    return name_of(uri)


def path_of(uri: str, roots: Roots) -> bytes | None:
    """The path on this machine, byte for byte; None for a root that is not known here."""
    from tagger.sources import Roots

    try:
        return os.fsencode(Roots(roots.items).adding(["/"]).path_of(uri))
    except SourceError:
        return None


def short(uri: str, start: str = "") -> str:
    """The name without the folder ``start``, where it lies beneath it."""
    name = name_of(uri)
    return name.removeprefix(start.rstrip("/") + "/") if start else name


def common_folder(uris: Iterable[str]) -> str:
    """The deepest folder that holds them all."""
    folders = [Path(name_of(uri)).parent.parts for uri in uris]
    if not folders:
        return ""
    shared = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return str(Path(*shared)) if shared else ""


def confidence(value: float) -> Text:
    """``0.97``, the brighter the surer; never rounded up to a certainty that is not there."""
    style = "green" if value >= 0.8 else "yellow" if value >= 0.5 else "dim"
    return Text(f"{min(value, 0.99) if value < 1 else value:.2f}", style=style)


def bar(value: float, width: int = 20) -> Text:
    """A confidence as a bar."""
    full = round(value * width)
    return Text("━" * full + " " * (width - full), style="green")


_SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Iterable[float], low: float, high: float) -> str:
    """A curve in one line, a character for each value between ``low`` and ``high``."""
    return "".join(
        _SPARKS[round((value - low) / (high - low or 1.0) * (len(_SPARKS) - 1))] for value in values
    )


def plural(number: int, word: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
