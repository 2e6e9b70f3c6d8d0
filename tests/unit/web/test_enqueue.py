"""What is enqueued and tried again over HTTP is what the command line would have wanted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tagger.sources import Roots
from tagger.store.session import Database, open_database
from tests.unit.library.test_filling import registered
from tests.unit.web.conftest import asking, site_over

__all__ = ["registered"]

V = "/api/v1"


@pytest.fixture
def sqlite(registered: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(registered, tmp_path / "tagger.db")
    database = open_database(str(tmp_path / "tagger.db"))
    yield database
    database.close()


@pytest.fixture
def producer(sqlite: Database, photos: Path) -> TestClient:
    return asking(site_over(sqlite, roots=Roots.parse((f"photos={photos}",))))


def _enqueued(producer: TestClient, *items: str, **more: Any) -> Any:
    answer = producer.post(f"{V}/enqueue", json={"items": list(items)} | more)
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_what_is_enqueued_is_wanted_once(producer: TestClient, photos: Path) -> None:
    first = _enqueued(producer, "root://photos/trip", str(photos / "a.jpg"), run="upload")
    assert (first["wanted"], first["files"], first["new"], first["left_out"]) == (3, 3, 3, [])
    assert first["sent"] == "sent, bulk: False" and first["model"].startswith("efficientnet-lite0@")
    again = _enqueued(producer, str(photos), run="upload")
    assert (again["run"], again["wanted"], again["unchanged"]) == (first["run"], 0, 3)
    assert _enqueued(producer, str(photos), bulk=True)["sent"] == "sent, bulk: True"
    run = producer.get(f"{V}/runs/{first['run']}").json()["run"]
    assert (run["name"], run["total"], run["kind"]) == ("upload", 3, "enqueue")


def test_what_cannot_be_had_comes_back_with_its_reason(producer: TestClient, photos: Path) -> None:
    bad = [
        "a.jpg",
        "../x",
        "/etc/passwd",
        "root://photos/../x",
        "root://elsewhere/a.jpg",
        "s3://bucket/a.jpg",
        "",
    ]
    answer = _enqueued(producer, *bad, "root://photos/a.jpg")
    assert answer["wanted"] == 1
    reasons = {each["item"]: each["reason"] for each in answer["left_out"]}
    assert list(reasons) == bad and "neither an absolute path" in reasons["a.jpg"]
    assert "TAGGER_ROOTS" in reasons["/etc/passwd"]
    for wish, code in (
        ({"items": bad}, 422),
        ({"items": []}, 422),
        ({"items": ["/x"] * 10_001}, 422),
        ({"items": [f"{photos}/\0"]}, 422),
        ({"items": [1]}, 422),
        ({"items": [str(photos)], "model": "none-such"}, 409),
        ({"items": [str(photos)], "colour": "red"}, 422),
    ):
        refused = producer.post(f"{V}/enqueue", json=wish)
        assert refused.status_code == code, refused.text
        assert refused.json()["error"]["message"]
    assert len(producer.get(f"{V}/runs").json()["runs"]) == 1, "what is refused opens no run"


def test_without_roots_nothing_is_enqueued(sqlite: Database) -> None:
    refused = asking(site_over(sqlite)).post(f"{V}/enqueue", json={"items": ["/etc"]})
    assert refused.status_code == 409 and "TAGGER_ROOTS" in refused.json()["error"]["message"]


def test_failures_are_tried_again(producer: TestClient, sqlite: Database, photos: Path) -> None:
    _enqueued(producer, str(photos))
    with sqlite.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE taggings SET outcome = 'corrupt', finished_at = CURRENT_TIMESTAMP WHERE image_id = 1"
        )
    nothing = producer.post(f"{V}/retry", json={"outcomes": ["timeout"]})
    assert nothing.status_code == 202 and nothing.json()["wanted"] == 0
    assert producer.post(f"{V}/retry", json={}).json()["wanted"] == 1
    assert producer.post(f"{V}/retry", json={"outcomes": ["ok"]}).status_code == 422
    assert producer.post(f"{V}/retry", json={"model": "none-such"}).status_code == 409


def test_who_is_told_to_end_leaves_the_rest_to_workers(sqlite: Database, photos: Path) -> None:
    site = replace(site_over(sqlite, roots=Roots.parse((f"photos={photos}",))), stopping=lambda: True)
    answer = asking(site).post(f"{V}/enqueue", json={"items": [str(photos)]})
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "stopping"
    with sqlite.reading() as connection:
        assert connection.exec_driver_sql("SELECT COUNT(*) FROM requests").scalar() == 1
