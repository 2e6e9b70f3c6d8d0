"""The small networks have the shapes that they are known by."""

from __future__ import annotations

import pytest
import torch

from tagger import models
from tagger.models import networks


@pytest.mark.parametrize("network", models.UNTRAINED, ids=lambda network: network.name)
def test_parameters_and_features_are_as_listed(network: models.Architecture) -> None:
    made = networks.empty(network.family, network.name, 10)
    assert sum(value.numel() for value in made.parameters()) == network.parameters
    logits, features = made(torch.zeros(2, 3, network.preprocessing.crop, network.preprocessing.crop))
    assert logits.shape == (2, 10) and features.shape == (2, network.feature_size)
