"""Networks for small pictures, to be trained from the beginning: LeNet-5, and one for CIFAR-10.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998): the
network with full connections between its maps, as it is taught today, on grey pixels. The other is the
usual first network for the 32 x 32 pixels of CIFAR-10.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tagger.errors import ModelError


def create(architecture: str, classes: int) -> nn.Module:
    """An untrained network of that name for ``classes`` classes: ``lenet`` or ``cifar10-cnn``.

    Raises:
        ModelError: there is none of that name.
    """
    try:
        network = {"lenet": LeNet, "cifar10-cnn": SmallCnn}[architecture]
    except KeyError:
        raise ModelError(f"There is no small network called {architecture}.") from None
    return network(classes)


class LeNet(nn.Module):
    """Normalised pixels [B, 3, 32, 32] to logits [B, C] and features [B, 84]; colours are averaged."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features."""
        x = functional.avg_pool2d(torch.tanh(self.conv1(pixels.mean(dim=1, keepdim=True))), 2)
        x = functional.avg_pool2d(torch.tanh(self.conv2(x)), 2)
        features = torch.tanh(self.fc2(torch.tanh(self.fc1(x.flatten(1)))))
        return self.fc3(features), features


class SmallCnn(nn.Module):
    """Normalised pixels [B, 3, 32, 32] to logits [B, C] and features [B, 64]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 64, 3)
        self.fc1 = nn.Linear(64 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features."""
        x = functional.max_pool2d(functional.relu(self.conv1(pixels)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.conv3(x))
        features = functional.relu(self.fc1(x.flatten(1)))
        return self.fc2(features), features
