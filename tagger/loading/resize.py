"""The one resampling of a picture, by the fastest code that gives Pillow's own pixels.

Pillow resamples 8-bit pixels without the processor's wide instructions, and takes longer for it than for
decoding a small JPEG: 2.1 ms of 3.5. cykooz.resizer (the Rust crate fast_image_resize: SSE4.1, AVX2, Neon)
does the same sums several times faster. It reaches into Pillow's pictures, whose inside Pillow may
change: once in a process it has to show that its pixels are Pillow's, and is left alone otherwise. It is
left alone too where it has no wheel (Linux on Arm), for modes that it does not know, and for pictures that
are enlarged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture

from tagger.loading.geometry import Box, Size

_Resize = Callable[[Picture, Size, Image.Resampling, Box], Picture]

# What is linear in all channels. RGBa and CMYK are four bytes a pixel like any other.
_MODES = frozenset({"RGB", "L", "CMYK", "RGBa"})
_LEVEL = 5
"""By how much a pixel may differ. Both round, and cut off what overshoots, after each of two passes, but
not in the same order: over photos 0.25 on the average."""


def resize(image: Picture, size: Size, kernel: Image.Resampling, box: Box) -> Picture:
    """The part ``box`` of a loaded picture at ``size`` (width, height) pixels, antialiased, in its mode.

    ``kernel`` is bilinear or bicubic (a = -0.5). Thread-safe.
    """
    fast = _fast() if image.mode in _MODES and _shrinks(size, box) else None
    return (fast or _by_pillow)(image, size, kernel, box)


def _shrinks(size: Size, box: Box) -> bool:
    """cykooz.resizer 4.0.1 reads beyond its own rows where it enlarges: about one in a thousand boxes in the
    middle of a small picture ended the process, 300 x 197 pixels to 260 for one. Of 36,000 that were shrunk
    none did, and none differed from Pillow's."""
    left, upper, right, lower = box
    return right - left >= size[0] and lower - upper >= size[1]


def works() -> bool:
    """Whether anything is resampled by wide instructions here."""
    return _fast() is not None


def _by_pillow(image: Picture, size: Size, kernel: Image.Resampling, box: Box) -> Picture:
    return image.resize(size, kernel, box=box)


@cache
def _fast() -> _Resize | None:
    try:
        fast = _by_cykooz()
        return fast if _agrees(fast) else None
    except Exception:  # whatever a library does that does not fit to this Pillow
        return None


def _by_cykooz() -> _Resize:
    """Raises ImportError where it is not installed."""
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions, Resizer

    own = threading.local()  # a resizer keeps what it works in, and threads must not share that
    filters = {
        Image.Resampling.BILINEAR: ResizeAlg.convolution(FilterType.bilinear),
        Image.Resampling.BICUBIC: ResizeAlg.convolution(FilterType.catmull_rom),
    }

    def fast(image: Picture, size: Size, kernel: Image.Resampling, box: Box) -> Picture:
        left, upper, right, lower = box
        part = CropBox(left, upper, right - left, lower - upper)
        small = Image.new(image.mode, size, None)  # not filled before: all of it is written
        resizer = own.__dict__.get("resizer") or own.__dict__.setdefault("resizer", Resizer())
        resizer.resize_pil(image, small, ResizeOptions(resize_alg=filters[kernel], crop_box=part))
        return small

    return fast


def _agrees(fast: _Resize) -> bool:
    """Whether it gives what Pillow gives of a small picture of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    picture, box = Image.fromarray(noise), (3.5, 1.25, 45.0, 42.75)
    for kernel in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        theirs, ours = (
            np.asarray(way(picture, (16, 16), kernel, box)).astype(int) for way in (fast, _by_pillow)
        )
        if np.abs(theirs - ours).max() > _LEVEL:
            return False
    return True
