"""What of a picture is shown, and how large: a model's square from its middle, or all of it for people.

The two differ in nothing else. Each says how small a picture may be decoded before it is resampled, and
which part of it becomes how many pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from PIL.Image import Resampling

from tagger.errors import ModelError
from tagger.loading.geometry import Box, Size, crop_box, fitted
from tagger.values import Preprocessing, Whole

_KERNELS = {"bilinear": Resampling.BILINEAR, "bicubic": Resampling.BICUBIC}

# How many times larger than wanted a JPEG's own scaling must leave a picture to the exact kernel. For
# a network 2, as right as full decoding: measured with EfficientNet-Lite0 on ImageNet photos enlarged to
# 3,000 pixels, log-loss 0.714 rises by 0.000 at 1/4 and by 0.006 at 1/8, which would save a seventh
# of the time on 12 megapixels.
_GAP_FOR_NETWORKS = 2.0
# For people 1.25: of 12 megapixels 320 and 1600 pixels take 19 and 33 ms instead of 22 and 46 with 2, and
# differ from full decoding by less (40 to 50 dB) than by being kept as a JPEG (35 to 40).
_GAP_FOR_PEOPLE = 1.25


class Framing(Protocol):
    """How a picture is shown."""

    @property
    def kernel(self) -> Resampling:
        """What resamples it."""
        ...

    def least(self, stored: Size) -> int:
        """How small a picture of this width and height may be decoded, or shown by a preview: the pixels
        of its shorter side."""
        ...

    def part(self, stored: Size, orientation: int) -> tuple[Box, Size]:
        """Which part of the stored picture becomes how many pixels, (width, height) as it is stored."""
        ...


def framing_of(want: Preprocessing | Whole) -> Framing:
    """How a picture is shown as it is wanted.

    Raises:
        ModelError: it cannot be done.
    """
    if not isinstance(want, Whole):
        return _Middle(want)
    if want.side < 1:
        raise ModelError(f"no picture fits into {want.side} pixels")
    return _Fitted(want.side)


class _Middle:
    """The square that a model's weights want."""

    def __init__(self, want: Preprocessing) -> None:
        if not 0 < want.crop <= want.resize:
            raise ModelError(f"a crop of {want.crop} does not fit into {want.resize} pixels")
        self.kernel = _KERNELS[want.interpolation]
        self._want = want
        self._least = round(want.resize * _GAP_FOR_NETWORKS)

    def least(self, stored: Size) -> int:
        return self._least

    def part(self, stored: Size, orientation: int) -> tuple[Box, Size]:
        side = self._want.crop
        return crop_box(stored, orientation, self._want.resize, side), (side, side)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """All of it within a square, which is the same whichever way it is turned."""

    side: int
    kernel: Resampling = Resampling.BICUBIC

    def least(self, stored: Size) -> int:
        shorter, longer = sorted(stored)
        return math.ceil(shorter * min(1.0, self.side / longer) * _GAP_FOR_PEOPLE)

    def part(self, stored: Size, orientation: int) -> tuple[Box, Size]:
        return (0.0, 0.0, float(stored[0]), float(stored[1])), fitted(stored, self.side)
