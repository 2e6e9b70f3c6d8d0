"""What anybody may put into the queues: refused with a clear word, and no harm done."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from .conftest import PHOTOS, Broker, Stack, free_port, until


def send(broker: Broker, queue: str, task: str, kwargs: Any, args: Any = (), **envelope: Any) -> None:
    """A Celery message (protocol 2) as any program may write it."""
    body = json.dumps([args, kwargs, {}]).encode()
    raw(broker, queue, task, body, **envelope)


def raw(broker: Broker, queue: str, task: str, body: bytes, **envelope: Any) -> None:
    number = str(uuid.uuid4())
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "js", "task": task, "id": number, "root_id": number},
        "properties": {
            "correlation_id": number,
            "delivery_tag": number,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
        },
    } | envelope
    broker.client.lpush(queue, json.dumps(message))


REQUESTS, IMAGES = "tagger.requests", "tagger.images"
ENQUEUE, TAG_CHUNK = "tagger.enqueue", "tagger.tag_chunk"
BAD_REQUESTS: list[tuple[Any, str]] = [
    ({"paths": ["/etc/passwd"]}, "not beneath"),
    ({"paths": ["root://photos/../../etc/passwd"]}, "outside"),
    ({"paths": ["root://nobody/a.jpg"]}, "nobody"),
    ({"paths": ["https://example.org/a.jpg"]}, "example.org"),
    ({"paths": ["/" + "x" * 1_000_000]}, "16384"),
    ({"paths": "root://photos/000001.jpg"}, "valid list"),
    ({"paths": [7]}, "valid string"),
    ({"paths": []}, "at least 1"),
    ({}, "paths"),
    ({"paths": ["root://photos/000001.jpg"], "bulk": "yes"}, "bulk"),
    ({"paths": ["root://photos/000001.jpg"], "rm": "-rf"}, "rm"),
    ({"paths": ["root://photos/000001.jpg"], "model": "no-such-model"}, "no-such-model"),
]
BAD_CHUNKS: list[tuple[Any, str]] = [
    ({"run": 1, "model": "no-such-model@00000000", "images": [1]}, "no-such-model"),
    ({"run": 1, "model": "efficientnet-lite0", "images": [1]}, "efficientnet-lite0"),
    ({"run": 1, "model": "efficientnet-lite0@e090de45", "images": ["1"]}, "valid integer"),
    ({"run": 1, "model": "efficientnet-lite0@e090de45", "images": [-1]}, "greater than"),
    ({"run": 1, "model": "efficientnet-lite0@e090de45", "images": [True]}, "valid integer"),
    ({"run": 1, "model": "efficientnet-lite0@e090de45", "images": 5}, "valid list"),
    ({"run": None, "model": None, "images": None}, "run"),
]


def enveloped(content: object, /, **changes: object) -> bytes:
    """A message of Celery's form, but for what is changed of it."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    message: dict[str, Any] = {
        "body": base64.b64encode(text).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": ENQUEUE, "id": "x"},
        "properties": {
            "delivery_tag": "x",
            "delivery_info": {"exchange": "", "routing_key": REQUESTS},
            "body_encoding": "base64",
        },
    }
    return json.dumps(message | {name.replace("_", "-"): value for name, value in changes.items()}).encode()


PATHS = {"paths": ["root://photos/000001.jpg"]}
NO_MESSAGES: list[bytes] = [
    b"no JSON at all",
    b"\xff\xfe\x00",
    b"[" * 200_000,
    b"7" * 5000,
    b"7",
    b"{}",
    b'{"__type__": "datetime", "__value__": "garbage"}',
    b'{"__type__": [], "__value__": 1}',
    # Of a form that Celery would stumble over only later, and give back, and stumble over again.
    *(enveloped(body) for body in (PATHS, [[]], None, 5, [[], {}], [[], {}, {}, {}], [{}, [], {}])),
    *(enveloped(body) for body in (b"{ no json", b"\x80\x04K\x01.", b"\xff", b"[" * 100_000)),
    enveloped([[], {"paths": {"__type__": "datetime", "__value__": "garbage"}}, {}]),
    *(enveloped([[], PATHS, {}], headers=headers) for headers in ({}, [], None, {"task": [], "id": "x"})),
    enveloped([[], PATHS, {}], headers={"task": {}, "id": 7}),
    *(enveloped([[], PATHS, {}], content_type=kind) for kind in (None, [], "application/x-python-serialize")),
    enveloped([[], PATHS, {}], body="A"),
    enveloped([[], PATHS, {}], properties={"delivery_tag": ["a"], "delivery_info": {}}),
    enveloped(
        [[], PATHS, {}],
        properties={
            "delivery_tag": "x",
            "delivery_info": {"exchange": "", "routing_key": REQUESTS},
            "body_encoding": "rot13",
        },
    ),
]
ODD_BUT_GOOD: list[dict[str, Any]] = [
    {"timelimit": [1]},
    {"timelimit": "x", "eta": "9999-01-01T00:00:00", "expires": "yesterday"},
    {"callbacks": 5, "chain": [7], "stamps": "x", "retries": "many", "group": {}},
]
"""Headers that are left behind."""


