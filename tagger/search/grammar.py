"""Text to an expression. The grammar is ``grammar.lark``; what lark says of a fault is said here in words."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.exceptions import VisitError

from tagger.search.expression import (
    All,
    AnyOf,
    Bound,
    Comparison,
    Expression,
    ExpressionError,
    Fact,
    Field,
    Named,
    Not,
    Word,
)

LONGEST: Final = 20_000
"""Letters of an expression."""
LONGEST_VALUE: Final = 300
"""Letters of what a filter is compared with."""
DEEPEST: Final = 100
"""Brackets within brackets, and NOTs."""
MOST: Final = 60
"""Tags and filters of an expression: an OR of so many takes a second."""

_BRACKET: Final = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|[()]")
"""A bracket, or something quoted, in which there are none."""
_UNITS: Final = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)")
_FORMATS: Final = {"JPG": "JPEG", "HEIC": "HEIF", "TIF": "TIFF"}
_FIRST: Final = "0001-01-01T00:00:00"
"""What is not said of a moment."""
_EXAMPLES: Final = {
    "path": "path:holiday/* or path:*.png",
    "format": "format:jpeg",
    "taken": "taken:2019-07, taken>=2019-07-20, taken:2018..2020",
    "size": "size>5MB",
    "width": "width>=4000",
    "height": "height<1000",
}
_MOMENT: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?")


def parse(text: str) -> Expression:
    """The expression that a text says, its names as they were typed.

    Raises :class:`ExpressionError`, showing the place.
    """
    if not text.strip():
        raise ExpressionError("there is nothing to search for: name a tag, such as dog", text, 0, 0)
    if len(text) > LONGEST:
        raise ExpressionError(f"that is longer than {LONGEST:,} letters", text[:60], 0, 60)
    _check_depth(text)
    try:
        tree = _parser().parse(text)
        return cast("Expression", _Builder(text).transform(tree))
    except VisitError as fault:
        raise fault.orig_exc from None
    except RecursionError:
        raise ExpressionError("too many NOTs of each other", text, 0, len(text)) from None
    except UnexpectedInput as fault:
        raise _explained(text, fault) from None


def _check_depth(text: str) -> None:
    deep = 0
    for match in _BRACKET.finditer(text):
        deep += (match[0] == "(") - (match[0] == ")")
        if deep > DEEPEST:
            raise ExpressionError(
                f"more than {DEEPEST} brackets within each other", text, match.start(), match.end()
            )


@cache
def _parser() -> Lark:
    text = resources.files("tagger.search").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", propagate_positions=True)


class _Builder(Transformer[Token, Any]):
    """The tree as values. Words that stand beside each other are one :class:`Named`, for together they may be
    one tag: golden retriever."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._parts = self._nots = 0

    def start(self, children: list[Any]) -> Expression:
        """The whole."""
        return _plain(children[0])

    def any_of(self, children: list[Any]) -> Expression:
        """Those between ORs."""
        parts = tuple(_plain(child) for child in children if not isinstance(child, Token))
        return parts[0] if len(parts) == 1 else AnyOf(parts)

    def all_of(self, children: list[Any]) -> Expression:
        """Those beside each other, with AND between them or without."""
        parts: list[Expression] = []
        beside = False
        for child in children:
            if isinstance(child, Token):
                beside = False
            elif beside and isinstance(child, Named) and _goes_on(parts[-1]):
                before = cast("Named", parts[-1])
                parts[-1] = Named((*before.words, *child.words), child.bound)
            else:
                parts.append(_plain(child))
                beside = isinstance(child, Named)
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def inverse(self, children: list[Any]) -> Expression:
        """NOT and what it is of."""
        self._nots += 1
        if self._nots > DEEPEST:
            raise self._wrong(f"more than {DEEPEST} times NOT", children[0])
        return Not(_plain(children[-1]))

    def group(self, children: list[Any]) -> _Group:
        """In brackets: no word of it belongs to one outside."""
        return _Group(children[0])

    def name(self, children: list[Any]) -> Named:
        """A word, perhaps with a bound."""
        token = children[0]
        self._count(token)
        text, quoted = str(token), token.type == "QUOTED"
        if quoted:
            text = _unquoted(text)
        start, end = _place(token)
        if not text.strip():
            raise ExpressionError("an empty name is no tag", self._text, start, end)
        bound = self._bound(children[1], children[2]) if len(children) == 3 else None
        return Named((Word(text, start, end, quoted),), bound)

    def fact(self, children: list[Any]) -> Expression:
        """A filter."""
        token, value = children
        self._count(token)
        name, comparison = re.match(r"(\w+)\s*(\W+)", str(token)).groups()  # type: ignore[union-attr]
        typed = _unquoted(str(value))
        if len(typed) > LONGEST_VALUE:
            raise self._wrong(f"a value has {LONGEST_VALUE} letters at most", value)
        field = cast("Field", name.lower())
        return self._fact(field, "=" if comparison == ":" else cast("Comparison", comparison), typed, value)

    def _fact(self, field: Field, comparison: Comparison, typed: str, token: Token) -> Expression:
        if ".." in typed and comparison == "=" and field in ("taken", "size", "width", "height"):
            low, _, high = typed.partition("..")
            ways: tuple[tuple[Comparison, str], ...] = ((">=", low), ("<=", high))
            ends = [self._fact(field, way, end, token) for way, end in ways if end]
            if ends:
                return All(tuple(ends)) if len(ends) > 1 else ends[0]
        if field in ("path", "format"):
            if comparison != "=" or not typed:
                raise self._wrong(f"{field} goes with a colon and a value: {_EXAMPLES[field]}", token)
            return Fact(field, "=", _FORMATS.get(typed.upper(), typed) if field == "format" else typed)
        if field == "taken":
            return Fact(field, comparison, self._moment(typed, token))
        return Fact(field, comparison, self._number(field, typed, token))

    def _moment(self, typed: str, token: Token) -> str:
        try:
            if not _MOMENT.fullmatch(typed):
                raise ValueError
            datetime.fromisoformat(typed + _FIRST[len(typed) :])
        except ValueError:
            raise self._wrong(f"{typed!r} is no time: {_EXAMPLES['taken']}", token) from None
        return typed

    def _number(self, field: Field, typed: str, token: Token) -> float:
        found = _SIZE.fullmatch(typed)
        unit = _UNITS.get(found[2].upper()) if found else None
        if found is None or unit is None or (found[2] and field != "size") or len(found[1]) > 18:
            raise self._wrong(f"{typed!r} is no {field}: {_EXAMPLES[field]}", token)
        return float(found[1]) * unit

    def _bound(self, comparison: Token, number: Token) -> Bound:
        typed = str(number)
        try:
            value = float(typed.removesuffix("%")) / (100 if typed.endswith("%") else 1)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise self._wrong(f"{typed} is no confidence: from 0 to 1, or 0% to 100%", number)
        return Bound(cast("Comparison", str(comparison)), value)

    def _count(self, token: Token) -> None:
        self._parts += 1
        if self._parts > MOST:
            raise self._wrong(f"more than {MOST:,} tags and filters", token)

    def _wrong(self, message: str, token: Token) -> ExpressionError:
        return ExpressionError(message, self._text, *_place(token))


