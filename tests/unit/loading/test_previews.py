"""A large photo is shown by the preview beside it, where that is the same picture and sound."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base
from PIL.Image import Image as Picture

from tagger.loading import PillowLoader
from tagger.values import FileContent, LoadedImage, Preprocessing
from tests.photos import EXAMPLES
from tests.unit.loading.previews import FULL_HD, STEREO, camera_jpeg

PREPROCESSING = Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def load(data: bytes) -> LoadedImage:
    loaded = PillowLoader(PREPROCESSING).load(FileContent(1, "file:///a.jpg", data, b"d" * 32))
    assert isinstance(loaded, LoadedImage), loaded
    return loaded


def plain(size: tuple[int, int], colour: tuple[int, int, int]) -> Picture:
    return Image.new("RGB", size, colour)


def colour_of(loaded: LoadedImage) -> str:
    red, _, blue = loaded.pixels.reshape(-1, 3).mean(axis=0)
    return "red" if red > blue else "blue"


def test_the_preview_is_shown_and_the_facts_are_the_photos() -> None:
    loaded = load(camera_jpeg(plain((1200, 800), RED), plain((240, 160), BLUE)))
    assert colour_of(loaded) == "blue", "else the photo was decoded"
    assert (loaded.facts.width, loaded.facts.height) == (1200, 800)
    assert loaded.note is None


@pytest.mark.parametrize(
    ("preview", "kind", "why"),
    [
        ((240, 180), FULL_HD, "of another shape: with bars, or of another picture"),
        ((120, 80), FULL_HD, "smaller than what is wanted"),
        ((900, 600), FULL_HD, "hardly smaller than the photo"),
        ((240, 160), STEREO, "the other eye's picture"),
        ((240, 160), 0, "of no kind that is told"),
    ],
)
def test_another_picture_is_not_shown(preview: tuple[int, int], kind: int, why: str) -> None:
    assert colour_of(load(camera_jpeg(plain((1200, 800), RED), plain(preview, BLUE), kind))) == "red", why


TAKEN = {Base.DateTimeOriginal: "2024:05:01 10:00:00", Base.DateTime: "2024:05:01 10:00:00"}


@pytest.mark.parametrize(
    ("exif", "shown"),
    [
        (TAKEN, "blue"),
        (TAKEN | {Base.DateTime: "2024:06:11 20:15:00"}, "red"),
        (TAKEN | {Base.ExifImageWidth: 1200, Base.ExifImageHeight: 800}, "blue"),
        (TAKEN | {Base.ExifImageWidth: 4000, Base.ExifImageHeight: 3000}, "red"),
    ],
)
def test_a_photo_that_was_changed_since_is_shown_itself(exif: dict[int, object], shown: str) -> None:
    assert colour_of(load(camera_jpeg(plain((1200, 800), RED), plain((240, 160), BLUE), exif=exif))) == shown


@pytest.mark.parametrize("lost", [1000, 30])
def test_a_preview_that_is_not_whole_is_not_shown(lost: int) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 240, 3), np.uint8))
    data = camera_jpeg(plain((1200, 800), RED), noise)[:-lost]
    loaded = load(data)
    assert colour_of(loaded) == "red"
    assert loaded.pixels.std(axis=(0, 1)).max() < 2, "one colour, as the photo is"
    assert loaded.note is None, "the photo itself is whole"


def test_what_stands_where_the_preview_should_be_does_no_harm() -> None:
    data = camera_jpeg(plain((1200, 800), RED), plain((240, 160), BLUE))
    at = data.rindex(b"\xff\xd8\xff")
    assert colour_of(load(data[:at] + b"\0" * 400 + data[at + 400 :])) == "red"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_the_photo_is(orientation: int) -> None:
    with Image.open(EXAMPLES / "ocelot.jpg") as image:
        photo = image.convert("RGB").resize((1200, 800))
    data = camera_jpeg(
        photo, photo.resize((240, 160), Image.Resampling.LANCZOS), exif={Base.Orientation: orientation}
    )
    with_preview = load(data)
    without = load(data[: data.rindex(b"\xff\xd8\xff")])
    assert (with_preview.facts.width, with_preview.facts.height) == (
        without.facts.width,
        without.facts.height,
    )
    assert np.abs(with_preview.pixels.astype(int) - without.pixels).mean() < 6
