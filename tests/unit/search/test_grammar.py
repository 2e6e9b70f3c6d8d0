"""What people type is understood, or the place is shown where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagger.search.expression import (
    All,
    AnyOf,
    Bound,
    Expression,
    ExpressionError,
    Fact,
    Has,
    Not,
    UnknownTagError,
    spelled,
)
from tagger.search.grammar import DEEPEST, LONGEST, MOST, parse
from tagger.search.meaning import MOST_ALIKE, resolved

TAGS = (
    "dog",
    "golden retriever",
    "retriever",
    "lake",
    "sea shore",
    "wolf",
    "band-aid",
    "o'brien",
    "bear",
    "black bear",
    "size",
    "taken",
    "a \"b\" 'c'",
    "or",
)


class Words:
    """A dictionary of some words."""

    def tag(self, name: str) -> str | None:
        return {"puppy": "dog", "50%": "lake"}.get(name) or (name.lower() if name.lower() in TAGS else None)

    def alike(self, pattern: str, *, topmost: bool) -> Sequence[str]:
        if pattern == "many*":
            return [f"many {number}" for number in range(MOST_ALIKE + 1)]
        found = [tag for tag in TAGS if tag.endswith(pattern.lstrip("*"))]
        return [tag for tag in found if not (topmost and tag == "black bear")]

    def unknown(self, name: str) -> str:
        return f"there is no tag {name!r}"


def meant(text: str) -> Expression:
    return resolved(parse(text), text, Words())


DOG, LAKE, WOLF, SHORE = Has("dog"), Has("lake"), Has("wolf"), Has("sea shore")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dog", DOG),
        ("  DOG ", DOG),
        ("puppy", DOG),
        ("dog lake", All((DOG, LAKE))),
        ("dog AND lake", All((DOG, LAKE))),
        ("dog & lake && wolf", All((DOG, LAKE, WOLF))),
        ("dog OR lake", AnyOf((DOG, LAKE))),
        ("dog|lake||wolf", AnyOf((DOG, LAKE, WOLF))),
        ("dog OR lake wolf", AnyOf((DOG, All((LAKE, WOLF))))),
        ("dog AND (lake OR sea shore) NOT wolf", All((DOG, AnyOf((LAKE, SHORE)), Not(WOLF)))),
        ("dog -wolf", All((DOG, Not(WOLF)))),
        ("!dog", Not(DOG)),
        ("NOT NOT dog", Not(Not(DOG))),
        ("NOT (dog lake)", Not(All((DOG, LAKE)))),
        ("golden retriever", Has("golden retriever")),
        ("golden retriever lake", All((Has("golden retriever"), LAKE))),
        ("dog golden retriever>=0.8", All((DOG, Has("golden retriever", Bound(">=", 0.8))))),
        ('"golden retriever"', Has("golden retriever")),
        ("retriever 'golden retriever'", All((Has("retriever"), Has("golden retriever")))),
        ('"o\'brien"', Has("o'brien")),
        ("o'brien", Has("o'brien")),
        ("'a \"b\" ''c'''", Has("a \"b\" 'c'")),
        ('"size"', Has("size")),
        ("taken:2019-07-20T16", Fact("taken", "=", "2019-07-20T16")),
        ("format:jpg", Fact("format", "=", "JPEG")),
        ("path:o'neill", Fact("path", "=", "o'neill")),
        ("band-aid", Has("band-aid")),
        ("50%", LAKE),
        ("dog>90%", Has("dog", Bound(">", 0.9))),
        ("dog < .5", Has("dog", Bound("<", 0.5))),
        ("*retriever", AnyOf((Has("golden retriever"), Has("retriever")))),
        ("*bear", Has("bear")),
        ("*bear<0.5", AnyOf((Has("bear", Bound("<", 0.5)), Has("black bear", Bound("<", 0.5))))),
        ("path:holiday/*", Fact("path", "=", "holiday/*")),
        ('path:"my dogs"', Fact("path", "=", "my dogs")),
        ("FORMAT:jpeg", Fact("format", "=", "jpeg")),
        ("size>5MB", Fact("size", ">", 5e6)),
        ("size <= 2KiB", Fact("size", "<=", 2048.0)),
        ("width>=4000", Fact("width", ">=", 4000.0)),
        ("taken:2019-07", Fact("taken", "=", "2019-07")),
        ("taken:2018..2020", All((Fact("taken", ">=", "2018"), Fact("taken", "<=", "2020")))),
        ("taken:2018..", Fact("taken", ">=", "2018")),
        ("dog taken<2020 lake", All((DOG, Fact("taken", "<", "2020"), LAKE))),
    ],
)  # fmt: skip
def test_it_is_understood(text: str, expected: Expression) -> None:
    assert meant(text) == expected


@pytest.mark.parametrize(
    ("text", "said", "start"),
    [
        ("", "nothing to search for", 0),
        ("dgo", "no tag 'dgo'", 0),
        ("dog unicorn horse", "no tag 'unicorn horse'", 4),
        ("dog and lake", "AND in capitals", 4),
        ("dog AND", "missing at the end", 7),
        ("OR dog", "OR stands between", 0),
        ("(dog", "not closed", 0),
        ("dog) lake", "was not opened", 3),
        ("() dog", "nothing in it", 1),
        ('"dog', "quotation does not end", 0),
        ('""', "empty name", 0),
        ('path:"human', "quotation does not end", 5),
        ("path:" + "x" * 301, "300 letters at most", 5),
        ("!" * 101 + "dog", "times NOT", 0),
        ("!" * 15_000 + "dog", "NOT", 0),
        ("taken:2019-07-20T99:99", "no time", 6),
        ("size>" + "9" * 40, "no size", 5),
        ("dog>=1.5", "no confidence", 5),
        ("dog>=1.2.3", "no confidence", 5),
        (">=0.5", "goes behind a tag", 0),
        ("size>many", "no size", 5),
        ("width>3MB", "no width", 6),
        ("taken:2019-13", "no time", 6),
        ("taken:yesterday", "no time", 6),
        ("path>3", "a colon", 5),
        ("a:b", "quotation marks", 1),
        ("*unicorn", "no tag is like", 0),
        ("dog many*", f"fits {MOST_ALIKE + 1} tags", 4),
        ("x" * (LONGEST + 1), "longer than", 0),
        ("(" * (DEEPEST + 1), "brackets within", DEEPEST),
        (" OR ".join(["dog"] * (MOST + 1)), "more than", 7 * MOST),
    ],
)
def test_a_fault_is_told_with_its_place(text: str, said: str, start: int) -> None:
    with pytest.raises(ExpressionError, match=said) as fault:
        meant(text)
    assert fault.value.start == start
    assert str(fault.value).count("\n") == 2


def test_what_is_no_tag_is_told_apart_from_what_is_no_expression() -> None:
    with pytest.raises(UnknownTagError):
        meant("dog unicorn")
    with pytest.raises(ExpressionError) as fault:
        meant("dog (")
    assert not isinstance(fault.value, UnknownTagError)


bounds = st.none() | st.builds(
    Bound, st.sampled_from(["<", "<=", "=", ">=", ">"]), st.integers(0, 100).map(lambda n: n / 100)
)
facts = st.sampled_from(
    [
        Fact("path", "=", "my dogs/*.jpg"),
        Fact("path", "=", "(x)"),
        Fact("size", ">", 5e6),
        Fact("taken", "<=", "2019-07"),
        Fact("format", "=", "png"),
    ]
)
trees = st.recursive(
    st.builds(Has, st.sampled_from(TAGS), bounds) | facts,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(All, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(AnyOf, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=12,
)


@given(trees)
@settings(max_examples=500, deadline=None)
def test_what_is_spelled_out_is_understood_as_the_same(expression: Expression) -> None:
    assert meant(spelled(expression)) == expression


@given(
    st.text(alphabet="dog wolf ANDORNT()\"'<>=*?:-!|&%.0123\n\t\u00e9", max_size=40) | st.text(max_size=40)
)
@settings(max_examples=1000, deadline=None)
def test_whatever_is_typed_nothing_else_is_raised(text: str) -> None:
    try:
        meant(text)
    except ExpressionError as fault:
        assert 0 <= fault.start <= len(text)