def _unquoted(text: str) -> str:
    """Without its quotation marks, of which two stand for one."""
    mark = text[:1]
    return text[1:-1].replace(mark * 2, mark) if mark in ("'", '"') else text


class _Group:
    """What stood in brackets."""

    def __init__(self, inner: Expression) -> None:
        self.inner = inner


def _plain(part: Any) -> Expression:
    return part.inner if isinstance(part, _Group) else part


def _goes_on(part: Expression) -> bool:
    """Whether a word behind it may belong to the same tag."""
    return (
        isinstance(part, Named)
        and part.bound is None
        and not any(word.quoted or word.is_pattern for word in part.words)
    )


# -- what was wrong ---------------------------------------------------------------------------


def _explained(text: str, fault: UnexpectedInput) -> ExpressionError:
    """A fault of lark's in words, at its place."""
    if isinstance(fault, UnexpectedToken) and fault.token.type != "$END":
        start, end = _place(fault.token)
        if text[start] in "\"'":
            return ExpressionError("the quotation does not end", text, start, len(text))
        return ExpressionError(_unexpected(str(fault.token)), text, start, end)
    place = getattr(fault, "pos_in_stream", None)
    if isinstance(fault, UnexpectedCharacters) and place is not None:
        if text[place] in "\"'":
            return ExpressionError("the quotation does not end", text, place, len(text))
        return ExpressionError(_unexpected(text[place]), text, place, place + 1)
    opened = _unclosed(text)
    if opened is not None:
        return ExpressionError("this bracket is not closed", text, opened, opened + 1)
    return ExpressionError("something is missing at the end", text, len(text), len(text) + 1)


def _unexpected(what: str) -> str:
    if what == ")":
        return "this bracket was not opened, or there is nothing in it"
    if what in ("AND", "OR", "&", "|", "&&", "||"):
        return f"{what} stands between two things"
    if what[0] in "<>=":
        return f"{what} goes behind a tag, with a confidence: dog>=0.8"
    return f"{what!r} cannot stand here; a name with such letters goes into quotation marks"


def _unclosed(text: str) -> int | None:
    """Where the innermost bracket was opened that is not closed."""
    opened: list[int] = []
    for match in _BRACKET.finditer(text):
        if match[0] == "(":
            opened.append(match.start())
        elif match[0] == ")" and opened:
            opened.pop()
    return opened[-1] if opened else None


def _place(token: Token) -> tuple[int, int]:
    start = token.start_pos or 0
    return start, start + len(token)
