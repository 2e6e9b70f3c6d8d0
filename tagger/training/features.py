"""What a trained network sees in pictures, found once by the engine: the new labels are learned from that.

Views of all pictures are gone through in one order, and what is found is written into a file as it comes,
so that an interruption costs a batch.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tagger.engines import Engine, Prediction
from tagger.training import augment
from tagger.training.augment import Kind
from tagger.values import Batch

_SHARE = 64
"""Pictures that are varied together, and noted as done together."""


@dataclass(frozen=True, slots=True)
class Views:
    """``number`` views of each picture: the first as it is, the others varied by ``kind``; ``seed`` and the
    place of a picture decide how."""

    number: int
    kind: Kind
    crop: int
    seed: int

    def make(self, pixels: NDArray[np.uint8], view: int, start: int) -> NDArray[np.uint8]:
        """Those of some pictures, the first at ``start``: uint8 [B, S, S, 3] to [B, crop, crop, 3]."""
        tensors = torch.from_numpy(np.ascontiguousarray(pixels))
        if view == 0:
            return augment.middle(tensors, self.crop).numpy()
        random = augment.source(self.seed, view, start)
        return augment.varied(tensors, self.crop, self.kind, random).numpy()


def find(
    engine: Engine,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.intp],
    views: Views,
    width: int,
    folder: Path,
    advanced: Callable[[int], None],
) -> NDArray[np.float16]:
    """Features of all views of the pictures in ``rows`` of ``pixels``: float16 [views.number, N, width].

    Found so far is what ``folder`` has of an earlier call with the same arguments. ``advanced`` is told how
    many are done.

    Raises :class:`EngineError`, and OSError when the folder cannot be written.
    """
    shape = (views.number, len(rows), width)
    found, done_file = _file(folder, shape), folder / "features.done"
    starts = [(view, start) for view in range(views.number) for start in range(0, len(rows), _SHARE)]
    done = _done(done_file)
    for number, (view, start) in enumerate(starts[done:], start=done + 1):
        some = views.make(pixels[rows[start : start + _SHARE]], view, start)
        found[view, start : start + len(some)] = np.concatenate(list(_through(engine, some)))
        if number % 8 == 0 or number == len(starts):
            found.flush()
            unfinished = done_file.with_suffix(".unfinished")
            unfinished.write_text(str(number))
            os.replace(unfinished, done_file)  # noqa: PTH105 -- atomically, whatever was there
        advanced(view * len(rows) + start + len(some))
    return found


def logits(
    engine: Engine, pixels: NDArray[np.uint8], rows: NDArray[np.intp], crop: int
) -> NDArray[np.float32]:
    """What a network says of pictures as they are: those ``rows`` of uint8 [M, S, S, 3] to float32 [N, C]."""
    views = Views(1, "none", crop, 0)
    parts = [
        prediction.logits
        for start in range(0, len(rows), _SHARE)
        for prediction in _predicted(engine, views.make(pixels[rows[start : start + _SHARE]], 0, start))
    ]
    return np.concatenate(parts)


def _through(engine: Engine, pixels: NDArray[np.uint8]) -> Iterator[NDArray[np.float16]]:
    for prediction in _predicted(engine, pixels):
        yield prediction.features


def _predicted(engine: Engine, pixels: NDArray[np.uint8]) -> Iterator[Prediction]:
    """In the order of the pictures, with as many batches under way as the engine likes."""
    longest, flying = engine.batch_sizes[-1], deque[Future[Prediction]]()
    for start in range(0, len(pixels), longest):
        if len(flying) == engine.depth:
            yield flying.popleft().result()
        some = pixels[start : start + longest]
        flying.append(engine.submit(Batch(tuple(range(len(some))), some)))
    while flying:
        yield flying.popleft().result()


def _done(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _file(folder: Path, shape: tuple[int, int, int]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    path = folder / "features.npy"
    try:
        # To be read first: to be written, one that was cut short would be filled up with zeros.
        kept = np.lib.format.open_memmap(path, mode="r")
        if kept.shape == shape and kept.dtype == np.float16:
            return np.lib.format.open_memmap(path, mode="r+")
    except (OSError, ValueError):
        pass
    (folder / "features.done").unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
