"""The photos that ship with Tagger: every one is shown, and each variant like its plain twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagger.values import ImageFacts, LoadedImage
from tests.unit.loading.conftest import Load, Pixels, difference, expected, loaded

PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
FORMATS = {".avif": "AVIF", ".heic": "HEIF", ".jpg": "JPEG", ".webp": "WEBP"}
NAMES = sorted(path.name for path in PHOTOS.iterdir() if path.suffix in FORMATS)
DAMAGED = "african_elephants_truncated_file.jpg"

# Width and height as seen, when and where taken, of photos that tell more than their size.
FACTS = {
    "african_elephants.jpg": ImageFacts(1024, 768, "JPEG", "2010-08-04T08:43:15"),
    "african_elephants_with_exif_orientation.jpg": ImageFacts(1024, 768, "JPEG", "2010-08-04T08:43:15"),
    "african_elephants_bw.jpg": ImageFacts(1024, 768, "JPEG"),
    "african_elephants_cmyk.jpg": ImageFacts(1024, 768, "JPEG"),
    "book-beside-flowers.jpg": ImageFacts(768, 1024, "JPEG"),
    "cyclamen_persicum.jpg": ImageFacts(512, 848, "JPEG", "2007-12-06T14:33:18"),
    "portrait.jpg": ImageFacts(840, 700, "JPEG"),
    "portrait-orientation-6.jpg": ImageFacts(840, 700, "JPEG"),
    "8bit-sRGB.avif": ImageFacts(1024, 684, "AVIF"),
    "IMG_2682.heic": ImageFacts(1024, 768, "HEIF", "2019-03-21T11:04:22", 41.2203, -96.071625),
    "denali.webp": ImageFacts(600, 315, "WEBP", "2010-08-13T21:00:01"),
    "thompson-springs.jpg": ImageFacts(150, 103, "JPEG", "2022-01-10T15:15:44", 39.115, -108.4009683),
}


def photo(load: Load, name: str) -> LoadedImage:
    return loaded(load((PHOTOS / name).read_bytes()))


def brightness(pixels: Pixels) -> Pixels:
    return (pixels @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_every_photo_is_shown(load: Load, name: str) -> None:
    result = photo(load, name)
    assert result.facts.format == FORMATS[Path(name).suffix]
    assert (result.note is not None) == (name == DAMAGED)
    assert result.pixels.std() > 20, "a picture, and not a plain colour"


@pytest.mark.parametrize("name", FACTS)
def test_the_facts_of_a_photo(load: Load, name: str) -> None:
    assert photo(load, name).facts == FACTS[name]


def test_all_variants_are_there() -> None:
    assert len(NAMES) == 30
    assert set(FACTS) | {DAMAGED} <= set(NAMES)


@pytest.mark.parametrize(
    ("variant", "plain", "at_most"),
    [
        ("african_elephants_cmyk.jpg", "african_elephants.jpg", 2.0),
        ("african_elephants_with_exif_orientation.jpg", "african_elephants.jpg", 2.0),
        ("portrait-orientation-6.jpg", "portrait.jpg", 3.0),
    ],
)
def test_inks_and_turns_show_the_same(load: Load, variant: str, plain: str, at_most: float) -> None:
    one, other = photo(load, variant).pixels, photo(load, plain).pixels
    assert difference(one, other) < at_most
    assert difference(np.rot90(one, 2), other) > 5 * at_most, "the measure tells pictures apart"


def test_grey_is_the_brightness_of_the_coloured(load: Load) -> None:
    grey, coloured = (photo(load, f"african_elephants{suffix}.jpg").pixels for suffix in ("_bw", ""))
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    assert difference(brightness(grey), brightness(coloured)) < 4


def test_a_photo_that_breaks_off_is_shown_as_far_as_it_goes(load: Load) -> None:
    whole, damaged = photo(load, "african_elephants.jpg"), photo(load, DAMAGED)
    assert damaged.note == ("damaged: the file ends early; the lower 8% of the picture is missing")
    assert damaged.facts == whole.facts
    with Image.open(PHOTOS / "african_elephants.jpg") as image:
        upper = expected(image.crop((0, 0, image.width, round(image.height * 0.92))))
    assert difference(damaged.pixels, upper) < 8
    assert difference(damaged.pixels, whole.pixels) > 20, "the lower part is not filled with grey"
