"""The photos that are measured with."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.benchmarks import photos

TINY = photos.Kind("tiny", (64, 48), grain=4.0)


def test_each_has_pixels_of_its_own(tmp_path: Path) -> None:
    folder = photos.made(tmp_path, TINY, 40)
    found = set()
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.size == (64, 48)
            found.add(image.tobytes())
    assert len(found) == 40


def test_the_same_are_made_everywhere_and_kept(tmp_path: Path) -> None:
    first = photos.made(tmp_path / "a", TINY, 3)
    second = photos.made(tmp_path / "b", TINY, 3)
    assert [path.read_bytes() for path in photos.jpegs(first)] == [
        path.read_bytes() for path in photos.jpegs(second)
    ]
    (first / "000001.jpg").write_bytes(b"kept")
    assert (photos.made(tmp_path / "a", TINY, 3) / "000001.jpg").read_bytes() == b"kept"


def test_of_a_users_folder_only_what_all_can_load(tmp_path: Path) -> None:
    place = tmp_path / "holiday" / "rome"
    place.mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(place / "a.JPG")
    Image.new("L", (20, 10)).save(place / "grey.jpg")
    (place / "broken.jpg").write_bytes(b"no picture")
    (place / "note.txt").write_text("a note")
    found = photos.jpegs(tmp_path / "holiday")
    assert found == [place / "a.JPG"]
    linked = photos.linked(tmp_path / "linked", found)
    assert [path.read_bytes() for path in linked.iterdir()] == [(place / "a.JPG").read_bytes()]
