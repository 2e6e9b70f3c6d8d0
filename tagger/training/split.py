"""Which pictures are learned from, and which only measured with: never one and the same on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Pixels on a side of what pictures are compared by."""
_ALIKE = 0.15
_LEAST, _MOST = 0.5, 8.0
"""By so much of its contrast another may differ from a picture that it is the same as, at least by half a
level of 255 and at most by eight (root mean square). Of 209 photos saved anew all were found again at JPEG
quality 30 or half their size, 88 % at a quarter; none of them, of 10,000 pictures of CIFAR-10 and of 60 pages
of text was taken for another."""
_BLOCK = 2**24
"""Pairs that are compared at one time."""


def alike(pixels: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.int64]:
    """A number for each picture, the same for those that are one, saved anew or at another size: int64 [N].

    They are the ``rows`` of ``pixels``, uint8 [M, S, S, 3]. All of one number are like the first of them.
    """
    small = _small(pixels, rows)
    squares = np.einsum("ij,ij->i", small, small)
    may = (np.clip(_ALIKE * _contrast(small), _LEAST, _MOST) ** 2 * small.shape[1]).astype(np.float32)
    group = np.arange(len(small))
    step = max(1, _BLOCK // max(len(small), 1))
    for start in range(0, len(small), step):
        some = slice(start, start + step)
        # |a - b|^2 by a product of matrices, which is what numpy does fastest.
        apart = squares[some, None] + squares[None, :] - 2 * small[some] @ small.T
        near = apart <= np.minimum(may[some, None], may[None, :])
        near &= np.arange(len(small)) < np.arange(len(small))[some, None]
        for row in np.flatnonzero(near.any(axis=1)):
            firsts = np.flatnonzero(near[row])
            firsts = firsts[group[firsts] == firsts]
            if len(firsts):
                group[start + row] = firsts[0]
    return group.astype(np.int64)


def _small(pixels: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Thumbnails, float32 [N, 3 * SIDE * SIDE], each value the mean of its part of the picture."""
    edges = np.linspace(0, pixels.shape[1], SIDE + 1).round().astype(int)[:-1]
    widths = np.diff([*edges, pixels.shape[1]])
    made = np.empty((len(rows), 3 * SIDE * SIDE), np.float32)
    for place, row in enumerate(rows):
        sums = np.add.reduceat(np.add.reduceat(pixels[row].astype(np.float32), edges, axis=0), edges, axis=1)
        made[place] = (sums / np.outer(widths, widths)[:, :, None]).ravel()
    return made


def _contrast(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """The standard deviation of each thumbnail around its colours' means: float32 [N]."""
    colours = small.reshape(len(small), -1, 3)
    found: NDArray[np.float32] = (colours - colours.mean(axis=1, keepdims=True)).std(axis=(1, 2))
    return found


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
