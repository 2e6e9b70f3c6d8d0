"""Copies that were cut off and kept their length, and whole files with padding behind them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagger.values import LoadedImage, OutcomeKind
from tests.unit.loading.conftest import Load, difference, expected, failed, loaded, picture, saved

PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
SHARES = (10, 30, 50, 70, 95)
CUT = "the last {}% of the file holds nothing but zeros; the copy was cut off"
ZEROS = "the rest of the file is zeros"


def photo(name: str = "craft-beer.jpg") -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def beginning(data: bytes, share: int) -> bytes:
    """``data`` without the last ``share`` per cent."""
    return data[: len(data) * (100 - share) // 100]


def half_copied(data: bytes, share: int) -> bytes:
    """As a copy into a preallocated file leaves it."""
    return beginning(data, share).ljust(len(data), b"\0")


ROW_BY_ROW = {
    "baseline": ("JPEG", {"quality": 90}),
    "subsampled": ("JPEG", {"quality": 75, "optimize": True}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "PNG": ("PNG", {}),
    "GIF": ("GIF", {"interlace": 0}),
}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ROW_BY_ROW)
def test_zeros_cost_what_a_cut_costs(load: Load, kind: str, share: int) -> None:
    data = saved(photo().resize((480, 320)), ROW_BY_ROW[kind][0], **ROW_BY_ROW[kind][1])
    result, cut = load(half_copied(data, share)), load(beginning(data, share))
    if isinstance(cut, LoadedImage):
        shown = loaded(result)
        assert shown.note == (cut.note or "").replace("the file ends early", ZEROS)
        assert np.array_equal(shown.pixels, cut.pixels)
    else:
        assert failed(result).kind is OutcomeKind.CORRUPT
        assert ZEROS in failed(result).reason or "broken" in failed(result).reason


@pytest.mark.parametrize("name", ["craft-beer.jpg", "vehicle.jpg", "african_elephants.jpg"])
def test_of_a_baseline_jpeg_the_rows_that_are_there_are_shown(load: Load, name: str) -> None:
    image = photo(name)
    data = saved(image, "JPEG", quality=90)
    result = loaded(load(half_copied(data, 10)))
    assert result.note is not None
    assert result.note.startswith(f"damaged: {ZEROS}; the lower ")
    missing = int(result.note.partition("the lower ")[2].partition("%")[0])
    assert 2 < missing < 30
    sound = image.crop((0, 0, image.width, round(image.height * (1 - missing / 100))))
    assert 3 * difference(result.pixels, expected(sound)) < difference(result.pixels, expected(image))
    assert failed(load(half_copied(data, 95))).kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("share", [10, 30, 50, 70])
def test_a_progressive_jpeg_is_coarser_than_it_was(load: Load, share: int) -> None:
    data = saved(photo(), "JPEG", quality=90, progressive=True)
    end = "the picture is coarser than it was"
    assert loaded(load(half_copied(data, share))).note == f"damaged: {ZEROS}; {end}"
    assert loaded(load(beginning(data, share))).note == f"damaged: the file ends early; {end}"


@pytest.mark.parametrize("name", ["IMG_2682.heic", "8bit-sRGB.avif", "denali.webp"])
def test_a_photo_that_is_all_or_nothing_is_corrupt(load: Load, name: str) -> None:
    data = (PHOTOS / name).read_bytes()
    for share in SHARES[1:]:
        result = failed(load(half_copied(data, share)))
        assert (result.kind, result.reason) == (OutcomeKind.CORRUPT, CUT.format(share))
    assert failed(load(half_copied(data, 10))).kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize(
    ("kind", "options"), [("WEBP", {}), ("WEBP", {"method": 0}), ("WEBP", {"lossless": True}), ("AVIF", {})]
)
def test_all_or_nothing_by_other_encoders(
    load: Load, kind: str, options: dict[str, object], share: int
) -> None:
    result = failed(load(half_copied(saved(photo().resize((480, 320)), kind, **options), share)))
    assert (result.kind, result.reason) == (OutcomeKind.CORRUPT, CUT.format(share))


def jpeg_xl(boxed: bool) -> bytes:
    pylibjxl = pytest.importorskip("pylibjxl")
    data = bytes(pylibjxl.encode(np.asarray(photo().resize((480, 320)))))
    start = b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "
    return start + box(b"jxlc", data) if boxed else data


@pytest.mark.parametrize("boxed", [False, True])
def test_jpeg_xl(load: Load, boxed: bool) -> None:
    data = jpeg_xl(boxed)
    assert loaded(load(data + bytes(4096))).note is None
    for share in SHARES:
        assert failed(load(half_copied(data, share))).kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("zeros", [1, 511, 512, 4096, 100_000])
@pytest.mark.parametrize(
    "kind", ["JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "JPEG2000", "TIFF", "BMP"]
)
def test_padding_behind_a_whole_picture_is_no_damage(load: Load, kind: str, zeros: int) -> None:
    data = saved(picture(), kind)
    result = loaded(load(data + bytes(zeros)))
    assert result.note is None
    assert np.array_equal(result.pixels, loaded(load(data)).pixels)


@pytest.mark.parametrize(
    "name", ["IMG_2682.heic", "8bit-sRGB.avif", "denali.webp", "vehicle.jpg", "mongolels.jpg"]
)
def test_padding_behind_a_whole_photo_is_no_damage(load: Load, name: str) -> None:
    assert loaded(load((PHOTOS / name).read_bytes() + bytes(4096))).note is None


def box(name: bytes, body: bytes, *, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, name, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, name) + body


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", [b"free", b"skip", b"mpvd"])
def test_boxes_beside_the_picture_may_hold_zeros(load: Load, name: bytes, wide: bool) -> None:
    for photo_name in ("IMG_2682.heic", "8bit-sRGB.avif"):
        data = (PHOTOS / photo_name).read_bytes() + box(name, bytes(4096), wide=wide)
        assert loaded(load(data)).note is None


def test_any_other_box_may_not(load: Load) -> None:
    data = (PHOTOS / "IMG_2682.heic").read_bytes()
    for wide in (False, True):
        assert failed(load(data + box(b"mdat", bytes(4096), wide=wide))).kind is OutcomeKind.CORRUPT
    assert loaded(load(data + box(b"mdat", bytes(500)))).note is None


def test_a_film_behind_a_photo_may_be_cut_off(load: Load) -> None:
    film = box(b"ftyp", b"mp42\0\0\0\0") + box(b"mdat", b"film" * 5000)
    data = saved(photo(), "JPEG", quality=90)
    result = loaded(load(data + half_copied(film, 70)))
    assert result.note is None
    assert np.array_equal(result.pixels, loaded(load(data)).pixels)


@pytest.mark.parametrize("height", [500, 1000])
def test_a_lossy_webp_may_end_in_one_colour(load: Load, height: int) -> None:
    """Rows of one colour are written as zeros: no end of a file, although there are thousands."""
    image = Image.new("RGB", (2000, 2000))
    image.paste(photo().resize((2000, height)))
    data = saved(image, "WEBP", method=0)
    assert data.endswith(bytes(512)), "or the test shows nothing"
    assert loaded(load(data)).note is None
    assert failed(load(half_copied(data, 70))).kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM", "TGA"])
def test_black_pixels_are_no_damage(load: Load, kind: str) -> None:
    image = picture(200, 200)
    image.paste((0, 0, 0), (0, 0, 200, 60) if kind in ("BMP", "TGA") else (0, 140, 200, 200))
    assert loaded(load(saved(image, kind))).note is None


def test_a_film_that_ends_in_zeros_is_a_film(load: Load) -> None:
    film = box(b"ftyp", b"isom\0\0\0\0") + box(b"mdat", b"film" * 500 + bytes(9000))
    result = failed(load(film))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert "video" in result.reason


def test_a_note_on_the_picture_stands_before_its_damage(load: Load) -> None:
    data = saved(photo(), "PNG")
    text = b"tEXt" + b"Comment\0hello"
    broken = struct.pack(">I", len(text) - 4) + text + b"\0\0\0?"  # no checksum of it
    note = loaded(load(beginning(data[:33] + broken + data[33:], 20))).note or ""
    first, _, second = note.partition("; ")
    assert first == "damaged: its text or colour profile is broken"
    assert second.startswith("damaged: the file ends early; the lower ")


def test_what_is_known_of_a_picture_that_was_cut_off(load: Load) -> None:
    result = failed(load(half_copied((PHOTOS / "IMG_2682.heic").read_bytes(), 50)))
    assert result.facts is not None
    assert (result.facts.width, result.facts.height, result.facts.format) == (1024, 768, "HEIF")
