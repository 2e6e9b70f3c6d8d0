"""Whether a reason is a sentence for a person, or has slipped out of a program."""

from __future__ import annotations

import re

_LONGEST = 300
_FAULTS = (
    ("the name of an exception", re.compile(r"\b\w*(Error|Exception|Warning)\b")),
    ("a traceback", re.compile(r"Traceback|File \".*\", line \d+")),
    ("an address in memory", re.compile(r"\b0x[0-9a-fA-F]{6,}")),
    ("a Python object", re.compile(r"<[\w.]+ (object|instance)|<class |<function |\bNoneType\b|\bb'|\bb\"")),
    ("the number of a system error", re.compile(r"\[Errno")),
    ("a Python tuple", re.compile(r"\(\d+, \d+\)")),
)


def fault_in(reason: str | None) -> str | None:
    """What is wrong with a reason; None if a person can read it."""
    if not reason:
        return "no reason at all"
    if len(reason.split()) < 3:
        return "no sentence"
    if not reason.isprintable() or len(reason) > _LONGEST:
        return "not one line of readable length"
    return next((name for name, pattern in _FAULTS if pattern.search(reason)), None)
