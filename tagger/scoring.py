"""Probabilities to tags with confidence, and to the classifier's own top classes, a batch at a time.

Apart from the taxonomy, which is asked for words by commands that have nothing to do with arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tagger.taxonomy import Taxonomy
from tagger.values import LabelScore, TagScore

# 2**-40 is far below what a probability means and far above double precision's grain: sums of up
# to 8,000 numbers on this grid are exact, whatever the order in which they are added up. So an
# ancestor is never a hair below its descendant, and every machine gives the same tags.
_GRID = float(2**40)


def membership(taxonomy: Taxonomy, label_keys: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Which labels lie under which tags: bool [C, T], in the order of the labels and tags.

    ``label_keys`` are a model's own classes in its own order; left out, the taxonomy's. Raises
    :class:`TaxonomyError` for a class that no tag stands for, or that comes twice.
    """
    columns = taxonomy.columns(label_keys)
    member = np.zeros((len(columns), len(taxonomy.tags)), dtype=np.bool_)
    for row, places in enumerate(columns):
        member[row, places] = True
    return member


class TagScorer:
    """Turns a batch of a model's probabilities into tags, ancestors included.

    For a softmax head a tag's confidence is the sum over the *set* of classes under it: an
    uncertain breed still makes a certain dog, and a class that leads to a tag by two ways counts
    once. For sigmoid heads, whose classes do not exclude each other, it is the maximum. What is
    below ``floor`` (0-1) is dropped.

    ``label_keys`` are the model's classes in its own order. Raises :class:`TaxonomyError` when one
    of them is in no tag.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        label_keys: Sequence[str],
        floor: float,
        kind: Literal["softmax", "sigmoid"],
    ) -> None:
        member = membership(taxonomy, label_keys)
        known = np.flatnonzero(member.any(axis=0))  # the others have no class of this model
        self._tags = tuple(taxonomy.tags[i].name for i in known)
        # Columns by name: a stable sort by confidence then leaves ties in the order of names.
        order = sorted(range(len(known)), key=lambda i: self._tags[i])
        self._tags = tuple(self._tags[i] for i in order)
        member = member[:, known[order]]
        self._floor = floor
        classes = _Classes(member)
        self._combine = classes.total if kind == "softmax" else classes.highest

    def __call__(self, probabilities: NDArray[np.float32]) -> list[tuple[TagScore, ...]]:
        """The tags of each image at or above the floor, highest first, then by name.

        ``probabilities`` is float32 [B, C] in the order of the label keys; confidence is computed
        in double precision and never above 1.
        """
        confidence = self._combine(probabilities)
        return [self._above_floor(row) for row in confidence]

    def _above_floor(self, row: NDArray[np.float64]) -> tuple[TagScore, ...]:
        kept = _highest_first(row, np.flatnonzero(row >= self._floor))
        return tuple(map(TagScore, (self._tags[i] for i in kept.tolist()), row[kept].tolist()))


class _Classes:
    """The classes under each tag, laid end to end: there are 3 or 4 a tag, of a thousand."""

    def __init__(self, member: NDArray[np.bool_]) -> None:
        self._classes = np.nonzero(member.T)[1]
        sizes = member.sum(axis=0)
        self._starts = np.cumsum(sizes) - sizes

    def total(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """The sum of the classes under each tag, at most 1: float32 [B, C] to float64 [B, T]."""
        on_grid = np.rint(probabilities.astype(np.float64) * _GRID)
        return np.minimum(np.add.reduceat(on_grid[:, self._classes], self._starts, axis=1) / _GRID, 1.0)

    def highest(self, probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
        """The highest class under each tag: float32 [B, C] to float64 [B, T]."""
        found = np.maximum.reduceat(probabilities[:, self._classes], self._starts, axis=1)
        return np.minimum(found.astype(np.float64), 1.0)


def top_labels(
    probabilities: NDArray[np.float32], floor: float, at_least: int = 5
) -> list[tuple[LabelScore, ...]]:
    """The classifier's own top classes for each image of a float32 [B, C] batch, highest first.

    All at or above ``floor`` (0-1), and ``at_least`` so many however low; ties by class index.
    """
    at_least = min(at_least, probabilities.shape[1])
    # What the last of them has at least, without sorting a thousand classes.
    least = np.minimum(np.partition(probabilities, -at_least, axis=1)[:, -at_least], floor)
    counts = np.maximum((probabilities >= floor).sum(axis=1), at_least).tolist()
    rows = zip(probabilities, least, counts, strict=True)
    return [_labels(row, _highest_first(row, np.flatnonzero(row >= low))[:count]) for row, low, count in rows]


def _labels(row: NDArray[np.float32], classes: NDArray[np.intp]) -> tuple[LabelScore, ...]:
    return tuple(map(LabelScore, classes.tolist(), row[classes].tolist()))


def _highest_first(row: NDArray[np.floating], which: NDArray[np.intp]) -> NDArray[np.intp]:
    """These positions in a row of numbers by what stands there, the highest first; ties as they came."""
    return which[np.argsort(-row[which], kind="stable")]
