"""One process of the fuzzing: feeds bytes to the loader until its time is up, it has fed enough, or it dies.

Atheris drives it where it is installed: it watches which lines of Pillow's and Tagger's Python are
reached, and goes on from what reached new ones. Elsewhere the corpus's own mutations are fed, which
needs nothing and learns nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count, islice
from pathlib import Path
from random import Random

from tests.fuzz.blackbox import BlackBox

LONGEST = 1 << 16
"""Bytes of an input."""

_REPORT_EVERY = 1.0

Feed = Callable[[bytes], None]


def main() -> None:
    """Run as ``python -m tests.fuzz.target`` by :mod:`tests.fuzz.fuzz`."""
    arguments = _arguments()
    with _instrumented(arguments.engine):
        from tests.fuzz.watched import Watched
    watched = Watched(BlackBox(arguments.scratch / "blackbox"), arguments.findings)

    def report() -> None:
        _report(arguments.scratch, watched.counts, watched.slowest)

    drive = _by_coverage if arguments.engine == "atheris" else _by_mutations
    drive(_reporting(watched.feed, report), arguments)
    report()  # of what came after the last; libFuzzer ends the process by itself


def default_engine() -> str:
    """Atheris if it is here."""
    return "atheris" if importlib.util.find_spec("atheris") else "mutations"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=("atheris", "mutations"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--executions", type=int, help="end after so many inputs, if time is left")
    parser.add_argument("--scratch", type=Path, required=True, help="this process's own folder")
    parser.add_argument("--seeds", type=Path, required=True, help="files to begin with")
    parser.add_argument("--findings", type=Path, required=True)
    return parser.parse_args()


def _instrumented(engine: str) -> AbstractContextManager[object]:
    """What is imported within tells Atheris which of its lines are reached."""
    if engine != "atheris":
        return nullcontext()
    import atheris

    context: AbstractContextManager[object] = atheris.instrument_imports(include=["PIL", "tagger.loading"])
    return context


def _by_coverage(feed: Feed, arguments: argparse.Namespace) -> None:
    import atheris

    from tests.corpus.mutations import mutated, spliced

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        return (atheris.Mutate(data, longest) if random.random() < 0.5 else mutated(data, random))[:longest]

    def cross(one: bytes, other: bytes, longest: int, seed: int) -> bytes:
        return spliced(one, other, Random(seed))[:longest]

    reached = arguments.scratch / "reached"
    reached.mkdir()
    options = [f"-seed={arguments.seed}", f"-max_total_time={arguments.seconds}", f"-max_len={LONGEST}"]
    if arguments.executions is not None:
        options.append(f"-runs={arguments.executions}")
    # The parent watches time and memory itself, in the same way whatever drives.
    options += [
        "-timeout=100000",
        "-rss_limit_mb=0",
        f"-artifact_prefix={arguments.scratch}/",
        "-verbosity=0",
    ]
    atheris.Setup(
        [sys.argv[0], *options, str(reached), str(arguments.seeds)],
        feed,
        custom_mutator=mutate,
        custom_crossover=cross,
    )
    atheris.Fuzz()


def _by_mutations(feed: Feed, arguments: argparse.Namespace) -> None:
    end = time.monotonic() + arguments.seconds
    for data in islice(_mutations(arguments.seeds, arguments.seed), arguments.executions):
        feed(data[:LONGEST])
        if time.monotonic() > end:
            return


def _mutations(seeds: Path, seed: int) -> Iterator[bytes]:
    from tests.corpus.mutations import mutated, spliced

    files, random = [file.read_bytes() for file in sorted(seeds.iterdir())], Random(seed)
    yield from files
    for number in count():
        data = mutated(random.choice(files), random)
        yield spliced(data, random.choice(files), random) if number % 20 == 0 else data


def _reporting(feed: Feed, report: Callable[[], None]) -> Feed:
    """The same, with a report once in a while: a process that dies has no last word."""
    due = 0.0

    def fed(data: bytes) -> None:
        nonlocal due
        feed(data)
        if (now := time.monotonic()) > due:
            report()
            due = now + _REPORT_EVERY

    return fed


def _report(scratch: Path, counts: dict[str, Counter[str]], slowest: tuple[float, str]) -> None:
    part = scratch / "report.part"
    part.write_text(json.dumps({**counts, "slowest": slowest}))
    part.replace(scratch / "report.json")


if __name__ == "__main__":
    main()
