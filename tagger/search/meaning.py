"""The words of an expression as the tags that they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from tagger.search.expression import (
    All,
    AnyOf,
    Bound,
    Expression,
    ExpressionError,
    Has,
    Named,
    Not,
    UnknownTagError,
    Word,
)

MOST_ALIKE: Final = 30
"""Tags, none above another, that a pattern may stand for."""


class Dictionary(Protocol):
    """Knows what words mean."""

    def tag(self, name: str) -> str | None:
        """The tag that a word, or several together, mean; None if they mean none."""

    def alike(self, pattern: str, *, topmost: bool) -> Sequence[str]:
        """The tags whose names fit ``*`` and ``?``; without those below another of them if ``topmost``."""

    def unknown(self, name: str) -> str:
        """That there is no such tag, and which may have been meant."""


def resolved(expression: Expression, text: str, words: Dictionary) -> Expression:
    """The expression with tags where names stood.

    Raises :class:`ExpressionError`, showing the place, for a name that is no tag.
    """
    match expression:
        case Named():
            parts = tuple(_tags(expression, text, words))
            return parts[0] if len(parts) == 1 else All(parts)
        case Not(part):
            return Not(resolved(part, text, words))
        case All(parts):
            return All(tuple(resolved(part, text, words) for part in parts))
        case AnyOf(parts):
            return AnyOf(tuple(resolved(part, text, words) for part in parts))
    return expression


def _tags(named: Named, text: str, words: Dictionary) -> Iterator[Expression]:
    rest = list(named.words)
    while rest:
        length, name = _longest(rest, text, words)
        some = rest[:length]
        del rest[:length]
        bound = None if rest else named.bound
        yield Has(name, bound) if name else _alike(some[0], text, bound, words)


def longest(rest: Sequence[str], words: Dictionary) -> tuple[int, str] | None:
    """How many words, from the first on, are one tag, and which."""
    for length in range(len(rest), 0, -1):
        tag = words.tag(" ".join(rest[:length]))
        if tag is not None:
            return length, tag
    return None


def _longest(rest: Sequence[Word], text: str, words: Dictionary) -> tuple[int, str | None]:
    """How many of the words are one tag, and which; None for a pattern."""
    if rest[0].is_pattern:
        return 1, None
    plain = 1
    while not rest[0].quoted and plain < len(rest) and not (rest[plain].quoted or rest[plain].is_pattern):
        plain += 1
    found = longest([word.text for word in rest[:plain]], words)
    if found is not None:
        return found
    first = rest[0]
    if not first.quoted and first.text.upper() in ("AND", "OR", "NOT"):
        raise ExpressionError(f"write {first.text.upper()} in capitals", text, first.start, first.end)
    whole = " ".join(word.text for word in rest[:plain])
    raise UnknownTagError(words.unknown(whole), text, first.start, rest[plain - 1].end)


def _alike(word: Word, text: str, bound: Bound | None, words: Dictionary) -> Expression:
    # Whoever has a tag has those above it, no less surely: these are enough but for an upper bound.
    topmost = bound is None or bound.comparison in (">", ">=")
    found = words.alike(word.text, topmost=topmost)
    if not found:
        raise UnknownTagError(f"no tag is like {word.text}", text, word.start, word.end)
    if len(found) > MOST_ALIKE:
        raise ExpressionError(
            f"{word.text} fits {len(found):,} tags: more letters, for {MOST_ALIKE} at most",
            text,
            word.start,
            word.end,
        )
    parts = tuple(Has(tag, bound) for tag in found)
    return parts[0] if len(parts) == 1 else AnyOf(parts)
