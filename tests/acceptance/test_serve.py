"""``tagger serve`` as it is run: it answers, lets in whom it should, and ends when told."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import psutil
import pytest

from .conftest import Tagger

TOKEN = "a-token-of-thirty-two-characters"


@contextmanager
def _served(tagger: Tagger, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, from the one line that it prints."""
    process = tagger.start("serve", "--port", "0", *arguments)
    try:
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"Tagger is at (http://\S+) \(Ctrl-C ends it\)\.\n", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def _asked(address: str, data: Any = None, **headers: str) -> Any:
    body = None if data is None else json.dumps(data).encode()
    headers |= {"Content-Type": "application/json"} if body else {}
    with urlopen(Request(address, body, headers), timeout=30) as answer:
        return json.load(answer)


def test_it_answers_and_ends_with_nothing_left(tagger: Tagger, photos: Path) -> None:
    tagger("tag", photos)
    with _served(tagger, photos) as (process, address):
        (photo,) = _asked(f"{address}/api/v1/search?q=puppy")["photos"]
        assert photo["uri"].endswith("domestic_dog.jpg")
        tag = "a/b 100% %41"
        word = {"images": [photo["image_id"]], "tag": tag, "verdict": "confirm", "new": True}
        assert _asked(f"{address}/api/v1/verdicts", word) == {"new": 1, "taken_back": 0}
        assert _asked(f"{address}/api/v1/tags/{quote(tag, safe='')}")["images"] == 1
        (photos / "trip" / "new.jpg").write_bytes(b"\xff\xd8 no photo")
        done = _asked(f"{address}/api/v1/enqueue", {"items": [str(photos)]})
        assert (done["new"], done["unchanged"], done["wanted"]) == (1, 7, 1) and "No broker" in done["sent"]
        assert _asked(f"{address}/api/v1/status")["present"] == 8
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):  # who says nothing
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err, children) == (0, "", "", [])
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


def test_others_are_let_in_by_a_token_alone(tagger: Tagger) -> None:
    assert "TAGGER_TOKEN=$(openssl rand -hex 24)" in tagger("serve", "--host", "0.0.0.0", code=3)
    assert "TAGGER_TOKEN=***: Value error, 16 letters" in Tagger(
        {**tagger.env, "TAGGER_TOKEN": "short"}, tagger.folder
    )("serve", code=3)
    assert "run `tagger tag PATH` first" in tagger("serve", "--port", "0", code=3)
    tagger("db", "upgrade")
    guarded = Tagger({**tagger.env, "TAGGER_TOKEN": TOKEN}, tagger.folder)
    with _served(guarded, "--host", "0.0.0.0") as (process, address):
        assert _asked(f"{address}/healthz") == {"ok": True}
        with pytest.raises(HTTPError, match="401"):
            _asked(f"{address}/api/v1/status")
        assert _asked(f"{address}/api/v1/status", Authorization=f"Bearer {TOKEN}")["present"] == 0
        port = address.rpartition(":")[2]
        taken = guarded("serve", "--host", "0.0.0.0", "--port", port, code=3)
        assert f"port {port} of 0.0.0.0 is taken" in taken
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "no address 'no such host'" in tagger("serve", "--host", "no such host", code=3)
