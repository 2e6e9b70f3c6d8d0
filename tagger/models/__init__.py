"""The models: what each is (spec, registry) and the networks themselves.

Importing this package does not import torch; :mod:`tagger.models.networks` and the families do.
A network here is a ``torch.nn.Module`` that takes normalised pixels, float32 [B, 3, S, S], and
returns two float tensors: logits [B, C] and features [B, D], the pooled vector before the
classifier.
"""

from __future__ import annotations

from tagger.models.catalogue import DEFAULT, UNTRAINED, Architecture, architectures
from tagger.models.registry import Registry, adopt, all_specs, get, names
from tagger.models.spec import (
    Activation,
    ModelSpec,
    OwnWeights,
    PackagedWeights,
    PublishedAccuracy,
    TorchvisionWeights,
    Weights,
)

__all__ = [
    "DEFAULT",
    "UNTRAINED",
    "Activation",
    "Architecture",
    "ModelSpec",
    "OwnWeights",
    "PackagedWeights",
    "PublishedAccuracy",
    "Registry",
    "TorchvisionWeights",
    "Weights",
    "adopt",
    "all_specs",
    "architectures",
    "get",
    "names",
]
