"""A second look at an unchanged library, beside what the system's own ``find`` takes: `make bench-scan`.

The tree is made: small distinct files in some hundred nested folders, a tenth of them with spaces and
letters that are no ASCII in their names. The rows are made by the product's own survey, and given an
outcome by plain SQL, so that nothing is pending. By turns, since the machine may be shared: ``find``
asking each file for its size and time; the scan alone; the whole survey, in which nothing turns out to
have changed, and all of the process ``tagger tag``, both on SQLite and on PostgreSQL. ``find`` runs
before each of the others, and a ratio is the median of those to the ``find`` just before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from tagger.library import versions
from tagger.library.survey import Survey, survey
from tagger.sources import Roots, Stretch, scan
from tagger.store import migrate
from tagger.store.catalog import Model
from tagger.store.session import Database, open_database
from tests.benchmarks.servers import new_database, postgres_server

FILES = 100_000
IN_FOLDER = 250
ROUNDS = 7
FIND = ("-type", "f", "-printf", r"%s %T@ %p\n")
MOST = 3.0
"""An unchanged library is to take no more than so many times what ``find`` takes."""

DATABASES = ("SQLite", "PostgreSQL")

Figures = dict[str, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args()
    figures = measure(options.files, options.rounds)
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        _show(figures)


def measure(files: int, rounds: int = ROUNDS) -> Figures:
    """Seconds of everything (medians), and how many times as long as ``find`` each took."""
    with tempfile.TemporaryDirectory(prefix="tagger-scan-") as folder, postgres_server() as server:
        tree = Path(folder).resolve() / "library"
        plant(tree, files)
        lite = Library(str(Path(folder) / "scan.db"), tree)
        great = Library(new_database(server, "scan"), tree)
        with closing(lite.database), closing(great.database):
            _find(tree)  # from here on all of them read what the system has at hand
            first = {"SQLite": lite.fill(files), "PostgreSQL": great.fill(files)}
            turns: dict[str, Callable[[], object]] = {
                "scan alone": partial(_scan, tree, files),
                "unchanged, SQLite": partial(lite.look_again, files),
                "unchanged, PostgreSQL": partial(great.look_again, files),
                "all of tagger tag, SQLite": partial(_tagger_tag, lite.place, tree, files),
                "all of tagger tag, PostgreSQL": partial(_tagger_tag, great.place, tree, files),
            }
            return _by_turns(partial(_find, tree), turns, rounds) | {"files": files, "first, s": first}


def plant(tree: Path, files: int) -> None:
    """Make the tree: ``files`` small files, no two alike."""
    for number in range(files):
        folder = tree / _folder(number // IN_FOLDER)
        if number % IN_FOLDER == 0:
            folder.mkdir(parents=True)
        name = f"Ausflug {number:07d} Köln.jpg" if number % 10 == 0 else f"IMG_{number:07d}.jpg"
        (folder / name).write_bytes(b"%d" % number)


def _folder(number: int) -> str:
    year, month = 1990 + number // 12, number % 12
    return f"{year}/{year}-{month:02d}/day" if number % 4 else f"{year}/Urlaub in Österreich {month:02d}"


class Library:
    """The tree in one database."""

    def __init__(self, place: str, tree: Path) -> None:
        self.place, self.tree = place, tree
        self.database: Database = open_database(place)
        migrate.upgrade(self.database)
        self.model: Model = versions.register(self.database, versions.choose(self.database, None))

    def fill(self, files: int) -> float:
        """Survey the tree for the first time, and have an outcome for everything; the survey's seconds."""
        began = time.perf_counter()
        assert self._survey().tally.new == files
        seconds = time.perf_counter() - began
        with self.database.writing() as connection:
            connection.execute(text("UPDATE taggings SET outcome = 'empty', attempts = 1"))
        with self.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")  # as PostgreSQL would by itself, sooner or later
        return seconds

    def look_again(self, files: int) -> None:
        """Survey the tree, in which nothing has changed."""
        tally = self._survey().tally
        assert (tally.unchanged, tally.files, tally.vanished) == (files, files, 0), tally

    def _survey(self) -> Survey:
        return survey(
            self.database,
            self.model,
            [self.tree],
            Roots(),
            follow_links=False,
            retry_failed=False,
            watch=lambda tally: None,
        )


def _find(tree: Path) -> None:
    subprocess.run(["find", str(tree), *FIND], stdout=subprocess.DEVNULL, check=True)


def _scan(tree: Path, files: int) -> None:
    assert (
        sum(len(event) for event in scan(tree, Roots().adding([tree])) if isinstance(event, Stretch)) == files
    )


def _tagger_tag(database: str, tree: Path, files: int) -> None:
    """The process, which has nothing to do and starts no engine."""
    command = [sys.executable, "-m", "tagger", "tag", str(tree), "--json", "--db", database]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ).stdout)
    assert (report["scan"]["unchanged"], report["engine"]) == (files, None), report


def _by_turns(find: Callable[[], object], turns: Mapping[str, Callable[[], object]], rounds: int) -> Figures:
    seconds: dict[str, list[float]] = defaultdict(list)
    ratios: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, deed in turns.items():
            before = _timed(find)
            seconds["find"].append(before)
            seconds[name].append(_timed(deed))
            ratios[name].append(seconds[name][-1] / before)
    times = {name: median(every) for name, every in ratios.items()}
    return {
        "rounds": rounds,
        "seconds": {name: median(every) for name, every in seconds.items()},
        "times find": times,
        "holds": holds(times),
    }


def holds(times: Mapping[str, float]) -> dict[str, bool]:
    """By database, whether an unchanged library took no more than it is to."""
    return {name: times[f"unchanged, {name}"] <= MOST for name in DATABASES}


def verdict(times: Mapping[str, float]) -> list[str]:
    """In words, for each database; beside it what the whole command took, of which nothing is wanted."""
    return [
        f"Unchanged on {name}: {times[f'unchanged, {name}']:.2f} times find, at most {MOST:g} wanted: "
        f"{'holds' if held else 'does NOT hold'}. All of tagger tag, the interpreter's start included: "
        f"{times[f'all of tagger tag, {name}']:.2f} times find."
        for name, held in holds(times).items()
    ]


def _timed(deed: Callable[[], object]) -> float:
    began = time.perf_counter()
    deed()
    return time.perf_counter() - began


def _show(figures: Figures) -> None:
    files, seconds, ratios = figures["files"], figures["seconds"], figures["times find"]
    table = Table(title=f"{files:,} files, medians of {figures['rounds']} rounds", title_justify="left")
    table.add_column("")
    for column in ("seconds", "microseconds a file", "times find"):
        table.add_column(column, justify="right")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.3f}", f"{1e6 * spent / files:.2f}", f"{ratios.get(name, 1):.2f}")
    out = Console(width=100)
    out.print(table)
    first = ", ".join(f"{spent:.1f} s on {name}" for name, spent in figures["first, s"].items())
    out.print(f"The first survey, all of them new: {first}.")
    for line in verdict(ratios):
        out.print(line)


if __name__ == "__main__":
    main()
