"""The places that may be read, and the URI of everything beneath them.

A URI is what the database knows an image by, so it must be the same tomorrow, on another host, and
in PostgreSQL, which takes neither surrogates nor NUL. It is therefore percent-encoded from the
bytes of the name (RFC 3986), which brings any file name back unharmed: not UTF-8, with newlines,
quotes or emoji. Files beneath a named root are ``root://NAME/path``, since hosts mount the same
library in different places; all others are ``file:///path``, as :meth:`pathlib.Path.as_uri`.

A root's own path is made absolute and its links are resolved once, when it is parsed. Beneath it,
being inside is decided by whole components of resolved paths, never by a prefix of the text:
``/photos`` does not contain ``/photos-private``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tagger.errors import SettingsError, SourceError
from tagger.sources.names import is_passed_over
from tagger.sources.patience import answer

# A name becomes the authority of a URI: letters, digits and what needs no escape there.
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=(?P<path>.+)", re.DOTALL)
_PLAIN = re.compile(r"[A-Za-z0-9._~/-]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class OutsideRootsError(SourceError):
    """The path or URI does not lead to a place beneath the roots."""


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
        return "file://" + quote_path(self.path).rstrip("/")

    def contains(self, path: Path) -> bool:
        """Whether the absolute ``path`` is this place or lies beneath it."""
        return path == self.path or self.path in path.parents


@dataclass(frozen=True, slots=True)
class Roots:
    """All places that may be read; immutable, and cheap to pass around."""

    items: tuple[Root, ...] = ()

    @classmethod
    def parse(cls, items: Sequence[str]) -> Roots:
        """Roots from ``/a/folder``, ``a/file.jpg``, ``file:///a/folder`` or ``photos=/mnt/x``.

        A place that is absent is accepted: a disk may be unmounted today. ``NAME=`` in front
        names the root; write ``./a=b`` for a relative folder that has such a name itself.

        Raises:
            SettingsError: an item is empty, no local path, or gives a name or path twice.
            SourceError: the file system behind one does not answer.
        """
        roots: dict[Path, Root] = {}
        for item in items:
            root = _parse_root(item)
            _refuse_twice(item, root, roots.values())
            known = roots.get(root.path)
            roots[root.path] = root if known is None or known.name is None else known
        return cls(tuple(roots.values()))

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
        return Roots(tuple(items))

    def root_of(self, path: Path) -> Root | None:
        """The root that names what stands at the absolute ``path``; None outside all of them.

        Named roots come before unnamed ones, so that naming a path for one run
        (``tagger tag /mnt/x/2019``) never changes what its images are called; then the deepest.
        """
        holding = (root for root in self.items if root.contains(path))
        return max(holding, key=_rank, default=None)

    def uri_of(self, path: str | os.PathLike[str]) -> str:
        """The URI of a file or folder, which need not exist; links in its last part stay.

        Raises:
            OutsideRootsError: it does not lie beneath a root.
        """
        for candidate in _readings(path):
            root = self.root_of(candidate)
            if root is not None:
                below = quote_path(candidate.relative_to(root.path))
                return root.uri if below == "." else f"{root.uri}/{below}"
        raise OutsideRootsError(
            f"{os.fspath(path)!r} is not beneath the folders that may be read (TAGGER_ROOTS)"
        )

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

    def prefixes(self, path: Path) -> tuple[str, ...]:
        """What the URIs of all images at or beneath ``path`` begin with.

        Each prefix ends with ``/`` and stands for what is beneath it; the first without that
        slash is the URI of ``path`` itself. There are several where named roots lie inside.
        """
        inner = (root.uri for root in self.items if root.name is not None and path in root.path.parents)
        return tuple(dict.fromkeys(f"{uri}/" for uri in (self.uri_of(path), *inner)))

    def _unchecked_path(self, uri: str) -> Path:
        scheme, _, rest = uri.partition("://")
        authority, _, tail = rest.partition("/")
        below = _decoded(uri, tail)
        if scheme == "file" and authority in ("", "localhost"):
            return Path(os.path.normpath("/" + below))
        if scheme == "root":
            return Path(os.path.normpath(self._named(authority).path / below.lstrip("/")))
        raise SourceError("its address is not one of a local file (file:// or root://)")

    def _named(self, name: str) -> Root:
        for root in self.items:
            if root.name == name:
                return root
        raise OutsideRootsError(f"no root is called {name!r} on this machine (TAGGER_ROOTS)")


def quote_path(path: Path | str) -> str:
    """Percent-encode the bytes of a path or name; slashes stay."""
    # Most names need nothing, and a scan asks for each of a million.
    text = os.fspath(path)
    return text if _PLAIN.fullmatch(text) else quote_from_bytes(os.fsencode(text))


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


def root_state(path: str | os.PathLike[str]) -> RootState:
    """Whether a folder or file stands there, and with something in it.

    Hidden entries and those that systems make do not count: a mount point that holds nothing but
    ``lost+found`` or ``.nomedia`` is empty. Reads only as far as the first entry that counts.

    Raises:
        SourceError: the file system behind it does not answer.
    """
    return answer(partial(_state, path), path)


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


def _parse_root(item: str) -> Root:
    named = _NAMED.fullmatch(item)
    name, text = (named["name"], named["path"]) if named else (None, item)
    if not text.strip():
        raise SettingsError(f"a root is empty: {item!r}; give a folder, a file, or NAME=FOLDER")
    if text.startswith("file:///"):
        text = "/" + _decoded(item, text.removeprefix("file:///"))
    elif _SCHEME.match(text):
        raise SettingsError(f"{item!r} is not a folder or file of this machine")
    return Root(resolved(_at_home(item, text), item), name)


def _at_home(item: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SettingsError(f"{item!r} cannot be used as a place: {error}") from error


def _refuse_twice(item: str, root: Root, others: Iterable[Root]) -> None:
    for other in others:
        if root.name is None or other.name is None:
            continue
        # In a URI the authority has no case, and nor has it to some of the programs that read URIs.
        same_name = root.name.lower() == other.name.lower()
        if same_name and root.path != other.path:
            raise SettingsError(f"{item!r}: another root is called {other.name!r}; names may not repeat")
        if root.path == other.path and not same_name:
            raise SettingsError(f"{item!r}: this place is already called {other.name!r}; one name each")


def _decoded(uri: str, tail: str) -> str:
    raw = unquote_to_bytes(tail)
    if b"\0" in raw:
        raise SourceError(f"no file name can hold a NUL byte: {uri!r}")
    return os.fsdecode(raw)


def _readings(path: str | os.PathLike[str]) -> Iterable[Path]:
    """A path as it is written, then with the links of its folder resolved, then wholly resolved."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 -- pathlib has nothing that works out '..' alone
    yield absolute
    yield Path(os.path.realpath(absolute.parent), absolute.name)
    yield Path(os.path.realpath(absolute))
