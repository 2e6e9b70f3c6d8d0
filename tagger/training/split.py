"""Which pictures are learned from, and which only measured with: never one and the same on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Pixels on a side of what pictures are compared by."""
_ALIKE = 8.0
"""Root mean square of the difference, of 255 levels, up to which two are the same picture. 209 photos saved
anew at JPEG quality 30, or at a quarter of their size, were within 6.2; other photos not within 17, and none
of 10,000 pictures of CIFAR-10 within 8."""
_BLOCK = 1024


def alike(pixels: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """A number for each picture, the same for those that are one, saved anew or at another size: int64 [N].

    They are the ``rows`` of ``pixels``, uint8 [M, S, S, 3].
    """
    small = _small(pixels, rows)
    squares = np.einsum("ij,ij->i", small, small)
    group = np.arange(len(small))
    for start in range(0, len(small), _BLOCK):
        some = small[start : start + _BLOCK]
        # |a - b|^2 by a product of matrices, which is what numpy does fastest.
        apart = squares[start : start + _BLOCK, None] + squares[None, :] - 2 * some @ small.T
        near = np.argwhere(apart <= _ALIKE**2 * small.shape[1])
        for one, other in near[near[:, 0] + start < near[:, 1]].tolist():
            _join(group, one + start, other)
    return np.array([_first(group, row) for row in range(len(group))], np.int64)


def _small(pixels: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Grey thumbnails, float32 [N, SIDE * SIDE], each value the mean of its part of the picture."""
    edges = np.linspace(0, pixels.shape[1], SIDE + 1).round().astype(int)[:-1]
    widths = np.diff([*edges, pixels.shape[1]])
    made = np.empty((len(rows), SIDE * SIDE), np.float32)
    for place, row in enumerate(rows):
        grey = pixels[row].mean(axis=2, dtype=np.float32)
        sums = np.add.reduceat(np.add.reduceat(grey, edges, axis=0), edges, axis=1)
        made[place] = (sums / np.outer(widths, widths)).ravel()
    return made


def _first(group: NDArray[np.int64], row: int) -> int:
    while group[row] != row:
        group[row] = group[group[row]]
        row = int(group[row])
    return row


def _join(group: NDArray[np.int64], one: int, other: int) -> None:
    first, second = sorted((_first(group, one), _first(group, other)))
    group[second] = first


def held_out(
    truth: NDArray[np.int8], groups: NDArray[np.int64], share: float, seed: int
) -> NDArray[np.bool_]:
    """Which pictures are kept from learning: bool [N], about ``share`` of those of each label.

    Those of one group go the same way. The rarest label is seen to first, as its pictures are soonest used
    up (Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", 2011); each label has
    a picture on either side if it is in two groups.
    """
    random = np.random.default_rng(seed)
    # By group from here on: how many pictures of each label it has.
    names, index = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), truth.shape[1] + 1), np.int64)
    np.add.at(counts[:, :-1], index, truth == 1)
    # Pictures of none of the labels are shared out like a label of their own.
    np.add.at(counts[:, -1], index, ~(truth == 1).any(axis=1))
    out = np.zeros(len(names), np.bool_)
    settled = np.zeros(len(names), np.bool_)
    for label in np.argsort(counts.sum(axis=0), kind="stable"):
        _share_out(counts[:, label], share, out, settled, random)
    return out[index]


def _share_out(
    counts: NDArray[np.int64],
    share: float,
    out: NDArray[np.bool_],
    settled: NDArray[np.bool_],
    random: np.random.Generator,
) -> None:
    """Settle the groups that have a label: ``counts`` pictures of it each."""
    free = random.permutation(np.flatnonzero((counts > 0) & ~settled))
    wanted = max(1, round(share * counts.sum()))
    has, learned = int(counts[out].sum()), bool((settled & ~out & (counts > 0)).any())
    for position, group in enumerate(free):
        is_last = position == len(free) - 1
        out[group] = has < wanted and (learned or not is_last)
        learned = learned or not out[group]
        has += int(counts[group]) if out[group] else 0
    settled[free] = True
