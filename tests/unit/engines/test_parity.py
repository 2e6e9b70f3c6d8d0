"""The default model with its real weights: both engines of the CPU say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagger import models
from tagger.engines import Prediction, select_engine
from tagger.models import networks
from tagger.values import Batch, EngineName
from tests.unit.engines.conftest import square_photos

SPEC = models.get("efficientnet-lite0")
SIDE = SPEC.preprocessing.crop


def _pixels() -> NDArray[np.uint8]:
    """Four photos, and a picture each of black, of white, of noise and of a gradient."""
    noise = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3))
    gradient = np.broadcast_to(np.arange(SIDE)[:, None, None], (SIDE, SIDE, 3))
    made = [np.zeros((SIDE, SIDE, 3)), np.full((SIDE, SIDE, 3), 255), noise, gradient]
    return np.stack([*square_photos(SIDE), *made]).astype(np.uint8)


def _predict(name: EngineName, pixels: NDArray[np.uint8], cache: Path) -> Prediction:
    engine = select_engine(
        name, lambda: networks.build(SPEC), SPEC.preprocessing, "lite0", cache, precision="f32", batch_size=8
    )
    with engine:
        return engine.submit(Batch(tuple(range(len(pixels))), pixels)).result()


def test_openvino_and_pytorch_agree_on_logits_and_features(engine_cache: Path) -> None:
    """Within 1e-3 of the largest logit of the image; 1e-5 is what is measured."""
    pixels = _pixels()
    ours = _predict("openvino", pixels, engine_cache)
    reference = _predict("eager", pixels, engine_cache)
    distance = np.abs(ours.logits - reference.logits).max(axis=1)
    assert (distance <= 1e-3 * np.abs(reference.logits).max(axis=1)).all()
    np.testing.assert_allclose(ours.features, reference.features, rtol=2e-3, atol=2e-3)
    assert (ours.logits.argmax(axis=1) == reference.logits.argmax(axis=1)).all()
