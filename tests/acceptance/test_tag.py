"""``tagger tag`` over real photos: outcomes, second runs, moves, kills."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from .conftest import Tagger


def _tags(tagger: Tagger, name: str) -> dict[str, float]:
    return dict(tagger.rows("SELECT tag, confidence FROM effective_tags WHERE uri LIKE ?", f"%/{name}"))


def _statuses(tagger: Tagger) -> dict[str, tuple[str, str]]:
    rows = tagger.rows("SELECT uri, outcome, finished_at FROM image_status")
    return {uri.rsplit("/", 1)[1]: (outcome, finished) for uri, outcome, finished in rows}


def test_a_folder_becomes_tags(tagger: Tagger, photos: Path) -> None:
    report = tagger.json("tag", photos)
    assert report["outcomes"] == {"ok": 5, "corrupt": 1, "unsupported": 1}
    assert report["scan"]["skipped"].keys() >= {"sidecar", "video"}
    assert report["left"] == 0 and not report["interrupted"]
    assert {"dog", "animal"} <= _tags(tagger, "domestic_dog.jpg").keys()
    assert {"feline", "animal"} <= _tags(tagger, "ocelot.jpg").keys()
    assert {failure["outcome"] for failure in report["failures"]} == {"corrupt", "unsupported"}
    assert all(" " in failure["reason"] for failure in report["failures"]), "reasons are sentences"


def test_a_second_run_opens_no_file_and_says_so(tagger: Tagger, photos: Path) -> None:
    assert "Tagged 5 of 7 images in" in tagger("tag", photos)
    before = _statuses(tagger)
    for file in photos.rglob("*.*"):
        os.utime(file, ns=(1, file.stat().st_mtime_ns))
    out = tagger("tag", photos)
    assert "no file is new or changed. 2 could not be tagged before" in out and "--retry-failed" in out
    assert tagger.json("tag", photos)["failed_before"] == 2
    assert "all is tagged, and no file was opened" in tagger("tag", photos / "trip", "--no-progress")
    assert _statuses(tagger) == before
    opened = [file for file in photos.rglob("*.*") if file.is_file() and file.stat().st_atime_ns != 1]
    assert opened == []


def test_changed_files_are_tagged_again(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    shutil.copy(photos / "trip" / "domestic_dog.jpg", photos / "trip" / "ocelot.jpg")
    report = tagger.json("tag", photos)
    assert (report["scan"]["changed"], report["tagged"], report["reused"]) == (1, 1, 1)
    assert _tags(tagger, "ocelot.jpg") == _tags(tagger, "domestic_dog.jpg")


def test_a_moved_folder_costs_no_inference_and_keeps_its_ids(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    before = tagger.rows("SELECT image_id, finished_at FROM image_status ORDER BY image_id")
    (photos / "trip").rename(photos / "elsewhere")
    report = tagger.json("tag", photos)
    assert (report["tagged"], report["reused"], report["scan"]["vanished"]) == (5, 5, 5)
    assert tagger.rows("SELECT image_id, finished_at FROM image_status ORDER BY image_id") == before
    assert "dog" in _tags(tagger, "elsewhere/domestic_dog.jpg")


def test_copies_in_one_run_cost_no_inference(tagger: Tagger, photos: Path) -> None:
    for number in range(5):
        shutil.copy(photos / "trip" / "domestic_dog.jpg", photos / f"copy{number}.jpg")
    report = tagger.json("tag", photos)
    assert report["reused"] == 5
    assert _tags(tagger, "copy3.jpg") == _tags(tagger, "domestic_dog.jpg")


@pytest.mark.parametrize("absent", ["gone", "empty"])
def test_an_absent_root_marks_nothing(tagger: Tagger, photos: Path, absent: str) -> None:
    tagger("tag", photos)
    photos.rename(photos.with_name("unmounted"))
    if absent == "empty":
        photos.mkdir()
    out = tagger("tag", photos, code=3)
    assert str(photos) in out and "nothing beneath it was touched" in out
    assert tagger.rows("SELECT COUNT(*) FROM image_info WHERE vanished_at IS NOT NULL") == [(0,)]
    assert "dog" in _tags(tagger, "domestic_dog.jpg")


def test_deleted_photos_vanish_and_come_back(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    (photos / "trip" / "domestic_dog.jpg").rename(photos.parent / "away.jpg")
    assert tagger.json("tag", photos)["scan"]["vanished"] == 1
    assert _tags(tagger, "domestic_dog.jpg") == {}
    (photos.parent / "away.jpg").rename(photos / "trip" / "domestic_dog.jpg")
    report = tagger.json("tag", photos)
    assert (report["scan"]["returned"], report["tagged"]) == (1, 0)
    assert "dog" in _tags(tagger, "domestic_dog.jpg")


def test_a_link_out_of_the_roots_is_outside_unless_followed(tagger: Tagger, photos: Path) -> None:
    secret = photos.parent / "secret.jpg"
    shutil.copy(photos / "trip" / "domestic_dog.jpg", secret)
    (photos / "link.jpg").symlink_to(secret)
    tagger("tag", photos)
    assert _statuses(tagger)["link.jpg"][0] == "outside"
    tagger("tag", photos, "--follow-links")
    assert _statuses(tagger)["link.jpg"][0] == "ok"


def test_killed_three_times_the_run_goes_on_where_it_was(tagger: Tagger, many: Path) -> None:
    finished: dict[str, tuple[str, str]] = {}
    for _ in range(3):
        process = tagger.start("tag", many)
        _wait_for_more_than(tagger, len(finished))
        process.kill()
        process.communicate()
        now = {name: row for name, row in _statuses(tagger).items() if row[0] != "pending"}
        assert finished.items() <= now.items(), "what was finished stays as it was"
        assert len(now) < 600, "killed too late to show anything"
        finished = now
    report = tagger.json("tag", many)
    assert report["tagged"] == 600 - len(finished) and report["left"] == 0
    after = _statuses(tagger)
    assert finished.items() <= after.items()
    assert len(after) == 600 and {outcome for outcome, _ in after.values()} <= {"ok", "empty"}
    assert tagger.rows("SELECT COUNT(*), COUNT(DISTINCT image_id) FROM image_status") == [(600, 600)]
    # Each kill counted an attempt for what was in hand, and only for that.
    assert tagger.rows("SELECT MAX(attempts) FROM image_status")[0][0] <= 4


def test_what_a_killed_run_held_is_taken_over_by_one_that_still_runs(tagger: Tagger, many: Path) -> None:
    first = tagger.start("tag", many, "--threads", "1")
    _wait_for_more_than(tagger, 0)
    second = tagger.start("tag", many, "--json")
    time.sleep(2)
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=240)
    assert second.returncode == 0, out + err
    assert tagger.rows("SELECT COUNT(*) FROM image_status WHERE outcome IN ('ok', 'empty')") == [(600,)]


def test_an_absent_root_inside_another_marks_nothing(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos, photos / "trip")
    (photos / "trip").rename(photos.parent / "unmounted")
    (photos / "trip").mkdir()
    report = tagger.json("tag", photos, photos / "trip")
    assert "nothing beneath it was touched" in report["warnings"][0]
    assert tagger.rows("SELECT COUNT(*) FROM image_info WHERE vanished_at IS NOT NULL") == [(0,)]
    assert report["left"] == 0


def test_an_absent_root_keeps_what_it_held_before_it_was_named(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    (photos / "trip").rename(photos.parent / "unmounted")
    (photos / "trip").mkdir()
    named = Tagger({**tagger.env, "TAGGER_ROOTS": f"s={photos / 'trip'}"}, tagger.folder)
    report = named.json("tag", photos)
    assert "nothing beneath it was touched" in report["warnings"][0]
    assert (report["scan"]["vanished"], report["left"]) == (0, 0)
    assert tagger.rows("SELECT COUNT(*) FROM image_info WHERE vanished_at IS NOT NULL") == [(0,)]


def test_a_folder_tagged_only_at_its_new_place_has_moved(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos / "trip")
    (photos / "trip").rename(photos / "elsewhere")
    report = tagger.json("tag", photos / "elsewhere")
    assert (report["moved"], report["reused"]) == (5, 5)
    assert tagger.json("status")["present"] == 5


def test_any_name_can_be_tagged_found_and_opened(tagger: Tagger, photos: Path) -> None:
    folder = photos.parent / '[/x] "quoted"\n#1%20\udcff'
    folder.mkdir(parents=True)
    shutil.copy(photos / "trip" / "domestic_dog.jpg", folder / "ü'.jpg")
    assert "dog" in tagger("tag", folder, "--show")
    out = tagger("search", "dog", "--null")
    assert os.fsencode(folder) in out.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_in_order(tagger: Tagger, many: Path, stop: signal.Signals) -> None:
    process = tagger.start("tag", many)
    _wait_for_more_than(tagger, 0)
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "The same command goes on from here" in out
    assert "Traceback" not in err
    assert tagger.rows("SELECT COUNT(*) FROM leases") == [(0,)]
    attempts = tagger.rows("SELECT DISTINCT attempts FROM image_status WHERE outcome = 'pending'")
    assert attempts == [(0,)], "what was handed back was no attempt"
    (run,) = tagger.json("status")["runs"]
    assert run["finished_at"] and run["done"] == _finished(tagger), "it tells all that was written"


def _wait_for_more_than(tagger: Tagger, done: int) -> None:
    """Until at least one group of this run was committed."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if (tagger.folder / "tagger.db").exists() and _finished(tagger) > done:
            return
        time.sleep(0.02)
    raise AssertionError("nothing was committed in two minutes")


def _finished(tagger: Tagger) -> int:
    if not tagger.rows("SELECT 1 FROM sqlite_master WHERE name = 'image_status'"):
        return 0
    count: int = tagger.rows("SELECT COUNT(*) FROM image_status WHERE outcome <> 'pending'")[0][0]
    return count
