"""EfficientNet-Lite, variants 0 to 2.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019), in
the form that Google published for mobile devices in 2020: no squeeze-and-excitation, ReLU6 for
swish, the stem, the head and the first and last stage not scaled.

Attributes are named as the published state dicts name them, underscores included, so that their
keys fit without a translation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from tagger.errors import ModelError

# TensorFlow's batch normalisation as the checkpoints were trained: epsilon 1e-3, decay 0.99.
_BN_EPSILON: Final = 1e-3
_BN_MOMENTUM: Final = 0.01
_STEM_WIDTH: Final = 32
_HEAD_WIDTH: Final = 1280


@dataclass(frozen=True, slots=True)
class _Variant:
    """The compound scaling of one variant; ``resolution`` is the side of the input in pixels."""

    width: float
    depth: float
    resolution: int
    dropout: float


@dataclass(frozen=True, slots=True)
class _Stage:
    """A run of equal blocks: only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    width: int


_VARIANTS: Final = {
    "efficientnet-lite0": _Variant(1.0, 1.0, 224, 0.2),
    "efficientnet-lite1": _Variant(1.0, 1.1, 240, 0.2),
    "efficientnet-lite2": _Variant(1.1, 1.2, 260, 0.3),
}

_STAGES: Final = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, width=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, width=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, width=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, width=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, width=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, width=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, width=320),
)


def create(architecture: str, classes: int) -> nn.Module:
    """An untrained network of that variant for ``classes`` classes.

    Raises:
        ModelError: the family has no such variant here.
    """
    try:
        variant = _VARIANTS[architecture]
    except KeyError:
        raise ModelError(
            f"EfficientNet-Lite has no variant {architecture}; it has {', '.join(_VARIANTS)}."
        ) from None
    return EfficientNetLite(variant, classes)


class EfficientNetLite(nn.Module):
    """The network: normalised pixels [B, 3, S, S] to logits [B, C] and features [B, 1280].

    S is the variant's resolution: paddings are worked out for it when the network is built.
    """

    def __init__(self, variant: _Variant, classes: int) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, _STEM_WIDTH, kernel=3, stride=2, side=variant.resolution)
        self._bn0 = _batch_norm(_STEM_WIDTH)
        self._blocks = nn.ModuleList(_blocks(variant, side=_halved(variant.resolution)))
        last_width = _scaled_width(_STAGES[-1].width, variant.width)
        self._conv_head = nn.Conv2d(last_width, _HEAD_WIDTH, kernel_size=1, bias=False)
        self._bn1 = _batch_norm(_HEAD_WIDTH)
        self._dropout = nn.Dropout(variant.dropout)
        self._fc = nn.Linear(_HEAD_WIDTH, classes)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [B, C] and features [B, 1280], in the dtype of the input."""
        x = functional.relu6(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        features = x.mean(dim=(2, 3))
        return self._fc(self._dropout(features)), features


class _Block(nn.Module):
    """Expand by a 1x1 convolution, filter by channel, project; added to its input if it fits."""

    def __init__(self, width_in: int, width_out: int, stage: _Stage, stride: int, side: int) -> None:
        super().__init__()
        inner = width_in * stage.expansion
        self._expands = stage.expansion != 1
        self._is_residual = stride == 1 and width_in == width_out
        if self._expands:
            self._expand_conv = nn.Conv2d(width_in, inner, kernel_size=1, bias=False)
            self._bn0 = _batch_norm(inner)
        self._depthwise_conv = _SameConv(inner, inner, stage.kernel, stride, side, groups=inner)
        self._bn1 = _batch_norm(inner)
        self._project_conv = nn.Conv2d(inner, width_out, kernel_size=1, bias=False)
        self._bn2 = _batch_norm(width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        out: torch.Tensor = self._bn2(self._project_conv(inner))
        return out + x if self._is_residual else out


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME for an input of ``side`` x ``side`` pixels.

    That padding is lopsided where an even side is halved: the extra row and column stand at the
    end. PyTorch's own padding is even on both ends and would shift the picture by a pixel.
    """

    def __init__(
        self, width_in: int, width_out: int, kernel: int, stride: int, side: int, groups: int = 1
    ) -> None:
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        before, after = total // 2, total - total // 2
        super().__init__(
            width_in,
            width_out,
            kernel,
            stride,
            padding=before if before == after else 0,
            groups=groups,
            bias=False,
        )
        self._lopsided = None if before == after else (before, after, before, after)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        padded = input if self._lopsided is None else functional.pad(input, self._lopsided)
        return super().forward(padded)


def _blocks(variant: _Variant, side: int) -> list[_Block]:
    """All blocks in order; ``side`` is that of the stem's output in pixels."""
    blocks: list[_Block] = []
    width_in = _STEM_WIDTH
    for stage in _STAGES:
        width_out = _scaled_width(stage.width, variant.width)
        for index in range(_scaled_repeats(stage, variant.depth)):
            stride = stage.stride if index == 0 else 1
            blocks.append(_Block(width_in, width_out, stage, stride, side))
            width_in = width_out
            side = math.ceil(side / stride)
    return blocks


def _scaled_repeats(stage: _Stage, depth: float) -> int:
    is_fixed = stage is _STAGES[0] or stage is _STAGES[-1]
    return stage.repeats if is_fixed else math.ceil(depth * stage.repeats)


def _scaled_width(width: int, factor: float) -> int:
    """The nearest multiple of 8 to the scaled width, never more than a tenth below it."""
    scaled = width * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _halved(side: int) -> int:
    return math.ceil(side / 2)


def _batch_norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_BN_EPSILON, momentum=_BN_MOMENTUM)
