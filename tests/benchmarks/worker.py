"""One worker beside ``tagger tag``, on the same photos: `make bench-worker`.

``tagger tag`` writes into SQLite and into PostgreSQL; the worker gets its chunks through a broker and
writes into PostgreSQL. Each has a database of its own and default settings. They run by turns of some
seconds, with the machine for itself each time while the others are stopped (SIGSTOP), so that whatever
else keeps a shared machine busy slows them all alike. Each is timed from its first committed group on,
so that neither start-up nor scan counts.

With ``--memory`` one worker tags that many photos and is looked at every thousand of them: does it
grow? PSS (shared pages divided among those that share them) of the process that tags, and of its
loading children together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tagger.store import migrate
from tagger.store.session import open_database
from tests.benchmarks.servers import broker_server, new_database, postgres_server
from tests.conftest import PostgresServer
from tests.integration.conftest import Broker
from tests.photos import distinct_jpegs

TAGGER = [sys.executable, "-m", "tagger"]
SIZE = (500, 375)
PHOTO_BYTES = 60_000
"""What a photo takes on disk, more or less."""
EVERY = 1000
"""Images between two looks at the memory."""
FROM = 5000
"""Images after which a worker has all that it keeps."""


@dataclass(frozen=True, slots=True)
class Held:
    """Megabytes held after so many images."""

    images: int
    node: float
    children: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--turn", type=float, default=10.0, help="seconds of one turn")
    parser.add_argument(
        "--memory", type=int, nargs="?", const=50_000, metavar="IMAGES", help="memory over so many images"
    )
    options = parser.parse_args()
    images = options.memory or options.images
    with tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        _require_space(Path(folder), images)
        photos = Path(folder) / "photos"
        distinct_jpegs(photos, images, SIZE)
        with postgres_server() as server, broker_server() as broker:
            bench = Bench(Path(folder), photos, images, server, broker)
            figures = bench.memory() if options.memory else bench.rates(options.turn)
    print(json.dumps(figures, indent=2))


def _require_space(folder: Path, images: int) -> None:
    needed, free = images * PHOTO_BYTES, shutil.disk_usage(folder).free
    if free < 1.5 * needed:
        sys.exit(f"{folder} has {free / 1e9:.1f} GB free; {images:,} photos need {needed / 1e9:.1f} GB")


@dataclass(slots=True)
class Runner:
    """A process with its children that tags into a database, and stands still between its turns."""

    name: str
    process: subprocess.Popen[bytes]
    engine: Engine
    first: int = 0
    """Images whose outcomes were committed before the first turn."""
    seconds: float = 0.0

    @classmethod
    def begun(cls, name: str, process: subprocess.Popen[bytes], database: str) -> Runner:
        """Wait for the first group, and have it stand still."""
        while not Path(database).exists() and "://" not in database:
            time.sleep(0.1)
        runner = cls(name, process, _engine(database))
        while not runner.done():
            assert process.poll() is None, f"{name} ended"
            time.sleep(0.1)
        runner._signal(signal.SIGSTOP)
        runner.first = runner.done()
        return runner

    def take_turn(self, seconds: float) -> None:
        """Go on for so long."""
        began = time.monotonic()
        self._signal(signal.SIGCONT)
        time.sleep(seconds)
        self._signal(signal.SIGSTOP)
        self.seconds += time.monotonic() - began

    def has_left(self, turn: float, images: int) -> bool:
        """Whether it would work through all of another turn."""
        expected = 1.5 * turn * self.rate if self.seconds else 0
        return self.done() + expected < images

    def done(self) -> int:
        """Images with an outcome; 0 while there are no tables."""
        with suppress(DBAPIError):
            return _one(self.engine, "SELECT COUNT(*) FROM taggings WHERE outcome IS NOT NULL")
        return 0

    @property
    def rate(self) -> float:
        """Images a second of its turns."""
        return (self.done() - self.first) / self.seconds

    def _signal(self, number: signal.Signals) -> None:
        for process in _family(self.process):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The process, and all that it started; the children last, so that none is missed as dead."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have it go on, and end in order."""
    if process.poll() is None:
        for each in reversed(_family(process)):
            each.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
    process.wait(timeout=90)


