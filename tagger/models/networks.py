"""From a spec to a network that can run. Imports torch; the rest of a spec's life does not.

A family is a module with ``create(architecture, classes)`` and a line in ``_FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from torch import nn

from tagger.errors import ModelError
from tagger.models import catalogue, efficientnet_lite, head, small, weights
from tagger.models.spec import ModelSpec


def _of_torchvision(architecture: str, classes: int) -> nn.Module:
    from tagger.models import torchvision  # only for these: importing it takes half a second

    return torchvision.create(architecture, classes)


_FAMILIES: Final[Mapping[str, Callable[[str, int], nn.Module]]] = {
    "EfficientNet-Lite": efficientnet_lite.create,
    "LeNet": small.create,
    **dict.fromkeys(catalogue.TORCHVISION_FAMILIES, _of_torchvision),
}


def build(spec: ModelSpec, weights_file: Path | None = None) -> nn.Module:
    """The network of ``spec`` on the CPU, with its weights, ready to predict (eval mode).

    It takes normalised pixels, float32 [B, 3, crop, crop], and returns logits [B, label_count]
    and features [B, feature_size]. ``weights_file`` is read instead of the installed package's;
    it must be the same file by its digest.

    Raises:
        ModelError: the family is not known here.
        WeightsError: the weights are absent, wrong, unsafe or do not fit (a ModelError too).
    """
    network = create(spec)
    weights.fill(network, weights.load(spec.weights, weights_file), origin=f"of {spec.name}")
    return network.eval()


def create(spec: ModelSpec) -> nn.Module:
    """The network of ``spec`` with random weights, in training mode.

    Raises:
        ModelError: the family or the architecture is not known here.
    """
    return empty(spec.family, spec.architecture, spec.label_count)


def build_for(spec: ModelSpec, classes: int) -> nn.Module:
    """The network of ``spec`` with its weights, but for a last layer of zeros for ``classes`` labels; what
    only training once used (heads beside the last) has random weights. Raises as :func:`build`."""
    network = empty(spec.family, spec.architecture, classes)
    state, known = network.state_dict(), weights.load(spec.weights)
    last, layer = head.of(network)
    kept = {
        name: known[name] if name in known and known[name].shape == value.shape else value
        for name, value in state.items()
        if not name.startswith(f"{last}.")
    }
    kept |= {f"{last}.weight": layer.weight * 0, f"{last}.bias": layer.bias * 0}
    weights.fill(network, kept, origin=f"of {spec.name}")
    return network


def empty(family: str, architecture: str, classes: int) -> nn.Module:
    """A network with random weights, in training mode; raises as :func:`create`."""
    try:
        make = _FAMILIES[family]
    except KeyError:
        raise ModelError(f"No network here is of the family {family}.") from None
    return make(architecture, classes)
