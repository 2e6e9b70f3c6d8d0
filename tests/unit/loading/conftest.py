"""A picture whose every part can be told apart, and the loader that the tests share."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tagger.loading import PillowLoader
from tagger.values import FileContent, LoadedImage, LoadFailure, Preprocessing

PREPROCESSING = Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3)

Load = Callable[[bytes], LoadedImage | LoadFailure]
Pixels = NDArray[np.uint8]


def picture(width: int = 180, height: int = 120) -> Image.Image:
    """Smooth, coloured, and like itself in no orientation."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = x / max(width - 1, 1), y / max(height - 1, 1)
    red, green, blue = 40 + 180 * x, 220 - 170 * y, 60 + 120 * x * y + 40 * (x > 0.5) * (y < 0.4)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def file_of(data: bytes, image_id: int = 7) -> FileContent:
    return FileContent(image_id, "file:///a.jpg", data, hashlib.sha256(data).digest())


def expected(image: Image.Image, preprocessing: Preprocessing = PREPROCESSING) -> Pixels:
    """The plain way: resize the shorter side, then cut out the centre."""
    width, height = image.size
    short = min(image.size)
    resized = image.resize(
        (int(preprocessing.resize * width / short), int(preprocessing.resize * height / short)),
        Image.Resampling.BICUBIC,
    )
    left, top = (round((side - preprocessing.crop) / 2) for side in resized.size)
    cut = resized.crop((left, top, left + preprocessing.crop, top + preprocessing.crop))
    return np.asarray(cut.convert("RGB"))


def difference(one: Pixels, other: Pixels) -> float:
    """The mean of the absolute differences, on the scale of 0 to 255."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())


def loaded(result: LoadedImage | LoadFailure) -> LoadedImage:
    assert isinstance(result, LoadedImage), result
    assert result.image_id == 7
    assert result.pixels.shape == (PREPROCESSING.crop, PREPROCESSING.crop, 3)
    assert result.pixels.dtype == np.uint8
    return result


def failed(result: LoadedImage | LoadFailure) -> LoadFailure:
    assert isinstance(result, LoadFailure), result.note
    assert result.image_id == 7
    assert len(result.reason.split()) >= 3, "a reason is a sentence, not the name of an exception"
    assert "Error" not in result.reason
    return result


SIZE = (90, 80)


def colour_of(load: Load, data: bytes) -> tuple[int, int, int]:
    """The colour that a picture of one colour comes out in."""
    pixels = loaded(load(data)).pixels.reshape(-1, 3)
    assert np.ptp(pixels.astype(int), axis=0).max() <= 4
    red, green, blue = pixels.mean(axis=0)
    return round(red), round(green), round(blue)


def solid(load: Load, image: Image.Image, kind: str, **options: Any) -> tuple[int, int, int]:
    return colour_of(load, saved(image, kind, **options))


def near(colour: tuple[int, int, int], wanted: tuple[int, int, int], by: int = 4) -> bool:
    return all(abs(one - other) <= by for one, other in zip(colour, wanted, strict=True))


@pytest.fixture
def loader() -> PillowLoader:
    return PillowLoader(PREPROCESSING)


@pytest.fixture
def load(loader: PillowLoader) -> Load:
    return lambda data: loader.load(file_of(data))
