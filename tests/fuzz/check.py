"""What must hold of any bytes: one outcome, of the right shape, for a reason that can be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from tagger.loading import PillowLoader
from tagger.values import FileContent, LoadedImage, LoadFailure, OutcomeKind, Preprocessing
from tests.corpus.reasons import fault_in

PREPROCESSING = Preprocessing(256, 224, "bicubic", (127.0,) * 3, (128.0,) * 3)

_FAILURES = frozenset({OutcomeKind.CORRUPT, OutcomeKind.UNSUPPORTED, OutcomeKind.TOO_LARGE})


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of some bytes. ``fault`` says what is wrong with that, None if nothing is."""

    outcome: str
    format: str
    reason: str | None
    fault: str | None


def check(loader: PillowLoader, data: bytes) -> Checked:
    """Load the bytes as the product does."""
    try:
        result = loader.load(FileContent(7, "file:///fuzz", data, hashlib.sha256(data).digest()))
    except Exception as error:
        return Checked("raised", "none", None, f"{type(error).__name__} out of load")
    name = (result.facts.format if result.facts else None) or "none"
    if isinstance(result, LoadedImage):
        return Checked("loaded", name, result.note, _fault_of_image(result))
    return Checked(result.kind, name, result.reason, _fault_of_failure(result))


def _fault_of_image(result: LoadedImage) -> str | None:
    side = PREPROCESSING.crop
    if result.pixels.shape != (side, side, 3) or result.pixels.dtype != np.uint8:
        return f"pixels of shape {result.pixels.shape} and type {result.pixels.dtype}"
    # The stamp of a RAW says nothing of the RAW's own size.
    stamp = (result.note or "").startswith("shown by its stamp")
    if not stamp and not (result.facts.width and result.facts.height):
        return "a picture without a size"
    return fault_in(result.note) if result.note is not None else None


def _fault_of_failure(result: LoadFailure) -> str | None:
    if result.kind not in _FAILURES:
        return f"{result.kind} is not for a loader to say"
    return fault_in(result.reason)
