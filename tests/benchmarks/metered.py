"""`tagger tag` with a meter, as a process: ``python -m tests.benchmarks.metered PHOTOS DATABASE``.

It does what the command does, and prints as JSON where the seconds went: those of each stage, by the
product's own meter; and those in the database, by asking around every transaction and every look-up, from
the moment that the engine is ready. Seconds of a stage are summed over the threads that wait in it, so
they may be more than the run took. A transaction's seconds include waiting for a processor, which on busy
cores is most of it; what it computed itself stands beside.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection

from tagger.garbage import collect_rarely
from tagger.library import tagging
from tagger.library.tagging import Progress, TagRequest
from tagger.library.workshop import Equipment
from tagger.metering import Silent, Stage
from tagger.settings import load_settings
from tagger.sources import Roots
from tagger.store import migrate
from tagger.store.census import Tally
from tagger.store.session import Database, Inquiry, open_database

T = TypeVar("T")


@dataclass(slots=True)
class Spent:
    """Seconds by what they were spent on, from any thread."""

    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    computing: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Measure a block in one thread."""
        wall, computing = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            with self.lock:
                self.wall[what] += time.perf_counter() - wall
                self.computing[what] += time.thread_time() - computing

    def clear(self) -> None:
        """Begin anew."""
        with self.lock:
            self.wall.clear()
            self.computing.clear()


class StageMeter(Silent):
    """Adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        with self._lock:
            self.seconds[stage.value] += seconds


_SPENT = Spent()
"""Of this process, since :class:`Database` has slots and no room for it."""


class MeasuredInquiry(Inquiry):
    """Look-ups, measured."""

    def __call__(self, question: str, *before: object, **values: Any) -> Sequence[tuple[Any, ...]]:
        with _SPENT.on("look-ups"):
            return super().__call__(question, *before, **values)


class MeasuredDatabase(Database):
    """A database whose transactions are measured."""

    __slots__ = ()

    def write(self, work: Callable[[Connection], T]) -> T:
        with _SPENT.on("transactions"):
            return super().write(work)

    def read(self, question: Callable[[Connection], T]) -> T:
        with _SPENT.on("questions"):
            return super().read(question)

    def inquiry(self) -> Inquiry:
        return MeasuredInquiry(self)


class _Watch:
    """Starts the clocks when the engine is ready."""

    def scanning(self, tally: Tally) -> None:
        pass

    def quiet(self, place: str) -> None:
        pass

    def starting(self, total: int) -> None:
        pass

    def tagging(self, engine: str) -> None:
        _SPENT.clear()

    def advanced(self, progress: Progress) -> None:
        pass

    def waiting(self, images: int) -> None:
        pass


def main() -> None:
    """Tag and tell."""
    collect_rarely()  # as the command does
    photos, place = Path(sys.argv[1]), sys.argv[2]
    settings, meter = load_settings(), StageMeter()
    database = MeasuredDatabase(open_database(place).engine)
    migrate.ensure(database)
    equipment = Equipment(threads=settings.cores, cache_dir=settings.cache_dir, meter=meter)
    report = tagging.tag(database, TagRequest((photos,), Roots(), equipment), _Watch())
    found = {
        "images": report.progress.done,
        "seconds": report.seconds,
        "stages": dict(meter.seconds),
        "database": dict(_SPENT.wall),
        "database, computing": dict(_SPENT.computing),
    }
    database.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
