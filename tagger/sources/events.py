"""What a look at a file, or at all of a folder, can give: one event for each entry."""

from __future__ import annotations

from dataclasses import dataclass

from tagger.sources.names import SkipReason
from tagger.values import OutcomeKind


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be an image: ``size`` in bytes, ``mtime_ns`` since 1970; None where a server
    does not tell."""

    uri: str
    size: int | None
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry that is wanted and cannot be read: its outcome is known without opening it."""

    uri: str
    kind: OutcomeKind
    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry that is no image of a person's; only counted."""

    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A folder that could not be looked into. ``uri_prefix`` ends with ``/``: of the URIs that
    begin so nothing is known now. ``reason`` is for a warning."""

    uri_prefix: str
    kind: OutcomeKind
    reason: str


ScanEvent = Found | Refused | Skipped | Unlisted

SKIPPED = {reason: Skipped(reason) for reason in SkipReason}
"""One of each, since a scan gives millions."""
