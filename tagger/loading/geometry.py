"""Which part of a stored picture becomes the network's square, and how large all of it may be shown.

The weights were trained on pictures whose shorter side is resized and whose centre is then cut
out, upright. Both steps are one here: the part of the stored picture that ends up inside the crop
is worked out first, in fractions of its pixels, and only that is resampled. The numbers are those
of torchvision's ``Resize(int)`` and ``CenterCrop``, rounding included.
"""

from __future__ import annotations

import math

from PIL.Image import Transpose

Size = tuple[int, int]
Box = tuple[float, float, float, float]

# What turns stored pixels upright, for each EXIF orientation (EXIF 2.32, tag 0x0112).
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# The same where the sides have been swapped already (``Transpose.TRANSPOSE``).
TURNS_AFTER_SWAP = {
    6: Transpose.FLIP_LEFT_RIGHT,
    7: Transpose.ROTATE_180,
    8: Transpose.FLIP_TOP_BOTTOM,
}
_SWAPS_SIDES = frozenset({5, 6, 7, 8})
_MIRRORS_X = frozenset({2, 3, 7, 8})
_MIRRORS_Y = frozenset({3, 4, 6, 7})

# Where the bottom edge of the stored picture is for somebody who sees it upright.
_BOTTOM = {1: "lower", 2: "lower", 3: "upper", 4: "upper", 5: "right", 6: "left", 7: "left", 8: "right"}
_OPPOSITE = {"lower": "upper", "upper": "lower", "left": "right", "right": "left"}


def swaps_sides(orientation: int) -> bool:
    """Whether width and height change places when the stored picture is turned upright."""
    return orientation in _SWAPS_SIDES


def upright_size(stored: Size, orientation: int) -> Size:
    """Width and height as a person sees them."""
    width, height = stored
    return (height, width) if swaps_sides(orientation) else (width, height)


def missing_side(orientation: int, *, at_top: bool) -> str:
    """Where an edge of the stored picture, the bottom or the top, is for a person."""
    return _OPPOSITE[_BOTTOM[orientation]] if at_top else _BOTTOM[orientation]


def crop_box(stored: Size, orientation: int, resize: int, crop: int) -> Box:
    """The part of the stored picture, (left, upper, right, lower), that becomes the crop."""
    width, height = stored
    box = _upright_box(upright_size(stored, orientation), resize, crop)
    x0, y0, x1, y1 = (box[1], box[0], box[3], box[2]) if orientation in _SWAPS_SIDES else box
    if orientation in _MIRRORS_X:
        x0, x1 = width - x1, width - x0
    if orientation in _MIRRORS_Y:
        y0, y1 = height - y1, height - y0
    # Rounding in the last bit must not leave the picture.
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def fitted(stored: Size, side: int) -> Size:
    """The width and height of the whole picture where it has room in a square of ``side`` pixels: its shape
    is kept, it is never larger than it is stored, and at least a pixel is left of either side."""
    scale = min(1.0, side / max(stored))
    return max(1, round(stored[0] * scale)), max(1, round(stored[1] * scale))


def scaled(box: Box, stored: Size, extent: tuple[float, float]) -> Box:
    """The same part where the stored picture takes up ``extent`` pixels, maybe fractions of them."""
    x, y = extent[0] / stored[0], extent[1] / stored[1]
    return box[0] * x, box[1] * y, min(box[2] * x, extent[0]), min(box[3] * y, extent[1])


def mirrored_axes(orientation: int) -> tuple[bool, bool]:
    """Whether columns, and rows, are stored in the opposite order of what a person sees."""
    return orientation in _MIRRORS_X, orientation in _MIRRORS_Y


def whole_blocks(whole: int, start: float, end: float, block: int, *, mirrored: bool) -> tuple[int, int]:
    """What to take of an axis of ``whole`` pixels, from where to where, to have all from ``start``
    to ``end`` in whole blocks; what remains at the far edge of a picture is left out.

    Blocks are counted from the start, or from the end of an axis that is mirrored, so that both
    have the same.
    """
    if mirrored:
        start, end = whole - end, whole - start
    # Rounding in the last bit must not take in another pixel.
    first, last = max(0, math.floor(round(start, 6))), min(whole, math.ceil(round(end, 6)))
    length = min(-(-(last - first) // block), whole // block) * block
    first = min(first, whole - length)
    return (whole - first - length, whole - first) if mirrored else (first, first + length)


def within(box: Box, part: tuple[int, int, int, int], blocks: Size) -> Box:
    """The box in the coordinates of a part of which blocks became pixels, and no larger than it."""
    left, upper, right, lower = part
    x, y = blocks
    return (
        max((box[0] - left) / x, 0.0),
        max((box[1] - upper) / y, 0.0),
        min(box[2] - left, right - left) / x,
        min(box[3] - upper, lower - upper) / y,
    )


def _upright_box(size: Size, resize: int, crop: int) -> Box:
    width, height = size
    short = min(size)
    resized = int(resize * width / short), int(resize * height / short)
    left, upper = (round((side - crop) / 2) for side in resized)
    x, y = width / resized[0], height / resized[1]
    return left * x, upper * y, (left + crop) * x, (upper + crop) * y
