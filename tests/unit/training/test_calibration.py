"""Temperatures, what confidences are off by, and thresholds from cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.engines import confidences
from tagger.training import calibration
from tagger.training.calibration import lowest_threshold
from tagger.values import Case


def _drawn(t: float, count: int = 4000, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are ``t`` times too large, and truth drawn from what they should say."""
    random = np.random.default_rng(0)
    right = random.normal(0, 2, (count, classes))
    sure = confidences(right.astype(np.float32), "softmax", 1.0)
    labels = (sure.cumsum(axis=1) < random.random((count, 1))).sum(axis=1).clip(0, classes - 1)
    return (t * right).astype(np.float32), np.eye(classes, dtype=np.int8)[labels]


@pytest.mark.parametrize("t", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_and_takes_the_error_away(t: float) -> None:
    logits, truth = _drawn(t)
    found = calibration.temperature(logits, truth, "softmax")
    assert found == pytest.approx(t, rel=0.06)
    sure = confidences(logits, "softmax", found)
    right = sure.argmax(axis=1) == truth.argmax(axis=1)
    assert calibration.calibration_error(sure.max(axis=1), right) < 0.025


def test_sigmoid_heads_have_one_too_and_the_unknown_does_not_count() -> None:
    random = np.random.default_rng(1)
    right = random.normal(0, 2, (3000, 3))
    truth = (random.random(right.shape) < 1 / (1 + np.exp(-right))).astype(np.int8)
    truth[::2, 0] = -1
    logits = (2 * right).astype(np.float32)
    logits[::2, 0] = 1000  # would matter a lot
    assert calibration.temperature(logits, truth, "sigmoid") == pytest.approx(2.0, rel=0.06)


def test_a_few_pictures_all_right_do_not_make_for_certainty() -> None:
    logits = 5 * np.eye(3, dtype=np.float32)[[0, 1, 2] * 5]
    truth = np.eye(3, dtype=np.int8)[[0, 1, 2] * 5]
    assert 0.7 < calibration.temperature(logits, truth, "softmax") <= 1.0
    assert calibration.temperature(logits[:0], truth[:0], "softmax") == 1.0


def test_cross_fitting_gives_each_half_the_other_ones_temperature() -> None:
    logits, truth = _drawn(3.0, count=400)
    sure = calibration.cross_fitted(logits, truth, "softmax")
    half = np.random.default_rng(0).permutation(400) % 2
    other = calibration.temperature(logits[half == 1], truth[half == 1], "softmax")
    assert np.allclose(sure[half == 0], confidences(logits[half == 0], "softmax", other))


def test_the_error_is_what_a_hand_computes() -> None:
    sure = np.array([0.6, 0.6, 0.9, 0.9])
    right = np.array([True, False, True, True])
    assert calibration.calibration_error(sure, right, bins=2) == pytest.approx((0.1 + 0.1) / 2)
    assert [each.count for each in calibration.reliability(sure, right, bins=2)] == [2, 2]
    assert calibration.calibration_error(sure[:0], right[:0]) == 0.0


cases = st.lists(
    st.builds(Case, st.sampled_from([0.1, 0.2, 0.35, 0.5, 0.8, 0.9]), st.booleans()), max_size=40
)


@given(cases, st.floats(0, 1), st.integers(1, 10))
def test_the_threshold_is_the_lowest_that_holds(some: list[Case], precision: float, least: int) -> None:
    def holds(threshold: float) -> bool:
        above = [case.right for case in some if case.confidence >= threshold]
        return len(above) >= least and sum(above) / len(above) >= precision

    found = lowest_threshold(some, precision, least)
    steps = sorted({case.confidence for case in some})
    lowest = next((step for step in steps if holds(step)), None)
    if lowest is None:
        assert found is None
    else:
        assert found is not None
        assert holds(found.threshold)
        assert sum(case.confidence >= found.threshold for case in some) == found.above
        assert found.threshold <= lowest
