"""JPEG XL, by the extra: upright once, in its colours, and refused by its header."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from tagger.loading import PillowLoader, readable_formats
from tagger.values import Limits, LoadedImage, OutcomeKind
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
)
from tests.unit.loading.places import PARIS, place_exif
from tests.unit.loading.profiles import DISPLAY_P3, matrix_profile

pylibjxl = pytest.importorskip("pylibjxl")


# A red frame of 90 x 80 pixels and two blue ones, written by libjxl.
IN_MOTION = bytes.fromhex(
    "ff0a7802b2089a00404c0804010060004b188b1500d41b638c7163dc038800130e0be07088471c12080401006000"
    "4b188b1500d41b638c7163dc038800930f0bdcd9285618120804050060004b188b1500d41b638c7163dc03880093"
    "0f0bdcd928561812"
)


def jxl(image: Image.Image, **options: object) -> bytes:
    return bytes(pylibjxl.encode(np.ascontiguousarray(image), **options))


@pytest.mark.parametrize("lossless", [True, False])
def test_it_looks_the_same(load: Load, lossless: bool) -> None:
    result = loaded(load(jxl(picture(), lossless=lossless)))
    assert difference(result.pixels, expected(picture())) < (0.5 if lossless else 3)
    assert result.facts.format == "JXL"
    assert (result.facts.width, result.facts.height) == (180, 120)
    assert result.note is None
    assert "JXL" in readable_formats()


def test_greys_and_transparency(load: Load) -> None:
    assert near(colour_of(load, jxl(Image.new("L", SIZE, 90), lossless=True)), (90, 90, 90))
    half = Image.new("RGBA", SIZE, (200, 0, 0, 128))
    assert near(colour_of(load, jxl(half, lossless=True)), (227, 127, 127))


def test_its_profile_counts(load: Load) -> None:
    icc = matrix_profile(DISPLAY_P3, 2.2)
    seen = colour_of(load, jxl(Image.new("RGB", SIZE, (200, 120, 60)), lossless=True, icc=icc))
    assert near(seen, (214, 116, 38), 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_packed_into_it_is_turned_once(load: Load, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0132] = "2019:07:20 16:05:09"
    jpeg = saved(picture(), "JPEG", quality=95, exif=exif)
    packed, plain = loaded(load(bytes(pylibjxl.jpeg_to_jxl(jpeg)))), loaded(load(jpeg))
    assert difference(packed.pixels, plain.pixels) < 2
    assert (packed.facts.width, packed.facts.height) == (plain.facts.width, plain.facts.height)
    assert packed.facts.taken_at == "2019-07-20T16:05:09"


def test_the_place_is_read_from_it(load: Load) -> None:
    facts = loaded(load(jxl(picture(), exif=place_exif(PARIS)))).facts
    assert (facts.latitude, facts.longitude) == (48.8583333, 2.2945)


def test_the_turn_that_exif_states_is_not_for_jpeg_xl(load: Load) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    result = loaded(load(jxl(picture(), lossless=True, exif=exif.tobytes())))
    assert difference(result.pixels, expected(picture())) < 0.5
    assert (result.facts.width, result.facts.height) == (180, 120)


def test_of_several_frames_the_first_counts(load: Load) -> None:
    assert near(colour_of(load, IN_MOTION), (220, 20, 20))


def test_limits_hold_before_it_is_decoded() -> None:
    data = jxl(picture(120, 100), lossless=True)
    assert isinstance(PillowLoader(PREPROCESSING, Limits(max_pixels=12_000)).load(file_of(data)), LoadedImage)
    result = failed(PillowLoader(PREPROCESSING, Limits(max_pixels=11_999)).load(file_of(data)))
    assert result.kind is OutcomeKind.TOO_LARGE
    assert result.reason.startswith("120 x 100")
    result = failed(PillowLoader(PREPROCESSING, Limits(max_memory=100_000)).load(file_of(data)))
    assert result.kind is OutcomeKind.TOO_LARGE


@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_a_part_of_it_is_corrupt(load: Load, share: float) -> None:
    data = jxl(picture(), lossless=True)
    result = failed(load(data[: max(3, int(len(data) * share))]))
    assert result.kind is OutcomeKind.CORRUPT
    assert "JPEG XL" in result.reason


def test_without_the_extra_the_reason_names_it(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pylibjxl", None)
    monkeypatch.delitem(Image.OPEN, "JXL")
    result = failed(load(jxl(picture())))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert result.reason == "JPEG XL: `pip install pylibjxl` to tag it"
