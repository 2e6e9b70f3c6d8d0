"""Images in stores that fsspec opens: S3 and what speaks like it, Azure, Google, FTP, SFTP and others.

fsspec and the package of a protocol are imported when a root first needs them. Credentials and
endpoints are the protocol's library's own affair (for S3 ``AWS_...``), or fsspec's
(``FSSPEC_S3_...``): from the environment, never from an address. What a store says of a name is
believed; links within an FTP or SFTP server are the server's to judge.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tagger.errors import SettingsError
from tagger.sources.addresses import Address, shown
from tagger.sources.faults import RefusedError, changing, empty, too_large
from tagger.values import OutcomeKind

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# They lead to other places than the one that they name, or are this machine itself.
_NO_SERVERS = {"file", "local", "asynclocal", "data", "dir", "git", "dask", "generic"}
_NO_SERVERS |= {"zip", "tar", "libarchive", "reference", "lazyreference", "chained"}
_NO_SERVERS |= {"cached", "blockcache", "filecache", "simplecache", "asyncwrapper", "async_wrapper"}
_PACKAGES = {"s3": "tagger[s3]"}
_CHANGED = ("LastModified", "last_modified", "mtime", "updated", "modified", "modify")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """What a store knows of a name: ``size`` in bytes, ``mtime_ns`` in whole seconds as ns since 1970.

    ``names`` are the parts of its name below what was asked about; ``folder`` has no bytes, and
    ``other`` is neither folder nor file.
    """

    names: tuple[str, ...]
    size: int | None
    mtime_ns: int | None
    folder: bool = False
    other: bool = False


def require(scheme: str) -> None:
    """Make sure that a protocol can be used here, without importing more than must be.

    Raises:
        SettingsError: it is unknown, or its package is not installed; it says what to install.
    """
    from fsspec import get_filesystem_class
    from fsspec.registry import known_implementations, registry

    if scheme in _NO_SERVERS or (scheme not in known_implementations and scheme not in registry):
        raise SettingsError(f"{shown(scheme)}:// is no protocol of a server that fsspec knows")
    known = known_implementations.get(scheme, {"class": "fsspec"})
    package = str(known["class"]).partition(".")[0]
    if package != "fsspec":  # a package of its own, slow to import: it is enough that it is there
        if find_spec(package) is None:
            raise SettingsError(_uninstalled(scheme, package))
        return
    try:
        get_filesystem_class(scheme)
    except ImportError as error:
        raise SettingsError(f"{scheme}:// cannot be used here: {error}") from error


def prepare(scheme: str) -> None:
    """Import what a protocol needs, so that it is not done in the midst of work."""
    import fsspec.asyn
    from fsspec import get_filesystem_class

    if get_filesystem_class(scheme).async_impl:
        fsspec.asyn.get_loop()


def fetch(
    address: Address, size: int | None, max_bytes: int, admit: Callable[[int], None]
) -> tuple[bytes, int | None]:
    """The bytes of an object, and when it was last changed; ``admit`` is told their number before.

    ``size`` is what it was when last seen: if it still is, the store is asked once instead of twice,
    and the time is None. Where the store tells no size, ``admit`` is told the limit.

    Raises:
        RefusedError: there are none.
    """
    try:
        store, path = _opened(address)
        entry = Entry((), size, None) if size and size <= max_bytes else _entry(store.info(path), ())
        for _ in range(_TRIES):
            data = _bytes(store, path, entry, max_bytes, admit)
            if data is not None:
                return data, entry.mtime_ns
            entry = _entry(store.info(path), ())
    except (RefusedError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        raise fault(error, address) from error
    raise changing()


def about(address: Address) -> Entry:
    """What a store knows of one name.

    Raises:
        RefusedError: nothing, or it does not say.
    """
    try:
        store, path = _opened(address)
        return _entry(store.info(path), ())
    except RefusedError:
        raise
    except Exception as error:
        raise fault(error, address) from error


def listing(address: Address) -> Iterator[Entry]:
    """All directly in the folder at ``address``; on S3 all beneath, page by page, and no folders.

    Raises:
        RefusedError: it cannot be listed, or not to its end.
    """
    try:
        store, path = _opened(address)
        if address.scheme == "s3":
            yield from _s3_objects(store, address)
            return
        for facts in store.ls(path, detail=True):
            name = str(facts["name"]).rstrip("/")
            if name.strip("/") != path.strip("/"):  # some list the folder itself within
                yield _entry(facts, (name.rpartition("/")[2],))
    except RefusedError:
        raise
    except Exception as error:
        raise fault(error, address) from error


def fault(error: Exception, address: Address) -> RefusedError:
    """What an error of a protocol's library means."""
    server = address.server
    match error:
        case FileNotFoundError():
            return RefusedError(OutcomeKind.MISSING, f"{server} has no such file")
        case PermissionError():
            return RefusedError(OutcomeKind.DENIED, f"{server} does not let us read it")
        case IsADirectoryError():
            return _folder()
        case TimeoutError():
            return RefusedError(OutcomeKind.UNREADABLE, f"{server} did not answer in time")
        case ImportError():
            return RefusedError(
                OutcomeKind.UNREADABLE, _uninstalled(address.scheme, error.name or "its package")
            )
    if "Credentials" in type(error).__name__:
        reason = f"there are no credentials for {server}: set them in this process's environment"
        return RefusedError(OutcomeKind.DENIED, reason)
    cause = shown(str(error)) or type(error).__name__
    return RefusedError(OutcomeKind.UNREADABLE, f"{server} cannot be read: {cause}")


