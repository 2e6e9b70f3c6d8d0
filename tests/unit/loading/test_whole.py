"""Pictures whole, as people want them: upright, of their own shape, and never larger than they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base

from tagger.errors import ModelError
from tagger.loading import PillowLoader
from tagger.loading.geometry import TURNS, fitted
from tagger.values import Limits, LoadedImage, OutcomeKind, Preprocessing, Whole
from tests.corpus.build import photo_cases
from tests.corpus.case import Case
from tests.corpus.handmade import handmade_cases
from tests.corpus.sound import sound_cases
from tests.photos import EXAMPLES
from tests.unit.loading.conftest import difference, failed, file_of, picture, saved
from tests.unit.loading.previews import camera_jpeg

SIDE = 64
BACK = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""What turns an upright picture to how each orientation stores it."""


def shown(data: bytes, side: int = SIDE) -> LoadedImage:
    result = PillowLoader(Whole(side)).load(file_of(data))
    assert isinstance(result, LoadedImage), result
    assert result.pixels.dtype == np.uint8 and result.pixels.shape[2] == 3
    height, width = result.pixels.shape[:2]
    assert min(height, width) >= 1 and max(height, width) <= side
    return result


def expected(image: Image.Image, side: int = SIDE) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The plain way."""
    size = fitted(image.size, side)
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_upright_in_every_orientation(orientation: int) -> None:
    upright = picture(300, 180)
    stored = upright.transpose(TURNS[BACK[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    for kind, options in (("PNG", {}), ("JPEG", {"quality": 95})):
        image = shown(saved(stored, kind, exif=exif, **options))
        assert image.pixels.shape == (38, 64, 3)
        assert (image.facts.width, image.facts.height) == (300, 180)
        assert difference(np.asarray(image.pixels), expected(upright)) < 1.5


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((640, 64), (6, 64)),
        ((64, 640), (64, 6)),
        ((3000, 3), (1, 64)),
        ((3, 3000), (64, 1)),
        ((20_000, 20), (1, 64)),
        ((1, 5000), (64, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_panoramas_have_a_pixel_at_least(
    size: tuple[int, int], shape: tuple[int, int], kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    image = shown(saved(picture(*size), kind, exif=exif))
    assert image.pixels.shape[:2] == (shape if orientation == 1 else shape[::-1])


@pytest.mark.parametrize("size", [(64, 64), (64, 40), (30, 50), (1, 1), (63, 2)])
def test_small_pictures_are_not_enlarged_nor_touched(size: tuple[int, int]) -> None:
    image = picture(*size)
    assert np.array_equal(shown(saved(image, "PNG")).pixels, np.asarray(image))


def test_a_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same() -> None:
    """Decoded whole it would need more memory than there is."""
    photo = picture(1600, 1200)
    loader = PillowLoader(Whole(160), Limits(max_memory=1_000_000))
    image = loader.load(file_of(saved(photo, "JPEG", quality=95)))
    assert isinstance(image, LoadedImage), image
    assert image.pixels.shape == (120, 160, 3)
    assert difference(np.asarray(image.pixels), expected(photo, 160)) < 1
    assert failed(loader.load(file_of(saved(photo, "PNG")))).kind is OutcomeKind.TOO_LARGE


@pytest.mark.parametrize(("preview", "taken"), [((240, 160), True), ((79, 53), False)])
def test_the_cameras_preview_is_shown_where_it_is_large_enough(preview: tuple[int, int], taken: bool) -> None:
    red, blue = (Image.new("RGB", (1200, 800), colour) for colour in ((200, 30, 30), (30, 30, 200)))
    image = shown(camera_jpeg(red, blue.resize(preview)))
    assert image.pixels.shape == (43, 64, 3)
    assert bool(image.pixels[..., 2].mean() > image.pixels[..., 0].mean()) is taken


def test_of_a_damaged_picture_the_sound_rows_are_shown() -> None:
    data = (EXAMPLES / "ocelot.jpg").read_bytes()
    with Image.open(EXAMPLES / "ocelot.jpg") as photo:
        above = photo.crop((0, 0, photo.width, round(photo.height * 0.6)))
        image = shown(data[: round(len(data) * 0.7)])
        assert image.note is not None and "the lower" in image.note
        height, width = image.pixels.shape[:2]
        assert width == SIDE and 0.5 < height / (SIDE * photo.height / photo.width) < 1
        assert np.abs(image.pixels[0].astype(int) - expected(above)[0]).mean() < 8
        assert image.facts.height == photo.height
    assert "of the picture is there" in failed(PillowLoader(Whole(SIDE)).load(file_of(data[:20_000]))).reason


@pytest.mark.parametrize(
    "case", [*sound_cases(), *handmade_cases(), *photo_cases()], ids=lambda case: str(case.name)
)
def test_every_format_is_shown_as_it_is_for_a_model(case: Case) -> None:
    """The same outcome and facts; of one colour on the average where it is square."""
    file = file_of(case.data)
    whole = PillowLoader(Whole(SIDE)).load(file)
    square = PillowLoader(Preprocessing(SIDE, SIDE, "bicubic", (0.0,) * 3, (1.0,) * 3)).load(file)
    assert type(whole) is type(square) and whole.facts == square.facts
    if isinstance(whole, LoadedImage) and isinstance(square, LoadedImage):
        assert whole.note == square.note
        if whole.facts.width == whole.facts.height:
            colours = (np.asarray(each.pixels).reshape(-1, 3).mean(axis=0) for each in (whole, square))
            assert np.abs(np.subtract(*colours)).max() < 12


def test_transparency_is_over_white() -> None:
    image = shown(saved(Image.new("RGBA", (100, 50), (10, 20, 30, 0)), "PNG"))
    assert image.pixels.shape == (32, 64, 3) and image.pixels.min() == 255


def test_the_limits_are_the_same() -> None:
    loader = PillowLoader(Whole(SIDE), Limits(max_pixels=20_000))
    assert failed(loader.load(file_of(saved(picture(), "PNG")))).kind is OutcomeKind.TOO_LARGE


def test_a_box_without_room_is_refused() -> None:
    with pytest.raises(ModelError, match="0 pixels"):
        PillowLoader(Whole(0))
