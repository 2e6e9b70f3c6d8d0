"""The application over a small library, asked as a program asks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tagger.library.thumbnails import Thumbnails
from tagger.settings import load_settings
from tagger.sources import Roots
from tagger.store.session import Database
from tagger.values import Limits
from tagger.web.app import make_app
from tagger.web.site import Site
from tests.unit.store.conftest import Shelf, shelf

__all__ = ["shelf"]

TOKEN = "a-token-of-thirty-two-characters"
HERE = "http://localhost:8484"


def site_over(database: Database, token: str | None = None, roots: Roots | None = None) -> Site:
    settings = load_settings(token=token)
    roots = roots or Roots()
    thumbnails = Thumbnails(roots, Limits(), Path(os.devnull), 0, 1)  # starts nothing until it is asked
    return Site(database, settings, roots, thumbnails, send=lambda bulk: f"sent, bulk: {bulk}")


def asking(site: Site, **headers: str) -> TestClient:
    """A program that follows no redirects."""
    return TestClient(make_app(site), HERE, headers=headers, follow_redirects=False)


@pytest.fixture
def api(shelf: Shelf) -> TestClient:
    """Whoever asks on this machine, without a token."""
    return asking(site_over(shelf.database))


@pytest.fixture
def guarded(sqlite: Database) -> TestClient:
    """Whoever asks a server that has a token."""
    return asking(site_over(sqlite, TOKEN))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A root with a folder and three files."""
    root = tmp_path / "photos"
    for name in ("a.jpg", "trip/b.jpg", "trip/c.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\xff\xd8 not much of a photo" + name.encode())
    return root
