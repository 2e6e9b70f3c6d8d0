"""The last layer of a network: what a new set of labels replaces."""

from __future__ import annotations

from torch import nn


def of(network: nn.Module) -> tuple[str, nn.Linear]:
    """The classifier and its name: the last linear layer, as auxiliary heads come before it."""
    linear = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    return linear[-1]
