"""The places that may be read, and the URI of everything beneath them.

A URI is what the database knows an image by, so it must be the same tomorrow, on another host, and
in PostgreSQL, which takes neither surrogates nor NUL. It is therefore percent-encoded from the
bytes of the name (RFC 3986), which brings any file name back unharmed: not UTF-8, with newlines,
quotes or emoji. Files beneath a named root are ``root://NAME/path``, since hosts mount the same
library in different places; all others are ``file:///path``, as :meth:`pathlib.Path.as_uri`.

A root's own path is made absolute and its links are resolved once, when it is parsed. Beneath it,
being inside is decided by whole components of resolved paths, never by a prefix of the text:
``/photos`` does not contain ``/photos-private``.

A root may also be a place on a server (``s3://bucket/photos``, :mod:`tagger.sources.addresses`);
named, its images too are ``root://NAME/...``. Local roots and those on servers are kept apart, since
most of what can be asked of a folder (links, listing without a word to the network) has no meaning
for a server.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tagger.errors import SettingsError, SourceError
from tagger.sources import objects, web
from tagger.sources.addresses import LONGEST, Address, is_address, parse_address, shown
from tagger.sources.faults import RefusedError
from tagger.sources.names import is_passed_over
from tagger.sources.patience import answer

# A name becomes the authority of a URI: letters, digits and what needs no escape there.
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<path>.+)", re.DOTALL)
_is_plain = re.compile(r"[A-Za-z0-9._~/-]*").fullmatch

_ANSWER_S = 10.0
"""Seconds that a web server has for its first word, when it is only asked whether it is there."""


class OutsideRootsError(SourceError):
    """The path or URI does not lead to a place beneath the roots."""


class UnknownRootError(OutsideRootsError):
    """The URI is of a named root that this machine does not know; another may."""


class RootState(StrEnum):
    """Whether a place can be believed when it shows no file: only ``PRESENT`` can."""

    PRESENT = "present"
    ABSENT = "absent"
    """Not there, or it cannot be looked into: an unmounted disk, a share that is gone."""
    EMPTY = "empty"
    """A folder with nothing of a person's in it: what an unmounted disk leaves behind."""


@dataclass(frozen=True, slots=True)
class Root:
    """One folder or file that may be read. ``path`` is absolute with its links resolved."""

    path: Path
    name: str | None = None

    @property
    def uri(self) -> str:
        """The URI of the root itself, without a slash at its end (``root://photos``)."""
        if self.name is not None:
            return f"root://{self.name}"
        return "file://" + quote_path(str(self.path)).rstrip("/")

    def contains(self, path: Path) -> bool:
        """Whether the absolute ``path`` is this place or lies beneath it."""
        own, other = (
            str(self.path),
            str(path),
        )  # by text: this is asked of every image, and Path.parents is slow
        return other == own or other.startswith(own if own.endswith("/") else f"{own}/")


@dataclass(frozen=True, slots=True)
class RemoteRoot:
    """One place on a server of which all beneath may be read."""

    address: Address
    name: str | None = None

    @property
    def uri(self) -> str:
        """The URI of the root itself, without a slash at its end."""
        return self.address.uri if self.name is None else f"root://{self.name}"

    @property
    def listable(self) -> bool:
        """Whether it can be scanned: nobody can ask a web server for all that it has."""
        return not self.address.web

    def contains(self, address: Address) -> bool:
        """Whether the address is this place or lies beneath it."""
        return self.address.contains(address)


