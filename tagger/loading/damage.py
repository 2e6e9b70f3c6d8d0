"""What is still there of a broken picture.

A decoder that fails has often filled the upper part of the picture already. The rest is of one
colour, black or the grey that JPEG's missing blocks become, so the rows that hold something can be
counted, whatever the format.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image as Picture

# How many pixels are looked at in one step; bounds the copy that a step makes.
_STEP = 1_000_000


@dataclass(frozen=True, slots=True)
class Damage:
    """``cause`` in words; ``kept`` is the share of the stored rows that hold something, 0 to 1."""

    cause: str
    kept: float


def kept_rows(image: Picture) -> int:
    """How many rows, counted from the stored top, lie above the blank ones at the bottom."""
    width, height = image.size
    blank = image.crop((0, height - 1, width, height)).getextrema()
    if not _is_one_colour(blank):
        return height
    row, step = height, max(1, _STEP // width)
    while step:
        while row >= step and image.crop((0, row - step, width, row)).getextrema() == blank:
            row -= step
        step //= 2
    return row


def _is_one_colour(extrema: tuple[float, float] | tuple[tuple[int, int], ...]) -> bool:
    """Whether Pillow's (least, greatest), for one channel or for each, leave one value."""
    channels = [pair if isinstance(pair, tuple) else extrema for pair in extrema]
    return all(least == greatest for least, greatest in channels)
