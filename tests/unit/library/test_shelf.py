"""A shelf keeps what is of use, within its bound, whoever else is at its folder."""

from __future__ import annotations

import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from tagger.library.shelf import Shelf


def _age(folder: Path, name: str, hours: float) -> None:
    then = time.time() - hours * 3600
    os.utime(folder / name[:2] / name, (then, then))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*/*")}


def test_what_was_put_there_is_there(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "new" / "folder", 1000)
    assert shelf.get("00a") is None
    shelf.put("00a", b"one")
    shelf.put("ffb", b"two")
    shelf.put("00a", b"another")
    assert (shelf.get("00a"), shelf.get("ffb")) == (b"another", b"two")
    assert _names(tmp_path / "new" / "folder") == {"00a", "ffb"}, "nothing unfinished"
    shelf.close()


def test_what_was_of_no_use_for_longest_goes_first(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 1000)
    for number in range(8):
        shelf.put(f"{number:02x}", bytes(100))
        _age(tmp_path, f"{number:02x}", 100 - number)
    shelf.close()
    assert shelf.get("00") is not None, "it is of use, the oldest though it was"
    shelf.put("fe", bytes(150))
    shelf.close()
    shelf.put("ff", bytes(100))
    shelf.close()
    assert _names(tmp_path) == {"00", "03", "04", "05", "06", "07", "fe", "ff"}, "nine tenths are left"


def test_what_comes_while_it_is_looked_through_is_not_forgotten(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 10_000)
    for number in range(256):
        shelf.put(f"{number:02x}", bytes(100))
    shelf.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 10_000


def test_what_others_add_is_seen(tmp_path: Path) -> None:
    ours, theirs = Shelf(tmp_path, 1000), Shelf(tmp_path, 1000)
    for number in range(12):
        shelf = (ours, theirs)[number % 2]
        shelf.put(f"{number:02x}", bytes(140))
        _age(tmp_path, f"{number:02x}", 100 - number)
        shelf.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= 1000
    assert ours.get("0b") == theirs.get("0b") == bytes(140)


def test_what_was_there_before_is_counted_and_so_is_what_was_never_finished(tmp_path: Path) -> None:
    (tmp_path / "00").mkdir()
    (tmp_path / "00" / ".unfinished").write_bytes(bytes(900))
    os.utime(tmp_path / "00" / ".unfinished", (0, 0))
    shelf = Shelf(tmp_path, 1000)
    shelf.put("01", bytes(200))
    shelf.close()
    assert _names(tmp_path) == {"01"}


def test_what_is_not_the_shelfs_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "photo").write_bytes(bytes(5000))
    folder = tmp_path / "shelf"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "photo").write_bytes(bytes(5000))
    (folder / "aa").symlink_to(elsewhere)
    shelf = Shelf(folder, 1000)
    shelf.put("01", bytes(200))
    shelf.close()
    assert (folder / "photos" / "photo").exists() and (elsewhere / "photo").exists()
    assert shelf.get("01") == bytes(200)


def test_the_folder_may_be_emptied_at_any_time(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "shelf", 1000)
    shelf.put("01", b"data")
    shelf.close()
    shutil.rmtree(tmp_path / "shelf")
    assert shelf.get("01") is None
    shelf.put("01", b"data")
    assert shelf.get("01") == b"data"
    shelf.close()


def test_where_nothing_can_be_written_nothing_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    shelf = Shelf(tmp_path / "file", 1000)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            shelf.put(f"{number:02x}", b"data")
            assert shelf.get(f"{number:02x}") is None
    assert [record.message for record in caplog.records] == [
        f"nothing is kept in {tmp_path / 'file'}: Not a directory"
    ]


def test_what_is_larger_than_all_of_it_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, 10)
    shelf.put("01", bytes(11))
    Shelf(tmp_path, 0).put("02", b"x")
    assert _names(tmp_path) == set()