@dataclass(frozen=True, slots=True)
class Roots:
    """All places that may be read; immutable, and cheap to pass around. ``items`` are those on this
    machine (network shares too), ``remote`` those on servers."""

    items: tuple[Root, ...] = ()
    remote: tuple[RemoteRoot, ...] = ()

    @classmethod
    def parse(cls, items: Sequence[str]) -> Roots:
        """Roots from ``/a/folder``, ``a/file.jpg``, ``file:///a/folder``, ``photos=/mnt/x``,
        ``s3://bucket/photos``, ``archive=s3://bucket/photos`` or ``https://host/public``.

        A place that is absent is accepted: a disk may be unmounted today, and no server is asked.
        ``NAME=`` in front names the root; write ``./a=b`` for a relative folder that has such a
        name itself.

        Raises:
            SettingsError: an item is empty, no place, has credentials in it, gives a name or place
                twice, or needs a protocol that is not installed.
            SourceError: the file system behind one does not answer.
        """
        roots: dict[Path | Address, Root | RemoteRoot] = {}
        for item in items:
            root = _parse_root(item)
            _refuse_twice(item, root, roots.values())
            known = roots.get(_place(root))
            roots[_place(root)] = root if known is None or known.name is None else known
        return cls(
            tuple(root for root in roots.values() if isinstance(root, Root)),
            tuple(root for root in roots.values() if isinstance(root, RemoteRoot)),
        )

    def adding(self, paths: Iterable[str | os.PathLike[str]]) -> Roots:
        """These roots and the paths, each taken literally; one already inside adds nothing.

        Raises:
            SettingsError, SourceError: as :func:`resolved`.
        """
        items = list(self.items)
        for path in paths:
            place = resolved(path)
            if not any(root.contains(place) for root in items):
                items.append(Root(place))
        return Roots(tuple(items), self.remote)

    def root_of(self, path: Path) -> Root | None:
        """The root that names what stands at the absolute ``path``; None outside all of them.

        Named roots come before unnamed ones, so that naming a path for one run
        (``tagger tag /mnt/x/2019``) never changes what its images are called; then the deepest.
        """
        holding = (root for root in self.items if root.contains(path))
        return max(holding, key=_rank, default=None)

    def canonical(self, item: str) -> str:
        """The one URI of an image or folder, from what a producer may write for it: an absolute
        path, or a URI (``file://``, ``root://``, ``s3://``, ``https://``, ...).

        It gives every URI back that it has given. Looks at the file system only where a local path
        lies beneath no root as it is written; asks no server.

        Raises:
            OutsideRootsError: it does not lie beneath a root.
            SourceError: it is neither, or cannot be a place. The message is short however long the
                item is, and shows no credentials.
        """
        if "\0" in item:
            raise SourceError(f"no file name can hold a NUL byte: {shown(item)}")
        try:
            uri = self._uri_as_written(item) if len(item) <= LONGEST else item
        except UnicodeError:
            raise SourceError(f"{shown(item)} is neither the name of a file nor a text") from None
        if len(uri) > LONGEST:
            raise SourceError(f"a path or URI of {len(uri):,} characters; {LONGEST:,} are the most")
        return uri

    def _uri_as_written(self, item: str) -> str:
        if item.startswith("/"):
            return self.uri_of(item)
        if is_address(item):
            return self.uri_of(self.place_of(item))
        raise SourceError(f"{shown(item)} is neither an absolute path nor a URI such as s3://bucket/a.jpg")

    def uri_of(self, place: str | os.PathLike[str] | Address) -> str:
        """The URI of a file or folder, which need not exist; links in its last part stay.

        Raises:
            OutsideRootsError: it does not lie beneath a root.
        """
        if isinstance(place, Address):
            return self._uri_at(place)
        for candidate in _readings(place):
            root = self.root_of(candidate)
            if root is not None:
                below = quote_path(str(candidate.relative_to(root.path)))
                return root.uri if below == "." else f"{root.uri}/{below}"
        raise _outside(os.fspath(place))

    def place_of(self, uri: str) -> Path | Address:
        """Where a URI leads: a path of this machine, or an address on a server.

        Raises:
            OutsideRootsError: it leads out of the roots, or names a root that is not known here.
            SourceError: it is no URI, or an address that cannot be used.
        """
        address = self._address(uri)
        if address is None:
            return self.path_of(uri)
        if not self.allows(address):
            raise _outside(address.uri)
        return address

    def knows(self, uri: str) -> bool:
        """Whether the URI is not of a named root that is unknown on this machine."""
        try:
            self.place_of(uri)
        except UnknownRootError:
            return False
        except SourceError:
            return True
        return True

    def allows(self, address: Address) -> bool:
        """Whether an address lies beneath the roots."""
        return any(root.contains(address) for root in self.remote)

    def path_of(self, uri: str) -> Path:
        """The path that a URI stands for on this host; the file need not exist.

        Only the text is judged here: ``..`` is worked out and must stay inside. Links are judged
        by :func:`tagger.sources.read`, when the file is opened.

        Raises:
            OutsideRootsError: it leads out of the roots, or names a root that is not known here.
            SourceError: it is no URI of a local file.
        """
        path = self._unchecked_path(uri)
        if self.root_of(path) is None:
            raise OutsideRootsError("outside the folders that may be read (TAGGER_ROOTS)")
        return path

    def prefixes(self, place: Path | Address) -> tuple[str, ...]:
        """What the URIs of all images at or beneath ``place`` begin with.

        Each prefix ends with ``/`` and stands for what is beneath it; the first without that
        slash is the URI of ``place`` itself. There are several where named roots lie inside.
        """
        if isinstance(place, Address):
            inner = (
                root.uri for root in self.remote if root.name is not None and place.contains(root.address)
            )
        else:
            inner = (root.uri for root in self.items if root.name is not None and place in root.path.parents)
        return tuple(dict.fromkeys(f"{uri}/" for uri in (self.uri_of(place), *inner)))

    def _uri_at(self, address: Address) -> str:
        holding = (root for root in self.remote if root.contains(address))
        root = max(holding, key=_remote_rank, default=None)
        if root is None:
            raise _outside(address.uri)
        below = Address("", "", address.parts[len(root.address.parts) :], address.query)
        return root.uri + below.uri.removeprefix("://")

    def _address(self, uri: str) -> Address | None:
        """The address that a URI stands for, wherever it leads; None where it is one of this machine."""
        scheme, _, rest = uri.partition("://")
        if scheme in ("", "file"):
            return None
        if scheme != "root":
            return parse_address(uri) if is_address(uri) else None
        name = re.split("[/?]", rest, maxsplit=1)[0]
        root = next((root for root in self.remote if root.name == name), None)
        return None if root is None else parse_address(root.address.uri + rest[len(name) :])

    def _unchecked_path(self, uri: str) -> Path:
        scheme, _, rest = uri.partition("://")
        authority, _, tail = rest.partition("/")
        below = _decoded(uri, tail)
        if scheme == "file" and authority in ("", "localhost"):
            return Path(os.path.normpath("/" + below))
        if scheme == "root":
            return Path(os.path.normpath(self._named(authority).path / below.lstrip("/")))
        raise SourceError(f"{shown(uri)} is not the address of a local file (file:// or root://)")

    def _named(self, name: str) -> Root:
        for root in self.items:
            if root.name == name:
                return root
        raise UnknownRootError(f"no root is called {shown(name)!r} on this machine (TAGGER_ROOTS)")


