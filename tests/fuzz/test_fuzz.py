"""The fuzzing itself: it runs, and it notices what dies, hangs or answers wrongly."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from tests.fuzz import fuzz
from tests.fuzz.blackbox import BlackBox
from tests.fuzz.fuzz import Summary

ROOT = Path(__file__).parents[2]

_HANGS = """
import sys, time
from pathlib import Path
from tests.fuzz.blackbox import BlackBox
BlackBox(Path(sys.argv[1]) / "blackbox").begins(b"the input")
{last}
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_a_short_run_finds_nothing_and_says_what_it_did(tmp_path: Path) -> None:
    """By number, however long they take: a JPEG is among the first fifty."""
    done = run("--executions=100", "--processes=1", "--engine=mutations", f"--findings={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deaths      none" in done.stdout and "JPEG" in done.stdout
    assert "executions  100," in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_file_can_be_replayed(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"\xff\xd8\xff")
    done = run("--replay", str(tmp_path / "input"))
    assert done.returncode == 0
    assert "corrupt none broken JPEG" in done.stdout


def fuzzed(monkeypatch: pytest.MonkeyPatch, folder: Path, last: str) -> Summary:
    """A run in which the process does ``last`` with an input in hand."""

    def command(_number: int, scratch: Path, *_rest: object) -> list[str]:
        return [sys.executable, "-c", _HANGS.format(last=last), str(scratch)]

    monkeypatch.setattr(fuzz, "_command", command)
    monkeypatch.setattr(fuzz, "_HANG_SECONDS", 0.5)
    monkeypatch.setattr(fuzz, "_ENOUGH_FINDINGS", 1)
    monkeypatch.chdir(ROOT)
    (folder / "scratch").mkdir()
    return fuzz._fuzz(
        folder / "scratch", Namespace(seconds=20, executions=None, processes=1, findings=folder / "found")
    )


@pytest.mark.parametrize(
    ("last", "kind"),
    [("import os; os.abort()", "crash"), ("time.sleep(60)", "hang"), ("sys.exit(1)", "crash")],
)
def test_a_death_is_noticed_and_its_input_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, last: str, kind: str
) -> None:
    summary = fuzzed(monkeypatch, tmp_path, last)
    assert summary.failed
    assert [death.split(":")[0] for death in summary.deaths] == [kind]
    (kept,) = (tmp_path / "found").glob(f"{kind}-????????????????")
    assert kept.read_bytes() == b"the input"


def test_a_black_box_tells_what_was_going_on(tmp_path: Path) -> None:
    written = BlackBox(tmp_path / "box", 100)
    read = BlackBox(tmp_path / "box")
    assert (read.executions, read.seconds) == (0, 0.0)
    written.begins(b"one")
    written.ends()
    written.begins(b"another")
    assert (read.executions, read.data) == (2, b"another")
    assert read.seconds > 0
    written.ends()
    assert read.seconds == 0
