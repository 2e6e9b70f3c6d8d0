"""A folder on a server as a stream of what was found in it: :mod:`tagger.sources.scan` from afar.

By the same names as on a disk, entries are images or passed over. ``.taggerignore`` files are not
read, and links are passed over. On S3 all names beneath a place come in pages of a thousand; of
other stores one folder's entries are held at a time. A web server cannot be listed at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from tagger.errors import SourceError
from tagger.sources import objects
from tagger.sources.addresses import Address, shown
from tagger.sources.events import SKIPPED, Found, Refused, ScanEvent, Unlisted
from tagger.sources.faults import RefusedError
from tagger.sources.names import SkipReason, kind_by_extension, skip_by_name, skip_in_library
from tagger.sources.objects import Entry
from tagger.sources.patience import Whereabouts
from tagger.sources.roots import Roots
from tagger.values import OutcomeKind


def scan_address(top: Address, roots: Roots, whereabouts: Whereabouts) -> Iterator[ScanEvent]:
    """Everything at or beneath ``top``, each entry once.

    Raises:
        OutsideRootsError: it does not lie beneath the roots.
        SourceError: it is on a web server.
    """
    uri = roots.uri_of(top)
    if top.web:
        raise SourceError(
            f"{shown(uri)}: nobody can ask a web server for all its images; enqueue their URLs one by one"
        )
    scanning = _Scan(roots, top, whereabouts)
    try:
        entry = objects.about(top)
    except RefusedError as refusal:
        yield from scanning.unlisted(top, refusal)
        return
    if entry.folder:
        yield from scanning.walk()
    else:
        yield Found(uri, entry.size, entry.mtime_ns)


def look_at(address: Address, uri: str) -> Found | Refused:
    """One image on a server, known as ``uri``, without its bytes. A web server is not even asked."""
    if address.web:
        return Found(uri, None, None)
    try:
        entry = objects.about(address)
    except RefusedError as refusal:
        return Refused(uri, refusal.kind, refusal.reason)
    if entry.folder:
        return Refused(uri, OutcomeKind.UNSUPPORTED, "a folder, not a file of its own")
    return Found(uri, entry.size, entry.mtime_ns)


@dataclass(slots=True)
class _Scan:
    """One scan; ``passed`` is the folder whose entries are passed over at the moment."""

    roots: Roots
    top: Address
    whereabouts: Whereabouts
    passed: tuple[str, ...] = field(default=("",))

    def walk(self) -> Iterator[ScanEvent]:
        """All beneath the top, folder by folder."""
        folders = [self.top]
        while folders:
            folder = folders.pop()
            self.whereabouts.at(folder.uri)
            try:
                for entry in objects.listing(folder):
                    event = self._entry(folder, entry)
                    if isinstance(event, Address):
                        folders.append(event)
                    elif event is not None:
                        yield event
            except RefusedError as refusal:
                if refusal.kind is not OutcomeKind.MISSING or folder == self.top:
                    yield from self.unlisted(folder, refusal)

    def unlisted(self, folder: Address, refusal: RefusedError) -> Iterator[Unlisted]:
        """Say that nothing is known of what lies beneath, by whatever names it goes."""
        for prefix in self.roots.prefixes(folder):
            yield Unlisted(prefix, refusal.kind, f"cannot list {shown(folder.uri)}: {refusal.reason}")

    def _entry(self, folder: Address, entry: Entry) -> ScanEvent | Address | None:
        """What to make of an entry: an address is a folder to be listed."""
        above = (*folder.parts[-1:], *entry.names)
        for depth in range(1, len(above) - (not entry.folder)):
            reason = skip_by_name(above[depth]) or skip_in_library(above[depth - 1], above[depth])
            if reason is not None:
                return self._passed_over(above[: depth + 1], reason)
        reason = None if entry.folder else skip_by_name(above[-1]) or kind_by_extension(above[-1])
        if entry.other:
            reason = SkipReason.LINK
        if reason is not None:
            return SKIPPED[reason]
        try:
            place = folder.below(*entry.names)
        except (SourceError, UnicodeError) as error:
            return self._nameless(folder, "/".join(entry.names), error)
        return place if entry.folder else Found(self.roots.uri_of(place), entry.size, entry.mtime_ns)

    def _nameless(self, folder: Address, name: str, error: Exception) -> Unlisted:
        """A name that no URI may have; none that is known begins with it."""
        prefix = f"{self.roots.uri_of(folder)}/{quote(name, safe='', errors='replace')}/"
        reason = f"{shown(name)} in {shown(folder.uri)} was left out: {error}"
        return Unlisted(prefix, OutcomeKind.UNREADABLE, reason)

    def _passed_over(self, folder: tuple[str, ...], reason: SkipReason) -> ScanEvent | None:
        """A folder that is passed over counts once, with however many names it is met."""
        if folder == self.passed:
            return None
        self.passed = folder
        return SKIPPED[reason]
