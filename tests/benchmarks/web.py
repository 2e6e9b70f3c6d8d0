"""How fast pages and API answer over HTTP with nothing in memory: `make bench-web`.

The library is made rows (:mod:`tests.benchmarks.made`), served by a real ``tagger serve`` of its own. Before
each kind of request the server is started anew, PostgreSQL too, and the files of the database are taken out
of the system's memory; then each request is asked for once, one after the other, on one connection.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from tagger.search.expression import spelled
from tagger.store import migrate, queries
from tagger.store.session import Database, open_database
from tests.benchmarks.database import queries_by_kind
from tests.benchmarks.made import fill
from tests.benchmarks.servers import new_database, postgres_server
from tests.conftest import PostgresServer
from tests.integration.conftest import free_port

SAMPLES = 12
"""Searches of each kind."""
BROAD = "animal"
STARTS = 8
"""Times that a server is started to be asked one thing."""

Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args()
    found = measure(options.images)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def measure(images: int) -> dict[str, Any]:
    """By database and kind of request: milliseconds."""
    with postgres_server() as server, tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        place = Path(folder) / "library"
        place.mkdir()
        sqlite, postgresql = str(place / "tagger.db"), new_database(server, "bench")
        databases = [open_database(sqlite), open_database(postgresql)]
        for database in databases:
            migrate.upgrade(database)
        fill(databases, images)
        typed = _typed(databases[0])
        for database in databases:
            database.close()
        return {
            "images": images,
            "sqlite": _kinds(typed, lambda: _cold(sqlite, [place])),
            "postgresql": _kinds(typed, lambda: _cold(postgresql, [server.folder], server)),
        }


def _typed(database: Database) -> list[str]:
    """Searches of every kind that the benchmark of the database has, mixed."""
    with database.reading() as connection:
        names = [use.tag for use in queries.tags(connection)]
    found = [spelled(each.expression) for some in queries_by_kind(names, SAMPLES).values() for each in some]
    random.Random(1).shuffle(found)
    return found


Served = Callable[[], Any]
"""A context in which a server answers with nothing in memory: its port."""


def _kinds(typed: Sequence[str], served: Served) -> Figures:
    figures = {}
    for kind, path, parameters in (
        ("page of a search", "/", [{"q": each} for each in typed]),
        ("search, API", "/api/v1/search", [{"q": each} for each in typed]),
        ("facets", "/facets", [{"q": each} for each in typed]),
        ("completion", "/completions", [{"q": each[:3], "at": 3} for each in typed]),
    ):
        with served() as port:
            figures[kind] = _summary([_timed(port, path, each)[0] for each in parameters])
    for kind, path, asked in (
        (f"first of all: page of {BROAD}", "/", {"q": BROAD}),
        (f"first of all: facets of {BROAD}", "/facets", {"q": BROAD}),
        ("first of all: facets of all", "/facets", {}),
    ):
        figures[kind] = _summary([_first(served, path, asked) for _ in range(STARTS)])
    for kind, asked in ((f"scrolling through {BROAD}", {"q": BROAD}), ("scrolling through all", {})):
        with served() as port:
            figures[kind] = _summary(list(_scrolled(port, asked)))
    return figures


def _first(served: Served, path: str, asked: Mapping[str, object]) -> float:
    with served() as port:
        return _timed(port, path, asked)[0]


def _timed(port: int, path: str, asked: Mapping[str, object]) -> tuple[float, str]:
    """Milliseconds, and what came."""
    connection = HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("GET", f"{path}?{urlencode(asked)}")
    answer = connection.getresponse()
    body = answer.read().decode()
    spent = 1000 * (time.perf_counter() - began)
    connection.close()
    assert answer.status == 200, (path, asked, body[:300])
    return spent, body


def _scrolled(port: int, asked: Mapping[str, object]) -> Iterator[float]:
    """What each page of the grid takes, down to the last photo."""
    after, seen = "", 0
    while True:
        spent, body = _timed(port, "/grid", {**asked, "after": after} if after else asked)
        yield spent
        seen += body.count('<li class="tile"')
        found = re.search(r'data-next="([^"]*)"', body)
        assert found is not None
        after = found[1]
        if not after:
            return


def _summary(spent: Sequence[float]) -> dict[str, float]:
    usual = sorted(spent)
    return {
        "asked": len(usual),
        "p50": usual[len(usual) // 2],
        "p95": usual[min(len(usual) - 1, int(len(usual) * 0.95))],
        "max": usual[-1],
    }


@contextmanager
def _cold(place: str, folders: Sequence[Path], server: PostgresServer | None = None) -> Iterator[int]:
    if server is not None:
        database = open_database(place)
        with database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))
        database.close()
        server.restart()
    for folder in folders:
        _forget(folder)
    with _served(place) as port:
        yield port


def _forget(folder: Path) -> None:
    """Take its files out of the system's memory."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


@contextmanager
def _served(place: str) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "tagger", "serve", "--db", place, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert b"http" in process.stdout.readline()
        # Started is when it answers: what it imports is no request's.
        for _ in range(200):
            try:
                _timed(port, "/static/icon.svg", {})
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _show(found: Mapping[str, Any]) -> None:
    table = Table(title=f"{found['images']:,} images, over HTTP, nothing in memory; ms", title_justify="left")
    table.add_column("request")
    for database in ("SQLite", "PostgreSQL"):
        for column in ("p50", "p95", "max"):
            table.add_column(f"{database} {column}", justify="right")
    for kind in found["sqlite"]:
        row = [
            f"{found[database][kind][column]:.0f}"
            for database in ("sqlite", "postgresql")
            for column in ("p50", "p95", "max")
        ]
        table.add_row(f"{kind} ({found['sqlite'][kind]['asked']})", *row)
    Console().print(table)


if __name__ == "__main__":
    main()