def test_what_is_no_message_at_all_is_dropped_and_counted(
    stack: Stack, broker: Broker, library: Path
) -> None:
    port = free_port()
    watched = stack.with_env(TAGGER_METRICS_PORT=str(port))
    watched.start("worker")
    until(lambda: watched.nodes(), 30, watched.logs)
    (node,) = watched.nodes()
    for garbage in NO_MESSAGES:
        broker.client.lpush(REQUESTS, garbage)
        broker.client.lpush(IMAGES, garbage)
    for number, headers in enumerate(ODD_BUT_GOOD, start=3):
        paths = {"paths": [str(library / f"{number:06d}.jpg")]}
        named = {"task": ENQUEUE, "id": str(number)}
        broker.client.lpush(REQUESTS, enveloped([[], paths, 7], headers=headers | named))
    until(lambda: watched.done() == len(ODD_BUT_GOOD), 60, watched.logs)
    until(lambda: broker.client.llen(REQUESTS) == broker.client.llen(IMAGES) == 0, 30, watched.logs)
    assert watched.nodes() == [node]  # the very same process
    until(lambda: broker.client.hlen("unacked") == 0, 30, watched.logs)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        shown = answer.read().decode()
    assert f'tagger_messages_refused_total{{task="none"}} {2 * len(NO_MESSAGES)}.0' in shown
    assert watched.logs(1_000_000).count("it is none of Celery's") == 2 * len(NO_MESSAGES)


def test_bad_messages_are_refused_and_good_ones_are_served(
    stack: Stack, broker: Broker, library: Path
) -> None:
    for kwargs, _ in BAD_REQUESTS:
        send(broker, REQUESTS, ENQUEUE, kwargs)
    for kwargs, _ in BAD_CHUNKS:
        send(broker, IMAGES, TAG_CHUNK, kwargs)
    send(broker, REQUESTS, ENQUEUE, {}, args=[["root://photos/000001.jpg"]])
    send(broker, REQUESTS, "os.system", {"command": "true"})
    raw(broker, REQUESTS, ENQUEUE, b"\x80\x04K\x01.", **{"content-type": "application/x-python-serialize"})
    raw(broker, REQUESTS, ENQUEUE, b"{ no json")
    send(broker, REQUESTS, ENQUEUE, {"paths": ["root://photos/000003.jpg", str(library / "000004.jpg")]})
    stack.start("worker")
    until(lambda: stack.done() == 2, 60, stack.logs)
    rows = stack.rows("SELECT uri, outcome FROM image_status ORDER BY uri")
    assert rows == [("root://photos/000003.jpg", "ok"), ("root://photos/000004.jpg", "ok")]
    # A run is ended by the next pass of whoever makes one.
    until(lambda: stack.one("SELECT state FROM runs") == "ended", 30, stack.logs)
    assert stack.rows("SELECT name, total, done FROM runs") == [("messages", 2, 2)]
    until(lambda: broker.client.llen(REQUESTS) == broker.client.llen(IMAGES) == 0, 30, stack.logs)
    assert broker.client.hlen("unacked") == 0
    log = stack.logs(1_000_000)
    for _, said in BAD_REQUESTS + BAD_CHUNKS:
        assert said in log
    assert max(map(len, log.splitlines())) < 5000
    assert len(stack.nodes()) == 1 and stack.one("SELECT COUNT(*) FROM images") == 2


def test_the_same_enqueued_twice_is_done_once(stack: Stack, broker: Broker, library: Path) -> None:
    report = json.loads(stack.run("enqueue", library, "--json"))
    assert (report["wanted"], report["new"]) == (PHOTOS, PHOTOS)
    again = json.loads(stack.run("enqueue", library, library / "000001.jpg", "--json"))
    assert (again["wanted"], again["unchanged"]) == (0, PHOTOS + 1)
    for _ in range(2):
        send(broker, REQUESTS, ENQUEUE, {"paths": [str(library)]})
    stack.start("worker")
    stack.until_all_done()
    until(lambda: stack.one("SELECT COUNT(*) FROM requests") == 0, 30)
    assert stack.rows("SELECT DISTINCT attempts FROM image_status") == [(1,)]
    assert stack.one("SELECT SUM(total) FROM runs") == PHOTOS


@pytest.mark.parametrize("path", ["/etc/passwd", "root://photos/../../etc", "https://example.org/x.jpg"])
def test_the_command_enqueues_nothing_outside_the_roots(stack: Stack, library: Path, path: str) -> None:
    said = stack.run("enqueue", library / "000001.jpg", path, code=3)
    assert "outside" in said or "not beneath" in said
    assert stack.one("SELECT COUNT(*) FROM images") == 0 and stack.one("SELECT COUNT(*) FROM runs") == 0


def test_a_list_of_paths_with_bad_lines_enqueues_the_good_ones(stack: Stack, library: Path) -> None:
    lines = [str(library / "000001.jpg"), "/etc/passwd", "", "root://photos/000002.jpg", "x" * 20_000]
    said = stack.run("enqueue", "--from", "-", stdin="\n".join(lines), code=4)
    assert "/etc/passwd" in said and "wants 2 images" in said
    assert stack.one("SELECT COUNT(*) FROM taggings") == 2
