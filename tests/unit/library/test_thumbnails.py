"""Thumbnails show what the file shows, are made once, and are kept by content."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from tagger.library import thumbnails as room
from tagger.library.pool import Pool
from tagger.library.thumbnails import Thumbnail, Thumbnails, ThumbnailSize
from tagger.sources import Roots
from tagger.values import ImageRef, Limits, LoadedImage, LoadFailure, OutcomeKind
from tests.photos import EXAMPLES, commented_jpeg

SMALL, LARGE = ThumbnailSize.SMALL, ThumbnailSize.LARGE
BAD_DECODERS = Path(__file__).parents[2] / "bad_decoders"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ids of the pictures that were loaded, as they are."""
    done: list[int] = []
    load = Pool.load

    def counted(
        self: Pool, ref: ImageRef, wanted: Callable[[bytes], bool]
    ) -> LoadedImage | LoadFailure | None:
        result = load(self, ref, wanted)
        if result is not None:
            done.append(ref.image_id)
        return result

    monkeypatch.setattr(Pool, "load", counted)
    return done


def _open(photos: Path, limits: Limits | None = None, folder: str = "cache") -> Thumbnails:
    roots = Roots().adding([photos])
    return Thumbnails(roots, limits or Limits(), photos.parent / folder, 10_000_000, 1)


def _ref(path: Path, image_id: int = 1) -> ImageRef:
    return ImageRef(image_id, Roots().adding([path.parent]).uri_of(path))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _photo(path: Path, colour: tuple[int, int, int] = (200, 120, 40)) -> Path:
    Image.new("RGB", (800, 600), colour).save(path)
    return path


def _shown(result: Thumbnail | LoadFailure) -> Thumbnail:
    assert isinstance(result, Thumbnail), result
    assert (result.media_type, len(result.etag)) == ("image/jpeg", 24)
    with Image.open(io.BytesIO(result.data)) as picture:
        assert picture.format == "JPEG" and picture.size == (result.width, result.height)
        assert not picture.getexif() and set(picture.info) <= {
            "jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"
        }  # fmt: skip
    return result


def _failed(result: Thumbnail | LoadFailure, kind: OutcomeKind) -> LoadFailure:
    assert isinstance(result, LoadFailure) and result.kind is kind, result
    return result


def _colour(result: Thumbnail | LoadFailure) -> str:
    with Image.open(io.BytesIO(_shown(result).data)) as picture:
        red, _, blue = np.asarray(picture).reshape(-1, 3).mean(axis=0)
    return "red" if red > blue else "blue"


def _filed(photos: Path, folder: str = "cache") -> list[Path]:
    return sorted((photos.parent / folder).glob("*/*"))


def test_a_photo_is_shown_upright_and_without_what_it_tells_of_its_place(photos: Path) -> None:
    exif = Image.Exif()
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Camera"
    exif.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    photo = photos / "a.jpg"
    with Image.open(EXAMPLES / "ocelot.jpg") as image:
        image.resize((2000, 1500)).save(photo, exif=exif, comment=b"at home", icc_profile=b"of mine")
    assert b"Exif" in photo.read_bytes(), "else this shows nothing"
    with _open(photos) as thumbnails:
        small = _shown(thumbnails.get(_ref(photo), None, SMALL))
        large = _shown(thumbnails.get(_ref(photo), None, LARGE))
        assert (small.width, small.height) == (240, 320)
        assert (large.width, large.height) == (1200, 1600)
        assert small.etag != large.etag
    for thumbnail in (small, large):
        assert not any(word in thumbnail.data for word in (b"Exif", b"Camera", b"at home", b"of mine"))


def test_what_is_kept_is_served_without_the_file(photos: Path, loads: list[int]) -> None:
    photo = _photo(photos / "a.png")
    digest, copy = _digest(photo), photos / "copy.png"
    copy.write_bytes(photo.read_bytes())
    with _open(photos) as thumbnails:
        first = _shown(thumbnails.get(_ref(photo), digest, SMALL))
        photo.unlink()
        assert thumbnails.get(_ref(photo), digest, SMALL) == first
        assert thumbnails.get(_ref(photos / "renamed.png", 2), digest, SMALL) == first
        assert thumbnails.get(_ref(copy, 3), None, SMALL) == first, "known when it is read"
        _failed(thumbnails.get(_ref(photo), None, SMALL), OutcomeKind.MISSING)
    with _open(photos) as another:
        assert another.get(_ref(photo), digest, SMALL) == first
    assert loads == [1, 1]
    assert [path.name for path in _filed(photos)] == [f"{digest.hex()}-320-1"]


