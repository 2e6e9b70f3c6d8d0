"""One file of the corpus, and what is expected of it."""

from __future__ import annotations

from dataclasses import dataclass

from tagger.values import OutcomeKind

SHOWN = frozenset({OutcomeKind.OK, OutcomeKind.EMPTY})
BROKEN = frozenset({OutcomeKind.CORRUPT, OutcomeKind.UNSUPPORTED})
ANY = SHOWN | BROKEN | {OutcomeKind.TOO_LARGE}
"""What a file may come to that neither hangs nor kills the process that loads it."""

Allowed = frozenset[OutcomeKind]


@dataclass(frozen=True, slots=True)
class Case:
    """A file's name and bytes, and the outcomes that it may have.

    ``whole`` says whether Pillow alone loads it to the last pixel; None where only Pillow can tell,
    as of a mutation, and False also where it is not worth the memory or the time to ask it.
    """

    name: str
    data: bytes
    allowed: Allowed = ANY
    whole: bool | None = None


def sound(name: str, data: bytes) -> Case:
    """A picture in order: it is shown."""
    return Case(name, data, SHOWN, whole=True)
