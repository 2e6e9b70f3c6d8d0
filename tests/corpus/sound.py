"""A small sound file of every format that Pillow or a plugin can write, in every mode it has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture

from tagger.loading import readable_formats
from tests.corpus.case import Case, sound
from tests.corpus.containers import saved

SIZE = (32, 24)
MODES = (
    "RGB", "L", "1", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "I;16B", "F",
)  # fmt: skip

# The same picture stored in the ways that a format knows beside its usual one.
_VARIANTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("JPEG", "RGB", {"progressive": True}),
    ("JPEG", "RGB", {"subsampling": 0, "quality": 95}),
    ("JPEG", "RGB", {"restart_marker_blocks": 1}),
    ("JPEG", "CMYK", {"progressive": True}),
    ("PNG", "P", {"bits": 4}),
    ("GIF", "P", {"interlace": 1}),
    ("WEBP", "RGBA", {"lossless": True}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", "RGB", {"compression": "packbits"}),
    ("TIFF", "RGB", {"compression": "jpeg"}),
    ("TIFF", "RGB", {"compression": "zstd"}),
    ("TIFF", "RGB", {"compression": "lzma"}),
    ("TIFF", "1", {"compression": "group3"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "RGB", {"big_tiff": True}),
    ("TIFF", "F", {"compression": "tiff_lzw"}),
    ("JPEG2000", "RGB", {"irreversible": True, "quality_layers": [20]}),
    ("JPEG2000", "RGB", {"tile_size": (16, 16)}),
    ("JPEG2000", "L", {"no_jp2": True}),
    ("TGA", "RGB", {"compression": "tga_rle"}),
    ("TGA", "P", {"compression": "tga_rle"}),
    ("SGI", "RGB", {"bpc": 2}),
    ("ICO", "RGBA", {"bitmap_format": "bmp"}),
    ("DDS", "RGBA", {"pixel_format": "DXT1"}),
    ("DDS", "RGBA", {"pixel_format": "DXT5"}),
    ("AVIF", "RGBA", {"quality": 90}),
    ("MPO", "RGB", {"save_all": True}),
)

# These write one frame, and several where they are given them.
_ANIMATED = ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO")


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Picture:
    """Smooth colours with some grain; the same each time."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(7).integers(0, 20, (height, width))
    bands = (40 + 160 * x // width, 200 - 150 * y // height, 60 + (x + y) % 90)
    image = Image.fromarray(np.stack([band + grain for band in bands], axis=-1).astype(np.uint8))
    return _in_mode(image, mode)


def _in_mode(image: Picture, mode: str) -> Picture:
    if mode.startswith("I;16"):
        deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        return deep if mode == "I;16" else deep.convert("I").convert(mode)
    if mode == "LAB":
        return Image.merge("LAB", image.split())
    if mode == "PA":
        return image.convert("P").convert("PA")
    return image.convert(mode)


@cache
def sound_cases() -> tuple[Case, ...]:
    """Every format in every mode, the variants, and animations."""
    return (*_all_modes(), *_variants(), *_animations(), *_jpeg_xl())


def _all_modes() -> Iterator[Case]:
    Image.init()
    for kind in (*readable_formats(), "MPO"):
        for mode in MODES if kind in Image.SAVE else ():
            try:
                data = saved(picture(mode), kind)
            except (OSError, ValueError, KeyError):  # not a mode of this format
                continue
            yield sound(f"sound-{_plain(kind, mode)}.{kind.lower()}", data)


def _variants() -> Iterator[Case]:
    for number, (kind, mode, options) in enumerate(_VARIANTS):
        data = saved(picture(mode), kind, **options)
        yield sound(f"sound-{_plain(kind, mode)}-{number}.{kind.lower()}", data)


def _animations() -> Iterator[Case]:
    for kind in _ANIMATED:
        others = [picture("RGB").transpose(turn) for turn in (Image.Transpose.ROTATE_180,) * 2]
        data = saved(picture(), kind, save_all=True, append_images=others)
        yield sound(f"sound-{kind}-moving.{kind.lower()}", data)


def _jpeg_xl() -> Iterator[Case]:
    """Where the extra is installed that reads it; it also writes."""
    if find_spec("pylibjxl") is None:
        return
    import pylibjxl

    for mode in ("RGB", "RGBA"):
        for lossless in (True, False):
            data = bytes(pylibjxl.encode(np.ascontiguousarray(picture(mode)), lossless=lossless))
            yield sound(f"sound-JXL-{mode}-{'exact' if lossless else 'lossy'}.jxl", data)


def _plain(kind: str, mode: str) -> str:
    return f"{kind}-{mode.replace(';', '')}"
