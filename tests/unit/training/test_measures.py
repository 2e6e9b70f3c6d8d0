"""The figures of a report are those that a hand computes."""

from __future__ import annotations

import numpy as np
import pytest

from tagger.training.measures import measure

NAMES = ("cat", "dog")


def test_of_one_label_to_a_picture() -> None:
    sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    truth = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.int8)
    found = measure(sure, sure, truth, NAMES, "softmax")
    assert (found.right.value, found.right.of) == (0.75, 4)
    assert found.right.low == pytest.approx(0.3006, abs=1e-3) and found.right.high == pytest.approx(
        0.9544, abs=1e-3
    )
    cat, dog = found.labels
    assert (cat.precision, cat.recall, cat.pictures) == (0.5, 1.0, 1)
    assert (dog.precision, dog.recall, dog.pictures) == (1.0, pytest.approx(2 / 3), 3)
    assert found.confusion is not None and found.confusion.tolist() == [[1, 0], [1, 2]]
    assert [(each.row, each.said, each.confidence, each.truth) for each in found.mistakes] == [
        (1, "cat", 0.8, "dog")
    ]
    assert found.after.log_loss == pytest.approx(-np.log([0.9, 0.2, 0.7, 0.6]).mean())


def test_of_several_labels_where_not_all_is_known() -> None:
    sure = np.array([[0.9, 0.8], [0.2, 0.9], [0.7, 0.1], [0.1, 0.1]])
    truth = np.array([[1, -1], [0, 1], [0, 0], [0, 0]], np.int8)
    found = measure(sure, sure, truth, NAMES, "sigmoid")
    assert found.right.value == 0.75
    cat, dog = found.labels
    assert (cat.precision, cat.recall) == (0.5, 1.0)
    assert (dog.precision, dog.recall) == (1.0, 1.0)
    assert found.confusion is None
    assert [(each.row, each.said, each.truth) for each in found.mistakes] == [(2, "cat", "none of them")]


def test_what_is_never_said_has_no_precision() -> None:
    sure = np.array([[0.9, 0.1]])
    (_, dog) = measure(sure, sure, np.array([[1, 0]], np.int8), NAMES, "softmax").labels
    assert dog.precision is None and dog.recall is None
