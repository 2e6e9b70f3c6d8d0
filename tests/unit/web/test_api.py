"""The API answers what the library says, and refuses in one form."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from tagger.store.session import Database
from tests.unit.store.conftest import ROOT, Shelf
from tests.unit.store.running import open_run, want
from tests.unit.web.asked import DOG, V, done, ids_of, put, refused
from tests.unit.web.conftest import asking, site_over


@pytest.fixture
def database(sqlite: Database) -> Database:
    """One is enough: what differs between two is in ``test_pages``."""
    return sqlite


def test_a_name_that_is_markup_is_a_name(shelf: Shelf, api: TestClient) -> None:
    put(shelf, {"<script>alert(1)</script>.jpg": DOG, "%C3%A9.jpg": DOG})
    answer = api.get(f"{V}/search", params={"q": "dog"})
    assert answer.headers["Content-Type"] == "application/json"
    assert f"{ROOT}/<script>alert(1)</script>.jpg" in {photo["uri"] for photo in done(answer)["photos"]}


def test_a_search_its_facets_and_what_may_come_next(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8}, car={"car": 0.9})
    found = done(api.get(f"{V}/search", params={"q": "puppy OR cat", "min": 0.9}))
    assert found["expression"] == "dog OR cat" and found["next"] is None
    (photo,) = found["photos"]
    assert photo["tag"] == "dog" and photo["source"] == "model" and photo["model"].startswith("tiny@")
    assert len(done(api.get(f"{V}/search"))["photos"]) == 3
    facets = done(api.get(f"{V}/search/facets", params={"q": "animal"}))
    assert facets["counted"] == 2 and facets["complete"]
    assert facets["tags"][0] == {"tag": "animal", "images": 2}
    (completion,) = done(api.get(f"{V}/search/complete", params={"q": "animal d"}))["completions"]
    assert (completion["text"], completion["at"], completion["tag"]) == ("animal dog ", 11, "dog")
    assert done(api.get(f"{V}/search/complete", params={"q": "d", "at": 700}))["completions"]


def test_what_is_wrong_with_a_search_is_shown_in_its_place(shelf: Shelf, api: TestClient) -> None:
    def wrong(typed: str) -> Any:
        return refused(api.get(f"{V}/search", params={"q": typed}), 422)

    fault = wrong("animal AND dgo")
    assert (fault["code"], fault["start"], fault["end"]) == ("unknown_tag", 11, 14)
    assert wrong("dog AND (cat")["code"] == "expression"
    began = time.process_time()
    for typed in (" OR ".join(["dog"] * 3_000), "(" * 5_000, "dog " * 6_000, "x" * 30_000):
        assert wrong(typed)["code"] in ("expression", "unknown_tag")
    assert time.process_time() - began < 5
    assert wrong("dog\0")["code"] == "invalid"
    refused(api.get(f"{V}/search", params={"album": "none such"}), 404)
    refused(api.get(f"{V}/search", params={"min": 2}), 422)


def test_ten_thousand_terms_are_refused_at_once(shelf: Shelf, api: TestClient) -> None:
    began = time.process_time()
    said = {
        "where": " OR ".join(f"tag{index}" for index in range(10_000)),
        "tag": "dog",
        "verdict": "confirm",
    }
    assert refused(api.post(f"{V}/verdicts", json=said), 422)["code"] == "expression"
    assert time.process_time() - began < 2


def test_albums(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    kept = done(api.put(f"{V}/albums/wild ones", json={"expression": "animal NOT cat"}))
    assert kept == {"name": "wild ones", "expression": "animal AND NOT cat", "view": "album_wild_ones"}
    assert done(api.get(f"{V}/albums"))["albums"] == [kept]
    assert refused(api.put(f"{V}/albums/x", json={"expression": "dgo"}), 422)["code"] == "unknown_tag"
    assert refused(api.put(f"{V}/albums/Wild-ones", json={"expression": "dog"}), 409)["code"] == "database"
    refused(api.put(f"{V}/albums/x", json={"expression": "dog", "more": 1}), 422)
    done(api.delete(f"{V}/albums/wild ones"), 204)
    refused(api.delete(f"{V}/albums/wild ones"), 404)


def test_a_run_is_paused_resumed_and_cancelled(shelf: Shelf, api: TestClient) -> None:
    shelf.scan("a.jpg", "b.jpg")
    run_id = open_run(shelf, "mine")
    want(shelf, run_id, list(ids_of(shelf).values()))
    run = done(api.get(f"{V}/runs/{run_id}"))
    assert (run["run"]["name"], run["run"]["total"], run["outcomes"]) == ("mine", 2, {"pending": 2})
    assert run["run"]["places"] == ["photos"]
    done(api.post(f"{V}/runs/{run_id}/pause"), 204)
    assert "paused" in refused(api.post(f"{V}/runs/{run_id}/pause"), 409)["message"]
    done(api.post(f"{V}/runs/{run_id}/resume"), 204)
    assert done(api.post(f"{V}/runs/{run_id}/cancel")) == {"images": 2}
    assert done(api.get(f"{V}/runs"))["runs"][0]["state"] == "cancelled"
    for what in ("/pause", "/resume", "/cancel"):
        refused(api.post(f"{V}/runs/{run_id}{what}"), 409)
        refused(api.post(f"{V}/runs/99{what}"), 404)
    refused(api.get(f"{V}/runs/99"), 404)
    refused(api.get(f"{V}/runs/99/failures"), 404)


def test_the_catalogue(sqlite: Database) -> None:
    api = asking(site_over(sqlite))
    names = [model["name"] for model in done(api.get(f"{V}/models/catalogue"))["models"]]
    assert "efficientnet-lite0" in names


def test_more_than_can_be_said_at_once(
    shelf: Shelf, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.web.api.verdicts.MOST_FOUND", 1)
    shelf.tag(rex=DOG, tom=DOG)
    fault = refused(api.post(f"{V}/verdicts", json={"where": "dog", "tag": "dog", "verdict": "reject"}), 422)
    assert fault["code"] == "too_many" and not shelf.rows("SELECT 1 FROM verdicts")


def test_everything_is_documented(sqlite: Database) -> None:
    document = done(asking(site_over(sqlite)).get(f"{V}/openapi.json"))
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) > 25
    for path, by_method in document["paths"].items():
        assert path == "/healthz" or path.startswith(f"{V}/")
        for operation in by_method.values():
            assert operation["summary"] and operation["description"] and len(operation["tags"]) == 1
            assert path == "/healthz" or operation["security"] == [{"HTTPBearer": []}]
            said = operation["responses"].get("422", {}).get("content", {})
            assert path == "/healthz" or "ErrorAnswer" in str(said)
    for name, schema in document["components"]["schemas"].items():
        assert "__" not in name and (schema.get("description") or "enum" in schema), name
    assert "HTTPValidationError" not in str(document)
