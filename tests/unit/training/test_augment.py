"""Pictures are varied within bounds, by the seed alone."""

from __future__ import annotations

import pytest
import torch

from tagger.training import augment
from tagger.training.augment import Kind
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here


def _half_dark(count: int, side: int) -> torch.Tensor:
    """Dark on the left, light on the right."""
    pixels = torch.full((count, side, side, 3), 40, dtype=torch.uint8)
    pixels[:, :, side // 2 :] = 200
    return pixels


@pytest.mark.parametrize("kind", ["photo", "text", "none"])
@pytest.mark.parametrize(("side", "crop"), [(64, 56), (32, 32)])
def test_the_seed_decides(kind: Kind, side: int, crop: int) -> None:
    pixels = torch.randint(0, 255, (6, side, side, 3), dtype=torch.uint8, generator=augment.source(1))
    first, again, other = (augment.varied(pixels, crop, kind, augment.source(seed)) for seed in (3, 3, 4))
    assert first.shape == (6, crop, crop, 3) and first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind == "none")


def test_the_middle_is_what_tagging_sees() -> None:
    pixels = torch.arange(64 * 64 * 3).remainder(251).to(torch.uint8).view(1, 64, 64, 3)
    assert torch.equal(augment.middle(pixels, 56), pixels[:, 4:60, 4:60])


@pytest.mark.parametrize("side", [32, 64])
def test_text_is_never_mirrored_and_photos_are_half_the_time(side: int) -> None:
    pixels = _half_dark(200, side)
    crop = min(side, 56)

    def mirrored(kind: Kind) -> int:
        shown = augment.varied(pixels, crop, kind, augment.source(0)).float()
        left, right = shown[:, :, : crop // 4].mean((1, 2, 3)), shown[:, :, -crop // 4 :].mean((1, 2, 3))
        return int((left > right + 20).sum())

    assert mirrored("text") == 0
    assert 50 < mirrored("photo") < 150


def test_small_photos_are_shifted_by_whole_pixels_and_not_blurred() -> None:
    pixels = torch.zeros(50, 32, 32, 3, dtype=torch.uint8)
    pixels[:, 16, 16] = 255
    shown = augment.varied(pixels, 32, "photo", augment.source(0)).float().amax(3)
    bright = (shown > 0.7 * shown.amax((1, 2), keepdim=True)).sum((1, 2))
    assert (bright == 1).all()
    assert len({int(each.argmax()) for each in shown}) > 10
