"""What may be meant by a search that is being typed: tags that go on from the word at the caret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

MOST_WORDS: Final = 4
"""Words before the caret that may be the beginning of one tag."""
_WORDS: Final = re.compile(r"[^\s()\"'<>=!|&:*?-][^\s()\"<>=!|&:*?]*")
_REST: Final = re.compile(r"[^\s()\"<>=!|&:*?]*")
_PLAIN: Final = re.compile(r"\w[\w-]*( \w[\w-]*)*")
_OPERATORS: Final = frozenset({"AND", "OR", "NOT"})
_FIELD: Final = re.compile(r"(path|taken|size|width|height|format)[ \t]*[:<>=]+[^\s()]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Completion:
    """A tag that may be meant, and the whole search with it: ``text``, the caret behind it at ``at``.
    ``meant`` is the other word for the tag that was begun, if it is one; ``images`` have the tag."""

    text: str
    at: int
    tag: str
    images: int
    meant: str | None


def complete(connection: Connection, typed: str, at: int, limit: int = 8) -> list[Completion]:
    """The commonest tags that begin as what stands before the caret, of as many words as make one."""
    at = max(0, min(at, len(typed)))
    for start, begun in _begun(typed[:at]):
        found = _tags(connection, begun.lower(), limit)
        if found:
            return [_completed(typed, start, _word_end(typed, at), *each) for each in found]
    return []


def _begun(before: str) -> Iterator[tuple[int, str]]:
    """What may be the beginning of a tag, and where it begins: the most words first."""
    quote = _open_quote(before)
    if quote is not None:
        yield quote, before[quote + 1 :]
        return
    if not before or before[-1].isspace() or _FIELD.search(before):
        return
    words = list(_WORDS.finditer(before))
    if not words or words[-1].end() != len(before):
        return
    run = [words[-1]]
    for word in reversed(words[:-1]):
        between = before[word.end() : run[0].start()]
        if len(run) == MOST_WORDS or between.strip() or word[0] in _OPERATORS:
            break
        run.insert(0, word)
    for word in run:
        yield word.start(), " ".join(before[word.start() :].split())


def _word_end(typed: str, at: int) -> int:
    """Where the word ends that the caret is in."""
    rest = _REST.match(typed, at)
    return rest.end() if rest else at


def _open_quote(before: str) -> int | None:
    """Where a quotation begins that has no end yet."""
    opened: int | None = None
    for place, letter in enumerate(before):
        if opened is None:
            opened = place if letter in "\"'" and (place == 0 or before[place - 1] in " \t(!|&-") else None
        elif letter == before[opened]:
            opened = None
    return opened


def _tags(connection: Connection, begun: str, limit: int) -> list[tuple[str, int, str | None]]:
    if not begun.strip():
        return []
    escaped = "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in begun)
    rows = connection.execute(
        _LIKE, {"begun": f"{escaped}%", "within": f"% {escaped}%", "most": limit + limit}
    ).all()
    found: dict[str, tuple[str, int, str | None]] = {}
    for name, images, alias in rows:
        found.setdefault(name, (name, images, alias))
    return list(found.values())[:limit]


def _completed(typed: str, start: int, end: int, tag: str, images: int, alias: str | None) -> Completion:
    written = tag if _PLAIN.fullmatch(tag) else '"' + tag.replace('"', '""') + '"'
    rest = typed[end:]
    if typed[start : start + 1] in ("'", '"') and rest[:1] == typed[start]:
        rest = rest[1:]  # the end of the quotation that is replaced
    before = typed[:start] + written + " "
    return Completion(before + rest.lstrip(), len(before), tag, images, alias)


# Names before other words for them, what begins so before what has a word that does, then the commonest.
_LIKE = text(
    "SELECT t.name, COALESCE(n.images, 0) AS images, w.alias FROM ("
    "SELECT id AS tag_id, NULL AS alias, CASE WHEN name LIKE :begun ESCAPE '\\' THEN 0 ELSE 2 END AS rank "
    "FROM tags WHERE name LIKE :begun ESCAPE '\\' OR name LIKE :within ESCAPE '\\' "
    "UNION ALL SELECT tag_id, alias, 1 FROM tag_aliases WHERE alias LIKE :begun ESCAPE '\\') w "
    "JOIN tags t ON t.id = w.tag_id LEFT JOIN tag_tallies n ON n.tag_id = t.id "
    "ORDER BY CASE WHEN COALESCE(n.images, 0) > 0 THEN 0 ELSE 1 END, w.rank, images DESC, t.name LIMIT :most"
)
