"""Inks, greys, depths, transparency and profiles come out in the colours that a person sees."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.unit.loading.conftest import SIZE, Load, colour_of, difference, loaded, near, picture, saved, solid
from tests.unit.loading.profiles import ADOBE_RGB, DISPLAY_P3, grey_profile, matrix_profile
from tests.unit.loading.tiffs import strip, tiff


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_transparency_is_white(load: Load, kind: str) -> None:
    clear, half = Image.new("RGBA", SIZE, (0, 0, 0, 0)), Image.new("RGBA", SIZE, (200, 0, 0, 128))
    assert near(solid(load, clear, kind), (255, 255, 255), 6)
    assert near(solid(load, half, kind), (227, 127, 127), 8)


def test_transparent_pixels_do_not_bleed_their_hidden_colour(load: Load) -> None:
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 45, 80))
    assert loaded(load(saved(image, "PNG"))).pixels.min() >= 254


def test_palettes_with_transparency(load: Load) -> None:
    image = Image.new("P", SIZE, 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    assert near(solid(load, image, "PNG"), (200, 100, 50))
    assert near(solid(load, image, "PNG", transparency=1), (255, 255, 255))
    assert near(solid(load, image, "GIF", transparency=1), (255, 255, 255))
    assert near(solid(load, image, "PNG", transparency=bytes([255, 128])), (227, 177, 152))


def test_one_colour_may_be_named_transparent(load: Load) -> None:
    assert near(
        solid(load, Image.new("RGB", SIZE, (9, 9, 9)), "PNG", transparency=(9, 9, 9)), (255, 255, 255)
    )
    assert near(solid(load, Image.new("L", SIZE, 9), "PNG", transparency=9), (255, 255, 255))


def test_greys_and_bits(load: Load) -> None:
    assert near(solid(load, Image.new("L", SIZE, 90), "PNG"), (90, 90, 90))
    assert near(solid(load, Image.new("LA", SIZE, (90, 255)), "PNG"), (90, 90, 90))
    assert near(solid(load, Image.new("LA", SIZE, (90, 0)), "PNG"), (255, 255, 255))
    for value in (0, 1):
        grey = 255 * value
        assert near(solid(load, Image.new("1", SIZE, value), "PNG"), (grey, grey, grey))
        assert near(
            solid(load, Image.new("1", SIZE, value), "TIFF", compression="group4"), (grey, grey, grey)
        )


def ramp(low: float, high: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.tile(np.linspace(low, high, 128), (128, 1))


def brightness(
    load: Load, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], kind: str
) -> tuple[int, int]:
    """The darkest and brightest columns of a grey ramp, as it comes out."""
    pixels = loaded(load(saved(Image.fromarray(values), kind))).pixels
    columns = pixels.mean(axis=(0, 2))
    assert (np.diff(columns) >= -0.5).all(), "a ramp must stay a ramp"
    return round(columns[0]), round(columns[-1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_greys_use_their_range(load: Load, kind: str) -> None:
    # The crop leaves an eighth of the ramp out: 6 % on each side.
    for top in (65535, 4095):
        dark, bright = brightness(load, ramp(0, top).astype(np.uint16), kind)
        assert 8 <= dark <= 24
        assert 231 <= bright <= 247
    dark, bright = brightness(load, ramp(0, 65535 / 2).astype(np.uint16), kind)
    assert 115 <= bright <= 125, "a dark picture stays dark"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 255), (0, 65535), (-1e6, 1e6), (-3, -2), (0, 1e-6), (1e30, 3e38), (0, 3000)]
)
def test_float_greys_are_neither_white_nor_black(load: Load, low: float, high: float) -> None:
    dark, bright = brightness(load, ramp(low, high).astype(np.float32), "TIFF")
    assert dark < 40
    assert 170 < bright < 255


def test_whole_numbers_of_any_size(load: Load) -> None:
    for low, high in ((0, 255), (0, 65535), (-500, 500), (0, 2**31 - 1)):
        dark, bright = brightness(load, ramp(low, high).astype(np.int32), "TIFF")
        assert dark < 40
        assert 215 < bright < 255


def test_not_a_number_is_black(load: Load) -> None:
    values = ramp(0, 1).astype(np.float32)
    values[:, 60:70] = np.nan
    values[:, 80:90] = np.inf
    assert loaded(load(saved(Image.fromarray(values), "TIFF"))).pixels.max() > 200


def test_inks_come_out_as_colours(load: Load) -> None:
    red = Image.new("CMYK", SIZE, (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):  # Pillow writes CMYK JPEGs inverted, as Adobe does
        assert near(solid(load, red, kind), (255, 0, 0), 6)


def test_ycck_comes_out_as_colours(load: Load) -> None:
    data = saved(Image.new("CMYK", SIZE, (255, 0, 0, 0)), "JPEG", quality=95)
    marker = data.index(b"Adobe")
    assert data[marker + 11] == 0
    # The same inks described as YCC and K, as Photoshop does; and Pillow inverts what it writes.
    converted = Image.new("RGB", SIZE, (255, 0, 0)).convert("YCbCr")
    inks = Image.merge("CMYK", [*converted.split(), Image.new("L", SIZE, 255)])
    ycck = bytearray(saved(Image.eval(inks, lambda value: 255 - value), "JPEG", quality=95))
    ycck[ycck.index(b"Adobe") + 11] = 2
    assert near(colour_of(load, bytes(ycck)), (0, 255, 255), 8)


def test_lab_comes_out_as_colours(load: Load) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    image = ImageCms.applyTransform(Image.new("RGB", SIZE, (180, 60, 40)), transform)
    assert image is not None
    assert near(solid(load, image, "TIFF"), (180, 60, 40), 6)


def test_a_profile_changes_what_one_sees(load: Load) -> None:
    image = Image.new("L", SIZE, 128)
    plain, linear = solid(load, image, "PNG"), solid(load, image, "PNG", icc_profile=grey_profile(1.0))
    assert near(plain, (128, 128, 128))
    assert near(linear, (188, 188, 188), 6), "half the light is a bright grey"


def test_the_profile_that_everybody_has_changes_nothing(load: Load) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP", "HEIF"):
        with_profile, without = (saved(picture(), kind, **extra) for extra in ({"icc_profile": srgb}, {}))
        assert difference(loaded(load(with_profile)).pixels, loaded(load(without)).pixels) < 1


@pytest.mark.parametrize(
    "profile",
    [b"rubbish", b"\0" * 4000, grey_profile(1.0)[:150], grey_profile(1.0), grey_profile(1.8, b"CMYK")],
)
def test_a_profile_that_is_broken_or_for_other_channels_is_ignored(load: Load, profile: bytes) -> None:
    result = loaded(load(saved(picture(), "PNG", icc_profile=profile)))
    assert np.array_equal(result.pixels, loaded(load(saved(picture(), "PNG"))).pixels)


PROFILES = {
    "p3": matrix_profile(DISPLAY_P3, 2.2),
    "adobe": matrix_profile(ADOBE_RGB, 2.2),
    "linear": matrix_profile(DISPLAY_P3, 1.0),
}


@pytest.mark.parametrize(
    ("name", "seen"), [("p3", (214, 116, 38)), ("adobe", (224, 121, 53)), ("linear", (238, 180, 125))]
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_wide_colours_are_brought_into_the_usual_ones(
    load: Load, kind: str, name: str, seen: tuple[int, int, int]
) -> None:
    image = Image.new("RGB", SIZE, (200, 120, 60))
    assert near(solid(load, image, kind), (200, 120, 60))
    assert near(solid(load, image, kind, icc_profile=PROFILES[name]), seen, 4)


def test_a_profile_counts_under_transparency_and_in_palettes(load: Load) -> None:
    opaque, palette = Image.new("RGBA", SIZE, (200, 120, 60, 255)), Image.new("P", SIZE, 0)
    palette.putpalette([200, 120, 60])
    for image in (opaque, palette):
        assert near(solid(load, image, "PNG", icc_profile=PROFILES["p3"]), (214, 116, 38))


def without_adobe(data: bytes) -> bytes:
    start = data.index(b"Adobe") - 4
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


def test_inks_need_no_word_of_adobe(load: Load) -> None:
    # Alone in a file, inks are inverted with or without its marker, as browsers take them.
    red = saved(Image.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG")
    assert near(colour_of(load, without_adobe(red)), (255, 0, 0), 6)


def test_black_ink_is_black_and_paper_is_white(load: Load) -> None:
    for inks, seen in (((0, 0, 0, 255), (0, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))):
        for kind in ("JPEG", "TIFF"):
            assert near(solid(load, Image.new("CMYK", SIZE, inks), kind), seen, 6)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def deep_png(pixels: NDArray[np.uint16], colour: int) -> bytes:
    """16 bits in each channel, which Pillow reads and does not write but for grey."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep(*values: int) -> NDArray[np.uint16]:
    return (np.full((80, 90, len(values)), values) * 257).astype(np.uint16)


def test_deep_colours(load: Load) -> None:
    assert near(colour_of(load, deep_png(deep(200, 100, 50), 2)), (200, 100, 50))
    assert near(colour_of(load, deep_png(deep(200, 100, 50, 0), 6)), (255, 255, 255))
    assert near(colour_of(load, deep_png(deep(90, 255), 4)), (90, 90, 90))
    assert near(colour_of(load, deep_png(deep(90, 0), 4)), (255, 255, 255))
    assert near(colour_of(load, tiff([strip(deep(200, 100, 50))])), (200, 100, 50))


def test_greys_where_white_is_zero(load: Load) -> None:
    grey = np.full((80, 90), 200, np.uint8)
    assert near(colour_of(load, tiff([strip(grey, 0)])), (55, 55, 55))
