"""What the benchmark computes and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.report import (
    BEGIN,
    END,
    Figure,
    Report,
    Section,
    Spread,
    limit,
    number,
    rate,
    ratio,
    repeated,
    write_between,
)
from tests.benchmarks.turns import Turn


def _spread(*by_round: float) -> Spread:
    return Spread(sum(by_round) / len(by_round), by_round)


def _report(figure: Figure) -> Report:
    section = Section(
        "small", "Small photos", {"tagger tag": _spread(80, 90)}, {"limit": _spread(100)}, [figure]
    )
    return Report({"processor": "A"}, {"turns": "2"}, [section])


def test_a_rate_is_all_images_to_all_seconds_and_so_by_turn() -> None:
    found = rate([Turn(100, 1.0), Turn(100, 4.0)])
    assert found.overall == 40
    assert found.by_round == (100, 25)
    assert (found.least, found.middle, found.most) == (25, 62.5, 100)


def test_equal_parts_halve_the_limit() -> None:
    assert limit(_spread(100.0, 200.0), _spread(100.0, 200.0)).by_round == (50.0, 100.0)
    assert limit(_spread(400.0), _spread(100.0)).overall == pytest.approx(80.0)


def test_ratios_are_of_the_same_round() -> None:
    found = ratio(_spread(90.0, 45.0), _spread(100.0, 50.0))
    assert found.by_round == (0.9, 0.9), "the machine was half as fast in the second round, for both"


def test_rounds_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio(_spread(1.0, 2.0), _spread(1.0))


def test_of_repeated_runs_the_median_counts() -> None:
    assert repeated([3.0, 100.0, 1.0]).overall == 3.0


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (Figure("x", _spread(0.93), at_least=0.92), True),
        (Figure("x", _spread(0.91), at_least=0.92), False),
        (Figure("x", _spread(3.9), at_most=4.0), True),
        (Figure("x", _spread(4.1), at_most=4.0), False),
        (Figure("x", _spread(4.1)), None),
    ],
)
def test_a_figure_says_whether_it_is_as_wanted(figure: Figure, reached: bool | None) -> None:
    assert figure.reached is reached
    assert json.loads(_report(figure).as_json())["sections"][0]["figures"][0]["reached"] is reached


def test_what_is_missed_stands_out_in_the_page() -> None:
    page = _report(Figure("to the limit", _spread(0.5, 0.7), at_least=0.92)).as_markdown()
    assert "| to the limit | 0.6 | 0.5 | 0.6 | 0.7 | at least 0.92 | **no** |" in page
    assert "| tagger tag | 85.0 | 80.0 | 85.0 | 90.0 |" in page
    assert "- processor: A" in page


def test_every_row_of_a_table_has_the_same_cells() -> None:
    rows = [line for line in _report(Figure("x", _spread(1.0))).as_markdown().splitlines() if "|" in line]
    assert {line.count("|") for line in rows[:3]} == {8}
    assert {line.count("|") for line in rows[3:]} == {6}


def test_only_what_is_between_the_marks_is_written_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for text in ("one", "two"):
        write_between(page, text)
    assert page.read_text() == f"before\n{BEGIN}\n\ntwo\n\n{END}\nafter\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before {END} {BEGIN}")
    with pytest.raises(ValueError, match="no lines"):
        write_between(page, "text")
    assert page.read_text() == f"before {END} {BEGIN}"


@pytest.mark.parametrize(
    ("value", "shown"), [(12345.6, "12,346"), (99.94, "99.9"), (3.14159, "3.14"), (0.9234, "0.923")]
)
def test_numbers_have_as_many_figures_as_are_meant(value: float, shown: str) -> None:
    assert number(value) == shown
