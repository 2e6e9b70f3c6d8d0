"""JPEGs decoded whole, by the same library that Pillow decodes them with.

Pillow feeds libjpeg-turbo by pieces of 64 kilobytes and fetches row by row; simplejpeg hands it the whole
file at once, which spares a twentieth of decoding. Its pixels are taken for a picture of Pillow's without a
copy, by a way into Pillow that may change: once in a process it has to show that the picture is Pillow's own,
and is left alone otherwise. It is left alone too where it is not installed, and with all that it says the
least word against: what a damaged file is worth is told by Pillow's errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, _imaging
from PIL.Image import Image as Picture
from PIL.ImageFile import ImageFile

_FORMATS = frozenset({"JPEG", "MPO"})
_PART = (3, 4, 30, 20)
_Decode = Callable[[memoryview, tuple[int, int]], Picture | None]


def decoded(image: ImageFile, data: bytes) -> Picture | None:
    """The picture that ``image`` would load from ``data``, at the scale that it was shrunk to, in mode RGB.

    None for what Pillow is to load: all but sound JPEGs in three colours. Thread-safe.
    """
    if image.format not in _FORMATS or image.mode != "RGB":
        return None
    decode = _fast()
    start = getattr(image, "offset", 0)  # of this picture, where a file holds several
    return decode(memoryview(data)[start:], image.size) if decode else None


def works() -> bool:
    """Whether anything is decoded this way here."""
    return _fast() is not None


@cache
def _fast() -> _Decode | None:
    try:
        fast = _by_simplejpeg()
        return fast if _agrees(fast) else None
    except Exception:  # whatever a library does that does not fit to this Pillow
        return None


def _by_simplejpeg() -> _Decode:
    """Raises ImportError where it is not installed."""
    from simplejpeg import decode_jpeg

    def fast(data: memoryview, size: tuple[int, int]) -> Picture | None:
        width, height = size
        try:
            pixels: Any = decode_jpeg(data, "RGBX", min_height=height, min_width=width, strict=True)
        except ValueError:
            return None
        if pixels.shape != (height, width, 4):
            return None
        # Pillow itself has four bytes for each pixel of mode RGB.
        return Image.new("RGB", (0, 0))._new(_imaging.map_buffer(pixels, size, "raw", 0, ("RGB", 0, 1)))

    return fast


def _agrees(fast: _Decode) -> bool:
    """Whether it gives what Pillow gives of a small photo, whole and scaled, and that can be worked with."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(noise).resize((80, 60)).save(file, "JPEG")
    for size in ((80, 60), (40, 30)):
        theirs, ours = fast(memoryview(file.getvalue()), size), Image.open(file)
        ours.draft("RGB", size)
        if theirs is None or not (_alike(theirs, ours) and _alike(theirs.crop(_PART), ours.crop(_PART))):
            return False
    return True


def _alike(one: Picture, other: Picture) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))
