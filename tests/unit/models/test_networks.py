"""The networks: shapes, sizes and keys. What they predict is tested with the engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tagger import models
from tagger.errors import ModelError
from tagger.models import networks
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here


@pytest.mark.parametrize("name", models.names()[:3])
def test_published_weights_fit_and_give_logits_and_features(name: str) -> None:
    spec = models.get(name)
    network = networks.build(spec)
    assert sum(each.numel() for each in network.parameters()) == spec.parameters
    side = spec.preprocessing.crop
    with torch.inference_mode():
        logits, features = network(torch.zeros(1, 3, side, side))
    assert logits.shape == (1, spec.label_count)
    assert features.shape == (1, spec.feature_size)


def test_a_built_network_predicts_the_same_twice() -> None:
    """Dropout is off: a network comes ready to predict."""
    network = networks.build(models.get("efficientnet-lite0"))
    pixels = torch.ones(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(network(pixels)[0], network(pixels)[0])


def test_a_new_network_takes_another_number_of_classes() -> None:
    network = networks.create(replace(models.get("efficientnet-lite0"), label_count=7)).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 224, 224))[0].shape == (1, 7)


@pytest.mark.parametrize("unknown", [{"family": "Perceptron"}, {"architecture": "efficientnet-lite9"}])
def test_an_unknown_network_is_refused(unknown: dict[str, Any]) -> None:
    wrong = replace(models.get("efficientnet-lite0"), **unknown)
    with pytest.raises(ModelError, match="|".join(unknown.values())):
        networks.create(wrong)
