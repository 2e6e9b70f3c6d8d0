"""The command as a whole, with sections that take no time: what it writes, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import bench
from tests.benchmarks.course import Bench
from tests.benchmarks.report import BEGIN, END, Figure, Report, Section, repeated
from tests.benchmarks.sections import SECTIONS
from tests.benchmarks.turns import EndedError

PAGE = f"before\n{BEGIN}\n\nof the last run\n\n{END}\nafter\n"
REASON = "tagger tag was through before its turn began: it needs more photos"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    found = tmp_path / "page.md"
    found.write_text(PAGE)
    return found


MISSED = Section("startup", "Start", figures=[Figure("first tag", repeated([9.0]), at_most=4.0, unit="s")])


def _ended(_bench: Bench) -> Section:
    raise EndedError(REASON)


def _broken(_bench: Bench) -> Section:
    raise OSError(28, "No space left on device")


def test_where_a_section_was_not_measured_no_page_is_written(
    tmp_path: Path, page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, section in (("small", _ended), ("large", _broken), ("startup", lambda _bench: MISSED)):
        monkeypatch.setitem(SECTIONS, name, section)
    places = ["--photos", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--markdown", str(page)]
    assert bench.run(bench.options(["--only", "small,large,startup", "--images", "2", *places])) != 0
    assert page.read_text() == PAGE
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["bench.json"]
    kept = json.loads((tmp_path / "out" / "bench.json").read_text())["sections"]
    assert [section["unmeasured"] is None for section in kept] == [False, False, True]
    out, told = capsys.readouterr()
    assert f"small was not measured: {REASON}\n" in told
    assert "large was not measured: [Errno 28] No space left on device (OSError)\n" in told
    assert f"**Not measured**: {REASON}." in out and "| first tag, s | 9.00 |" in out
    assert "EndedError" not in out + told


def test_a_missed_bound_is_told_and_no_error(tmp_path: Path, page: Path) -> None:
    options = bench.options(["--out", str(tmp_path / "out"), "--markdown", str(page)])
    assert bench.write(Report({}, {}, [MISSED]), options) == 0
    assert "of the last run" not in page.read_text()
    assert "| at most 4.00 | **no** |" in page.read_text()
    assert (tmp_path / "out" / "bench.md").exists()


def test_a_trial_has_figures_and_no_verdicts() -> None:
    shown = bench.trial(Report({}, {}, [MISSED])).as_markdown()
    assert "no figure of it means anything" in shown
    assert "| first tag, s | 9.00 |" in shown and "**no**" not in shown and "at most" not in shown


def test_a_trial_goes_into_no_page(page: Path) -> None:
    with pytest.raises(SystemExit):
        bench.options(["--quick", "--markdown", str(page)])
