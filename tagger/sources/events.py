"""What a look at a file, or at all of a folder, can give: one event for each entry, or for many files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from stat import S_ISREG

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
class Stretch:
    """Files of one folder that may be images, in the order of their URIs: one event for some hundred,
    since an object for each of a million costs more than to ask the system for it.

    Nothing else that the scan would give lies between the first and the last. The lists are as long as
    each other, and hold what :class:`Found` holds.
    """

    uris: list[str]
    sizes: list[int | None]
    mtimes_ns: list[int | None]

    def add(self, uri: str, size: int | None, mtime_ns: int | None) -> None:
        """One more at its end."""
        self.uris.append(uri)
        self.sizes.append(size)
        self.mtimes_ns.append(mtime_ns)

    def takes(self, entry: os.DirEntry[str], uri: str) -> bool:
        """Whether the entry is a file of its own, which is then added; else it is to be looked at closely."""
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        if not S_ISREG(facts.st_mode):
            return False
        self.uris.append(uri)
        self.sizes.append(facts.st_size)
        self.mtimes_ns.append(facts.st_mtime_ns)
        return True

    def __len__(self) -> int:
        """How many files."""
        return len(self.uris)

    def __iter__(self) -> Iterator[Found]:
        """Each of them."""
        return map(Found, self.uris, self.sizes, self.mtimes_ns)


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


ScanEvent = Found | Stretch | Refused | Skipped | Unlisted

SKIPPED = {reason: Skipped(reason) for reason in SkipReason}
"""One of each, since a scan gives millions."""
