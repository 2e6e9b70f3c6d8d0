"""Any of Pillow's modes to 8-bit RGB as a person sees it.

Colours are made after the picture has been made small, when that costs next to nothing: profiles,
inks, transparency. What cannot be resampled as it is stored (palettes, single bits, straight alpha,
more than 8 bits) is brought into a mode that can, piece by piece, so that a large picture is never
held twice.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.Image import Image as Picture

from tagger.loading.geometry import Box, Size, mirrored_axes, swaps_sides, whole_blocks, within
from tagger.loading.resize import resize

# Straight alpha must be multiplied in before pixels are averaged: what is transparent has a
# colour too, and nobody sees it. RGBa is Pillow's name for that.
_ALREADY_GOOD = frozenset({"RGB", "L", "CMYK", "LAB", "RGBa"})
_WITH_ALPHA = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_DEEP = frozenset({"I", "F", "I;16", "I;16L", "I;16B", "I;16N"})

# How much of a large picture is converted at one time.
_BAND_PIXELS = 1_000_000

# A profile is a few kilobytes; those of printing presses a megabyte or two.
_LARGEST_PROFILE = 4 * 1024 * 1024
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def resampling_mode(image: Picture) -> str:
    """The mode in which the picture can be averaged: RGB, RGBa, L, CMYK, LAB, or F when deep."""
    if image.mode in _DEEP:
        return "F"
    if _is_transparent(image):
        return "RGBa"
    if image.mode == "1":
        return "L"
    return image.mode if image.mode in _ALREADY_GOOD else "RGB"


def _is_transparent(image: Picture) -> bool:
    # Pillow's own has_transparency_data fails on palettes that its icons leave behind.
    in_palette = image.palette is not None and image.palette.mode.endswith("A")
    return in_palette or image.mode in _WITH_ALPHA or "transparency" in image.info


def resample(
    image: Picture, box: Box, size: Size, kernel: Image.Resampling, gap: float, turn: int
) -> Picture:
    """The part ``box`` of a loaded picture at ``size`` pixels, (width, height) as it is stored, in a mode
    for :func:`to_rgb`. ``gap`` is how much larger than wanted a cheap reduction may leave it.

    ``turn`` is the orientation that the picture waits to be given. So that it gives the very pixels
    of its upright twin, blocks are counted from where that one begins, and a picture that lies on
    its side is returned with its sides swapped: the kernel rounds between its two passes.
    """
    mode, is_float = resampling_mode(image), image.mode == "F"
    if mode != image.mode or is_float:
        image, box = _converted(image, box, size, mode, gap, turn)
    if image.mode == "F":
        image = _tone_mapped(image, is_float=is_float)
    image, box = _reduced(image, box, size, gap, turn)
    if swaps_sides(turn):
        image, box = image.transpose(Image.Transpose.TRANSPOSE), (box[1], box[0], box[3], box[2])
        size = size[1], size[0]
    return resize(image, size, kernel, box)


def to_rgb(image: Picture, profile: bytes | None) -> Picture:
    """8-bit sRGB of a small picture: transparency over white, its profile applied if it changes
    what one sees. A profile that is broken, or is for other channels, is taken for absent."""
    if image.mode == "RGBa":
        image = _over_white(image)
    transform = _transform(profile, image.mode) if profile or image.mode == "LAB" else None
    if transform is not None:
        image = transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def changes_colours(profile: bytes | None, mode: str) -> bool:
    """Whether :func:`to_rgb` would make other colours by this profile."""
    return bool(profile) and _transform(profile, mode) is not None


def _reduced(image: Picture, box: Box, size: Size, gap: float, turn: int) -> tuple[Picture, Box]:
    """The surroundings of ``box``, their blocks averaged while they are much too large; and the box
    in them."""
    x, y = (max(1, int((box[axis + 2] - box[axis]) / size[axis] / gap)) for axis in (0, 1))
    if max(x, y) == 1 and not swaps_sides(turn):
        return image, box
    part = _surroundings(image.size, box, size, (x, y), turn)
    reduced = image.reduce((x, y), box=part) if max(x, y) > 1 else image.crop(part)
    return reduced, within(box, part, (x, y))


def _converted(image: Picture, box: Box, size: Size, mode: str, gap: float, turn: int) -> tuple[Picture, Box]:
    """The same in another mode, band by band."""
    factor = max(1, int(min((box[2] - box[0]) / size[0], (box[3] - box[1]) / size[1]) / gap))
    part = _surroundings(image.size, box, size, (factor, factor), turn)
    left, upper, right, lower = part
    wide = right - left
    canvas = Image.new(mode, (wide // factor, (lower - upper) // factor))
    rows = max(1, _BAND_PIXELS // wide // factor) * factor
    for top in range(upper, lower, rows):
        band = _in_mode(image.crop((left, top, right, min(top + rows, lower))), mode)
        canvas.paste(band.reduce(factor) if factor > 1 else band, (0, (top - upper) // factor))
    return canvas, within(box, part, (factor, factor))


def _surroundings(whole: Size, box: Box, size: Size, blocks: Size, turn: int) -> tuple[int, int, int, int]:
    """The box in whole blocks with what a kernel reaches beyond its edge (bicubic: two pixels of
    the smaller scale on each side)."""
    edges = []
    for axis, mirrored in enumerate(mirrored_axes(turn)):
        reach = 2 * max(1.0, (box[axis + 2] - box[axis]) / size[axis]) + 1
        start, end = box[axis] - reach, box[axis + 2] + reach
        edges.append(whole_blocks(whole[axis], start, end, blocks[axis], mirrored=mirrored))
    (left, right), (upper, lower) = edges
    return left, upper, right, lower


def _in_mode(image: Picture, mode: str) -> Picture:
    if mode == "RGBa" and image.mode != "RGBA":
        image = image.convert("RGBA")
    if mode == "F" and image.mode not in ("I", "I;16"):
        image = image.convert("I") if image.mode != "F" else image
    return image if image.mode == mode else image.convert(mode)


def _over_white(image: Picture) -> Picture:
    pixels = np.asarray(image)
    background = 255 - pixels[..., 3:]
    # Rounding while averaging may leave a colour a step above its alpha.
    return Image.fromarray(np.minimum(pixels[..., :3].astype(np.uint16) + background, 255).astype(np.uint8))


def _tone_mapped(image: Picture, *, is_float: bool) -> Picture:
    """Deep greys (mode F) to 8 bits, by the range that the values seem to be meant in."""
    values = np.nan_to_num(np.asarray(image), nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64)
    low, high = _meant_range(values, is_float=is_float)
    levels = (values - low) * (255.0 / (high - low))
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _meant_range(values: NDArray[np.float64], *, is_float: bool) -> tuple[float, float]:
    """Black and white of deep greys, which few files state: the first usual white (8, 12, 16 bits;
    1.0) that holds all values. Fractions must also make use of it, since they may be metres or
    photons. Else from the darkest to the brightest, without the half per cent at each end, where
    hot pixels are."""
    lowest, highest = float(values.min()), float(values.max())
    whites = (1.0, 255.0, 65535.0) if is_float else (255.0, 4095.0, 65535.0)
    white = next((white for white in whites if highest <= white), None)
    if lowest >= 0 and white is not None and (not is_float or highest > white / 4):
        return 0.0, white
    low, high = (float(edge) for edge in np.percentile(values, (0.5, 99.5)))
    if high <= low:
        low, high = lowest, highest
    # Of one value: black. One more than a huge number may be the same number.
    return (low, high) if high > low else (low, low + max(1.0, abs(low)))


@lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None when there is nothing to do or the profile is of no use.

    Kept, since a library holds few distinct profiles and building one costs more than using it.
    """
    try:
        source = _source_profile(profile)
        if _SPACES.get(source.profile.xcolor_space) != mode or "srgb" in _description(source):
            return None
        return ImageCms.ImageCmsTransform(
            source,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _source_profile(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    if profile is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if len(profile) > _LARGEST_PROFILE:
        raise ValueError("no profile is as large as this")
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _description(profile: ImageCms.ImageCmsProfile) -> str:
    return (profile.profile.profile_description or "").lower()