def quote_path(path: str) -> str:
    """Percent-encode the bytes of a path or name; slashes stay."""
    # Most names need nothing, and a scan asks for each of a million.
    return path if _is_plain(path) else quote_from_bytes(os.fsencode(path))


def resolved(path: str | os.PathLike[str], item: str | None = None) -> Path:
    """The absolute path without links in it, as far as they lead anywhere; it need not exist.

    ``item`` is what the person wrote, for the message.

    Raises:
        SettingsError: it cannot be a path (a NUL in it), or is relative to a folder that is gone.
        SourceError: the file system behind it does not answer.
    """
    try:
        return Path(answer(partial(os.path.realpath, path), path))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{item or os.fspath(path)!r} cannot be used as a place: {error}") from error


def root_state(place: str | os.PathLike[str] | Address) -> RootState:
    """Whether a folder or file stands there, and with something in it.

    Hidden entries and those that systems make do not count: a mount point that holds nothing but
    ``lost+found`` or ``.nomedia`` is empty. Reads only as far as the first entry that counts. A web
    server is present when it answers anything.

    Raises:
        SourceError: the file system or server behind it does not answer.
    """
    if isinstance(place, Address):
        return answer(partial(_remote_state, place), place.uri)
    return answer(partial(_state, place), place)


def _remote_state(address: Address) -> RootState:
    if address.web:
        return RootState.PRESENT if web.answers(address, _ANSWER_S) else RootState.ABSENT
    try:
        if not objects.about(address).folder:
            return RootState.PRESENT
        found = any(not any(map(is_passed_over, entry.names)) for entry in objects.listing(address))
    except RefusedError:
        return RootState.ABSENT
    return RootState.PRESENT if found else RootState.EMPTY


