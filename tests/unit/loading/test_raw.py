"""Camera RAW is shown by its preview, upright once, and never by its stamp."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tagger.loading import PillowLoader
from tagger.loading.facts import image_facts
from tagger.loading.raw import stated_exif
from tagger.values import Limits, LoadedImage, LoadFailure, OutcomeKind
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
from tests.unit.loading.tiffs import (
    ASCII,
    LONG,
    RATIONAL,
    SENSOR,
    STAMP,
    Below,
    Directory,
    camera_raw,
    mosaic,
    strip,
    tiff,
)

rawpy = pytest.importorskip("rawpy")

LYING = picture(480, 300)  # of the sensor's shape
TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}


def jpeg(image: Image.Image, **options: object) -> bytes:
    return saved(image, "JPEG", quality=95, subsampling=0, **options)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_preview_is_turned_as_its_raw(load: Load, orientation: int) -> None:
    result = loaded(load(camera_raw(jpeg(LYING), orientation=orientation)))
    upright = LYING.transpose(TURNED[orientation]) if orientation in TURNED else LYING
    assert difference(result.pixels, expected(upright)) < 3
    width, height = SENSOR if orientation in (1, 3) else SENSOR[::-1]
    assert (result.facts.width, result.facts.height) == (width, height), "of the RAW, not of its preview"
    assert result.facts.format == "DNG"
    assert result.note is None


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_preview_that_is_upright_already_is_not_turned_again(load: Load, orientation: int) -> None:
    standing = LYING.transpose(TURNED[orientation])
    result = loaded(load(camera_raw(jpeg(standing), orientation=orientation)))
    assert difference(result.pixels, expected(standing)) < 3
    assert (result.facts.width, result.facts.height) == SENSOR[::-1]


def test_a_preview_that_says_itself_how_it_lies_is_believed(load: Load) -> None:
    upright, silent = Image.Exif(), Image.Exif()
    upright[0x0112], silent[0x010F] = 1, "Acme"
    for exif, seen in ((upright, LYING), (silent, LYING.transpose(TURNED[3]))):
        data = jpeg(LYING, exif=exif)
        preview = data[:2] + data[20:]  # without the JFIF header, as cameras write it
        result = loaded(load(camera_raw(preview, orientation=3)))
        assert difference(result.pixels, expected(seen)) < 3


def test_large_previews_are_shrunk_while_they_are_decoded(load: Load) -> None:
    large = LYING.resize((2400, 1500), Image.Resampling.BICUBIC)
    result = loaded(load(camera_raw(jpeg(large), orientation=6)))
    assert difference(result.pixels, expected(large.transpose(TURNED[6]))) < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("stamp", [True, False])
def test_without_a_preview_the_raw_is_developed(load: Load, orientation: int, stamp: bool) -> None:
    result = loaded(load(camera_raw(orientation=orientation, stamp=stamp)))
    lying = result.pixels
    for _ in range({1: 0, 3: 2, 6: 1, 8: 3}[orientation]):
        lying = np.rot90(lying)
    upper, lower = lying[:20].mean(axis=(0, 1)), lying[-20:].mean(axis=(0, 1))
    assert upper[0] > upper[1] + 10 > upper[2] + 20, "an orange wall"
    assert upper.sum() > 1.5 * lower.sum(), "darker below its middle"
    assert (result.facts.width, result.facts.height) in (SENSOR, SENSOR[::-1])
    assert result.note is None


def test_a_stamp_is_not_taken_for_the_picture(load: Load) -> None:
    result = loaded(load(camera_raw(jpeg(LYING.resize((160, 100))))))
    assert difference(result.pixels, loaded(load(camera_raw())).pixels) == 0


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (b"NIKON CORPORATION\0", "NEF"),
        (b"SONY\0", "ARW"),
        (b"RICOH IMAGING COMPANY, LTD.\0", "PEF"),
        (b"SAMSUNG\0", "SRW"),
        (b"Hasselblad\0", "3FR"),
        (b"Nobody\0", "RAW"),
    ],
)
def test_raw_files_that_are_tiff_files_are_told_apart(
    load: Load, monkeypatch: pytest.MonkeyPatch, make: bytes, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "rawpy", None)
    result = loaded(load(camera_raw(jpeg(LYING), make=make, is_dng=False)))
    assert result.note is not None
    assert f"{name}): `pip install rawpy` to tag it by its embedded preview" in result.note
    assert result.note.startswith("shown by its stamp of ")
    assert (result.facts.format, result.facts.width, result.facts.height) == (name, None, None)


OTHERS = {
    b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom": "Canon CR3",
    b"II*\0\x10\0\0\0CR\x02\0": "Canon CR2",
    b"II\x1a\0\0\0HEAPCCDR": "Canon CRW",
    b"FUJIFILMCCD-RAW 0201": "Fujifilm RAF",
    b"IIRO\x08\0\0\0": "Olympus ORF",
    b"IIU\0\x18\0\0\0": "Panasonic RW2",
    b"\0MRM\0\0\0\0": "Minolta MRW",
    b"FOVb\0\0\0\0": "Sigma X3F",
    b"II*\0\x08\0\0\0IIII": "Phase One IIQ",
}


@pytest.mark.parametrize(("start", "name"), OTHERS.items(), ids=OTHERS.values())
def test_a_raw_without_the_extra_names_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, start: bytes, name: str
) -> None:
    broken = failed(load(start + bytes(400)))
    assert broken.kind in (OutcomeKind.CORRUPT, OutcomeKind.UNSUPPORTED)
    assert f"camera RAW ({name})" in broken.reason
    monkeypatch.setitem(sys.modules, "rawpy", None)
    result = failed(load(start + bytes(400)))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert result.reason == f"camera RAW ({name}): `pip install rawpy` to tag it by its embedded preview"


@pytest.mark.parametrize("with_extra", [True, False])
def test_ordinary_tiffs_stay_ordinary(load: Load, monkeypatch: pytest.MonkeyPatch, with_extra: bool) -> None:
    if not with_extra:
        monkeypatch.setitem(sys.modules, "rawpy", None)
    whole = strip(np.asarray(picture()))
    by_a_camera: Directory = {271: (ASCII, b"NIKON CORPORATION\0"), 306: (ASCII, b"2001:02:03 04:05:06\0")}
    with_a_smaller_one = [whole | {330: (LONG, Below([1]))}, strip(STAMP)]
    finished_dng = [whole | {50706: (1, bytes([1, 4, 0, 0]))}]
    for directories in ([whole | by_a_camera], with_a_smaller_one, finished_dng):
        result = loaded(load(tiff(directories)))
        assert result.facts.format == "TIFF"
        assert np.abs(result.pixels.astype(int) - expected(picture()).astype(int)).max() <= 1


def test_directories_that_lead_in_circles_end(load: Load) -> None:
    circle = strip(np.asarray(picture())) | {330: (LONG, Below([0, 0]))}
    assert loaded(load(tiff([circle]))).facts.format == "TIFF"


PLACE: Directory = {
    1: (ASCII, b"N\0"),
    2: (RATIONAL, [48, 1, 51, 1, 30, 1]),
    3: (ASCII, b"W\0"),
    4: (RATIONAL, [2, 1, 0, 1, 0, 1]),
}
CAMERA: Directory = {36867: (ASCII, b"2018:01:02 03:04:05\0"), 36881: (ASCII, b"+05:30\0")}


@pytest.mark.parametrize("preview", [True, False])
def test_the_facts_are_those_of_the_raw(load: Load, preview: bool) -> None:
    data = camera_raw(jpeg(LYING) if preview else None, beneath={34665: CAMERA, 34853: PLACE})
    facts = loaded(load(data)).facts
    assert facts.taken_at == "2018-01-02T03:04:05+05:30"
    assert (facts.latitude, facts.longitude) == (48.8583333, -2.0)


def test_the_facts_of_a_cr3_stand_in_boxes() -> None:
    boxes = b"".join(
        (8 + len(body)).to_bytes(4, "big") + name + body
        for name, body in ((b"CMT2", tiff([CAMERA])), (b"CMT4", tiff([PLACE])))
    )
    facts = image_facts("CR3", (1, 1), stated_exif(b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + boxes))
    assert facts.taken_at == "2018-01-02T03:04:05+05:30"
    assert (facts.latitude, facts.longitude) == (48.8583333, -2.0)


def with_limits(data: bytes, **limits: Any) -> LoadedImage | LoadFailure:
    return PillowLoader(PREPROCESSING, Limits(**limits)).load(file_of(data))


@pytest.mark.parametrize("preview", [True, False])
def test_the_limit_is_on_the_pixels_of_the_raw(preview: bool) -> None:
    data = camera_raw(jpeg(LYING) if preview else None)
    loaded(with_limits(data, max_pixels=SENSOR[0] * SENSOR[1]))
    result = failed(with_limits(data, max_pixels=SENSOR[0] * SENSOR[1] - 1))
    assert result.kind is OutcomeKind.TOO_LARGE
    assert result.reason.startswith("640 x 400")


def test_a_preview_may_be_no_bomb() -> None:
    large = jpeg(Image.new("RGB", (1000, 600)))
    assert failed(with_limits(camera_raw(large), max_pixels=500_000)).kind is OutcomeKind.TOO_LARGE


def test_developing_takes_memory_and_a_preview_little() -> None:
    loaded(with_limits(camera_raw(jpeg(LYING)), max_memory=1_000_000))
    assert failed(with_limits(camera_raw(), max_memory=1_000_000)).kind is OutcomeKind.TOO_LARGE


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_raw_that_breaks_off_is_corrupt_or_says_so(load: Load, share: float) -> None:
    for data in (camera_raw(), camera_raw(jpeg(LYING))):
        result = load(data[: int(len(data) * share)])
        if isinstance(result, LoadedImage):
            assert (loaded(result).note or "").startswith(("damaged:", "shown by its stamp of 12 x 8:"))
        else:
            assert failed(result).kind is OutcomeKind.CORRUPT


def test_a_preview_that_breaks_off_is_shown_as_far_as_it_goes(load: Load) -> None:
    noise = Image.effect_noise((480, 300), 60).convert("RGB")
    preview = jpeg(noise)
    cut = preview[: int(len(preview) * 0.7)]
    result = loaded(load(camera_raw(cut)))
    assert (result.note or "").startswith("damaged: the file ends early; the lower")


def test_of_what_is_developed_to_nothing_the_stamp_is_shown(load: Load) -> None:
    values = mosaic(*SENSOR).tobytes()
    result = loaded(load(camera_raw().replace(values, bytes(len(values)))))
    why = "the file ends early; nothing of the picture is there"
    assert result.note == f"shown by its stamp of 12 x 8: {why}"


def test_what_is_developed_in_part_is_shown_in_part(load: Load) -> None:
    values = mosaic(*SENSOR).tobytes()
    kept = values[: len(values) * 3 // 4]
    result = loaded(load(camera_raw().replace(values, kept.ljust(len(values), b"\0"))))
    assert result.note == "damaged: the file ends early; the lower 25% of the picture is missing"
