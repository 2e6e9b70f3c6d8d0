"""The families that torchvision has: its networks, told to give their features too.

AlexNet, VGG, GoogLeNet and Inception v3, ResNet, DenseNet, MobileNet v2 and v3, EfficientNet and ConvNeXt
as torchvision builds them, so that its weights fit by name and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn
from torchvision import models

from tagger.errors import ModelError
from tagger.models import head

# As their weights were made: with heads that only training uses, and turning the normalisation that all
# others have into their own.
_AS_PUBLISHED: Final = {"aux_logits": True, "transform_input": True, "init_weights": False}
_ARGUMENTS: Final[Mapping[str, Mapping[str, bool]]] = {
    "googlenet": _AS_PUBLISHED,
    "inception_v3": _AS_PUBLISHED,
}


def create(architecture: str, classes: int) -> nn.Module:
    """An untrained network of that name for ``classes`` classes.

    It takes normalised pixels [B, 3, S, S], of any size that the network bears, to logits [B, C] and what
    its last layer reads, [B, D].

    Raises:
        ModelError: torchvision has no such classifier.
    """
    try:
        builder = models.get_model_builder(architecture)
    except ValueError:
        raise ModelError(f"torchvision has no network called {architecture}.") from None
    network: nn.Module = builder(weights=None, num_classes=classes, **_ARGUMENTS.get(architecture, {}))
    name, last = head.of(network)
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, Classifier.of(last))
    return network


def feature_size(architecture: str) -> int:
    """The length of the features, found without making the network's numbers."""
    with torch.device("meta"):
        return head.of(create(architecture, 1000))[1].in_features


class Classifier(nn.Linear):
    """The last layer, which gives what it reads beside what it makes of it."""

    @classmethod
    def of(cls, layer: nn.Linear) -> Classifier:
        """With the same numbers, by the same names."""
        made = cls(layer.in_features, layer.out_features, device=layer.weight.device)
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        """Logits and features."""
        return super().forward(input), input
