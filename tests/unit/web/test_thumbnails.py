"""Pictures over HTTP: what may be read is for the roots to say, whoever asks for what."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tagger.library.thumbnails import Thumbnails
from tagger.settings import load_settings
from tagger.sources import Roots
from tagger.store.session import Database
from tagger.values import Limits
from tagger.web.app import make_app
from tagger.web.site import Site
from tests.photos import EXAMPLES
from tests.unit.store.conftest import Shelf
from tests.unit.web.asked import refused
from tests.unit.web.conftest import HERE

PHOTO = EXAMPLES / "african_elephants_with_exif_orientation.jpg"


@pytest.fixture
def database(sqlite: Database) -> Database:
    """One is enough: what differs between databases is below the pages, and tested there."""
    return sqlite


@dataclass(frozen=True)
class Wall:
    """A server over a folder ``inside`` that may be read, beside another that may not."""

    client: TestClient
    shelf: Shelf
    folder: Path

    def known(self, name: str) -> int:
        """The id of an image, which is made known."""
        uri = Roots().adding(["/"]).uri_of(self.folder / name)
        self.shelf.write("INSERT INTO images (uri, added_at) VALUES (:uri, CURRENT_TIMESTAMP)", uri=uri)
        ((image_id,),) = self.shelf.rows("SELECT id FROM images WHERE uri = :uri", uri=uri)
        return int(str(image_id))

    def asked(self, image_id: object, size: str = "small", code: int = 200, **headers: str) -> str:
        answer = self.client.get(f"/photos/{image_id}/{size}", headers=headers)
        return str(refused(answer, code)["code"])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Thumbnails, Roots, Path]]:
    """The processes that load, once for all."""
    folder = tmp_path_factory.mktemp("wall")
    (folder / "inside").mkdir()
    (folder / "outside").mkdir()
    roots = Roots().adding([folder / "inside"])
    with Thumbnails(roots, Limits(max_pixels=2_000_000), folder / "cache", 10**7, 1) as thumbnails:
        yield thumbnails, roots, folder


@pytest.fixture
def wall(servers: tuple[Thumbnails, Roots, Path], shelf: Shelf) -> Wall:
    thumbnails, roots, folder = servers
    site = Site(shelf.database, load_settings(), roots, thumbnails, send=lambda bulk: "")
    return Wall(TestClient(make_app(site), HERE), shelf, folder)


@pytest.mark.parametrize(("size", "side"), [("small", 320), ("large", 1024)])
def test_a_photo_is_shown_whole_upright_and_without_its_secrets(wall: Wall, size: str, side: int) -> None:
    shutil.copy(PHOTO, wall.folder / "inside" / "turned.jpg")
    image = wall.known("inside/turned.jpg")
    answer = wall.client.get(f"/photos/{image}/{size}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(answer.content)) as picture:
        assert max(picture.size) == side and not picture.getexif()
    assert "private" in answer.headers["Cache-Control"]
    again = wall.client.get(f"/photos/{image}/{size}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_outside_the_roots_is_shown(wall: Wall) -> None:
    secret = wall.folder / "outside" / "secret.jpg"
    shutil.copy(PHOTO, secret)
    assert wall.asked(wall.known("outside/secret.jpg"), code=403) == "outside"
    link = wall.folder / "inside" / "link.jpg"
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    assert wall.asked(wall.known("inside/link.jpg"), code=403) == "outside"
    assert wall.asked(wall.known("inside/../outside/secret.jpg?x"), code=403) == "outside"


def test_a_path_in_place_of_a_number_is_no_photo(wall: Wall) -> None:
    for path in ("..%2Foutside%2Fsecret.jpg", "%2Fetc%2Fpasswd", "-1", "0", "99999999999999999999", "1e3"):
        answer = wall.client.get(f"/photos/{path}/small")
        assert answer.status_code in (404, 422), path
    assert wall.client.get("/photos/1/huge").status_code == 422
    assert wall.client.get("/static/..%2f..%2fsite.py").status_code == 404


def test_why_there_is_no_picture_is_said(wall: Wall) -> None:
    (wall.folder / "inside" / "text.jpg").write_text("no picture at all")
    Image.new("L", (2_000, 1_500)).save(wall.folder / "inside" / "large.png")
    (wall.folder / "inside" / "empty.jpg").touch()
    assert wall.asked(wall.known("inside/gone.jpg"), code=404) == "missing"
    assert wall.asked(wall.known("inside/text.jpg"), code=422) == "unsupported"
    assert wall.asked(wall.known("inside/large.png"), code=422) == "too_large"
    assert wall.asked(wall.known("inside/empty.jpg"), code=422) == "corrupt"
    assert wall.asked(4711, code=404) == "not_found"
