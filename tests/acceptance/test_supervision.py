"""Decoders that really abort and really hang, in the middle of a library: `tagger tag` goes on."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.photos import commented_jpeg

from .conftest import Tagger

BAD_DECODERS = Path(__file__).parents[1] / "bad_decoders"


@pytest.fixture
def spoiled(tagger: Tagger) -> Tagger:
    """The command, where some pictures meet decoders that go wrong."""
    path = os.pathsep.join([str(BAD_DECODERS), os.environ.get("PYTHONPATH", "")])
    env = {**tagger.env, "PYTHONPATH": path, "TAGGER_MAX_SECONDS": "5"}
    return replace(tagger, env=env)


@pytest.fixture
def library(tmp_path: Path, many: Path, request: pytest.FixtureRequest) -> Path:
    """Sound photos, 150 unless the test asks for another number, and room for others in their midst."""
    folder = tmp_path / "library"
    folder.mkdir()
    for photo in sorted(many.iterdir())[: getattr(request, "param", 150)]:
        shutil.copy2(photo, folder)
    return folder


@pytest.mark.parametrize("library", [500], indirect=True)
def test_a_killer_and_a_sleeper_among_500_photos_harm_only_themselves(spoiled: Tagger, library: Path) -> None:
    commented_jpeg(library / "000250-abort.jpg", "abort")
    commented_jpeg(library / "000251-sleep.jpg", "sleep")
    commented_jpeg(library / "000251-sleep-twin.jpg", "sleep")  # the same bytes: not waited for twice
    report = spoiled.json("tag", library)
    assert report["left"] == 0 and report["tagged"] == 503
    assert report["outcomes"]["quarantined"] == 1 and report["outcomes"]["timeout"] == 2
    rows = spoiled.rows("SELECT uri, outcome, reason, attempts FROM image_status WHERE outcome <> 'ok'")
    found = {Path(uri).name: tuple(rest) for uri, *rest in rows}
    assert found["000250-abort.jpg"][::2] == ("quarantined", 3)
    assert "SIGABRT" in found["000250-abort.jpg"][1]
    assert found["000251-sleep.jpg"] == found["000251-sleep-twin.jpg"]
    assert found["000251-sleep.jpg"][::2] == ("timeout", 1)
    assert spoiled.rows("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'") == [(500,)]
    # It is known now: the next run opens nothing, and --retry-failed tries again.
    assert spoiled.json("tag", library)["tagged"] == 0
    mended = replace(spoiled, env={**spoiled.env, "PYTHONPATH": ""})
    assert mended.json("tag", library, "--retry-failed")["tagged"] == 3
    assert spoiled.rows("SELECT COUNT(*) FROM image_status WHERE outcome IN ('ok', 'empty')") == [(503,)]


def test_what_hangs_holds_up_neither_the_others_nor_their_writing(spoiled: Tagger, library: Path) -> None:
    for number in range(3):
        hanging = commented_jpeg(library / f"0001-{number}.jpg", "sleep with the lock")
        hanging.write_bytes(hanging.read_bytes() + bytes([number]))
    patient = replace(spoiled, env={**spoiled.env, "TAGGER_MAX_SECONDS": "1000"})
    process = patient.start("tag", library)
    _wait_for(lambda: _done(patient) == 150)
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert "3 images left" in out and "Traceback" not in err
    assert not [child for child in children if child.is_running()]
    assert patient.rows("SELECT COUNT(*) FROM leases") == [(0,)]


def test_killed_while_a_decoder_hangs_the_next_run_goes_on(spoiled: Tagger, library: Path) -> None:
    commented_jpeg(library / "0001.jpg", "sleep")
    process = spoiled.start("tag", library)
    _wait_for(lambda: _done(spoiled) > 0)
    process.kill()
    process.communicate()
    report = spoiled.json("tag", library)
    assert report["left"] == 0
    rows = spoiled.rows("SELECT outcome, COUNT(*) FROM image_status GROUP BY 1 ORDER BY 1")
    assert rows == [("ok", 150), ("timeout", 1)]


def _done(tagger: Tagger) -> int:
    if not (tagger.folder / "tagger.db").exists():
        return 0
    if not tagger.rows("SELECT 1 FROM sqlite_master WHERE name = 'image_status'"):
        return 0
    count: int = tagger.rows("SELECT COUNT(*) FROM image_status WHERE outcome <> 'pending'")[0][0]
    return count


def _wait_for(holds) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, "not in two minutes"
        time.sleep(0.05)
