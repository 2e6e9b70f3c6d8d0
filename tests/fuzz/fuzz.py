"""``python -m tests.fuzz.fuzz``: any bytes through the loader, in processes that may die.

A process that ends by a signal, or is at one input for longer than the product allows, or takes more
memory than a whole run may, is a finding, as is every fault that
:mod:`tests.fuzz.check` sees. Inputs are kept under ``fuzz/``; ``--replay`` runs them again.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psutil

from tagger.loading import PillowLoader
from tests.corpus.build import seeds
from tests.fuzz.blackbox import BlackBox
from tests.fuzz.check import PREPROCESSING, check
from tests.fuzz.findings import keep
from tests.fuzz.target import LONGEST, default_engine

_HANG_SECONDS = 20.0
_MOST_MEMORY = 2_000_000_000
_POLL_SECONDS = 0.2
# Loading the libraries and the seeds; after its time a process gets as long to come to an end.
_GRACE_SECONDS = 30
# The same crash again and again is one crash.
_ENOUGH_FINDINGS = 25


@dataclass(slots=True)
class Summary:
    """What all processes did together."""

    executions: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "nothing")
    largest: int = 0
    deaths: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.deaths or self.counts.get("faults") or not self.executions)


class _Child:
    """A process that fuzzes, and what can be seen of it from outside."""

    def __init__(self, number: int, scratch: Path, arguments: argparse.Namespace, seconds: int) -> None:
        self.scratch = scratch / str(number)
        self.scratch.mkdir()
        # Made on this side, so that it can be read however early the process dies.
        self.blackbox = BlackBox(self.scratch / "blackbox", LONGEST)
        self.end = time.monotonic() + seconds + _GRACE_SECONDS
        with (self.scratch / "log").open("wb") as log:
            self.process = subprocess.Popen(
                _command(number, self.scratch, scratch / "seeds", arguments, seconds),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def trouble(self) -> str | None:
        """Why this process is to be ended, or has ended; None while all is well."""
        code = self.process.poll()
        if code is not None:
            return None if code == 0 else f"crash: ended with {code}: {self._last_words()}"
        if self.blackbox.seconds > _HANG_SECONDS:
            return f"hang: not back after {_HANG_SECONDS:.0f} s"
        if self.memory() > _MOST_MEMORY:
            return f"memory: {self.memory() / 1e6:.0f} MB"
        return "hang: did not end in time" if time.monotonic() > self.end else None

    def memory(self) -> int:
        """Resident bytes now."""
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def _last_words(self) -> str:
        lines = (self.scratch / "log").read_text(errors="replace").splitlines()
        telling = [line for line in lines if "ERROR" in line or "Error" in line]
        return (telling or lines or ["nothing was said"])[-1][:200]


def main() -> int:
    """0 if nothing is wrong, else 1."""
    arguments = _arguments()
    if arguments.replay:
        return _replay(arguments.replay)
    print(f"fuzzing by {arguments.engine} for {arguments.seconds} s, seed {arguments.seed} ...", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tagger-fuzz-") as scratch:
        summary = _fuzz(Path(scratch), arguments)
    _show(summary, time.monotonic() - began, arguments)
    return int(summary.failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.fuzz", description="Fuzz the loader.")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--executions", type=int, help="end each process after so many, and begin no other")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tries the same (to a degree)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engine", choices=("atheris", "mutations"), default=default_engine())
    parser.add_argument("--findings", type=Path, default=Path("fuzz"), help="where inputs with a fault go")
    parser.add_argument(
        "--replay", type=Path, nargs="+", metavar="FILE", help="load these, and say what came"
    )
    return parser.parse_args()


def _command(
    number: int, scratch: Path, seed_folder: Path, arguments: argparse.Namespace, seconds: int
) -> list[str]:
    options = {
        "engine": arguments.engine,
        "seed": arguments.seed * 1000 + number,
        "seconds": seconds,
        "scratch": scratch,
        "seeds": seed_folder,
        "findings": arguments.findings.resolve(),
    }
    if arguments.executions is not None:
        options["executions"] = arguments.executions
    named = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "tests.fuzz.target", *named]


def _fuzz(scratch: Path, arguments: argparse.Namespace) -> Summary:
    (scratch / "seeds").mkdir()
    for case in seeds():
        (scratch / "seeds" / case.name).write_bytes(case.data)
    children: list[_Child] = []
    try:
        return _watch(children, scratch, arguments)
    finally:  # interrupted, perhaps
        for child in children:
            child.process.kill()


def _watch(children: list[_Child], scratch: Path, arguments: argparse.Namespace) -> Summary:
    """Keep as many processes at work as are wanted until the time is up; ``children`` are those
    that run."""
    end, summary = time.monotonic() + arguments.seconds, Summary()
    numbers = count()
    for _ in range(arguments.processes):
        children.append(_Child(next(numbers), scratch, arguments, arguments.seconds))
    while children:
        time.sleep(_POLL_SECONDS)
        summary.largest = max(summary.largest, *(child.memory() for child in children))
        for child in [child for child in children if _is_over(child, summary, arguments.findings)]:
            children.remove(child)
            _add(summary, child)
            left = round(end - time.monotonic()) if arguments.executions is None else 0
            if left > 1 and len(summary.deaths) < _ENOUGH_FINDINGS:
                children.append(_Child(next(numbers), scratch, arguments, left))
    return summary


def _is_over(child: _Child, summary: Summary, findings: Path) -> bool:
    """Whether a process has ended; one that is in trouble is ended, and its input kept."""
    trouble = child.trouble()
    if trouble is None:
        return child.process.poll() is not None
    child.process.kill()
    child.process.wait()
    file = keep(findings, trouble.split(":")[0], child.blackbox.data, trouble)
    summary.deaths.append(f"{trouble} ({file})")
    return True


def _add(summary: Summary, child: _Child) -> None:
    summary.executions += child.blackbox.executions
    report = child.scratch / "report.json"
    if not report.exists():
        return
    told = json.loads(report.read_text())
    summary.slowest = max(summary.slowest, tuple(told.pop("slowest")))
    for name, counted in told.items():
        summary.counts.setdefault(name, Counter()).update(counted)


def _show(summary: Summary, seconds: float, arguments: argparse.Namespace) -> None:
    print(f"executions  {summary.executions}, {summary.executions / seconds:.0f}/s")
    print(f"time        {seconds:.0f} s, {arguments.processes} processes, {arguments.engine}")
    for name in ("outcomes", "formats", "faults"):
        counted = summary.counts.get(name, Counter()).most_common()
        print(f"{name:<12}" + (", ".join(f"{one} {number}" for one, number in counted) or "none"))
    print(f"slowest     {summary.slowest[0]:.2f} s ({summary.slowest[1]})")
    print(f"largest     {summary.largest / 1e6:.0f} MB resident in one process")
    print(f"deaths      {len(summary.deaths) or 'none'}")
    for death in summary.deaths:
        print(f"  {death}")


def _replay(files: Iterable[Path]) -> int:
    """Each file in this very process, where a debugger can be."""
    faulthandler.enable()
    loader, faults = PillowLoader(PREPROCESSING), 0
    for file in files:
        print(f"{file}: ", end="", flush=True)
        checked = check(loader, file.read_bytes())
        print(f"{checked.outcome} {checked.format} {checked.reason or ''}")
        if checked.fault is not None:
            faults += 1
            print(f"  fault: {checked.fault}")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