def _state(path: str | os.PathLike[str]) -> RootState:
    try:
        if not stat.S_ISDIR(Path(path).stat().st_mode):
            return RootState.PRESENT
        with os.scandir(path) as entries:
            present = any(not is_passed_over(entry.name) for entry in entries)
    except OSError:
        return RootState.ABSENT
    return RootState.PRESENT if present else RootState.EMPTY


def _rank(root: Root) -> tuple[bool, int]:
    return root.name is not None, len(root.path.parts)


def _remote_rank(root: RemoteRoot) -> tuple[bool, int]:
    return root.name is not None, len(root.address.parts)


def _place(root: Root | RemoteRoot) -> Path | Address:
    return root.path if isinstance(root, Root) else root.address


def _outside(place: str) -> OutsideRootsError:
    return OutsideRootsError(f"{shown(place)!r} is not beneath the places that may be read (TAGGER_ROOTS)")


def _parse_root(item: str) -> Root | RemoteRoot:
    named = _NAMED.fullmatch(item)
    name, text = (named["name"], named["path"]) if named else (None, item)
    if not text.strip():
        raise SettingsError(f"a root is empty: {item!r}; give a folder, a file, or NAME=FOLDER")
    if text.startswith("file:///"):
        text = "/" + _decoded(item, text.removeprefix("file:///"))
    elif is_address(text):
        return RemoteRoot(_root_address(text), name)
    return Root(resolved(_at_home(item, text), item), name)


def _root_address(text: str) -> Address:
    try:
        address = parse_address(text)
    except SourceError as error:
        raise SettingsError(str(error)) from error
    if address.query:
        raise SettingsError(f"{shown(text)}: a root has no query (?...)")
    if not address.web:
        objects.require(address.scheme)
    while address.parts and not address.parts[-1]:
        address = replace(address, parts=address.parts[:-1])
    return address


def _at_home(item: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{item!r} cannot be used as a place: {error}") from error


def _refuse_twice(item: str, root: Root | RemoteRoot, others: Iterable[Root | RemoteRoot]) -> None:
    for other in others:
        if root.name is None or other.name is None:
            continue
        # In a URI the authority has no case, and nor has it to some of the programs that read URIs.
        same_name = root.name.lower() == other.name.lower()
        same_place = _place(root) == _place(other)
        if same_name and not same_place:
            raise SettingsError(f"{item!r}: another root is called {other.name!r}; names may not repeat")
        if same_place and not same_name:
            raise SettingsError(f"{item!r}: this place is already called {other.name!r}; one name each")


def _decoded(uri: str, tail: str) -> str:
    raw = unquote_to_bytes(tail)
    if b"\0" in raw:
        raise SourceError(f"no file name can hold a NUL byte: {shown(uri)}")
    return os.fsdecode(raw)


def _readings(path: str | os.PathLike[str]) -> Iterable[Path]:
    """A path as it is written, then with the links of its folder resolved, then wholly resolved."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 -- pathlib has nothing that works out '..' alone
    yield absolute
    yield Path(os.path.realpath(absolute.parent), absolute.name)
    yield Path(os.path.realpath(absolute))
