"""What is still there of a broken picture.

A decoder that fails has often filled a part of the picture already. The rest is of one colour,
black or the grey that JPEG's missing blocks become, so the rows that hold something can be
counted, whatever the format.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL.Image import Image as Picture

# How many pixels are looked at in one step; bounds the copy that a step makes.
_STEP = 1_000_000
_ORDERED = frozenset({"I;16B", "I;16L", "I;16N"})


@dataclass(frozen=True, slots=True)
class Damage:
    """``cause`` in words. ``kept`` is the share of the stored rows that hold something, 0 to 1;
    they begin at the stored top, or end at the stored bottom if ``from_bottom``. ``coarse``: data that
    are missing took details from all rows."""

    cause: str
    kept: float
    from_bottom: bool = False
    coarse: bool = False


def damage_in(picture: Picture, cause: str, *, from_bottom: bool, coarse: bool) -> Damage:
    """Judge a picture of which the decoder gave a part, in the order of its rows."""
    kept = 1 - _blank_rows(picture, at_top=from_bottom) / picture.height
    return Damage(cause, kept, from_bottom, coarse)


def ends_in_one_colour(picture: Picture) -> bool:
    """Whether the lowest row is of one colour."""
    return _is_one_colour(_row_colours(picture, 0, 1, at_top=False))


def _blank_rows(picture: Picture, *, at_top: bool) -> int:
    """How many rows at one end are of the one colour that the outermost row is."""
    width, height = picture.size
    blank = _row_colours(picture, 0, 1, at_top=at_top)
    if not _is_one_colour(blank):
        return 0
    rows, step = 0, max(1, _STEP // width)
    while step:
        while rows + step <= height and _row_colours(picture, rows, step, at_top=at_top) == blank:
            rows += step
        step //= 2
    return rows


_Extrema = tuple[float, float] | tuple[tuple[int, int], ...]


def _row_colours(picture: Picture, start: int, rows: int, *, at_top: bool) -> _Extrema:
    """Pillow's (least, greatest), for one channel or for each, of rows counted from one end."""
    first = start if at_top else picture.height - start - rows
    part = picture.crop((0, first, picture.width, first + rows))
    # Pillow tells the extrema of 16 bits in the machine's own order of bytes alone.
    return (part.convert("I") if part.mode in _ORDERED else part).getextrema()


def _is_one_colour(extrema: _Extrema) -> bool:
    channels = [pair if isinstance(pair, tuple) else extrema for pair in extrema]
    return all(least == greatest for least, greatest in channels)
