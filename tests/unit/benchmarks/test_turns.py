"""Contenders that take turns: real processes that count."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil
import pytest

from tests.benchmarks.counting import Count, new_count
from tests.benchmarks.turns import Contender, EndedError, Running, by_turns, end, family, last_line

REPOSITORY = Path(__file__).parents[3]
COUNTING = """
import subprocess, sys, time
from pathlib import Path
from tests.benchmarks.counting import Count
place, total, children, slot, program = sys.argv[1:]
count = Count(Path(place), int(slot))
for number in range(int(children)):
    subprocess.Popen([sys.executable, "-c", program, place, "0", "0", str(number + 1), ""])
while total == "0" or count.total() < int(total):
    time.sleep(0.002)
    count.add()
"""


class Factory:
    """Starts counting processes, and keeps what it started."""

    def __init__(self, folder: Path, total: int = 0, children: int = 0) -> None:
        self._folder, self._total, self._children = folder, total, children
        self._numbers = count()
        self.started: list[Running] = []

    @contextmanager
    def __call__(self) -> Iterator[Running]:
        place = self._folder / str(next(self._numbers))
        counted = new_count(place)
        arguments = [str(place), str(self._total), str(self._children), "0", COUNTING]
        process = subprocess.Popen([sys.executable, "-c", COUNTING, *arguments], cwd=REPOSITORY)
        running = Running(process, counted.total, self._total or None)
        self.started.append(running)
        try:
            yield running
        finally:
            end(process)


def _state(running: Running) -> set[str]:
    return {process.status() for process in family(running.process)}


def test_one_works_while_the_others_stand_still(tmp_path: Path) -> None:
    factories = [Factory(tmp_path / name, children=1) for name in ("a", "b")]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    contenders = [Contender(str(index), factory) for index, factory in enumerate(factories)]
    seen: list[tuple[int, int]] = []

    def look(words: str) -> None:
        assert all(_state(factory.started[0]) == {psutil.STATUS_STOPPED} for factory in factories)
        seen.append((factories[0].started[0].done(), factories[1].started[0].done()))

    by_turns(contenders, 2, 0.1, look)
    assert [len(contender.turns) for contender in contenders] == [2, 2]
    assert seen[1][0] == seen[0][0] and seen[2][0] > seen[1][0], "the first stands still in the other's turn"
    assert seen[1][1] > seen[0][1] and seen[2][1] == seen[1][1], "and so does the second"
    assert sum(turn.images for turn in contenders[1].turns) == seen[3][1] - seen[0][1]


def test_all_are_gone_at_the_end(tmp_path: Path) -> None:
    factory = Factory(tmp_path, children=1)
    under: list[psutil.Process] = []
    by_turns(
        [Contender("a", factory)], 1, 0.1, lambda words: under.extend(family(factory.started[0].process))
    )
    assert len(under) == 2
    assert psutil.wait_procs(under, timeout=30)[1] == []


def test_a_turn_is_at_least_as_long_as_it_should_be(tmp_path: Path) -> None:
    contender = Contender("a", Factory(tmp_path))
    by_turns([contender], 1, 0.2)
    assert contender.turns[0].seconds >= 0.2
    assert contender.turns[0].images > 0
    assert not contender.turns[0].ran_out


def test_its_first_turn_begins_when_it_is_warm(tmp_path: Path) -> None:
    factory = Factory(tmp_path)
    contender = Contender("a", factory, warm=50)
    by_turns([contender], 1, 0.1)
    assert factory.started[0].done() - contender.turns[0].images >= 50


def test_one_that_is_through_is_started_anew(tmp_path: Path) -> None:
    factory = Factory(tmp_path, total=300)
    contender = Contender("a", factory)
    by_turns([contender], 2, 60.0)
    assert [turn.ran_out for turn in contender.turns] == [True, True]
    assert len(factory.started) == 2


def test_one_that_had_too_few_images_has_no_rate(tmp_path: Path) -> None:
    @contextmanager
    def start() -> Iterator[Running]:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            yield Running(process, lambda: 8, total=8)
        finally:
            process.communicate()

    with pytest.raises(EndedError, match="needs more photos"):
        by_turns([Contender("a", start)], 1, 0.1)


def test_one_that_dies_is_named(tmp_path: Path) -> None:
    @contextmanager
    def start() -> Iterator[Running]:
        with (tmp_path / "log").open("w+b") as log:
            process = subprocess.Popen([sys.executable, "-c", "print('oh'); raise SystemExit(3)"], stdout=log)
            yield Running(process, lambda: 0, words=lambda: last_line(log))

    with pytest.raises(EndedError, match=r"timm ended \(exit code 3\) after 0 images: oh"):
        by_turns([Contender("timm", start)], 1, 0.1)


def test_in_a_trial_one_that_does_not_begin_is_left_out(tmp_path: Path) -> None:
    @contextmanager
    def start() -> Iterator[Running]:
        yield Running(subprocess.Popen([sys.executable, "-c", "import no_such_library"]), lambda: 0)

    contenders = [Contender("lacking", start), Contender("a", Factory(tmp_path))]
    by_turns(contenders, 1, 0.1, optional=True)
    assert [len(contender.turns) for contender in contenders] == [0, 1]


def test_processes_count_side_by_side(tmp_path: Path) -> None:
    counted = new_count(tmp_path / "count")
    Count(tmp_path / "count", 0).add(3)
    Count(tmp_path / "count", 7).add(2)
    assert counted.total() == 5
