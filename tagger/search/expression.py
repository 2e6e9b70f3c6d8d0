"""What a search says, as a value: a tree of tags, filters, AND, OR and NOT.

Names stand in it as they were typed, with their places in the text, until :func:`resolved` puts the tags
there that they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt
from typing import Final, Literal, get_args
from unicodedata import combining, east_asian_width

from tagger.errors import NotFound, TaggerError

Comparison = Literal["<", "<=", "=", ">=", ">"]
Field = Literal["path", "taken", "size", "width", "height", "format"]


_COMPARE: Final = {"<": lt, "<=": le, "=": eq, ">=": ge, ">": gt}


SHOWN: Final = 70
"""Letters of a search around a fault."""
_SPACES: Final = {ord(letter): " " for letter in "\t\n\r\v\f\x85\u2028\u2029"}


def _width(text: str) -> int:
    """The columns that a terminal takes for it."""
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)


class ExpressionError(TaggerError):
    """A search that cannot be understood; it shows the place in the text."""

    def __init__(self, message: str, text: str, start: int, end: int) -> None:
        self.start, self.end = start, end
        first = max(0, start - SHOWN // 2)
        before, marked, after = text[first:start], text[start:end][:SHOWN], text[end:][: SHOWN // 2]
        shown = f"{'...' if first else ''}{before}{marked}{after}"
        blank = " " * (_width(before) + (3 if first else 0))
        line = shown.translate(_SPACES)
        super().__init__(f"{message}\n  {line}\n  {blank}{'^' * max(1, _width(marked))}")


class UnknownTagError(ExpressionError, NotFound):
    """A name in a search that is no tag."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was typed, from one place in the text to another. ``quoted`` it is a name of its own."""

    text: str
    start: int
    end: int
    quoted: bool = False

    @property
    def is_pattern(self) -> bool:
        """Whether ``*`` and ``?`` in it stand for other letters."""
        return not self.quoted and any(letter in self.text for letter in "*?")


@dataclass(frozen=True, slots=True)
class Bound:
    """Confidences that count: such as ``>= 0.8``."""

    comparison: Comparison
    confidence: float

    def admits(self, confidence: float) -> bool:
        """Whether it counts."""
        return bool(_COMPARE[self.comparison](confidence, self.confidence))

    @property
    def least(self) -> float:
        """No confidence below counts."""
        return 0.0 if self.comparison in ("<", "<=") else self.confidence


@dataclass(frozen=True, slots=True)
class Named:
    """Words that name tags: as many as they are, all of which a photo has; ``bound`` is of the last one."""

    words: tuple[Word, ...]
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Has:
    """A tag holds, by its own name, with a confidence within the bound."""

    tag: str
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """What the library knows of an image: sizes in bytes and pixels, times as ISO 8601 as far as they are
    given, paths with ``*``, ``**`` and ``?``."""

    field: Field
    comparison: Comparison
    value: str | float


@dataclass(frozen=True, slots=True)
class Not:
    """What ``part`` does not say."""

    part: Expression


@dataclass(frozen=True, slots=True)
class All:
    """All of the parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the parts."""

    parts: tuple[Expression, ...]


Expression = Named | Has | Fact | Not | All | AnyOf


def leaves(expression: Expression) -> Iterator[Has | Fact | Named]:
    """Its tags and filters, from the left."""
    match expression:
        case Not(part):
            yield from leaves(part)
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from leaves(part)
        case _:
            yield expression


def wanted(expression: Expression) -> Iterator[Has]:
    """The tags that a photo may be found for: those under no NOT."""
    match expression:
        case Has():
            yield expression
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from wanted(part)


def spelled(expression: Expression) -> str:
    """The expression as it could be typed; parsed again it is the same."""
    match expression:
        case Has(tag, bound):
            return _quoted(tag) + _bound(bound)
        case Named(words, bound):
            return " ".join(_quoted(word.text) if word.quoted else word.text for word in words) + _bound(
                bound
            )
        case Fact(field, comparison, value):
            typed = f"{value:.15g}" if isinstance(value, float) else value
            return f"{field}{':' if comparison == '=' else comparison}{_quoted(typed, always=False)}"
        case Not(part):
            return f"NOT {_within(part)}"
        case All(parts):
            return " AND ".join(_within(part) for part in parts)
        case AnyOf(parts):
            return " OR ".join(_within(part) for part in parts)


def _within(part: Expression) -> str:
    return f"({spelled(part)})" if isinstance(part, (All, AnyOf)) else spelled(part)


def _bound(bound: Bound | None) -> str:
    return "" if bound is None else f"{bound.comparison}{bound.confidence:.15g}"


def _quoted(text: str, *, always: bool = True) -> str:
    plain = text.isalnum() and text not in ("AND", "OR", "NOT") and text.lower() not in get_args(Field)
    if plain or (not always and not any(letter in text for letter in " \t()\"'")):
        return text
    return '"' + text.replace('"', '""') + '"'
