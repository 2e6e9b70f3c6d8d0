"""A folder as a stream of what was found in it, in constant memory however large it is.

Every entry gives one event, or is part of one: files that may be images, whatever their extension,
come some hundred at a time as a :class:`Stretch`, or singly as :class:`Found`; one that is known not
to be is :class:`Skipped`; one that deserves a row but can never be read is :class:`Refused`. A folder
that cannot be listed is no image and gets no row: it gives :class:`Unlisted`, which a command shows as
a warning, and which names the URIs of which nothing is known now, so that nothing beneath is taken for
vanished.

A file that is named outright, rather than met in a folder, is never skipped. What disappears while
the scan runs gives no event at all, unless the scanned place itself has gone.

A folder's entries are read some thousand at a time, and these are gone through in the order of their
URIs, folders included. So a tree with no larger folder comes in the order in which the store has it,
and whoever compares the two may compare whole stretches.

Links, unless they are followed: a link to a file is found under its own name when it stays inside
the roots; a link to a folder inside is skipped, since the folder is reached anyway; what leads out
is refused. When links are followed they are followed wherever they lead, loops excepted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import monotonic

from tagger.errors import SourceError
from tagger.sources.addresses import Address, is_address
from tagger.sources.events import SKIPPED, Found, Refused, ScanEvent, Skipped, Stretch, Unlisted
from tagger.sources.faults import fault_of
from tagger.sources.ignore import IgnoreRules, rules_above, rules_in
from tagger.sources.names import (
    SkipReason,
    is_photo,
    is_plain_photo,
    kind_by_extension,
    printable,
    skip_by_name,
    skip_in_library,
)
from tagger.sources.patience import Whereabouts
from tagger.sources.regular import NotRegularError, refuse_special
from tagger.sources.remote import scan_address
from tagger.sources.roots import Roots, quote_path
from tagger.values import OutcomeKind

# Each level of folders keeps two descriptors open while its entries stream; deeper than this they
# are read to the end first, so that a hostile depth does not use up what the process may open.
_DEEPEST_OPEN = 32

_BLOCK = 200_000
"""Entries of one folder that are held at a time: some 60 MB. The photos of a larger folder come one by one:
what of them is in one block is no stretch of the whole."""
_LONGEST = 500
"""Files of one stretch."""
_LONGEST_S = 0.25
"""Seconds after which a stretch ends: what a slow disk has told is worth having."""

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


_ENDING = (Refused, _Folder)
"""What ends a stretch, since the store has something at its place or beneath it."""


class _LoopError(Exception):
    """A link has led back into a folder that is being listed."""


def scan(
    place: str | os.PathLike[str] | Address,
    roots: Roots,
    options: ScanOptions | None = None,
    whereabouts: Whereabouts | None = None,
) -> Iterator[ScanEvent]:
    """Everything at or beneath ``place``, each entry once.

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
            with _listed(folder) as entries:
                whole = None
                for block in self._blocks(entries):
                    whole = len(block) < _BLOCK if whole is None else False
                    events = self._block(folder, block)
                    yield from events if whole else _one_by_one(events)
        except _LoopError:
            yield SKIPPED[SkipReason.LINK]
        except SourceError as error:
            yield from self._untouched(folder.path, str(error))
        except FileNotFoundError as error:
            yield from self._gone(error)
        except OSError as error:
            yield from self.unlisted(folder.path, error)

    def _blocks(self, entries: Iterator[os.DirEntry[str]]) -> Iterator[list[os.DirEntry[str]]]:
        """The entries, some thousand at a time; what came before an error too. A block is to be emptied."""
        block: list[os.DirEntry[str]] = []
        try:
            block.extend(islice(entries, _BLOCK))
            while block:
                self.whereabouts.signs += 1
                yield block
                block.extend(islice(entries, _BLOCK))
        except OSError:
            yield block
            raise

    def _block(self, folder: _Folder, block: list[os.DirEntry[str]]) -> Iterator[ScanEvent | _Folder]:
        """The events of some entries, in the order of their URIs; the list is empty then."""
        ordinary, others = _sorted_out(folder, block)
        block.clear()
        stretch, ends = Stretch([], [], []), monotonic() + _LONGEST_S
        for name in sorted([*ordinary, *others]):
            event = None
            entry = ordinary.pop(name, None)
            if entry is not None and stretch.takes(entry, folder.uri + name):
                if len(stretch.uris) < _LONGEST and monotonic() < ends:
                    continue  # as nearly always
            else:
                event = self._entry(folder, entry or others.pop(name), name)
                if isinstance(event, Found):
                    stretch.add(event.uri, event.size, event.mtime_ns)
                    event = None
            if len(stretch.uris) >= _LONGEST or monotonic() > ends or event.__class__ in _ENDING:
                if stretch.uris:
                    yield stretch
                stretch, ends = Stretch([], [], []), monotonic() + _LONGEST_S
            if event is not None:
                yield event
        if stretch.uris:
            yield stretch

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

    def _entry(self, folder: _Folder, entry: os.DirEntry[str], below: str) -> ScanEvent | _Folder | None:
        """What an entry gives; ``below`` is what the folder's URI lacks of its own."""
        name = entry.name
        reason = skip_by_name(name)
        if reason is not None:
            return SKIPPED[reason]
        if entry.is_symlink():
            return self._link(folder, entry, below)
        if entry.is_dir(follow_symlinks=False):
            return self._folder(folder, entry, below)
        return self._file(folder, entry, below, follow=False)

    def _file(
        self, folder: _Folder, entry: os.DirEntry[str], below: str, *, follow: bool
    ) -> Found | Refused | Skipped | None:
        reason = kind_by_extension(entry.name)
        if reason is None and _is_ignored(folder, entry):
            reason = SkipReason.IGNORED
        if reason is not None:
            return SKIPPED[reason]
        return self.file(_path(folder, entry), folder.uri + below, follow=follow)

    def _folder(self, folder: _Folder, entry: os.DirEntry[str], below: str) -> Skipped | _Folder:
        reason = skip_in_library(os.path.basename(folder.path), entry.name)  # noqa: PTH119 -- as above
        if (
            reason is None
            and folder.rules is not None
            and folder.rules.ignores(_path(folder, entry), folder=True)
        ):
            reason = SkipReason.IGNORED
        if reason is not None:
            return SKIPPED[reason]
        uri = self._named(_path(folder, entry)) or folder.uri + below.removesuffix("/")
        return _Folder(_path(folder, entry), f"{uri}/", folder.rules, folder.depth + 1, folder.line)

    def _link(self, folder: _Folder, entry: os.DirEntry[str], below: str) -> ScanEvent | _Folder | None:
        uri = folder.uri + below
        try:
            is_folder = stat.S_ISDIR(entry.stat().st_mode)
        except OSError as error:
            return Refused(uri, *self._broken_link(_path(folder, entry), error))
        if not self._may_lead(_path(folder, entry)):
            return Refused(uri, OutcomeKind.OUTSIDE, outside_reason(_path(folder, entry)))
        if not is_folder:
            return self._file(folder, entry, below, follow=True)
        return self._folder(folder, entry, below) if self.options.follow_links else SKIPPED[SkipReason.LINK]

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


