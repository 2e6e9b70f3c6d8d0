"""The fast resampling gives Pillow's pixels, or is left alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tagger.loading import resize as room
from tagger.loading.resize import resize
from tests.photos import EXAMPLES

BOX = (40.5, 20.25, 300.0, 279.75)


@pytest.fixture(autouse=True)
def looked_at_anew() -> Iterator[None]:
    room._fast.cache_clear()
    yield
    room._fast.cache_clear()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBa", "LAB"])
@pytest.mark.parametrize("kernel", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
def test_the_pixels_are_pillows(mode: str, kernel: Image.Resampling) -> None:
    with Image.open(EXAMPLES / "ocelot.jpg") as image:
        photo = image.resize((500, 375))
    picture = photo.convert("RGBA").convert("RGBa") if mode == "RGBa" else photo
    picture = Image.merge("LAB", photo.split()) if mode == "LAB" else picture
    picture = picture if picture.mode == mode else picture.convert(mode)
    found = resize(picture, (224, 200), kernel, BOX)
    expected = picture.resize((224, 200), kernel, box=BOX)
    assert (found.mode, found.size) == (mode, (224, 200))
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(expected))
    assert difference.mean() < 0.5 and difference.max() < 16


def test_it_is_there_where_it_has_a_wheel() -> None:
    pytest.importorskip("cykooz_resizer", reason="no wheel for this machine")
    assert room._fast() is not None


def test_without_it_pillow_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    assert room._fast() is None
    picture = Image.linear_gradient("L")
    found = resize(picture, (32, 32), Image.Resampling.BICUBIC, (0, 0, 256, 256))
    assert np.array_equal(found, picture.resize((32, 32), Image.Resampling.BICUBIC))


def test_one_that_gives_other_pixels_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_by_cykooz", lambda: lambda image, size, kernel, box: image.resize(size))
    assert room._fast() is None


_ENLARGED = """
import numpy as np
from PIL import Image
from tagger.loading.resize import resize
for size, side, box in (
    ((300, 197), 260, (62.16216216216216, 10.794520547945206, 237.83783783783784, 186.20547945205482)),
    ((293, 64), 320, (114.4, 0.0, 178.4, 64.0)),
    ((207, 24), 232, (91.44827586206897, 0.0, 115.44827586206897, 24.0)),
):
    picture = Image.effect_noise(size, 40).convert("RGB")
    for kernel in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
        found = resize(picture, (side, side), kernel, box)
        expected = picture.resize((side, side), kernel, box=box)
        assert np.array_equal(found, expected)
"""


def test_a_picture_that_is_enlarged_does_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", _ENLARGED], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
