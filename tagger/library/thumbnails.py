"""Small pictures for people to look at: made by the processes that load for tagging, kept on disk.

They are filed by content, so that a rename or a copy costs nothing, and a file that has changed gets another.
What is made is a plain JPEG of upright sRGB pixels and nothing else: no EXIF, no place, no preview.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import numpy as np
from PIL import Image

from tagger.errors import SourceError
from tagger.library.pool import Pool
from tagger.library.shelf import Shelf
from tagger.sources import Roots
from tagger.supervision import Setup
from tagger.values import ImageRef, Limits, LoadedImage, LoadFailure, OutcomeKind, Whole

_POLICY = 1
"""To be raised when the same file is to give other bytes: what was kept before is then asked for no more."""
_QUALITY = 80
"""JPEG by libjpeg-turbo takes 0.3 and 5 ms for 18 and 430 kB, measured on one core on the example photos at
320 and 1600 pixels. WebP of quality 75 takes 3 and 71 ms (method 2; 6 and 152 by its default) for 14 and
310 kB: at 1600 pixels longer than decoding a large photo. Progressive and optimised JPEGs are one to six
hundredths smaller and take two to six times as long."""
_FAILED_SECONDS = 60.0
"""A picture that failed is not tried again for so long: a page of broken ones is looked at many times."""
_MOST_FAILURES = 10_000

_CHECK_BYTES = 12
_SIZE = struct.Struct(">HH")


class ThumbnailSize(Enum):
    """The square, by its side in pixels, that a picture is fitted into."""

    SMALL = 320
    """Among many."""
    LARGE = 1600
    """On a page of its own."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture to be sent as it is; ``width`` and ``height`` are in pixels.

    ``etag`` is the same for the same bytes and for no others: a strong validator (RFC 9110, 8.8.3), without
    the quotation marks.
    """

    data: bytes = field(repr=False)
    etag: str
    width: int
    height: int
    media_type: ClassVar[str] = "image/jpeg"


Made = Thumbnail | LoadFailure


class Thumbnails:
    """Thumbnails of the images within ``roots``; thread-safe, and made for many threads at once.

    Args:
        roots: what may be read, links included.
        limits: what one image may cost, as when it is tagged.
        folder: where thumbnails are kept; other processes may keep theirs there too.
        most_bytes: how much of them; none with 0.
        processes: how many small ones are made at one time; of large ones it is one. None is started
            before the first is needed.
    """

    def __init__(self, roots: Roots, limits: Limits, folder: Path, most_bytes: int, processes: int) -> None:
        self._roots = roots
        self._shelf = Shelf(folder, most_bytes)
        numbers = {ThumbnailSize.SMALL: processes, ThumbnailSize.LARGE: 1}
        self._pools = {
            size: Pool(Setup(roots, limits, Whole(size.value)), number) for size, number in numbers.items()
        }
        self._under_way = _UnderWay()
        self._failures = _Failures()

    def get(self, ref: ImageRef, digest: bytes | None, size: ThumbnailSize) -> Made:
        """The thumbnail of an image, or why there is none.

        ``digest`` is the SHA-256 that its file had when it was last read, None if that is not known. What is
        kept for this content is given without a look at the file; else the file is read, and what it shows
        now is given, and kept for the content that it has now. The failures are those of loading
        (:class:`~tagger.supervision.Loaders`); one may be a minute old.

        Raises:
            LoadingError: loading processes cannot be started, or this was closed.
        """
        try:
            self._roots.place_of(ref.uri)  # what is kept is not for everybody either
        except SourceError as fault:
            return LoadFailure(ref.image_id, OutcomeKind.OUTSIDE, str(fault))
        if digest is not None and (kept := self._kept(digest, size)) is not None:
            return kept
        asked = _Asked(ref.uri, digest, size)
        return self._failures.last(asked) or self._under_way.once(asked, lambda: self._made(ref, asked))

    def close(self) -> None:
        """End all processes; who waits for a thumbnail is told so."""
        for pool in self._pools.values():
            pool.close()
        self._shelf.close()

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _kept(self, digest: bytes, size: ThumbnailSize) -> Thumbnail | None:
        filed = self._shelf.get(_name(digest, size))
        return None if filed is None else _unpacked(filed)

    def _made(self, ref: ImageRef, asked: _Asked) -> Made:
        kept: Thumbnail | None = None

        def wanted(digest: bytes) -> bool:
            """Not if it is kept, under a digest that was not known until now."""
            nonlocal kept
            kept = self._kept(digest, asked.size)
            return kept is None

        result = self._pools[asked.size].load(ref, wanted)
        if isinstance(result, LoadFailure):
            self._failures.remember(asked, result)
            return result
        if result is None:
            assert kept is not None  # or it would have been wanted
            return kept
        made = _encoded(result)
        self._shelf.put(_name(result.digest, asked.size), _packed(made))
        return made


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for. An image that has changed, as far as who asks knows, is another."""

    uri: str
    digest: bytes | None
    size: ThumbnailSize


class _UnderWay:
    """What is being made is waited for by all who ask for it meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[_Asked, Future[Made]] = {}

    def once(self, asked: _Asked, make: Callable[[], Made]) -> Made:
        """What ``make`` returns or raises, to whoever asked first."""
        with self._lock:
            theirs = self._made.get(asked)
            if theirs is None:
                mine = self._made[asked] = Future()
        if theirs is not None:
            return theirs.result()
        try:
            mine.set_result(make())
        except BaseException as fault:  # or they would wait for ever
            mine.set_exception(fault)
        finally:
            with self._lock:
                del self._made[asked]
        return mine.result()


class _Failures:
    """What could not be shown a moment ago, the oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[_Asked, tuple[float, LoadFailure]] = {}

    def last(self, asked: _Asked) -> LoadFailure | None:
        """The failure, if it was a moment ago."""
        with self._lock:
            until, failure = self._known.get(asked, (0.0, None))
        return failure if time.monotonic() < until else None

    def remember(self, asked: _Asked, failure: LoadFailure) -> None:
        """Let it be known for a while, or until too many came after it."""
        until = time.monotonic() + _FAILED_SECONDS
        with self._lock:
            self._known.pop(asked, None)  # to be the last, not in its old place
            self._known[asked] = until, failure
            if len(self._known) > _MOST_FAILURES:
                del self._known[next(iter(self._known))]


def _name(digest: bytes, size: ThumbnailSize) -> str:
    return f"{digest.hex()}-{size.value}-{_POLICY}"


def _encoded(image: LoadedImage) -> Thumbnail:
    picture = Image.fromarray(np.asarray(image.pixels))
    file = BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    data = file.getvalue()
    check = _check(_SIZE.pack(*picture.size) + data)
    return Thumbnail(data, check.hex(), *picture.size)


def _packed(thumbnail: Thumbnail) -> bytes:
    """As it is filed: a check of all that follows, which is also the ``etag``; the size; the JPEG."""
    return bytes.fromhex(thumbnail.etag) + _SIZE.pack(thumbnail.width, thumbnail.height) + thumbnail.data


def _unpacked(filed: bytes) -> Thumbnail | None:
    """None if it is not what was filed: cut off by a crash, or spoilt by the disk. It is then made again."""
    check, rest = filed[:_CHECK_BYTES], filed[_CHECK_BYTES:]
    if len(rest) <= _SIZE.size or check != _check(rest):
        return None
    return Thumbnail(rest[_SIZE.size :], check.hex(), *_SIZE.unpack_from(rest))


def _check(filed: bytes) -> bytes:
    return hashlib.blake2b(filed, digest_size=_CHECK_BYTES).digest()
