"""An expression as one statement over the view ``effective_tags``, for an album's own view.

It says what :mod:`tagger.search.find` finds, without its ways to be quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from tagger.search.expression import All, AnyOf, Bound, Expression, Fact, Has, Not
from tagger.search.facts import Facts, literal


def statement(expression: Expression, dialect: Literal["sqlite", "postgresql"]) -> str:
    """Columns ``image_id``, ``uri`` and ``confidence`` of the present images of which it is true.

    Names and values are written into it: a view has no parameters.
    """
    confidence = _Compiler(dialect).confidence(expression)
    return (
        "SELECT a.image_id, a.uri, a.confidence FROM (SELECT i.id AS image_id, i.uri AS uri, "
        f"CAST({confidence} AS DOUBLE PRECISION) AS confidence FROM images i WHERE i.vanished_at IS NULL) a "
        "WHERE a.confidence IS NOT NULL"
    )


@dataclass(frozen=True, slots=True)
class _Compiler:
    """Each part is a number where it is true, else NULL."""

    dialect: Literal["sqlite", "postgresql"]
    facts: Facts = field(default_factory=lambda: Facts(written=True))

    def confidence(self, expression: Expression) -> str:
        match expression:
            case Has(tag, bound):
                return (
                    "(SELECT e.confidence FROM effective_tags e WHERE e.image_id = i.id "
                    f"AND e.tag = {literal(tag)}{_within(bound)})"
                )
            case Fact():
                return f"CASE WHEN {self.facts.condition(expression)} THEN 1.0 END"
            case Not(part):
                return f"CASE WHEN {self.confidence(part)} IS NULL THEN 1.0 END"
            case All(parts):
                return self._of("least", parts)
            case AnyOf(parts):
                return self._of("greatest", parts)
        raise AssertionError(f"a name that was not resolved: {expression}")

    def _of(self, which: Literal["least", "greatest"], parts: Iterable[Expression]) -> str:
        # The two databases do not agree on what the least of a number and nothing is.
        numbers = [f"COALESCE({self.confidence(part)}, -1.0)" for part in parts]
        if len(numbers) == 1:
            return f"NULLIF({numbers[0]}, -1.0)"
        name = which if self.dialect == "postgresql" else {"least": "min", "greatest": "max"}[which]
        return f"NULLIF({name}({', '.join(numbers)}), -1.0)"


def _within(bound: Bound | None) -> str:
    return "" if bound is None else f" AND e.confidence {bound.comparison} {bound.confidence!r}"
