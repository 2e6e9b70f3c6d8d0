"""Runs as people steer them: what goes first, what is paused, cancelled, tried again."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from tests.photos import commented_jpeg

from .conftest import PHOTOS, SLOWLY, Stack, until


def _runs(stack: Stack) -> dict[int, dict[str, Any]]:
    return {run["id"]: run for run in json.loads(stack.run("run", "list", "--json"))}


def test_new_images_go_before_bulk_work(stack: Stack, library: Path) -> None:
    photos = sorted(library.iterdir())
    bulk = json.loads(
        stack.run("enqueue", "--bulk", "--from", "-", "--json", stdin="\n".join(map(str, photos[20:])))
    )
    stack.broker.client.flushall()  # so that nothing of it is sent before the new ones are known
    stack.rows("UPDATE taggings SET not_before = NULL RETURNING 1")
    new = json.loads(stack.run("enqueue", *photos[:20], "--json"))
    stack.start("worker")
    until(lambda: stack.done() >= 20, 60, stack.logs)
    first = stack.rows(
        "SELECT run_id, COUNT(*) FROM (SELECT run_id FROM taggings WHERE outcome IS NOT NULL "
        "ORDER BY finished_at LIMIT 20) AS early GROUP BY 1"
    )
    assert first == [(new["run"], 20)]
    stack.until_all_done()
    runs = _runs(stack)
    assert {runs[each["run"]]["done"] for each in (new, bulk)} == {20, PHOTOS - 20}


def test_a_paused_run_waits_until_it_is_resumed(stack: Stack, library: Path) -> None:
    run = json.loads(stack.run("enqueue", library, "--json"))["run"]
    stack.run("run", "pause", str(run))
    stack.start("beat")
    stack.start("worker")
    until(lambda: stack.nodes(), 30, stack.logs)
    until(lambda: not stack.broker.client.llen("tagger.images"), 30, stack.logs)  # sent before the pause
    time.sleep(4)
    assert stack.done() == 0 and _runs(stack)[run]["state"] == "paused"
    stack.run("run", "resume", str(run))
    stack.until_all_done()
    until(lambda: _runs(stack)[run]["state"] == "ended", 20, stack.logs)
    assert _runs(stack)[run]["done"] == PHOTOS


def test_what_is_cancelled_is_wanted_no_more_until_somebody_asks_again(stack: Stack, library: Path) -> None:
    stack.start("beat")
    stack.with_env(**SLOWLY).start("worker")
    run = json.loads(stack.run("enqueue", library, "--json"))["run"]
    until(lambda: stack.done() >= 20, 60, stack.logs)
    stack.run("run", "cancel", str(run))
    assert stack.pending() == 0 and stack.one("SELECT COUNT(*) FROM taggings") < PHOTOS
    assert _runs(stack)[run]["state"] == "cancelled"
    again = json.loads(stack.run("enqueue", library, "--json"))
    assert 0 < again["wanted"] < PHOTOS
    stack.until_all_done()
    assert stack.one("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'") == PHOTOS
    until(lambda: _runs(stack)[again["run"]]["done"] == again["wanted"], 20, stack.logs)
    assert "is over" in stack.run("run", "pause", str(run), code=3)
    assert "no run 999" in stack.run("run", "cancel", "999", code=1)


def test_what_failed_is_tried_again_when_asked(stack: Stack, library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for photo in sorted(library.iterdir())[:10]:
        shutil.copy2(photo, folder)
    (folder / "broken.jpg").write_bytes((folder / "000001.jpg").read_bytes()[:300])
    (folder / "none.jpg").write_text("no image at all")
    mixed = stack.with_env(TAGGER_ROOTS=f"photos={folder}")
    mixed.start("beat")
    mixed.start("worker")
    mixed.run("enqueue", folder)
    mixed.until_all_done()
    by_outcome = "SELECT outcome, COUNT(*) FROM image_status GROUP BY 1 ORDER BY 1"
    assert mixed.rows(by_outcome) == [("corrupt", 1), ("ok", 10), ("unsupported", 1)]
    report = json.loads(mixed.run("retry", "--outcome", "corrupt", "--json"))
    assert report["wanted"] == 1
    mixed.until_all_done()
    assert _runs(mixed)[report["run"]]["failed"] == 1
    shown = json.loads(mixed.run("run", "show", str(report["run"]), "--json"))
    assert (shown["total"], shown["outcomes"]) == (1, {"corrupt": 1})
    assert [failure["uri"] for failure in shown["failures"]] == ["root://photos/broken.jpg"]
    assert [(tick["done"], tick["failed"]) for tick in shown["throughput"]] == [(1, 1)]
    assert "broken.jpg" in mixed.run("run", "show", str(report["run"]))
    assert "no run 999" in mixed.run("run", "show", "999", code=1)
    # A file that is there later than its name: tried three times, then told of, then found by a scan.
    late = folder / "late.jpg"
    stdin = f"{late}\n"
    mixed.run("enqueue", "--from", "-", stdin=stdin)
    mixed.until_all_done()
    assert mixed.rows("SELECT outcome FROM image_status WHERE uri LIKE '%late.jpg'") == [("missing",)]
    again = mixed.run("retry", "--outcome", "missing")
    assert "wants nothing from" in again and "1 with such an outcome has vanished and is left" in again
    commented_jpeg(late, "it came")
    mixed.run("reindex")
    mixed.until_all_done()
    assert mixed.one("SELECT outcome FROM image_status WHERE uri LIKE '%late.jpg'") in ("ok", "empty")
    status = mixed.run("status")
    assert "worker0@" in status and "tagger.images 0" in status and "broken.jpg" in status
    assert "Beat: beat0@" in status


def test_that_no_beat_is_alive_is_said(stack: Stack, library: Path) -> None:
    stack.run("enqueue", sorted(library.iterdir())[0])
    assert "No beat is alive" in stack.run("status")
    beat = stack.start("beat")
    until(lambda: "Beat: beat0@" in stack.run("status"), 30, stack.logs)
    beat.terminate()
    assert beat.wait(30) == 0
    assert "No beat is alive" in stack.run("status")
