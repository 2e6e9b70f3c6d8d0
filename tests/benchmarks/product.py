"""The product's own processes, as contenders and alone: `tagger tag`, and a worker behind a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from tagger.store import migrate
from tagger.store.session import open_database
from tests.benchmarks.servers import new_database
from tests.benchmarks.turns import GLANCE, EndedError, Running, end, last_line
from tests.conftest import PostgresServer
from tests.integration.conftest import Broker
from tests.memory import peak_memory

REPOSITORY = Path(__file__).parents[2]
TAGGER = [sys.executable, "-m", "tagger"]
DONE = "SELECT COUNT(*) FROM taggings WHERE outcome IS NOT NULL"


@dataclass(slots=True)
class Product:
    """Starts the product in a folder of its own, with ``threads`` threads and one engine cache."""

    folder: Path
    threads: int
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def cache(self) -> Path:
        """Where the network is kept in the engine's form."""
        return self.folder / "cache"

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, without settings of its user's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGGER_")}
        ours = {"TAGGER_CACHE_DIR": str(self.cache), "PYTHONPATH": str(REPOSITORY)}
        return kept | ours | {"TAGGER_THREADS": str(self.threads)} | more

    def new_sqlite(self) -> str:
        """A place where no database is yet."""
        return str(self.folder / f"{next(self._numbers)}.db")

    def new_postgres(self, server: PostgresServer) -> str:
        """The URL of a database with tables and no rows."""
        url = new_database(server, f"bench_{next(self._numbers)}")
        database = open_database(url)
        migrate.upgrade(database)
        database.close()
        return url

    def tag(self, photos: Path, database: str) -> float:
        """Run `tagger tag` to its end; seconds of the whole process."""
        began = time.monotonic()
        self._run("tag", str(photos), "--db", database)
        return time.monotonic() - began

    def peak_of_tag(self, photos: Path) -> int:
        """The most bytes that `tagger tag` and its children held at one time."""
        command = [*TAGGER, "tag", str(photos), "--db", self.new_sqlite()]
        with self._log() as log:
            process = subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log, text=True)
            peak = peak_memory(process, every=0.2)
            if process.returncode:
                raise EndedError(f"tagger tag ended with {process.returncode}: {last_line(log)}")
        return peak

    def first_tag(self, photos: Path) -> float:
        """Seconds from the start of `tagger tag` to the first committed outcome."""
        database, began = self.new_sqlite(), time.monotonic()
        with self.tagging(photos, database, total=1) as running:
            while not running.done():
                if running.process.poll() is not None:
                    raise EndedError(f"tagger tag ended before its first outcome: {running.words()}")
                time.sleep(GLANCE)
            return time.monotonic() - began

    def seconds(self, *command: str) -> float:
        """Seconds of a command of `tagger`."""
        began = time.monotonic()
        self._run(*command)
        return time.monotonic() - began

    @contextmanager
    def tagging(self, photos: Path, database: str, total: int) -> Iterator[Running]:
        """`tagger tag` over a folder of so many photos."""
        command = [*TAGGER, "tag", str(photos), "--db", database]
        with (
            _done_in(database) as done,
            self.started(command, self.environment(), done, total) as running,
        ):
            yield running

    @contextmanager
    def working(self, photos: Path, database: str, total: int, broker: Broker) -> Iterator[Running]:
        """All photos wanted, and one worker on this machine's CPU for them."""
        broker.client.flushall()
        environment = self.environment(
            TAGGER_DATABASE_URL=database, TAGGER_BROKER_URL=broker.url, TAGGER_ROOTS=f"photos={photos}"
        )
        self._run("enqueue", str(photos), environment=environment)
        command = [*TAGGER, "worker", "--gpus", "none"]
        with _done_in(database) as done, self.started(command, environment, done, total) as running:
            yield running

    def metered(self, photos: Path, database: str) -> dict[str, Any]:
        """A run with a meter; see :mod:`tests.benchmarks.metered`."""
        command = [sys.executable, "-m", "tests.benchmarks.metered", str(photos), database]
        done = subprocess.run(command, env=self.environment(), check=True, stdout=subprocess.PIPE)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _run(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        with self._log() as log:
            given = self.environment() if environment is None else environment
            done = subprocess.run([*TAGGER, *command], env=given, stdout=log, stderr=log, check=False)
            if done.returncode:
                raise EndedError(f"tagger {command[0]} ended with {done.returncode}: {last_line(log)}")

    @contextmanager
    def started(
        self,
        command: list[str],
        environment: dict[str, str],
        done: Callable[[], int],
        total: int | None = None,
    ) -> Iterator[Running]:
        """A process at work, ended with the block."""
        with self._log() as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                yield Running(process, done, total, lambda: last_line(log))
            finally:
                end(process)

    def _log(self) -> BinaryIO:
        return tempfile.TemporaryFile(dir=self.folder)


@contextmanager
def _done_in(database: str) -> Iterator[Callable[[], int]]:
    """A way to ask how many images have an outcome; 0 while there are no tables, or no file."""
    engine = database_engine(database)

    def done() -> int:
        if "://" in database or Path(database).exists():
            with suppress(DBAPIError):
                return one(engine, DONE)
        return 0

    try:
        yield done
    finally:
        engine.dispose()


def database_engine(database: str) -> Engine:
    """SQLAlchemy's engine for a path of SQLite, or the URL of a PostgreSQL."""
    if "://" not in database:
        return create_engine(f"sqlite:///{database}")
    return create_engine(make_url(database).set(drivername="postgresql+psycopg"))


def one(engine: Engine, query: str) -> int:
    """The number that a query answers with."""
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())