class Bench:
    """The same photos, again and again, each time for a new database."""

    def __init__(
        self, folder: Path, photos: Path, images: int, server: PostgresServer, broker: Broker
    ) -> None:
        self._folder, self._photos, self._images = folder, photos, images
        self._server, self._broker = server, broker
        self._databases = 0

    # -- images a second ----------------------------------------------------------------------

    def rates(self, turn: float) -> dict[str, Any]:
        """Images a second of each, and of the worker to the others."""
        self._run_tag(str(self._folder / "first.db"), self._first_photos())  # the model is compiled and kept
        with ExitStack() as opened:
            runners = [
                opened.enter_context(self._tagging("tagger tag, SQLite", str(self._folder / "tag.db"))),
                opened.enter_context(self._tagging("tagger tag, PostgreSQL", self._new_postgres())),
                opened.enter_context(self._working("tagger worker, broker and PostgreSQL")),
            ]
            while all(runner.has_left(turn, self._images) for runner in runners):
                for runner in runners:
                    runner.take_turn(turn)
                    print(f"{runner.name}: {runner.done():,} images", file=sys.stderr)
        sqlite, postgres, worker = (runner.rate for runner in runners)
        return {
            "images": self._images,
            "turns of, s": turn,
            "images/s": {runner.name: round(runner.rate, 1) for runner in runners},
            "worker to tagger tag, SQLite": round(worker / sqlite, 3),
            "worker to tagger tag, PostgreSQL": round(worker / postgres, 3),
        }

    def _first_photos(self) -> Path:
        folder = self._folder / "first"
        distinct_jpegs(folder, 64, SIZE)
        return folder

    def _run_tag(self, database: str, photos: Path) -> None:
        command = [*TAGGER, "tag", str(photos), "--db", database]
        with (self._folder / "first.log").open("wb") as log:
            subprocess.run(command, env=self._environment({}), check=True, stdout=log, stderr=log)

    @contextmanager
    def _tagging(self, name: str, database: str) -> Iterator[Runner]:
        """`tagger tag` over all photos, stopped after its first group."""
        command = [*TAGGER, "tag", str(self._photos), "--db", database]
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=self._environment({}), stdout=log, stderr=log)
            try:
                yield Runner.begun(name, process, database)
            finally:
                _end(process)

    @contextmanager
    def _working(self, name: str) -> Iterator[Runner]:
        """One worker over all photos, stopped after its first group."""
        database = self._new_postgres()
        with self._worker(database) as process:
            yield Runner.begun(name, process, database)

    # -- memory -------------------------------------------------------------------------------

    def memory(self) -> dict[str, Any]:
        """What a worker holds, every thousand images, and by how much it grew."""
        database = self._new_postgres()
        with self._worker(database):
            held = list(self._held(database))
        last = held[-1]
        base = next((each for each in held if each.images >= min(FROM, self._images // 2)), held[0])
        return {
            "MB": [asdict(each) for each in held],
            "from image": base.images,
            "to image": last.images,
            "the node grew by, MB": round(last.node - base.node, 1),
            "its loading children grew by, MB": round(last.children - base.children, 1),
            "images/s": round(_rate(database), 1),
        }

    def _held(self, database: str) -> Iterator[Held]:
        """A look after each thousand images, while the worker is at work, and one at the end."""
        engine = _engine(database)
        due = EVERY if self._images >= 10 * EVERY else self._images // 10
        step = due
        while True:
            done = _one(engine, "SELECT COUNT(*) FROM taggings WHERE outcome IS NOT NULL")
            if done >= due or done >= self._images:
                pid = _one(engine, "SELECT pid FROM leases WHERE role = 'worker' ORDER BY id DESC LIMIT 1")
                yield _look(pid, done)
                print(f"{done:,} images", file=sys.stderr)
                due = done - done % step + step
            if done >= self._images:
                break
            time.sleep(0.5)
        engine.dispose()

    # -- servers and processes ----------------------------------------------------------------

    def _next(self) -> int:
        self._databases += 1
        return self._databases

    def _new_postgres(self) -> str:
        url = new_database(self._server, f"bench_{self._next()}")
        database = open_database(url)
        migrate.upgrade(database)
        database.close()
        return url

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGGER_")}
        place = str(Path(__file__).parents[2])
        return kept | {"TAGGER_CACHE_DIR": str(self._folder / "cache"), "PYTHONPATH": place, **more}

    @contextmanager
    def _worker(self, database: str) -> Iterator[subprocess.Popen[bytes]]:
        """All photos wanted, and one worker started for them; it is told to end with the block."""
        self._broker.client.flushall()
        environment = self._environment(
            {
                "TAGGER_DATABASE_URL": database,
                "TAGGER_BROKER_URL": self._broker.url,
                "TAGGER_ROOTS": f"photos={self._photos}",
            }
        )
        with (self._folder / "worker.log").open("wb") as log:
            enqueue = [*TAGGER, "enqueue", str(self._photos)]
            subprocess.run(enqueue, env=environment, check=True, stdout=log, stderr=log)
            worker = subprocess.Popen(
                [*TAGGER, "worker", "--gpus", "none"], env=environment, stdout=log, stderr=log
            )
            try:
                yield worker
            finally:
                _end(worker)


def _look(pid: int, done: int) -> Held:
    node = psutil.Process(pid)
    children = sum(_megabytes(child) for child in node.children(recursive=True))
    return Held(done, round(_megabytes(node), 1), round(children, 1))


def _megabytes(process: psutil.Process) -> float:
    """PSS where the system tells, else what is resident; 0 for what has just ended."""
    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(getattr(memory, "pss", memory.rss)) / 1e6


def _rate(database: str) -> float:
    """Images a second from the first committed outcome to the last; the first group is not counted."""
    engine = _engine(database)
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT finished_at, COUNT(*) FROM taggings WHERE outcome IS NOT NULL "
                "GROUP BY finished_at ORDER BY finished_at"
            )
        ).all()
    engine.dispose()
    first, last = (_moment(rows[position][0]) for position in (0, -1))
    return float(sum(images for _, images in rows[1:]) / max(1e-9, (last - first).total_seconds()))


def _moment(value: str | datetime) -> datetime:
    """SQLite has text."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _engine(database: str) -> Engine:
    if "://" not in database:
        return create_engine(f"sqlite:///{database}")
    return create_engine(make_url(database).set(drivername="postgresql+psycopg"))


def _one(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


if __name__ == "__main__":
    main()
