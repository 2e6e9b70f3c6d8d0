"""Confidences that are right as often as they say: temperature, how far they are off, thresholds from cases.

Numbers in, numbers out; whoever has logits and the truth may ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tagger.engines import confidences
from tagger.models.spec import Activation
from tagger.values import Case

BINS: Final = 10
DRAWN: Final = 20_000
_COLDEST, _HOTTEST = 0.05, 20.0
_GOLDEN: Final = (5**0.5 - 1) / 2
_LIKELY: Final = math.log(2)


def log_loss(logits: NDArray[np.float32], truth: NDArray[np.int8], kind: Activation, t: float) -> float:
    """Mean over pictures (softmax: of what is right) or over all that somebody has said (sigmoid), in nats;
    ``truth`` is int8 [N, C] of 1, 0 and -1 for unknown."""
    scaled = logits.astype(np.float64) / t
    if kind == "sigmoid":
        said = truth >= 0
        losses = np.logaddexp(0, np.where(truth == 1, -scaled, scaled)[said])
    else:
        top = scaled.max(axis=1, keepdims=True)
        own = scaled[np.arange(len(truth)), truth.argmax(axis=1)]
        losses = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0] - own
    return float(losses.mean()) if len(losses) else 0.0


def temperature(logits: NDArray[np.float32], truth: NDArray[np.int8], kind: Activation) -> float:
    """What the logits are best divided by: the temperature of least log-loss.

    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017). Where all pictures are
    named right the least loss would be boundless certainty; so a temperature is taken for likely to be within
    a factor of two of 1, which many pictures overrule and few do not.
    """
    said = len(truth) if kind == "softmax" else int((truth >= 0).sum())
    if said == 0:
        return 1.0

    def loss(t: float) -> float:
        return log_loss(logits, truth, kind, t) + (math.log(t) / _LIKELY) ** 2 / (2 * said)

    return _least(loss)


def cross_fitted(
    logits: NDArray[np.float32], truth: NDArray[np.int8], kind: Activation, seed: int = 0
) -> NDArray[np.float64]:
    """Confidences of pictures by the temperature that the other half of them has: float64 [N, C]."""
    half = np.random.default_rng(seed).permutation(len(logits)) % 2
    found = np.empty(logits.shape, np.float64)
    for fold in (0, 1):
        t = temperature(logits[half != fold], truth[half != fold], kind)
        found[half == fold] = confidences(logits[half == fold], kind, t)
    return found


@dataclass(frozen=True, slots=True)
class Bin:
    """Pictures of about one confidence: how sure the model was, and how often it was right (0-1)."""

    confidence: float
    right: float
    count: int


def reliability(sure: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """``bins`` groups of as many pictures each, from the least sure to the surest."""
    parts = np.array_split(np.argsort(sure, kind="stable"), min(bins, max(len(sure), 1)))
    return tuple(
        Bin(float(sure[part].mean()), float(right[part].mean()), len(part)) for part in parts if len(part)
    )


def calibration_error(sure: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over bins of equal mass: how far, on average, from what is said (0-1)."""
    found = reliability(sure, right, bins)
    total = sum(each.count for each in found)
    return sum(each.count * abs(each.confidence - each.right) for each in found) / total if total else 0.0


def interval(
    measure: Callable[[NDArray[np.float64], NDArray[np.bool_]], float],
    sure: NDArray[np.float64],
    right: NDArray[np.bool_],
    rounds: int = 1000,
) -> tuple[float, float]:
    """Between which values 95 % of what is measured lies when the pictures are drawn anew (bootstrap).

    Of very many, :data:`DRAWN` are drawn: the interval is then wider than it need be.
    """
    random, count = np.random.default_rng(0), min(len(sure), DRAWN)
    drawn = (random.integers(0, len(sure), count) for _ in range(rounds))
    low, high = np.percentile([measure(sure[rows], right[rows]) for rows in drawn], [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Cut:
    """A threshold, and the cases at or above it: how many, and the share of them that is right (0-1)."""

    threshold: float
    above: int
    precision: float


def lowest_threshold(cases: Sequence[Case], precision: float, least_above: int) -> Cut | None:
    """The lowest threshold at which so many cases are right, with ``least_above`` cases at least; if any."""
    surest = sorted(cases, key=lambda case: -case.confidence)
    best: Cut | None = None
    right = 0
    for above, case in enumerate(surest, start=1):
        right += case.right
        is_step = above == len(surest) or surest[above].confidence < case.confidence
        if is_step and above >= least_above and right / above >= precision:
            best = Cut(_between(surest, above), above, right / above)
    return best


def _between(surest: Sequence[Case], above: int) -> float:
    """Half way to the next case, so that what lies between is not decided by a hair. Below the last one
    nobody has said anything: no further than that."""
    here = surest[above - 1].confidence
    if above == len(surest):
        return here
    below = surest[above].confidence
    rounded = round((here + below) / 2, 3)
    return rounded if below < rounded <= here else here


def _least(loss: Callable[[float], float]) -> float:
    """Where a loss with one valley is least, by golden sections of the temperature's logarithm."""
    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    for _ in range(40):
        inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(float(np.exp(inner))) <= loss(float(np.exp(outer))):
            high = outer
        else:
            low = inner
    return round(float(np.exp((low + high) / 2)), 3)
