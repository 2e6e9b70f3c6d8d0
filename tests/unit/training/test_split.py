"""No picture is on both sides, in whatever form it was saved."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tagger.training import split
from tests.photos import EXAMPLES

PHOTOS = sorted(path for path in EXAMPLES.glob("*.jpg") if not path.name.startswith(("african", "portrait-")))


def _square(image: Image.Image) -> np.ndarray:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    middle = image.convert("RGB").crop((left, top, left + side, top + side))
    return np.asarray(middle.resize((256, 256), Image.Resampling.BICUBIC))


def _again(image: Image.Image, scale: float, quality: int) -> Image.Image:
    file = BytesIO()
    size = round(image.width * scale), round(image.height * scale)
    image.convert("RGB").resize(size).save(file, "JPEG", quality=quality)
    return Image.open(file)


@pytest.mark.parametrize(("scale", "quality"), [(1.0, 60), (0.5, 85), (1.0, 30)])
def test_a_picture_saved_anew_is_the_same_and_others_are_not(scale: float, quality: int) -> None:
    images = [Image.open(path) for path in PHOTOS]
    pixels = np.stack(
        [_square(image) for image in images + [_again(each, scale, quality) for each in images]]
    )
    groups = split.alike(pixels, np.arange(len(pixels)))
    assert groups.tolist() == [*range(len(PHOTOS)), *range(len(PHOTOS))]


def test_what_is_only_of_one_kind_is_not_the_same() -> None:
    """Pages of text, and plain colours."""
    pixels = np.full((40, 128, 128, 3), 255, np.uint8)
    for row in range(20):
        drawn = Image.fromarray(pixels[row])
        for line in range(4, 120, 12):
            ImageDraw.Draw(drawn).text((4, line), f"{row * line * 7919:020d}", fill="black")
        pixels[row] = np.asarray(drawn)
        pixels[20 + row] = (200, 10 * row, 255 - 10 * row)
    assert split.alike(pixels, np.arange(40)).tolist() == list(range(40))


def test_likeness_is_no_chain() -> None:
    """Of pictures that change little by little the last is not the first."""
    random = np.random.default_rng(0)
    first, last = random.integers(0, 255, (2, 32, 32, 3)).astype(float)
    steps = np.stack([first + (last - first) * step / 60 for step in range(61)]).astype(np.uint8)
    groups = split.alike(steps, np.arange(61))
    assert groups[1] == 0 and groups[60] != 0


def test_only_the_rows_asked_for_are_compared() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    pixels[3] = pixels[1]
    assert split.alike(pixels, np.array([0, 1, 3])).tolist() == [0, 1, 1]


@st.composite
def libraries(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count, labels = draw(st.integers(2, 60)), draw(st.integers(1, 5))
    row = st.lists(st.booleans(), min_size=labels, max_size=labels)
    truth = np.array(draw(st.lists(row, min_size=count, max_size=count)), np.int8)
    groups = np.array(draw(st.lists(st.integers(0, count), min_size=count, max_size=count)))
    return truth, groups


@given(libraries(), st.floats(0.1, 0.5), st.integers(0, 99))
def test_a_group_is_on_one_side_and_a_label_with_two_groups_on_both(
    library: tuple[np.ndarray, np.ndarray], share: float, seed: int
) -> None:
    truth, groups = library
    out = split.held_out(truth, groups, share, seed)
    assert out.tolist() == split.held_out(truth, groups, share, seed).tolist()
    assert not set(groups[out]) & set(groups[~out])


@given(st.lists(st.integers(2, 40), min_size=2, max_size=6), st.floats(0.1, 0.5), st.integers(0, 99))
def test_each_label_gives_its_share(sizes: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    truth = (labels[:, None] == np.arange(len(sizes))).astype(np.int8)
    out = split.held_out(truth, np.arange(len(labels)), share, seed)
    for label, size in enumerate(sizes):
        assert out[labels == label].sum() == max(1, round(share * size))


def test_a_label_all_of_whose_pictures_are_one_is_learned_from() -> None:
    truth = np.eye(2, dtype=np.int8)[[0, 0, 0, 1, 1, 1]]
    out = split.held_out(truth, np.array([7, 7, 7, 1, 2, 3]), 0.3, 0)
    assert not out[:3].any()
    assert out[3:].sum() == 1