@contextmanager
def _listed(folder: _Folder) -> Iterator[Iterator[os.DirEntry[str]]]:
    """A folder's entries. Where the system can, they are asked for their facts by their names in the
    open folder, which spares it the way there from the top."""
    if folder.depth >= _DEEPEST_OPEN or os.scandir not in os.supports_fd:
        with os.scandir(folder.path) as listing:
            yield listing if folder.depth < _DEEPEST_OPEN else iter(list(listing))
        return
    opened = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(opened) as listing:
            yield listing
    finally:
        os.close(opened)


def _path(folder: _Folder, entry: os.DirEntry[str]) -> str:
    return os.path.join(folder.path, entry.name)  # noqa: PTH118 -- strings, as in the whole of the scan


def _is_ignored(folder: _Folder, entry: os.DirEntry[str], *, is_folder: bool = False) -> bool:
    return folder.rules is not None and folder.rules.ignores(_path(folder, entry), folder=is_folder)


_Entries = dict[str, os.DirEntry[str]]
"""Entries by what they add to the URI of their folder; a folder's name ends with a slash, as what is
in it has it."""


def _sorted_out(folder: _Folder, block: list[os.DirEntry[str]]) -> tuple[_Entries, _Entries]:
    """Ordinary photos by their names, on which no rule bears; and all that is to be asked for in turn."""
    ordinary: _Entries = {}
    others: _Entries = {}
    for entry in block:
        name = entry.name
        if folder.rules is None and is_plain_photo(name):
            ordinary[name] = entry
        elif folder.rules is None and is_photo(name):
            ordinary[quote_path(name)] = entry
        else:
            others[quote_path(name) + ("/" if _is_folder(entry) else "")] = entry
    return ordinary, others


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:  # met again, and told of, when its turn comes
        return False


def _one_by_one(events: Iterable[ScanEvent | _Folder]) -> Iterator[ScanEvent | _Folder]:
    for event in events:
        if isinstance(event, Stretch):
            yield from event
        else:
            yield event


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
