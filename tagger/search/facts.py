"""Filters as SQL over image ``i``: what is typed is bound, and never part of the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tagger.search.expression import Fact
from tagger.sources import quote_path

_CONTENT = "(SELECT c.{} FROM contents c WHERE c.id = i.content_id)"


@dataclass(slots=True)
class Facts:
    """Conditions with their values, by the names that stand for them in the text; ``written`` into it
    instead, where a statement is to be kept."""

    written: bool = False
    values: dict[str, str | float] = field(default_factory=dict)
    _names: dict[Fact, str] = field(default_factory=dict)

    def condition(self, fact: Fact) -> str:
        """That a fact is true; no if it is unknown."""
        match fact.field:
            case "path":
                return f"LOWER(i.uri) LIKE {self._bind(fact, _like(str(fact.value)))} ESCAPE '\\'"
            case "format":
                return f"{_CONTENT.format('format')} = {self._bind(fact, str(fact.value).upper())}"
            case "taken":
                return self._moment(fact)
            case "size":
                return f"i.size {fact.comparison} {self._bind(fact, fact.value)}"
        return f"{_CONTENT.format(fact.field)} {fact.comparison} {self._bind(fact, fact.value)}"

    def all_of(self, facts: Iterable[Fact]) -> str:
        """That all of them are, as the end of a list of conditions."""
        return "".join(f" AND {self.condition(fact)}" for fact in facts)

    def _moment(self, fact: Fact) -> str:
        """A year is before all that begins within it, and ends with its last second."""
        value = str(fact.value)
        taken = _CONTENT.format("taken_at")
        if fact.comparison in ("=", "<=", ">"):
            taken = f"SUBSTR({taken}, 1, {len(value)})"
        return f"{taken} {fact.comparison} {self._bind(fact, value)}"

    def _bind(self, fact: Fact, value: str | float) -> str:
        if self.written:
            return literal(value)
        name = self._names.setdefault(fact, f"fact_{len(self._names)}")
        self.values[name] = value
        return f":{name}"


def _like(pattern: str) -> str:
    """A pattern for LIKE over a URI in lower case. Without ``*`` and ``?`` the text may stand anywhere in the
    path; with them it goes from a folder's or file's beginning to the end."""
    if not any(letter in pattern for letter in "*?"):
        return f"%://%{_escaped(pattern)}%"
    parts = []
    start = 0
    for place, letter in enumerate(pattern):
        if letter in "*?":
            parts += [_escaped(pattern[start:place]), "%" if letter == "*" else "_"]
            start = place + 1
    parts.append(_escaped(pattern[start:]))
    return ("%" if pattern.startswith("/") else "%/") + "".join(parts)


def _escaped(text: str) -> str:
    """As it stands in a URI, and no wildcard of LIKE's."""
    quoted = quote_path(text).lower()
    return "".join(f"\\{letter}" if letter in "%_\\" else letter for letter in quoted)


def literal(value: str | float) -> str:
    """A value as SQL has it, on both databases: PostgreSQL takes backslashes in plain strings as they are."""
    return repr(float(value)) if isinstance(value, float) else "'" + value.replace("'", "''") + "'"
