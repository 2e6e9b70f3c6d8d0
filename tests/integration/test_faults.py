"""Whatever is killed, flushed, restarted or repeated: every image ends with exactly one outcome.

Real workers over a real broker and a real PostgreSQL, with default settings.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PostgresServer
from tests.photos import commented_jpeg, distinct_jpegs

from .conftest import PATIENCE, PHOTOS, SLOWLY, Broker, Stack, assert_whole, until
from .test_messages import ENQUEUE, REQUESTS, send

BAD_DECODERS = Path(__file__).parents[1] / "bad_decoders"
Expected = Mapping[str, Any]


def test_a_worker_is_killed_in_mid_chunk_again_and_again(
    stack: Stack, library: Path, expected: Expected
) -> None:
    stack.start("beat")
    first = stack.start("worker")
    stack.run("enqueue", library)
    for share in (0.15, 0.4, 0.6):
        stack.until_done(int(PHOTOS * share))
        stack.kill_nodes()
    stack.until_done(int(PHOTOS * 0.8))
    first.kill()  # the supervisor too: its node ends by itself, and a machine would start another
    stack.start("worker")
    stack.until_all_done()
    assert_whole(stack, expected)


def test_the_broker_is_flushed_again_and_again(
    stack: Stack, broker: Broker, library: Path, expected: Expected
) -> None:
    stack.start("beat")
    stack.start("worker")
    stack.run("enqueue", library)
    for share in (0.1, 0.3, 0.6):
        stack.until_done(int(PHOTOS * share))
        broker.client.flushall()
    stack.until_all_done()
    assert_whole(stack, expected)


def test_the_broker_is_flushed_before_any_worker_is_there(
    stack: Stack, broker: Broker, library: Path, expected: Expected
) -> None:
    stack.run("enqueue", library)
    assert broker.client.llen("tagger.images") > 0
    broker.client.flushall()
    stack.start("worker")  # and no beat at all
    stack.until_all_done()
    assert_whole(stack, expected)


def test_the_broker_is_killed_and_comes_back_empty(
    stack: Stack, broker: Broker, library: Path, expected: Expected
) -> None:
    stack.start("beat")
    stack.start("worker")
    stack.run("enqueue", library)
    stack.until_done(PHOTOS // 4)
    broker.kill()
    time.sleep(5)
    broker.start()
    stack.until_all_done()
    assert_whole(stack, expected)
    # And it goes on consuming.
    send(broker, REQUESTS, ENQUEUE, {"paths": [str(library / "000001.jpg")], "run": "late"})
    until(lambda: stack.one("SELECT COUNT(*) FROM runs WHERE name = 'late'") == 1, 60, stack.logs)


def test_postgresql_is_restarted_while_all_work(
    stack: Stack, library: Path, expected: Expected, postgres_server: PostgresServer
) -> None:
    stack.start("beat")
    stack.start("worker")
    stack.run("enqueue", library)
    for share in (0.2, 0.5):
        stack.until_done(int(PHOTOS * share))
        postgres_server.restart()
    stack.until_all_done()
    assert_whole(stack, expected)


@pytest.fixture
def doubling(broker: Broker) -> Iterator[None]:
    """Every message in the queue of images is delivered twice, under the same id."""
    stopping = threading.Event()
    known: set[bytes] = set()

    def double() -> None:
        while not stopping.wait(0.02):
            for message in broker.client.lrange("tagger.images", 0, -1):
                if message not in known:
                    known.add(message)
                    broker.client.rpush("tagger.images", message)

    thread = threading.Thread(target=double)
    thread.start()
    yield
    stopping.set()
    thread.join()
    assert known, "no message was seen to be doubled"


@pytest.mark.usefixtures("doubling")
def test_every_message_comes_twice_to_two_workers(stack: Stack, library: Path, expected: Expected) -> None:
    stack.run("enqueue", library)
    stack.start("beat")
    stack.start("worker")
    stack.start("worker")
    stack.until_all_done()
    assert_whole(stack, expected)
    assert stack.rows("SELECT DISTINCT attempts FROM image_status") == [(1,)]
    workers = "SELECT COUNT(*) FROM leases WHERE role = 'worker'"
    assert stack.one(workers) == 2


def test_a_second_beat_does_nothing_twice(stack: Stack, library: Path, expected: Expected) -> None:
    both = stack.with_env(TAGGER_SCAN_CRON="* * * * *", TAGGER_REINDEX_CRON="* * * * *")
    both.start("beat")
    both.start("beat")
    both.start("worker")
    until(lambda: both.one("SELECT COUNT(*) FROM runs WHERE state = 'ended'") >= 2, 100, both.logs)
    both.until_all_done()
    assert_whole(both, expected)
    assert both.rows("SELECT DISTINCT attempts FROM image_status") == [(1,)]
    jobs = both.rows("SELECT name, due_at, COUNT(*) FROM jobs GROUP BY 1, 2")
    runs = both.rows("SELECT kind, COUNT(*) FROM runs GROUP BY 1 ORDER BY 1")
    assert runs == [(kind, sum(job == kind for job, _, _ in jobs)) for kind in ("reindex", "scan")]


def test_a_frozen_worker_holds_nobody_up_and_overwrites_nothing(
    stack: Stack, library: Path, expected: Expected
) -> None:
    """A machine that sleeps in mid-chunk: its lease runs out, others do its work, and what it has in
    hand when it wakes up is turned away."""
    stack.start("beat")
    stack.with_env(**SLOWLY).start("worker")
    stack.run("enqueue", library)
    stack.until_done(PHOTOS // 5)
    (frozen,) = stack.nodes()
    os.kill(frozen, signal.SIGSTOP)
    stack.start("worker")
    stack.until_all_done(PATIENCE)
    finished = stack.rows("SELECT image_id, finished_at, attempts FROM image_status ORDER BY 1")
    assert {attempts for _, _, attempts in finished} == {1, 2}
    os.kill(frozen, signal.SIGCONT)
    until(lambda: len(stack.nodes()) == 2, 60, stack.logs)  # under a new lease, or as a new process
    assert_whole(stack, expected)
    assert stack.rows("SELECT image_id, finished_at, attempts FROM image_status ORDER BY 1") == finished


def test_a_worker_without_one_of_the_roots_leaves_its_images_to_others(
    stack: Stack, library: Path, tmp_path: Path
) -> None:
    photos, archive = tmp_path / "some photos", tmp_path / "archive"
    distinct_jpegs(photos, 20, (320, 240))
    archive.mkdir()
    for photo in sorted(library.iterdir())[100:120]:
        shutil.copy2(photo, archive)
    both = stack.with_env(TAGGER_ROOTS=f"photos={photos},archive={archive}")
    stack.with_env(TAGGER_ROOTS=f"photos={photos}").start("worker")
    both.run("enqueue", photos, archive)
    until(lambda: both.done() == 20, 60, both.logs)
    rows = both.rows("SELECT outcome, COUNT(*) FROM image_status GROUP BY 1 ORDER BY 1")
    assert rows == [("ok", 20), ("pending", 20)]
    both.start("worker")
    both.until_all_done()
    assert both.rows("SELECT DISTINCT outcome, attempts FROM image_status") == [("ok", 1)]
    assert "CRITICAL" not in both.logs(), "neither worker had to be started anew"


def test_told_to_stop_in_mid_chunk_it_hands_back_and_leaves(
    stack: Stack, library: Path, expected: Expected
) -> None:
    stack.start("beat")
    first = stack.start("worker")
    stack.run("enqueue", library)
    stack.until_done(PHOTOS // 5)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 0
    assert stack.one("SELECT COUNT(*) FROM leases WHERE role = 'worker'") == 0
    assert stack.one("SELECT COUNT(*) FROM taggings WHERE lease_id IS NOT NULL") == 0
    assert stack.one("SELECT MAX(attempts) FROM taggings") == 1
    stack.start("worker")
    stack.until_all_done()
    assert_whole(stack, expected)
    assert stack.rows("SELECT DISTINCT attempts FROM image_status") == [(1,)]


def test_a_decoder_aborts_in_a_chunk_of_more_than_500(stack: Stack, tmp_path: Path) -> None:
    library = tmp_path / "with a killer"
    distinct_jpegs(library, 540, (320, 240))
    commented_jpeg(library / "000250-abort.jpg", "abort")
    spoiled = stack.with_env(
        TAGGER_ROOTS=f"photos={library}",
        PYTHONPATH=os.pathsep.join([str(BAD_DECODERS), stack.env["PYTHONPATH"]]),
    )
    spoiled.run("enqueue", library)
    (message,) = spoiled.broker.client.lrange("tagger.images", -1, -1)
    assert isinstance(message, bytes)
    _, chunk, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    assert len(chunk["images"]) >= 500
    spoiled.start("worker")
    spoiled.until_all_done()
    assert spoiled.rows("SELECT outcome, COUNT(*) FROM image_status GROUP BY 1 ORDER BY 1") == [
        ("ok", 540),
        ("quarantined", 1),
    ]
    assert spoiled.rows("SELECT attempts FROM image_status WHERE outcome <> 'ok'") == [(3,)]


def test_an_image_that_kills_the_whole_worker_is_found_and_the_others_are_done(
    stack: Stack, library: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "with a worker's killer"
    folder.mkdir()
    for photo in sorted(library.iterdir())[:12]:
        shutil.copy2(photo, folder)
    commented_jpeg(folder / "000006-killer.jpg", "kill the parent")
    spoiled = stack.with_env(
        TAGGER_ROOTS=f"photos={folder}",
        PYTHONPATH=os.pathsep.join([str(BAD_DECODERS), stack.env["PYTHONPATH"]]),
    )
    spoiled.start("beat")
    spoiled.start("worker")
    spoiled.run("enqueue", folder)
    spoiled.until_all_done(240)
    rows = spoiled.rows("SELECT uri, reason FROM image_status WHERE outcome <> 'ok'")
    assert [(Path(uri).name, reason) for uri, reason in rows] == [
        ("000006-killer.jpg", "3 processes died while they had this image, and no other, in hand")
    ]
    assert spoiled.one("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'") == 12
