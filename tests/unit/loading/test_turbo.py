"""Whoever decodes a JPEG, it is the same picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tagger.loading import turbo
from tagger.loading.decode import decode, open_picture, shrink
from tests.photos import EXAMPLES

PHOTOS = sorted(EXAMPLES.glob("*.jpg"))


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where simplejpeg is not installed, or where it does not fit to Pillow."""
    monkeypatch.setattr(turbo, "_fast", lambda: None)


def saved(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    """A photo-like JPEG: smooth, with edges and noise."""
    with Image.open(PHOTOS[0]) as image:
        picture = image.convert("RGB").resize(size).convert(mode)
    file = BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def both(data: bytes, wanted: int) -> tuple[Image.Image | None, Image.Image]:
    """Ours, and what Pillow loads."""
    one, other = open_picture(data).image, open_picture(data).image
    shrink(one, wanted), shrink(other, wanted)
    other.load()
    return turbo.decoded(one, data), other


@pytest.mark.parametrize("wanted", [10_000, 300, 64])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved((300, 200), subsampling=subsampling, **more), id=f"{subsampling} {more}")
        for subsampling in ("4:4:4", "4:2:2", "4:2:0")
        for more in ({}, {"progressive": True}, {"restart_marker_blocks": 3}, {"optimize": True})
    ]
    + [pytest.param(saved(size), id=f"{size}") for size in ((1, 1), (7, 3), (641, 479), (2000, 1501))],
)
def test_it_is_the_picture_that_pillow_loads(data: bytes, wanted: int) -> None:
    ours, theirs = both(data, wanted)
    assert ours is not None and ours.mode == theirs.mode and ours.size == theirs.size
    assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    turned = [picture.transpose(Image.Transpose.TRANSPOSE).reduce(2) for picture in (ours, theirs)]
    assert np.array_equal(*map(np.asarray, turned)), "and it can be worked with"


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_with_and_without_it_is_the_same(photo: Path, request: pytest.FixtureRequest) -> None:
    def picture() -> np.ndarray[Any, Any]:
        opened = open_picture(photo.read_bytes())
        shrink(opened.image, 512)
        return np.asarray(decode(opened, 512)[0])

    ours = picture()
    request.getfixturevalue("without")
    assert np.array_equal(ours, picture())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved((300, 200), "L"), id="grey"),
        pytest.param(saved((300, 200), "CMYK"), id="inks"),
        pytest.param(saved((300, 200))[:-3000] + b"\xff\xd9", id="cut off, with an end"),
        pytest.param(saved((300, 200))[:-3000], id="cut off"),
    ],
)
def test_what_is_not_plain_is_left_to_pillow(data: bytes) -> None:
    assert turbo.decoded(open_picture(data).image, data) is None


def test_a_damaged_file_is_shown_as_pillow_shows_it_or_left_to_it() -> None:
    """Nothing that Pillow refuses is accepted; some damage neither of them notices."""
    sound, random = saved((300, 200)), np.random.default_rng(1)
    taken = 0
    for _ in range(200):
        data = bytearray(sound)
        place = int(random.integers(700, len(data) - 50))
        data[place : place + 40] = random.bytes(40)
        try:
            opened = open_picture(bytes(data))
            ours = turbo.decoded(opened.image, opened.data)
        except Exception:
            continue  # its header is broken
        if ours is not None:
            opened.image.load()
            assert np.array_equal(np.asarray(ours), np.asarray(opened.image))
            taken += 1
    assert 0 < taken < 200, "else this shows nothing"


def test_of_several_pictures_in_a_file_it_is_the_one_that_is_asked_for() -> None:
    file = BytesIO()
    first, second = (Image.new("RGB", (64, 48), colour) for colour in ("red", "blue"))
    first.save(file, "MPO", save_all=True, append_images=[second])
    opened = open_picture(file.getvalue())
    for frame in (0, 1):
        opened.image.seek(frame)
        ours = turbo.decoded(opened.image, file.getvalue())
        assert ours is not None and np.array_equal(np.asarray(ours), np.asarray(opened.image.copy()))


def test_a_way_into_pillow_that_does_not_fit_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turbo, "_by_simplejpeg", lambda: lambda data, size: Image.new("RGB", size))
    turbo._fast.cache_clear()
    try:
        assert turbo._fast() is None
    finally:
        turbo._fast.cache_clear()
