"""What people have comes out as they see it: formats, modes, colours, orientations, shapes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from tagger.errors import ModelError
from tagger.loading import PillowLoader, readable_formats
from tagger.values import Preprocessing
from tests.unit.loading.conftest import (
    PREPROCESSING,
    SIZE,
    Load,
    colour_of,
    difference,
    expected,
    failed,
    file_of,
    loaded,
    near,
    picture,
    saved,
    solid,
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


# How a camera stores what is upright, for each EXIF orientation.
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(180, 120), (120, 180), (181, 120)])
def test_all_orientations_come_out_upright(load: Load, orientation: int, size: tuple[int, int]) -> None:
    upright = picture(*size)
    stored = upright.transpose(TURNED_BACK[orientation]) if orientation in TURNED_BACK else upright
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


@pytest.mark.parametrize("size", [(640, 448), (447, 641), (100, 64)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "I;16"])
def test_a_turned_picture_gives_the_pixels_of_its_upright_twin(
    load: Load, mode: str, size: tuple[int, int]
) -> None:
    channels = 1 if mode == "I;16" else len(mode)
    noise = np.random.default_rng(5).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    deep = noise[..., 0].astype(np.uint16) * 257
    upright = Image.fromarray(deep) if mode == "I;16" else Image.fromarray(noise, mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    plain = loaded(load(saved(upright, kind)))
    exif = Image.Exif()
    for orientation, turn in TURNED_BACK.items():
        exif[0x0112] = orientation
        result = loaded(load(saved(upright.transpose(turn), kind, exif=exif)))
        # The kernel adds up in another order where a picture is mirrored.
        assert np.abs(result.pixels.astype(int) - plain.pixels).max() <= 1, orientation
        assert difference(result.pixels, plain.pixels) < 0.01, orientation
        assert result.facts == plain.facts


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


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 20_000), (20_000, 1), (2, 3), (64, 64), (56, 57), (3, 4000), (5000, 7)]
)
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


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO"])
def test_of_several_pictures_the_first_counts(load: Load, kind: str) -> None:
    first, second = Image.new("RGB", SIZE, (220, 20, 20)), Image.new("RGB", SIZE, (20, 20, 220))
    assert near(solid(load, first, kind, save_all=True, append_images=[second] * 3), (220, 20, 20), 10)


def test_a_page_of_another_size_or_kind_changes_nothing(load: Load) -> None:
    pages = [Image.new("L", (900, 40), 7), Image.new("1", (20, 800), 1)]
    result = loaded(load(saved(picture(), "TIFF", save_all=True, append_images=pages)))
    assert np.array_equal(result.pixels, loaded(load(saved(picture(), "TIFF"))).pixels)
    assert (result.facts.width, result.facts.height) == (180, 120)


def test_a_png_in_motion_is_shown_as_by_a_program_that_knows_of_no_motion(load: Load) -> None:
    still, frames = Image.new("RGB", SIZE, (20, 160, 20)), [Image.new("RGB", SIZE, (220, 20, 20))] * 2
    data = saved(still, "PNG", save_all=True, append_images=frames, default_image=True)
    assert near(colour_of(load, data), (20, 160, 20))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_first_frame_may_be_transparent(load: Load, kind: str) -> None:
    clear, red = Image.new("RGBA", SIZE, (0, 0, 0, 0)), Image.new("RGBA", SIZE, (220, 20, 20, 255))
    assert near(solid(load, clear, kind, save_all=True, append_images=[red]), (255, 255, 255))


@pytest.mark.parametrize("kind", ["JPEG", "HEIF", "MPO"])
def test_a_photo_in_motion_is_its_photo(load: Load, kind: str) -> None:
    options = {"save_all": True, "append_images": [Image.new("RGB", (40, 40))]} if kind == "MPO" else {}
    still = saved(picture(), kind, **options)
    box = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    film = box + (4000).to_bytes(4, "big") + b"mdat" + bytes(range(256)) * 15 + bytes(152)
    for data in (still + film, still + b"MotionPhoto_Data" + film):
        result = loaded(load(data))
        assert np.array_equal(result.pixels, loaded(load(still)).pixels)
        assert result.note is None
        assert result.facts.format == kind


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
