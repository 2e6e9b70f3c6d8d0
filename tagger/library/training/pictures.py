"""Many pictures as one array, loaded by the same processes that load for tagging."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from tagger.errors import TrainingError
from tagger.loading import Found
from tagger.sources import Roots
from tagger.supervision import Loaders, Setup
from tagger.values import ImageRef, Limits, LoadedImage, LoadFailure, Preprocessing


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """``pixels`` are uint8 [N, S, S, 3], in a file without a name; ``digests`` are by row, of what could be
    loaded. The rows of ``failures`` are black."""

    pixels: NDArray[np.uint8]
    digests: Mapping[int, bytes]
    failures: Mapping[int, LoadFailure]


class _Gathered:
    """A client that wants everything, and keeps what came in a queue."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[tuple[ImageRef, Found | BaseException]] = SimpleQueue()

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        return [True] * len(found)

    def done(self, ref: ImageRef, result: Found) -> None:
        self.queue.put((ref, result))

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.queue.put((ref, fault))


def load(
    uris: Sequence[str],
    roots: Roots,
    preprocessing: Preprocessing,
    limits: Limits,
    processes: int,
    file: Path,
    advanced: Callable[[int], None],
) -> Pictures:
    """Load images, each as the square of ``preprocessing.resize`` pixels in its middle, into ``file``.

    Raises:
        TrainingError: the disk has no room for them.
        LoadingError: the processes cannot be started.
    """
    side = preprocessing.resize
    _require_room(file, len(uris) * side * side * 3)
    pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(len(uris), side, side, 3))
    file.unlink()  # it is there for as long as the array is, and no longer, whatever ends this process
    setup = Setup(roots=roots, limits=limits, preprocessing=replace(preprocessing, crop=side))
    digests: dict[int, bytes] = {}
    failures: dict[int, LoadFailure] = {}
    client, begun = _Gathered(), 0
    with Loaders(setup, processes, on_death=lambda ref: None) as loaders:
        while len(digests) + len(failures) < len(uris):
            free = loaders.room - (begun - len(digests) - len(failures))
            if begun < len(uris) and free >= loaders.room // 2:
                some = [ImageRef(row, uris[row]) for row in range(begun, min(begun + free, len(uris)))]
                loaders.submit(some, client)
                begun += len(some)
            ref, result = client.queue.get()
            if isinstance(result, BaseException):
                raise result
            if isinstance(result, LoadFailure):
                failures[ref.image_id] = result
            else:
                assert isinstance(result, LoadedImage)  # nobody asked for anything else
                pixels[ref.image_id] = result.pixels
                digests[ref.image_id] = result.digest
            advanced(len(digests) + len(failures))
    # In the order of the rows, whatever came first: all that follows is to be the same each time.
    return Pictures(pixels, dict(sorted(digests.items())), dict(sorted(failures.items())))


def _require_room(file: Path, needed: int) -> None:
    free = shutil.disk_usage(file.parent).free
    if needed > 0.9 * free:
        raise TrainingError(
            f"the pictures take {needed / 1e9:.1f} GB while they are learned from, and {file.parent} has "
            f"{free / 1e9:.1f} GB left: set TAGGER_CACHE_DIR to a disk with more room"
        )
