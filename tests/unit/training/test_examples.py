"""Each content is learned from once, and only where one thing is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from tagger.errors import TrainingError
from tagger.training.examples import UNKNOWN, Content, Example, enough, one_each, truth


def _example(uri: str, *right: str, wrong: tuple[str, ...] = ()) -> Example:
    return Example(uri, frozenset(right), frozenset(wrong))


COPIES = [_example("a", "robin"), _example("b", "robin"), _example("c", "wren"), _example("d", "wren")]
DIGESTS = {0: b"1", 1: b"1", 2: b"1", 3: b"2"}


def test_a_content_under_two_labels_is_told_apart_and_left_out() -> None:
    found = one_each(COPIES, DIGESTS, many=False)
    assert [(item.uri, item.copies) for item in found.items] == [("d", 1)]
    assert [uri for uri, _ in found.contradictory] == ["a", "b", "c"]
    assert found.contradictory[0][1] == {"robin", "wren"}


def test_where_a_picture_may_have_several_labels_it_has_both() -> None:
    found = one_each(COPIES, DIGESTS, many=True)
    assert [(item.uri, sorted(item.right), item.copies) for item in found.items] == [
        ("a", ["robin", "wren"], 3),
        ("d", ["wren"], 1),
    ]
    assert not found.contradictory


def test_what_is_both_right_and_wrong_is_contradictory() -> None:
    said = [_example("a", "robin"), _example("b", wrong=("robin",))]
    assert one_each(said, {0: b"1", 1: b"1"}, many=True).contradictory
    assert not one_each(said, {0: b"1", 1: b"2"}, many=True).contradictory


def test_what_could_not_be_loaded_is_no_content() -> None:
    assert [item.uri for item in one_each(COPIES, {3: b"2"}, many=False).items] == ["d"]


def _contents(**numbers: int) -> list[Content]:
    labels = [label for label, number in numbers.items() for _ in range(number)]
    return [Content(row, f"{row}", 1, frozenset([label]), frozenset()) for row, label in enumerate(labels)]


def test_labels_with_too_few_pictures_are_named() -> None:
    found = enough(_contents(wren=5, robin=6, tit=2), 5, many=False, complete=True)
    assert found.names == ("robin", "wren")
    assert found.few == {"tit": 2}


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, "no picture with a label"),
        ({"robin": 9}, "one label only, robin"),
        ({"robin": 9, "wren": 1}, r"one label only, robin.*wren \(1\)"),
        ({"robin": 2, "wren": 1}, r"no label has 5 different pictures.*robin \(2\), wren \(1\)"),
    ],
)
def test_nothing_to_tell_apart_is_an_error_that_says_what_to_do(numbers: dict[str, int], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        enough(_contents(**numbers), 5, many=False, complete=True)


def _without(number: int, **words: frozenset[str]) -> list[Content]:
    return [
        Content(100 + row, f"n{row}", 1, frozenset(), words.get("wrong", frozenset()))
        for row in range(number)
    ]


def test_one_label_is_enough_where_some_pictures_are_known_not_to_show_it() -> None:
    some = [*_contents(robin=9), *_without(5)]
    assert enough(some, 5, many=True, complete=True).names == ("robin",)
    with pytest.raises(TrainingError, match="do not show robin, 5 at least"):
        enough(some[:-1], 5, many=True, complete=True)
    with pytest.raises(TrainingError, match="tagger reject"):
        enough(some, 5, many=True, complete=False)
    rejected = [*_contents(robin=9, wren=5), *_without(5, wrong=frozenset(["robin"]))]
    found = enough(rejected, 5, many=True, complete=False)
    assert (found.names, found.bare) == (("robin",), {"wren": 0})


def test_what_nobody_has_said_is_unknown_unless_all_is_said() -> None:
    contents = [
        Content(0, "a", 1, frozenset(["x"]), frozenset(["y"])),
        Content(1, "b", 1, frozenset(["gone"]), frozenset()),
    ]
    names = ("x", "y", "z")
    assert truth(contents, names, complete=True).tolist() == [[1, 0, 0], [0, 0, 0]]
    partly = truth(contents, names, complete=False)
    assert partly.tolist() == [[1, 0, UNKNOWN], [UNKNOWN] * 3]
    assert partly.dtype == np.int8
