"""A folder as a stream of what was found in it, in constant memory however large it is.

Every entry gives one event. A file that may be an image is :class:`Found`, whatever its extension;
one that is known not to be is :class:`Skipped`; one that deserves a row but can never be read is
:class:`Refused`. A folder that cannot be listed is no image and gets no row: it gives
:class:`Unlisted`, which a command shows as a warning, and which names the URIs of which nothing is
known now, so that nothing beneath is taken for vanished.

A file that is named outright, rather than met in a folder, is never skipped. What disappears while
the scan runs gives no event at all, unless the scanned place itself has gone.

Links, unless they are followed: a link to a file is found under its own name when it stays inside
the roots; a link to a folder inside is skipped, since the folder is reached anyway; what leads out
is refused. When links are followed they are followed wherever they lead, loops excepted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources.addresses import Address, is_address
from tagger.sources.events import SKIPPED, Found, Refused, ScanEvent, Skipped, Unlisted
from tagger.sources.faults import fault_of
from tagger.sources.ignore import IgnoreRules, rules_above, rules_in
from tagger.sources.names import SkipReason, kind_by_extension, printable, skip_by_name, skip_in_library
from tagger.sources.patience import Whereabouts
from tagger.sources.regular import NotRegularError, refuse_special
from tagger.sources.remote import scan_address
from tagger.sources.roots import Roots, quote_path
from tagger.values import OutcomeKind

# Each level of folders keeps one descriptor open while its entries stream; deeper than this they
# are read to the end first, so that a hostile depth does not use up what the process may open.
_DEEPEST_OPEN = 64

# Characters of a path in a warning: it may have 4096, and all others would drown in it.
_LONGEST_SHOWN = 400


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """``follow_links``: also where they lead out of the roots."""

    follow_links: bool = False


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to be listed. ``uri`` ends with ``/``; ``line`` holds (device, inode) of the
    folders above, and is kept only where links are followed."""

    path: str
    uri: str
    rules: IgnoreRules | None
    depth: int = 0
    line: tuple[tuple[int, int], ...] = ()


class _LoopError(Exception):
    """A link has led back into a folder that is being listed."""


def scan(
    place: str | os.PathLike[str] | Address,
    roots: Roots,
    options: ScanOptions | None = None,
    whereabouts: Whereabouts | None = None,
) -> Iterator[ScanEvent]:
    """Everything at or beneath ``place``, each entry once, in no promised order.

    ``place`` is a path, an address, or the URI of either. A path is resolved first; it is then a
    file or folder beneath the roots. Permissions, links and
    special files never stop a scan; they are events. It blocks for as long as the file system or
    server does; ``whereabouts`` is told each folder, for one who waits for it in another thread.

    Raises:
        OutsideRootsError: ``place`` does not lie beneath the roots (at the first event).
        SourceError: it is on a web server, which cannot be listed (at the first event).
    """
    if isinstance(place, str) and is_address(place):
        place = roots.place_of(place)
    if isinstance(place, Address):
        yield from scan_address(place, roots, whereabouts or Whereabouts(place.uri))
        return
    top = Path(os.path.realpath(place))
    uri = roots.uri_of(top)
    scanning = _Scan(roots, options or ScanOptions(), str(top), whereabouts or Whereabouts(str(top)))
    try:
        mode = top.stat().st_mode
    except OSError as error:
        yield from scanning.unlisted(str(top), error)
        return
    if stat.S_ISDIR(mode):
        yield from scanning.walk(uri)
    else:
        event = scanning.file(str(top), uri, follow=True)
        if event is not None:
            yield event


