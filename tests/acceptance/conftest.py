"""The product as its users run it: the installed command, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import text

from tagger.store.session import Database, open_database
from tests.photos import EXAMPLES, distinct_jpegs

TAGGER = [sys.executable, "-m", "tagger"]


@dataclass(frozen=True)
class Tagger:
    """The command with an environment of its own: no settings of the user's, one database."""

    env: Mapping[str, str]
    folder: Path

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*TAGGER, *map(str, arguments)],
            env=self.env,
            cwd=self.folder,
            encoding="utf-8",
            errors="surrogateescape",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *arguments: str | Path, code: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
        return out + err if code else out

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.folder / "tagger.db", timeout=30) as connection:
            rows = connection.execute(query, values).fetchall()
        connection.close()
        return rows


def _tagger(folder: Path, engine_cache: Path) -> Tagger:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGGER_")}
    home = folder / "home"
    home.mkdir()
    env = kept | {
        "TAGGER_DATABASE_URL": str(folder / "tagger.db"),
        "TAGGER_CACHE_DIR": str(engine_cache),
        "HOME": str(home),
        "PYTHONWARNINGS": "error",
    }
    return Tagger(env, folder)


def _lay_out(folder: Path) -> Path:
    (folder / "trip" / "@eaDir").mkdir(parents=True)
    for name in ("domestic_dog.jpg", "ocelot.jpg", "denali.webp", "vehicle.jpg", "prairie_falcon.jpg"):
        shutil.copy2(EXAMPLES / name, folder / "trip" / name)
    shutil.copy2(EXAMPLES / "ocelot.jpg", folder / "trip" / "@eaDir" / "thumbnail.jpg")
    (folder / "trip" / "ocelot.xmp").write_text("<x/>")
    (folder / "holiday.mp4").write_bytes(b"\0" * 100)
    (folder / "broken.jpg").write_bytes((EXAMPLES / "ocelot.jpg").read_bytes()[:300])
    (folder / "note.unknown").write_text("no image")
    return folder


@pytest.fixture
def tagger(tmp_path: Path, engine_cache: Path) -> Tagger:
    return _tagger(tmp_path, engine_cache)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with some of the example photos, and things that are none."""
    return _lay_out(tmp_path / "photos")


@pytest.fixture(scope="session")
def _tagged(common: Path, engine_cache: Path) -> Path:
    """Such a folder, and a database with its tags, made once for all processes of a test run."""
    folder = common / "tagged"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            _tagger(folder, engine_cache)("tag", _lay_out(folder / "photos"))
    return folder


@pytest.fixture
def tagged(tagger: Tagger, _tagged: Path) -> Path:
    """Such a folder, whose photos are tagged already; it stays as it is, for other tests have the same."""
    shutil.copy(_tagged / "tagger.db", tagger.folder)
    return _tagged / "photos"


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six hundred small photos, each with bytes of its own."""
    folder = tmp_path_factory.mktemp("many")
    distinct_jpegs(folder, 600, (320, 240))
    return folder


@pytest.fixture
def rows() -> Iterator[Callable[[str, str], list[tuple[Any, ...]]]]:
    """Rows of a query from any database."""
    opened: list[Database] = []

    def ask(url: str, query: str) -> list[tuple[Any, ...]]:
        database = open_database(url)
        opened.append(database)
        with database.reading() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    yield ask
    for database in opened:
        database.close()
