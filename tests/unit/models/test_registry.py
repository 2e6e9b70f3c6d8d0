"""Finding models by name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tagger import models
from tagger.errors import ModelError
from tagger.models import Registry

LITE0 = models.get("efficientnet-lite0")


def test_the_models_that_tagger_brings() -> None:
    assert models.names()[:3] == ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
    assert [spec.name for spec in models.all_specs()] == list(models.names())


def test_a_name_stands_for_one_model() -> None:
    registry = Registry([LITE0])
    with pytest.raises(ModelError, match="efficientnet-lite0 is registered already"):
        registry.register(replace(LITE0, temperature=2.0))
    assert registry.get("efficientnet-lite0") is LITE0


def test_a_new_model_is_found_after_the_others() -> None:
    registry = Registry([LITE0])
    birds = replace(LITE0, name="birds")
    registry.register(birds)
    assert registry.get("birds") is birds
    assert registry.names() == ("efficientnet-lite0", "birds")


@pytest.mark.parametrize("typed", ["efficientnet-lite9", "EfficientNet-Lite0", "eficientnet_lite0"])
def test_a_slip_of_the_pen_is_answered_with_the_nearest(typed: str) -> None:
    with pytest.raises(ModelError, match="did you mean efficientnet-lite"):
        models.get(typed)


def test_a_name_far_off_is_answered_with_some_and_where_all_are() -> None:
    with pytest.raises(ModelError, match="efficientnet-lite2 and others: `tagger models` lists them"):
        models.get("zzz")