@dataclass(frozen=True, slots=True)
class _Scan:
    """What stays the same through one scan, and the steps that need it."""

    roots: Roots
    options: ScanOptions
    top: str
    whereabouts: Whereabouts

    def walk(self, uri: str) -> Iterator[ScanEvent]:
        """All beneath the top, depth first, with one open listing for each level."""
        try:
            root = self.roots.root_of(Path(self.top))
            outer = rules_above(str(root.path) if root else self.top, self.top)
        except SourceError as error:
            yield from self._untouched(self.top, str(error))
            return
        levels = [self._level(_Folder(self.top, f"{uri}/", outer))]
        while levels:
            path, listing = levels[-1]
            event = next(listing, None)
            if event is None:
                levels.pop()
                self.whereabouts.at(levels[-1][0] if levels else path)
            elif isinstance(event, _Folder):
                levels.append(self._level(event))
            else:
                yield event

    def _level(self, folder: _Folder) -> tuple[str, Iterator[ScanEvent | _Folder]]:
        self.whereabouts.at(folder.path)
        return folder.path, self._listing(folder)

    def file(self, path: str, uri: str, *, follow: bool) -> Found | Refused | None:
        """What came of something that is no folder; None when it has just gone."""
        try:
            facts = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 -- strings: this runs a million times
            refuse_special(facts.st_mode)
        except FileNotFoundError:
            return None
        except NotRegularError as error:
            return Refused(uri, OutcomeKind.UNSUPPORTED, str(error))
        except OSError as error:
            return Refused(uri, *fault_of(error, path))
        return Found(uri, facts.st_size, facts.st_mtime_ns)

    def unlisted(self, path: str, error: OSError) -> Iterator[Unlisted]:
        """Say that nothing is known of what lies beneath, by whatever names it goes."""
        kind, reason = fault_of(error, path)
        for prefix in self.roots.prefixes(Path(path)):
            yield Unlisted(prefix, kind, f"cannot list {_shown(path)}: {reason}")

    def _untouched(self, path: str, reason: str) -> Iterator[Unlisted]:
        for prefix in self.roots.prefixes(Path(path)):
            yield Unlisted(prefix, OutcomeKind.UNREADABLE, f"{_shown(path)} was left alone: {reason}")

    def _listing(self, folder: _Folder) -> Iterator[ScanEvent | _Folder]:
        """The events of one folder's entries, and the folders in it that are to be listed."""
        try:
            folder = self._entered(folder)
            with os.scandir(folder.path) as listing:
                entries = listing if folder.depth < _DEEPEST_OPEN else iter(list(listing))
                for entry in entries:
                    event = self._entry(folder, entry)
                    if event is not None:
                        yield event
        except _LoopError:
            yield SKIPPED[SkipReason.LINK]
        except SourceError as error:
            yield from self._untouched(folder.path, str(error))
        except FileNotFoundError as error:
            yield from self._gone(error)
        except OSError as error:
            yield from self.unlisted(folder.path, error)

    def _entered(self, folder: _Folder) -> _Folder:
        """The folder with its own ignore file read, and itself in line for what is beneath."""
        rules = rules_in(folder.path, folder.rules)
        if not self.options.follow_links:
            return replace(folder, rules=rules)
        facts = os.stat(folder.path)  # noqa: PTH116 -- strings, as in the whole of the scan
        here = (facts.st_dev, facts.st_ino)
        if here in folder.line:
            raise _LoopError
        return replace(folder, rules=rules, line=(*folder.line, here))

    def _gone(self, error: OSError) -> Iterator[ScanEvent]:
        """A folder that vanished is an answer; a disk that was unmounted under the scan is none."""
        if not os.path.lexists(self.top):
            yield from self.unlisted(self.top, error)

    def _entry(self, folder: _Folder, entry: os.DirEntry[str]) -> ScanEvent | _Folder | None:
        name = entry.name
        reason = skip_by_name(name)
        if reason is not None:
            return SKIPPED[reason]
        if entry.is_symlink():
            return self._link(folder, entry)
        if entry.is_dir(follow_symlinks=False):
            return self._folder(folder, entry)
        return self._file(folder, entry, follow=False)

    def _file(
        self, folder: _Folder, entry: os.DirEntry[str], *, follow: bool
    ) -> Found | Refused | Skipped | None:
        reason = kind_by_extension(entry.name)
        if reason is None and folder.rules is not None and folder.rules.ignores(entry.path, folder=False):
            reason = SkipReason.IGNORED
        if reason is not None:
            return SKIPPED[reason]
        return self.file(entry.path, folder.uri + quote_path(entry.name), follow=follow)

    def _folder(self, folder: _Folder, entry: os.DirEntry[str]) -> Skipped | _Folder:
        reason = skip_in_library(os.path.basename(folder.path), entry.name)  # noqa: PTH119 -- as above
        if reason is None and folder.rules is not None and folder.rules.ignores(entry.path, folder=True):
            reason = SkipReason.IGNORED
        if reason is not None:
            return SKIPPED[reason]
        uri = self._named(entry.path) or folder.uri + quote_path(entry.name)
        return _Folder(entry.path, f"{uri}/", folder.rules, folder.depth + 1, folder.line)

    def _link(self, folder: _Folder, entry: os.DirEntry[str]) -> ScanEvent | _Folder | None:
        uri = folder.uri + quote_path(entry.name)
        try:
            is_folder = stat.S_ISDIR(entry.stat().st_mode)
        except OSError as error:
            return Refused(uri, *self._broken_link(entry.path, error))
        if not self._may_lead(entry.path):
            return Refused(uri, OutcomeKind.OUTSIDE, outside_reason(entry.path))
        if not is_folder:
            return self._file(folder, entry, follow=True)
        return self._folder(folder, entry) if self.options.follow_links else SKIPPED[SkipReason.LINK]

    def _broken_link(self, path: str, error: OSError) -> tuple[OutcomeKind, str]:
        if isinstance(error, FileNotFoundError):
            return OutcomeKind.MISSING, f"a link that leads nowhere: {_target(path)}"
        if self._may_lead(path):
            return fault_of(error, path)
        return OutcomeKind.OUTSIDE, outside_reason(path)

    def _may_lead(self, link: str) -> bool:
        """Whether a link may be used: it stays inside the roots, or all links are followed."""
        return self.options.follow_links or self.roots.root_of(Path(os.path.realpath(link))) is not None

    def _named(self, path: str) -> str | None:
        """The URI of a named root that stands at ``path`` itself, inside another root."""
        return next((root.uri for root in self.roots.items if root.name and str(root.path) == path), None)


def outside_reason(path: str | os.PathLike[str]) -> str:
    """Why a link is refused, with where it leads."""
    return f"leads out of the folders that may be read, to {_target(path)} (TAGGER_ROOTS)"


def _target(path: str | os.PathLike[str]) -> str:
    """Where a link leads."""
    return _shown(os.path.realpath(path))


def _shown(path: str) -> str:
    """A path within a sentence, in characters that any terminal and database can show."""
    text = printable(path)
    half = _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}[...]{text[-half:]}"