def test_a_file_that_has_changed_is_shown_as_it_is_and_kept_as_such(photos: Path) -> None:
    photo = _photo(photos / "a.png", (200, 30, 30))
    old = _digest(photo)
    _photo(photo, (30, 30, 200))
    with _open(photos) as thumbnails:
        assert _colour(thumbnails.get(_ref(photo), old, SMALL)) == "blue"
        assert [path.name for path in _filed(photos)] == [f"{_digest(photo).hex()}-320-1"]
        assert _colour(thumbnails.get(_ref(photo), old, SMALL)) == "blue"
        # The old content, elsewhere, is still itself.
        other = _photo(photos / "b.png", (200, 30, 30))
        assert _colour(thumbnails.get(_ref(other, 2), old, SMALL)) == "red"


def test_what_was_spoilt_on_disk_is_made_again(photos: Path, loads: list[int]) -> None:
    photo = _photo(photos / "a.png")
    with _open(photos) as thumbnails:
        first = thumbnails.get(_ref(photo), _digest(photo), SMALL)
        (filed,) = _filed(photos)
        whole = filed.read_bytes()
        other = whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]
        spoilt = (b"", whole[:10], whole[:16], whole[:-1], whole + b"x", other, bytes(len(whole)))
        for number, data in enumerate(spoilt):
            filed.write_bytes(data)
            for _ in range(2):
                assert thumbnails.get(_ref(photo), _digest(photo), SMALL) == first
            assert len(loads) == number + 2


def test_where_nothing_can_be_kept_it_is_served_all_the_same(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (photos.parent / "cache").touch()
    with caplog.at_level(logging.WARNING), _open(photos) as thumbnails:
        for number in range(3):
            photo = _photo(photos / f"{number}.png")
            _shown(thumbnails.get(_ref(photo), _digest(photo), SMALL))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_many_ask_for_at_once_is_loaded_once(photos: Path, loads: list[int]) -> None:
    photo = _photo(photos / "a.png")
    digest, together = _digest(photo), threading.Barrier(30)
    with _open(photos) as thumbnails, ThreadPoolExecutor(30) as threads:

        def ask(number: int) -> Thumbnail | LoadFailure:
            together.wait()
            return thumbnails.get(_ref(photo), digest, SMALL)

        assert len({_shown(found).etag for found in threads.map(ask, range(30))}) == 1
    assert loads == [1]


def test_what_leads_out_of_the_roots_is_not_shown(photos: Path) -> None:
    secret = photos.parent / "secret"
    secret.mkdir()
    outside = _photo(secret / "a.png", (30, 30, 200))
    photo = _photo(photos / "a.png", (200, 30, 30))
    unread = _digest(photo)
    with _open(photos) as thumbnails:
        _failed(thumbnails.get(_ref(outside), None, SMALL), OutcomeKind.OUTSIDE)
        assert _colour(thumbnails.get(_ref(photo), None, SMALL)) == "red"
        # What is kept for it is not shown under a name that is outside either.
        _failed(thumbnails.get(_ref(outside), unread, SMALL), OutcomeKind.OUTSIDE)
        photo.unlink()
        photo.symlink_to(outside)
        failure = _failed(thumbnails.get(_ref(photo), None, SMALL), OutcomeKind.OUTSIDE)
        assert "leads" in failure.reason or "link" in failure.reason


def test_failures_are_remembered_for_a_while(
    photos: Path, loads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photos / "a.png"
    photo.write_text("this is no picture at all")
    broken = _digest(photo)
    with _open(photos, Limits(max_pixels=100_000)) as thumbnails:
        failure = _failed(thumbnails.get(_ref(photo), broken, SMALL), OutcomeKind.UNSUPPORTED)
        Image.new("RGB", (200, 100)).save(photo)
        assert thumbnails.get(_ref(photo), broken, SMALL) is failure
        assert loads == [1]
        _shown(thumbnails.get(_ref(photo), _digest(photo), SMALL))
        monkeypatch.setattr(room, "_FAILED_SECONDS", 0.0)
        huge = _photo(photos / "huge.png")
        _failed(thumbnails.get(_ref(huge, 2), None, SMALL), OutcomeKind.TOO_LARGE)
        _failed(thumbnails.get(_ref(huge, 2), None, SMALL), OutcomeKind.TOO_LARGE)
        assert loads == [1, 1, 2, 2]


def test_no_more_failures_are_remembered_than_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOST_FAILURES", 2)
    failures = room._Failures()
    asked = [room._Asked(f"file:///{number}", None, SMALL) for number in range(3)]
    for number in (0, 1, 0, 2):
        failures.remember(asked[number], LoadFailure(number, OutcomeKind.MISSING, "gone"))
    assert [failures.last(each) is not None for each in asked] == [True, False, True]


def test_what_kills_its_process_is_quarantined(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BAD_DECODERS)
    bad = commented_jpeg(photos / "bad.jpg", "abort")
    with _open(photos) as thumbnails:
        failure = _failed(thumbnails.get(_ref(bad), None, SMALL), OutcomeKind.QUARANTINED)
        assert thumbnails.get(_ref(bad), None, SMALL) is failure
        _shown(thumbnails.get(_ref(_photo(photos / "good.png"), 2), None, SMALL))
