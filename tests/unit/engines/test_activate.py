"""Logits to confidences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tagger.engines import Prediction, activate
from tagger.errors import EngineError

FEATURES = np.ones((2, 3), np.float16)


def _prediction(*rows: list[float]) -> Prediction:
    return Prediction(np.array(rows, np.float32), FEATURES)


def _ratio(row: NDArray[np.float32]) -> float:
    return float(row[0] / row[1])


def test_softmax_shares_out_one() -> None:
    scores = activate((7, 3), _prediction([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]), "softmax", 1.0)
    assert scores.ids == (7, 3)
    assert scores.features is FEATURES
    assert scores.probabilities.dtype == np.float32
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(scores.probabilities[0], [0.09003057, 0.24472847, 0.66524096], atol=1e-7)


def test_sigmoid_is_each_label_for_itself() -> None:
    scores = activate((1,), _prediction([0.0, 2.0, -2.0]), "sigmoid", 1.0)
    np.testing.assert_allclose(scores.probabilities[0], [0.5, 0.8807971, 0.1192029], atol=1e-7)


def test_temperature_divides_the_logits() -> None:
    warm = activate((1,), _prediction([2.0, 0.0]), "softmax", 2.0)
    assert _ratio(warm.probabilities[0]) == pytest.approx(np.e)
    assert activate((1,), _prediction([2.0]), "sigmoid", 0.5).probabilities[0, 0] == pytest.approx(0.9820138)


@pytest.mark.parametrize(("kind", "least"), [("softmax", 0.0), ("sigmoid", 0.0)])
def test_large_logits_do_not_overflow(kind: str, least: float) -> None:
    row = activate((1,), _prediction([3e4, -3e4]), kind, 0.1).probabilities[0]  # type: ignore[arg-type]
    assert row.tolist() == [1.0, least]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_no_silence(bad: float) -> None:
    with pytest.raises(EngineError, match="not finite"):
        activate((1,), _prediction([0.0, bad]), "softmax", 1.0)
