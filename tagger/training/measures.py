"""What a trained model is worth: numbers over pictures that it never learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tagger.models.spec import Activation
from tagger.training import calibration
from tagger.training.calibration import Bin

COUNTS: Final = 0.5
"""From this confidence on a label counts here, where a picture may have several."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with the interval in which the true share lies with 95 % (Wilson, 1927)."""

    of: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelMeasure:
    """Of the pictures that are called so, how many are (``precision``); of those that are, how many are
    called so (``recall``); None where that cannot be told. ``pictures`` are those that are."""

    label: str
    pictures: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidences are off on average (0-1), the log-loss in nats, and the curve behind it."""

    error: float
    low: float
    high: float
    log_loss: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A picture by its row, what it was called and how surely, and what it is."""

    row: int
    said: str
    confidence: float
    truth: str


@dataclass(frozen=True, slots=True)
class Measures:
    """All of it. ``right`` is the share of pictures named right; with several labels to a picture, that of
    pictures with no label too few or too many. ``confusion`` is int [C, C], truth by row; None with many."""

    right: Share
    labels: tuple[LabelMeasure, ...]
    before: Calibration
    after: Calibration
    confusion: NDArray[np.int64] | None
    mistakes: tuple[Mistake, ...]


def measure(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    truth: NDArray[np.int8],
    names: tuple[str, ...],
    kind: Activation,
) -> Measures:
    """By confidences ``before`` and ``after`` calibration and the ``truth``: all [N, C]."""
    said = _said(after, kind)
    told = truth >= 0
    is_right = ((said == (truth == 1)) | ~told).all(axis=1)
    return Measures(
        right=_share(int(is_right.sum()), len(is_right)),
        labels=tuple(_label(name, said[:, c], truth[:, c]) for c, name in enumerate(names)),
        before=_calibration(before, truth, kind),
        after=_calibration(after, truth, kind),
        confusion=_confusion(after, truth) if kind == "softmax" else None,
        mistakes=mistakes(after, truth, names, kind),
    )


def judged(
    sure: NDArray[np.float64], truth: NDArray[np.int8], kind: Activation
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidences and whether they were right: of each picture's first label, or of every label of which
    somebody has said something."""
    if kind == "softmax":
        return sure.max(axis=1), sure.argmax(axis=1) == truth.argmax(axis=1)
    told = truth >= 0
    return sure[told], truth[told] == 1


def _said(sure: NDArray[np.float64], kind: Activation) -> NDArray[np.bool_]:
    if kind == "sigmoid":
        return sure >= COUNTS
    called = np.zeros(sure.shape, np.bool_)
    called[np.arange(len(sure)), sure.argmax(axis=1)] = True
    return called


def _share(right: int, of: int) -> Share:
    if not of:
        return Share(0, 0.0, 0.0, 1.0)
    z, p = 1.96, right / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    reach = z * ((p * (1 - p) / of + z * z / (4 * of * of)) ** 0.5) / (1 + z * z / of)
    return Share(of, p, max(0.0, middle - reach), min(1.0, middle + reach))


def _label(name: str, said: NDArray[np.bool_], truth: NDArray[np.int8]) -> LabelMeasure:
    called, are = int((said & (truth >= 0)).sum()), int((truth == 1).sum())
    both = int((said & (truth == 1)).sum())
    # Where nobody has said of any picture that it is not so, none can be called so wrongly.
    is_known = bool((truth == 0).any())
    return LabelMeasure(
        name, are, both / called if called and is_known else None, both / are if are else None
    )


def _calibration(sure: NDArray[np.float64], truth: NDArray[np.int8], kind: Activation) -> Calibration:
    confidence, right = judged(sure, truth, kind)
    if not len(confidence):
        return Calibration(0.0, 0.0, 0.0, 0.0, ())
    low, high = calibration.interval(calibration.calibration_error, confidence, right, rounds=200)
    tiny = np.finfo(float).tiny
    if kind == "softmax":
        losses = -np.log(np.maximum(sure[np.arange(len(truth)), truth.argmax(axis=1)], tiny))
    else:
        losses = -np.log(np.maximum(np.where(right, confidence, 1 - confidence), tiny))
    return Calibration(
        calibration.calibration_error(confidence, right),
        low,
        high,
        float(losses.mean()),
        calibration.reliability(confidence, right),
    )


def _confusion(sure: NDArray[np.float64], truth: NDArray[np.int8]) -> NDArray[np.int64]:
    counts = np.zeros((truth.shape[1],) * 2, np.int64)
    np.add.at(counts, (truth.argmax(axis=1), sure.argmax(axis=1)), 1)
    return counts


def mistakes(
    sure: NDArray[np.float64], truth: NDArray[np.int8], names: tuple[str, ...], kind: Activation
) -> tuple[Mistake, ...]:
    """What was called wrongly, the surest first; a picture once."""
    wrong = np.where(_said(sure, kind) & (truth == 0), sure, 0.0)
    called = wrong.argmax(axis=1)
    rows = [row for row in np.argsort(-wrong.max(axis=1), kind="stable") if wrong[row, called[row]] > 0]
    return tuple(
        Mistake(int(row), names[called[row]], float(wrong[row, called[row]]), _words(truth[row], names))
        for row in rows
    )


def _words(truth: NDArray[np.int8], names: tuple[str, ...]) -> str:
    return ", ".join(names[column] for column in np.flatnonzero(truth == 1)) or "none of them"
