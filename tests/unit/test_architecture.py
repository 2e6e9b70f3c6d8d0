"""Arrows run one way: the imports of every room are read and held against the design."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tagger"
GROUND = {"values", "errors", "metering", "garbage", "priority"}
ROOMS = {"engines", "models", "loading", "sources", "taxonomy", "scoring", "data"}
HALL = {"pipeline", "supervision", "store", "search", "training", "export"}
MAY_IMPORT = {
    **dict.fromkeys(ROOMS, GROUND),
    "scoring": GROUND | {"taxonomy"},
    "data": GROUND | {"taxonomy"},  # the script that derives the data obeys its reader's rules
    **dict.fromkeys(HALL, GROUND | ROOMS),
    "values": set[str](),
    "errors": set[str](),
    "metering": set[str](),
    "garbage": set[str](),
    "priority": set[str](),
    "settings": GROUND,
    "library": GROUND | ROOMS | HALL | {"settings"},
    "__main__": {"cli"},
    "cli": GROUND | ROOMS | HALL | {"settings", "library", "web", "__init__"},
    "web": GROUND | ROOMS | HALL | {"settings", "library"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Every module that the file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = node.module == "tagger"
            found.update(f"tagger.{name.name}" if deeper else node.module for name in node.names)
    return found


def test_there_is_something_to_check() -> None:
    assert {"store", "pipeline", "sources", "library", "cli"} <= {_room(path) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_one_way(path: Path) -> None:
    room = _room(path)
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("tagger.")}
    rooms = {name for name in ours if not name.startswith("__")}
    migrations_need_the_package_itself = {"tagger"} if room == "store" else set()
    assert rooms - {room} <= MAY_IMPORT[room] | migrations_need_the_package_itself


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_knows_nothing_of_celery(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert "celery" not in roots
    assert "worker" not in roots or path == PACKAGE / "cli" / "worker.py"


WORKER = Path(__file__).parents[2] / "worker"


@pytest.mark.parametrize("path", sorted(WORKER.glob("*.py")), ids=lambda path: path.name)
def test_the_worker_stands_on_the_library(path: Path) -> None:
    rooms = {name.split(".")[1] for name in _imports(path) if name.startswith("tagger.")}
    assert rooms <= GROUND | HALL | {"library", "settings", "sources", "engines"}
    assert "torch" not in {name.split(".")[0] for name in _imports(path)}


@pytest.mark.parametrize(
    ("room", "banned"),
    [("pipeline", "sqlalchemy"), ("store", "torch"), ("search", "torch"), ("loading", "sqlalchemy")],
)
def test_rooms_keep_to_themselves(room: str, banned: str) -> None:
    roots = {name.split(".")[0] for path in FILES if _room(path) == room for name in _imports(path)}
    assert banned not in roots


def test_only_who_serves_waits_for_a_server() -> None:
    check = "import tagger.cli, sys; sys.exit('fastapi' in sys.modules or 'uvicorn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "code",
    [
        "import tagger",
        "import tagger.cli, tagger.library.lookup, tagger.store.queries, tagger.models, tagger.pipeline",
        "import tagger.web.app, tagger.cli.serve",
        "import tagger.cli, sys; sys.argv = ['tagger', '--help']\n"
        "try: tagger.cli.main()\nexcept SystemExit: pass",
    ],
)
def test_what_must_be_quick_imports_no_torch(code: str) -> None:
    check = f"{code}\nimport sys; sys.exit('torch' in sys.modules or 'openvino' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, check=False).returncode == 0
