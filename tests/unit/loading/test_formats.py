"""What people have comes out as they see it: formats, modes, colours, orientations, shapes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from tagger.errors import ModelError
from tagger.loading import PillowLoader, readable_formats
from tagger.values import Preprocessing
from tests.unit.loading.conftest import (
    PREPROCESSING,
    Load,
    difference,
    expected,
    failed,
    file_of,
    loaded,
    picture,
    saved,
)

LOSSLESS = ["PNG", "TIFF", "BMP", "PPM", "TGA", "ICO", "PCX", "SGI", "QOI", "IM", "JPEG2000", "DDS", "DIB"]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_are_exact(load: Load, kind: str) -> None:
    image = picture(120, 120) if kind == "ICO" else picture()
    options = (
        {"sizes": [(120, 120)]} if kind == "ICO" else {"irreversible": False} if kind == "JPEG2000" else {}
    )
    result = loaded(load(saved(image, kind, **options)))
    assert np.abs(result.pixels.astype(int) - expected(image).astype(int)).max() <= 1
    assert result.facts.format == kind
    assert (result.facts.width, result.facts.height) == image.size
    assert result.note is None


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 95}),
        ("HEIF", {"quality": 95}),
        ("TIFF", {"compression": "jpeg", "quality": 95}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {}),
        ("MPO", {"quality": 95}),
    ],
)
def test_lossy_formats_look_the_same(load: Load, kind: str, options: dict[str, object]) -> None:
    result = loaded(load(saved(picture(), kind, **options)))
    assert difference(result.pixels, expected(picture())) < 6
    assert (result.facts.width, result.facts.height) == (180, 120)


def test_a_wrong_extension_means_nothing(load: Load) -> None:
    assert loaded(load(saved(picture(), "PNG"))).facts.format == "PNG"


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_containers_of_a_general_brand_are_told_apart(load: Load, kind: str) -> None:
    data = saved(picture(), kind)
    result = loaded(load(data[:8] + b"mif1" + data[12:]))
    assert result.facts.format == kind


def test_every_promised_format_is_there() -> None:
    assert {"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"} <= set(readable_formats())
    assert not {"EPS", "IPTC", "WMF"} & set(readable_formats())


def test_postscript_is_never_run(load: Load) -> None:
    result = failed(load(saved(picture(), "EPS")))
    assert result.kind == "unsupported"
    assert "PostScript" in result.reason


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(180, 120), (120, 180), (181, 120)])
def test_all_orientations_come_out_upright(load: Load, orientation: int, size: tuple[int, int]) -> None:
    upright = picture(*size)
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(inverse[orientation]) if orientation in inverse else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        result = loaded(load(saved(stored, kind, exif=exif, **options)))
        assert np.abs(result.pixels.astype(int) - expected(upright).astype(int)).max() <= 1, kind
        assert (result.facts.width, result.facts.height) == size, kind
    lossy = loaded(load(saved(stored, "JPEG", exif=exif, quality=95, subsampling=0)))
    assert difference(lossy.pixels, expected(upright)) < 3
    assert (lossy.facts.width, lossy.facts.height) == size


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_is_upright(load: Load, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = loaded(load(saved(picture(), "PNG", exif=exif)))
    assert np.array_equal(result.pixels, loaded(load(saved(picture(), "PNG"))).pixels)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_containers_that_turn_by_themselves_are_not_turned_twice(
    load: Load, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), kind, exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened)
    result = loaded(load(data))
    assert difference(result.pixels, expected(upright)) < 1
    assert (result.facts.width, result.facts.height) == upright.size


@pytest.mark.parametrize("scale", [1, 3, 5, 9, 17, 30])
def test_shrinking_a_jpeg_while_decoding_shows_the_same(load: Load, scale: int) -> None:
    image = picture(180, 120).resize((120 * scale + 7, 80 * scale + 3), Image.Resampling.BICUBIC)
    result = loaded(load(saved(image, "JPEG", quality=95, subsampling=0)))
    assert difference(result.pixels, expected(image)) < 2
    assert (result.facts.width, result.facts.height) == image.size


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_large_pictures_of_other_kinds_show_the_same(load: Load, kind: str) -> None:
    image = picture(1501, 1003)
    for mode in ("RGB", "RGBA", "L", "P"):
        converted = image.convert(mode)
        if kind == "GIF" and mode == "RGBA":
            continue
        result = loaded(load(saved(converted, kind)))
        assert difference(result.pixels, expected(converted.convert("RGB"))) < 3, mode


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (2, 3), (64, 64), (56, 57), (3, 4000)])
def test_every_shape_works(load: Load, size: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG", "GIF"):
        image = Image.new("RGB", size, (200, 30, 90))
        result = loaded(load(saved(image, kind)))
        assert difference(result.pixels, np.full_like(result.pixels, (200, 30, 90))) < 3
        assert (result.facts.width, result.facts.height) == size


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (224, 224), (257, 256), (1000, 64), (333, 777)])
@pytest.mark.parametrize("want", [(256, 224), (64, 56), (288, 288), (272, 240)])
def test_the_crop_is_resize_then_crop(size: tuple[int, int], want: tuple[int, int]) -> None:
    preprocessing = Preprocessing(*want, "bicubic", (0.0,) * 3, (1.0,) * 3)
    result = PillowLoader(preprocessing).load(file_of(saved(picture(*size), "PNG")))
    assert hasattr(result, "pixels")
    wanted = expected(picture(*size), preprocessing).astype(int)
    # The block averages that come first when a picture is much too large cost a step or two.
    tolerance = 2 if min(size) < 4 * want[0] else 3
    assert np.abs(result.pixels.astype(int) - wanted).max() <= tolerance


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ModelError):
        PillowLoader(Preprocessing(224, 256, "bicubic", (0.0,) * 3, (1.0,) * 3))


def test_bilinear_is_not_bicubic() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    data = saved(noise, "PNG")
    one = PillowLoader(Preprocessing(64, 56, "bilinear", (0.0,) * 3, (1.0,) * 3)).load(file_of(data))
    other = PillowLoader(Preprocessing(64, 56, "bicubic", (0.0,) * 3, (1.0,) * 3)).load(file_of(data))
    assert difference(loaded(one).pixels, loaded(other).pixels) > 1


def solid(load: Load, image: Image.Image, kind: str, **options: object) -> tuple[int, int, int]:
    """The colour that a picture of one colour comes out in."""
    pixels = loaded(load(saved(image, kind, **options))).pixels.reshape(-1, 3)
    assert np.ptp(pixels.astype(int), axis=0).max() <= 4
    red, green, blue = pixels.mean(axis=0)
    return round(red), round(green), round(blue)


def near(colour: tuple[int, int, int], wanted: tuple[int, int, int], by: int = 4) -> bool:
    return all(abs(one - other) <= by for one, other in zip(colour, wanted, strict=True))


SIZE = (90, 80)


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
    assert near(solid_bytes(load, bytes(ycck)), (0, 255, 255), 8)


def solid_bytes(load: Load, data: bytes) -> tuple[int, int, int]:
    red, green, blue = loaded(load(data)).pixels.reshape(-1, 3).mean(axis=0)
    return round(red), round(green), round(blue)


def test_lab_comes_out_as_colours(load: Load) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    image = ImageCms.applyTransform(Image.new("RGB", SIZE, (180, 60, 40)), transform)
    assert image is not None
    assert near(solid(load, image, "TIFF"), (180, 60, 40), 6)


def gamma_profile(gamma: float, space: bytes = b"GRAY") -> bytes:
    """A grey ICC profile with one curve, written out by hand (ICC.1:2010, version 2)."""
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    text = b"a grey of its own\0"
    name = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    name += bytes(-len(name) % 4)
    tags, body, offset = b"", b"", 128 + 4 + 3 * 12
    for key, value in ((b"desc", name), (b"wtpt", white), (b"kTRC", curve)):
        tags += key + struct.pack(">II", offset + len(body), len(value))
        body += value
    size = offset + len(body)
    header = (
        struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    )
    header += bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 3) + tags + body


def test_a_profile_changes_what_one_sees(load: Load) -> None:
    image = Image.new("L", SIZE, 128)
    plain, linear = solid(load, image, "PNG"), solid(load, image, "PNG", icc_profile=gamma_profile(1.0))
    assert near(plain, (128, 128, 128))
    assert near(linear, (188, 188, 188), 6), "half the light is a bright grey"


def test_the_profile_that_everybody_has_changes_nothing(load: Load) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP", "HEIF"):
        with_profile, without = (saved(picture(), kind, **extra) for extra in ({"icc_profile": srgb}, {}))
        assert difference(loaded(load(with_profile)).pixels, loaded(load(without)).pixels) < 1


@pytest.mark.parametrize(
    "profile",
    [b"rubbish", b"\0" * 4000, gamma_profile(1.0)[:150], gamma_profile(1.0), gamma_profile(1.8, b"CMYK")],
)
def test_a_profile_that_is_broken_or_for_other_channels_is_ignored(load: Load, profile: bytes) -> None:
    result = loaded(load(saved(picture(), "PNG", icc_profile=profile)))
    assert np.array_equal(result.pixels, loaded(load(saved(picture(), "PNG"))).pixels)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"])
def test_of_several_pictures_the_first_counts(load: Load, kind: str) -> None:
    first, second = Image.new("RGB", SIZE, (220, 20, 20)), Image.new("RGB", SIZE, (20, 20, 220))
    assert near(solid(load, first, kind, save_all=True, append_images=[second] * 3), (220, 20, 20), 10)


def test_what_goes_in_decides_nothing_about_the_next(load: Load) -> None:
    data = [saved(picture(), kind) for kind in ("PNG", "JPEG", "GIF")]
    alone = [loaded(load(one)).pixels for one in data]
    load(b"rubbish")
    load(data[1][:400])
    again = [loaded(load(one)).pixels for one in data]
    assert all(np.array_equal(one, other) for one, other in zip(alone, again, strict=True))


def test_the_pixels_belong_to_the_value(loader: PillowLoader) -> None:
    data = saved(picture(), "PNG")
    assert loaded(loader.load(file_of(data))).digest == file_of(data).digest
    assert PREPROCESSING.crop == 56