def _opened(address: Address) -> tuple[AbstractFileSystem, str]:
    """The store, and the name in the form that it goes by there."""
    store = _store(address.scheme, address.authority, os.getpid())
    path = str(store._strip_protocol(f"{address.server}/{address.key}"))
    if not path.endswith(address.key):
        # Some cut names at ? and #, and would read another file.
        reason = f"a name that cannot be said in {address.scheme}://"
        raise RefusedError(OutcomeKind.UNREADABLE, reason)
    return store, path


@lru_cache(maxsize=16)
def _store(scheme: str, authority: str, _process: int) -> AbstractFileSystem:
    """One for each server and process: a connection does not outlive a fork."""
    from fsspec import get_filesystem_class

    kind = get_filesystem_class(scheme)
    options = kind._get_kwargs_from_urls(f"{scheme}://{authority}")
    # A listing that was kept would hide what has changed since.
    made: AbstractFileSystem = kind(use_listings_cache=False, skip_instance_cache=True, **options)
    if scheme == "s3":
        # botocore's five attempts within each of s3fs's five wait for a silent server for six minutes.
        made.retries = _TRIES
        made.config_kwargs.setdefault("retries", {"total_max_attempts": 1})
    return made


def _bytes(
    store: AbstractFileSystem, path: str, entry: Entry, max_bytes: int, admit: Callable[[int], None]
) -> bytes | None:
    """All bytes of a file; None when there are more or fewer than it said to have."""
    if entry.folder:
        raise _folder()
    if entry.size == 0:
        raise empty()
    if entry.size is not None and entry.size > max_bytes:
        raise too_large(entry.size, max_bytes)
    most = max_bytes if entry.size is None else entry.size
    admit(most)
    # One byte more shows that it has grown, and however far it has, no more is held.
    data: bytes = store.cat_file(path, start=0, end=most + 1)
    if entry.size is None and len(data) > max_bytes:
        raise too_large(None, max_bytes)
    return data if entry.size in (None, len(data)) else None


def _s3_objects(store: AbstractFileSystem, folder: Address) -> Iterator[Entry]:
    """A thousand names at a time, however many a folder has; fsspec's own listing holds them all."""
    prefix = f"{folder.key}/" if folder.parts else ""
    where: dict[str, str] = {"Bucket": folder.authority, "Prefix": prefix}
    while True:
        page: Mapping[str, Any] = store.call_s3("list_objects_v2", **where)
        for facts in page.get("Contents", ()):
            name = str(facts["Key"])[len(prefix) :]
            if name and not name.endswith("/"):  # else what some programs leave for a folder
                yield Entry(tuple(name.split("/")), int(facts["Size"]), _changed_at(facts))
        if not page.get("IsTruncated"):
            return
        where["ContinuationToken"] = str(page["NextContinuationToken"])


def _entry(facts: Mapping[str, Any], names: tuple[str, ...]) -> Entry:
    size, kind = facts.get("size"), facts.get("type")
    return Entry(
        names,
        size if isinstance(size, int) else None,
        _changed_at(facts),
        folder=kind == "directory",
        other=kind not in ("directory", "file"),
    )


def _changed_at(facts: Mapping[str, Any]) -> int | None:
    """When it was last changed. In whole seconds: S3 tells less of an object than of a list of them."""
    told = next((facts[word] for word in _CHANGED if facts.get(word)), None)
    if told is None:
        return None
    try:
        moment = datetime.fromisoformat(told) if isinstance(told, str) else told
        return int(moment.timestamp() if isinstance(moment, datetime) else float(moment)) * 10**9
    except (ValueError, TypeError, OverflowError):
        return None


def _folder() -> RefusedError:
    return RefusedError(OutcomeKind.UNSUPPORTED, "a folder, not a file of its own")


def _uninstalled(scheme: str, package: str) -> str:
    return (
        f"{scheme}:// needs a package that is not installed: pip install '{_PACKAGES.get(scheme, package)}'"
    )
