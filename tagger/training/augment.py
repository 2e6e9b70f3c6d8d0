"""Pictures shown differently each time, so that a network learns what they show and not their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch.nn import functional

Kind = Literal["photo", "text", "none"]
"""``photo``: a part of it, perhaps mirrored, a little lighter or darker. ``text``: shifted and sized a
little, never mirrored, for what has a left and a right. ``none``: the middle, as it is."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """How far a picture may change: its shown part of the area, the part's sides to each other, its place
    (of what is left over; ``beyond`` the edge, of the side), brightness and contrast."""

    area: tuple[float, float]
    aspect: float
    beyond: float
    mirrored: bool
    light: float


# Cut-outs as Inception was trained with, "Going Deeper with Convolutions" (2014), but larger: few
# pictures of one's own show little when only a tenth of them is left.
_PHOTO: Final = _Ways((0.35, 1.0), 4 / 3, 0.0, True, 0.2)
# Whole, and shifted by an eighth of the side, as four of CIFAR's 32 pixels ("Deep Residual Learning", 2015).
_SMALL_PHOTO: Final = _Ways((1.0, 1.0), 1.0, 0.125, True, 0.1)
_TEXT: Final = _Ways((0.8, 1.2), 1.1, 0.08, False, 0.1)


def source(*numbers: int) -> torch.Generator:
    """Random numbers, on the CPU, that these numbers alone decide."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def middle(pixels: torch.Tensor, crop: int) -> torch.Tensor:
    """The square in the middle, as tagging has it: uint8 [B, S, S, 3] to uint8 [B, crop, crop, 3]."""
    first = (pixels.shape[1] - crop) // 2
    return pixels[:, first : first + crop, first : first + crop]


def varied(pixels: torch.Tensor, crop: int, kind: Kind, random: torch.Generator) -> torch.Tensor:
    """Each picture in a way of its own: uint8 [B, S, S, 3] to uint8 [B, crop, crop, 3], on the same device.

    What it is comes from ``random``, a generator on the CPU, alone.
    """
    if kind == "none":
        return middle(pixels, crop)
    small = pixels.shape[1] == crop
    ways = _TEXT if kind == "text" else _SMALL_PHOTO if small else _PHOTO
    count = len(pixels)
    planes = pixels.permute(0, 3, 1, 2).float()
    parts = _parts(count, crop, ways, random).to(planes.device)
    grid = functional.affine_grid(parts, [count, 3, crop, crop], align_corners=False)
    shown = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    lit = _lit(shown, _between(count, 1 - ways.light, 1 + ways.light, random), random, ways)
    return lit.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def _parts(count: int, side: int, ways: _Ways, random: torch.Generator) -> torch.Tensor:
    """The shown part of each picture, as matrices [B, 2, 3] from its corners to the picture's (-1 to 1)."""
    area = _between(count, *ways.area, random)
    aspect = torch.exp(_between(count, -math.log(ways.aspect), math.log(ways.aspect), random))
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1)
    sides = sides.clamp(max=1.0) if ways.beyond == 0 else sides
    reach = (1 - sides).abs() + 2 * ways.beyond
    places = reach * (2 * torch.rand(count, 2, generator=random) - 1)
    if ways.area == (1.0, 1.0):  # by whole pixels: what lies between would blur the few that there are
        places = (places * side / 2).round() * 2 / side
    mirrored = ways.mirrored & (torch.rand(count, generator=random) < 0.5)
    matrices = torch.zeros(count, 2, 3)
    matrices[:, 0, 0] = torch.where(mirrored, -sides[:, 0], sides[:, 0])
    matrices[:, 1, 1] = sides[:, 1]
    matrices[:, :, 2] = places
    return matrices


def _lit(
    planes: torch.Tensor, brightness: torch.Tensor, random: torch.Generator, ways: _Ways
) -> torch.Tensor:
    contrast = _between(len(planes), 1 - ways.light, 1 + ways.light, random).to(planes.device)
    mean = planes.mean(dim=(1, 2, 3), keepdim=True)
    return (planes - mean) * contrast.view(-1, 1, 1, 1) + mean * brightness.to(planes.device).view(
        -1, 1, 1, 1
    )


def _between(count: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(count, generator=random)
