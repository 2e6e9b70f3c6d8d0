"""The API answers what the library says, in pages that have everything once, and refuses in one form."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from tagger.library import control
from tagger.store import catalog, runs
from tagger.store.runs import Opening, RunKind
from tagger.store.session import Database
from tagger.values import Outcome, OutcomeKind
from tests.unit.store.conftest import ROOT, Shelf, entry, outcome
from tests.unit.store.running import open_run, want
from tests.unit.web.conftest import asking, site_over

V = "/api/v1"
DOG = {"animal": 0.99, "dog": 0.97}


def _ok(answer: Any, code: int = 200) -> Any:
    assert answer.status_code == code, answer.text
    return answer.json() if answer.content else None


def _fault(answer: Any, code: int) -> Any:
    assert answer.status_code == code, answer.text
    assert set(answer.json()) == {"error"}
    return answer.json()["error"]


def _ids(shelf: Shelf) -> dict[str, int]:
    return {str(uri).rsplit("/", 1)[1]: int(str(id)) for id, uri in shelf.rows("SELECT id, uri FROM images")}


def _pages(api: TestClient, path: str, **query: Any) -> Iterator[list[Any]]:
    """All pages of a list."""
    after: str | None = None
    for _ in range(100):
        page = _ok(api.get(path, params=query | ({"after": after} if after else {})))
        (rows,) = [value for value in page.values() if isinstance(value, list)]
        yield [{name: value for name, value in row.items() if name != "rate"} for row in rows]  # it fades
        after = page["next"]
        if after is None:
            return
    raise AssertionError("it does not end")


def _lists(document: Any) -> list[str]:
    """The paths that go on from page to page."""
    return [
        path
        for path, operations in document["paths"].items()
        if any(
            each["name"] == "after" and not each["required"]
            for each in operations.get("get", {}).get("parameters", ())
        )
    ]


def _fail(shelf: Shelf, run_id: int, *names: str) -> None:
    """Images of a run that could not be tagged, some at one moment."""
    shelf.scan(*names, "rex.jpg")
    want(shelf, run_id, [_ids(shelf)[name] for name in names])
    lease = shelf.lease()
    refs = shelf.claim(lease)
    shelf.record(lease, *(Outcome(ref.image_id, OutcomeKind.CORRUPT, "cut off") for ref in refs))


def _tag(shelf: Shelf, photos: Mapping[str, Mapping[str, float]]) -> None:
    """As the shelf does, but in folders, and of any name."""
    shelf.scan(*photos)
    lease = shelf.lease()
    done = []
    for ref in shelf.claim(lease):
        name = ref.uri.removeprefix(f"{ROOT}/")
        done.append(outcome(ref.image_id, name, photos[name]))
    shelf.record(lease, *done)


# -- lists ----------------------------------------------------------------------------------


def test_every_list_has_each_row_once(shelf: Shelf, api: TestClient) -> None:
    """Whatever the size of its pages, and as the document names them."""
    shelf.tag(**{f"photo {index}": DOG if index % 2 else {"cat": 0.9, "car": 0.8} for index in range(7)})
    run_id = open_run(shelf)
    _fail(shelf, run_id, *(f"photo {index}.jpg" for index in range(7)), *(f"bad{i}.jpg" for i in range(5)))
    for index in range(4):
        open_run(shelf, f"run {index}")
    for verdict, tag in (("confirm", "car"), ("reject", "retriever")):
        said = {"where": "", "tag": tag, "verdict": verdict}
        _ok(api.post(f"{V}/verdicts", json=said))
    lists = _lists(_ok(api.get(f"{V}/openapi.json")))
    named = ("/search", "/images", "/tags", "/runs", "/runs/{run_id}/failures", "/verdicts")
    assert lists == [f"{V}{path}" for path in named]
    for path in lists:
        place = path.replace("{run_id}", str(run_id))
        (whole,) = _pages(api, place, limit=500)
        assert len(whole) >= 4, path
        for limit in (1, 2, len(whole)):
            pages = list(_pages(api, place, limit=limit))
            assert [row for page in pages for row in page] == whole, path
            assert all(len(page) == limit for page in pages[:-1]) and pages[-1], path
        for wrong in ("x", "!", "e30", "WzFd", "WzEsMl0", "bnVsbA", "WzEsIGZhbHNlXQ", "\u00e9", "9" * 3000):
            assert _fault(api.get(place, params={"after": wrong}), 422)["code"] in ("cursor", "invalid"), path
        for limit in (0, -1, 501, "x", 2**70):
            assert _fault(api.get(place, params={"limit": limit}), 422)["code"] == "invalid"


def test_lists_do_not_shift_when_others_write(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(a=DOG, b=DOG, c=DOG)
    first = _ok(api.get(f"{V}/images", params={"limit": 2}))
    _ok(api.delete(f"{V}/images/{first['images'][0]['image_id']}"), 204)
    second = _ok(api.get(f"{V}/images", params={"limit": 2, "after": first["next"]}))
    assert [image["uri"] for image in second["images"]] == [f"{ROOT}/c.jpg"] and second["next"] is None


# -- images ---------------------------------------------------------------------------------


def test_images_by_place_and_outcome(shelf: Shelf, api: TestClient) -> None:
    _tag(shelf, {"2019/rex.jpg": DOG, "2020/tom.jpg": {}, "2020/gone.jpg": DOG})
    shelf.scan("2019/rex.jpg", "2020/tom.jpg", "2020/new.jpg")

    def found(**query: Any) -> dict[str, str]:
        images = _ok(api.get(f"{V}/images", params=query))["images"]
        return {image["uri"].removeprefix(ROOT + "/"): image["outcome"] for image in images}

    assert found() == {"2019/rex.jpg": "ok", "2020/tom.jpg": "empty", "2020/new.jpg": "pending"}
    assert (
        set(found(under=f"{ROOT}/2020"))
        == set(found(under="/photos/2020"))
        == {"2020/tom.jpg", "2020/new.jpg"}
    )
    assert set(found(vanished=True)) == {*found(), "2020/gone.jpg"}
    assert set(found(outcome="ok")) == {"2019/rex.jpg"} and set(found(outcome="pending")) == {"2020/new.jpg"}
    assert found(under=f"{ROOT}/202") == {}
    assert "absolute path" in _fault(api.get(f"{V}/images", params={"under": "2020"}), 422)["message"]
    assert _fault(api.get(f"{V}/images", params={"outcome": "fine"}), 422)


def test_all_that_is_known_of_one_image(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    (image_id,) = _ids(shelf).values()
    _ok(api.post(f"{V}/verdicts", json={"images": [image_id], "tag": "car", "verdict": "confirm"}))
    image = _ok(api.get(f"{V}/images/{image_id}"))
    assert image["uri"] == f"{ROOT}/rex.jpg" and (image["width"], image["format"]) == (640, "JPEG")
    assert [tag["tag"] for tag in image["tags"]] == ["car", "animal", "dog"]
    assert image["tags"][0] == {"tag": "car", "confidence": 1.0, "source": "person", "model": None}
    assert image["statuses"][0]["outcome"] == "ok" and len(image["labels"]) == 5
    (verdict,) = image["verdicts"]
    assert verdict["verdict"] == "confirm" and verdict["decided_at"].endswith("Z")
    assert _ok(api.delete(f"{V}/images/{image_id}"), 204) is None
    for code, wrong in ((404, image_id), (404, 2**62), (422, 0), (422, 2**63), (422, "x")):
        _fault(api.get(f"{V}/images/{wrong}"), code)
        _fault(api.delete(f"{V}/images/{wrong}"), code)


def test_a_name_that_is_markup_is_a_name(shelf: Shelf, api: TestClient) -> None:
    _tag(shelf, {"<script>alert(1)</script>.jpg": DOG, "%C3%A9.jpg": DOG})
    answer = api.get(f"{V}/search", params={"q": "dog"})
    assert answer.headers["Content-Type"] == "application/json"
    assert f"{ROOT}/<script>alert(1)</script>.jpg" in {photo["uri"] for photo in _ok(answer)["photos"]}


# -- searches -------------------------------------------------------------------------------


def test_a_search_its_facets_and_what_may_come_next(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8}, car={"car": 0.9})
    found = _ok(api.get(f"{V}/search", params={"q": "puppy OR cat", "min": 0.9}))
    assert found["expression"] == "dog OR cat" and found["next"] is None
    (photo,) = found["photos"]
    assert photo["tag"] == "dog" and photo["source"] == "model" and photo["model"].startswith("tiny@")
    assert len(_ok(api.get(f"{V}/search"))["photos"]) == 3
    facets = _ok(api.get(f"{V}/search/facets", params={"q": "animal"}))
    assert facets["counted"] == 2 and facets["complete"]
    assert facets["tags"][0] == {"tag": "animal", "images": 2}
    (completion,) = _ok(api.get(f"{V}/search/complete", params={"q": "animal d"}))["completions"]
    assert (completion["text"], completion["at"], completion["tag"]) == ("animal dog", 10, "dog")
    assert _ok(api.get(f"{V}/search/complete", params={"q": "d", "at": 700}))["completions"]


def test_what_is_wrong_with_a_search_is_shown_in_its_place(shelf: Shelf, api: TestClient) -> None:
    def wrong(typed: str) -> Any:
        return _fault(api.get(f"{V}/search", params={"q": typed}), 422)

    fault = wrong("animal AND dgo")
    assert (fault["code"], fault["start"], fault["end"]) == ("unknown_tag", 11, 14)
    assert wrong("dog AND (cat")["code"] == "expression"
    began = time.monotonic()
    for typed in (" OR ".join(["dog"] * 3_000), "(" * 5_000, "dog " * 6_000, "x" * 30_000):
        assert wrong(typed)["code"] in ("expression", "unknown_tag")
    assert time.monotonic() - began < 5
    assert wrong("dog\0")["code"] == "invalid"
    _fault(api.get(f"{V}/search", params={"album": "none such"}), 404)
    _fault(api.get(f"{V}/search", params={"min": 2}), 422)


def test_ten_thousand_terms_are_refused_at_once(shelf: Shelf, api: TestClient) -> None:
    began = time.monotonic()
    said = {
        "where": " OR ".join(f"tag{index}" for index in range(10_000)),
        "tag": "dog",
        "verdict": "confirm",
    }
    assert _fault(api.post(f"{V}/verdicts", json=said), 422)["code"] == "expression"
    assert time.monotonic() - began < 2


# -- tags and albums ------------------------------------------------------------------------


def test_tags_and_what_they_are(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8})
    assert _ok(api.get(f"{V}/tags"))["tags"][0] == {"tag": "animal", "images": 2}
    assert [tag["tag"] for tag in _ok(api.get(f"{V}/tags", params={"prefix": "C"}))["tags"]] == ["cat"]
    tag = _ok(api.get(f"{V}/tags/puppy"))
    assert tag == {"name": "dog", "images": 1, "ancestors": ["animal"], "descendants": ["retriever"],
                   "aliases": ["puppy"]}  # fmt: skip
    assert _ok(api.get(f"{V}/tags/retriever"))["images"] == 0
    assert "no tag 'unicorn'" in _fault(api.get(f"{V}/tags/unicorn"), 404)["message"]
    for wrong in ("%00", "x" * 300, ""):
        _fault(api.get(f"{V}/tags/{wrong}"), 422)


def test_a_tag_of_ones_own_may_have_any_letters(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    for name in ('o\'neill "x"', "a/b", "100% sure", "<b>", "caf\u00e9"):
        said = {"images": ["rex.jpg"], "tag": name, "verdict": "confirm"}
        assert "--new" in _fault(api.post(f"{V}/verdicts", json=said), 404)["message"]
        assert _ok(api.post(f"{V}/verdicts", json=said | {"new": True})) == {"new": 1, "taken_back": 0}
        quoted = '"' + name.replace('"', '""') + '"'
        assert len(_ok(api.get(f"{V}/search", params={"q": quoted}))["photos"]) == 1
        assert _ok(api.get(f"{V}/tags/{quote(name, safe='')}"))["images"] == 1
        assert len(_ok(api.get(f"{V}/verdicts", params={"tag": name}))["verdicts"]) == 1
        album = f"{V}/albums/{quote(name, safe='')}"
        assert _ok(api.put(album, json={"expression": quoted}))["name"] == name
        assert len(_ok(api.get(f"{V}/search", params={"album": name}))["photos"]) == 1
        assert _ok(api.delete(album), 204) is None


def test_albums(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    kept = _ok(api.put(f"{V}/albums/wild ones", json={"expression": "animal NOT cat"}))
    assert kept == {"name": "wild ones", "expression": "animal AND NOT cat", "view": "album_wild_ones"}
    assert _ok(api.get(f"{V}/albums"))["albums"] == [kept]
    assert _fault(api.put(f"{V}/albums/x", json={"expression": "dgo"}), 422)["code"] == "unknown_tag"
    assert _fault(api.put(f"{V}/albums/Wild-ones", json={"expression": "dog"}), 409)["code"] == "database"
    _fault(api.put(f"{V}/albums/x", json={"expression": "dog", "more": 1}), 422)
    _ok(api.delete(f"{V}/albums/wild ones"), 204)
    _fault(api.delete(f"{V}/albums/wild ones"), 404)


# -- runs -----------------------------------------------------------------------------------


def test_a_run_is_paused_resumed_and_cancelled(shelf: Shelf, api: TestClient) -> None:
    shelf.scan("a.jpg", "b.jpg")
    run_id = open_run(shelf, "mine")
    want(shelf, run_id, list(_ids(shelf).values()))
    run = _ok(api.get(f"{V}/runs/{run_id}"))
    assert (run["run"]["name"], run["run"]["total"], run["outcomes"]) == ("mine", 2, {"pending": 2})
    assert run["run"]["places"] == ["photos"]
    _ok(api.post(f"{V}/runs/{run_id}/pause"), 204)
    assert "paused" in _fault(api.post(f"{V}/runs/{run_id}/pause"), 409)["message"]
    _ok(api.post(f"{V}/runs/{run_id}/resume"), 204)
    assert _ok(api.post(f"{V}/runs/{run_id}/cancel")) == {"images": 2}
    assert _ok(api.get(f"{V}/runs"))["runs"][0]["state"] == "cancelled"
    for what in ("/pause", "/resume", "/cancel"):
        _fault(api.post(f"{V}/runs/{run_id}{what}"), 409)
        _fault(api.post(f"{V}/runs/99{what}"), 404)
    _fault(api.get(f"{V}/runs/99"), 404)
    _fault(api.get(f"{V}/runs/99/failures"), 404)


def test_the_failures_of_a_run_by_outcome(shelf: Shelf, api: TestClient) -> None:
    run_id = open_run(shelf)
    _fail(shelf, run_id, "a.jpg", "b.jpg")
    assert _ok(api.get(f"{V}/runs/{run_id}"))["outcomes"] == {"corrupt": 2}

    def failed(**query: str) -> list[Any]:
        failures: list[Any] = _ok(api.get(f"{V}/runs/{run_id}/failures", params=query))["failures"]
        return failures

    assert {(each["uri"], each["reason"]) for each in failed(outcome="corrupt")} == {
        (f"{ROOT}/a.jpg", "cut off"),
        (f"{ROOT}/b.jpg", "cut off"),
    }
    assert failed(outcome="missing") == []
    status = _ok(api.get(f"{V}/status"))
    assert status["present"] == 3 and len(status["failures"]) == 3 and status["queues"] is None
    assert {"model": shelf.model.name, "live": True, "outcome": "corrupt", "images": 3} in status["outcomes"]


def test_the_failures_of_one_process_are_by_its_time_and_place(shelf: Shelf, api: TestClient) -> None:
    run_id = shelf.database.write(
        lambda connection: runs.open_run(connection, Opening(RunKind.TAG, shelf.model.id, (ROOT,)))
    )
    shelf.scan("a.jpg")
    lease = shelf.lease()
    shelf.record(lease, *(Outcome(ref.image_id, OutcomeKind.CORRUPT, "x") for ref in shelf.claim(lease)))
    assert len(_ok(api.get(f"{V}/runs/{run_id}/failures"))["failures"]) == 1
    assert control.page(shelf.database, None, 5)[0].id == run_id


# -- models ---------------------------------------------------------------------------------


def test_models_are_compared_promoted_and_rolled_back(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    other = replace(entry("b" * 64), spec="tiny2")
    with shelf.database.writing() as connection:
        catalog.register_model(connection, other)
    versions = _ok(api.get(f"{V}/models"))["versions"]
    assert [(each["spec"], each["live"], each["seen"]) for each in versions] == [
        ("tiny", True, 1),
        ("tiny2", False, 0),
    ]
    assert "no outcome yet" in _fault(api.post(f"{V}/models/tiny2/promote"), 409)["message"]
    shelf.write("INSERT INTO taggings (image_id, model_id, outcome) SELECT id, 2, 'empty' FROM images")
    diff = _ok(api.get(f"{V}/models/diff", params={"before": "tiny", "after": "tiny2"}))
    assert diff["images"] == 1 and {change["tag"]: change["lost"] for change in diff["tags"]} == {
        "animal": 1,
        "dog": 1,
    }
    assert diff["examples"][0]["change"] == "lost"
    assert _ok(api.post(f"{V}/models/tiny2/promote"))["live"]
    assert _ok(api.get(f"{V}/search", params={"q": "dog"}))["photos"] == []
    back = _ok(api.post(f"{V}/vocabularies/imagenet/rollback"))
    assert back["model"]["spec"] == "tiny" and back["lacking"] == 0
    assert _fault(api.post(f"{V}/vocabularies/imagenet/rollback"), 409)["code"] == "model"
    assert _fault(api.post(f"{V}/models/none/promote"), 409)["code"] == "model"
    _fault(api.get(f"{V}/models/diff", params={"before": "tiny"}), 422)


def test_the_catalogue(sqlite: Database) -> None:
    api = asking(site_over(sqlite))
    names = [model["name"] for model in _ok(api.get(f"{V}/models/catalogue"))["models"]]
    assert "efficientnet-lite0" in names


# -- verdicts -------------------------------------------------------------------------------


def test_verdicts_on_images_named_and_found(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8}, car={"car": 0.9})
    ids = _ids(shelf)

    def said(code: int = 200, **word: Any) -> Any:
        answer = api.post(f"{V}/verdicts", json=word)
        return _ok(answer) if code == 200 else _fault(answer, code)

    both = [ids["rex.jpg"], f"{ROOT}/tom.jpg", "/photos/car.jpg"]
    assert said(images=both, tag="puppy", verdict="reject") == {"new": 3, "taken_back": 0}
    assert said(images=["rex.jpg"], tag="dog", verdict="confirm") == {"new": 1, "taken_back": 1}
    assert said(where="cat OR car", tag="dog", verdict="none") == {"new": 0, "taken_back": 2}
    assert said(where="", min=0.85, tag="car", verdict="confirm")["new"] == 3
    listed = _ok(api.get(f"{V}/verdicts"))["verdicts"]
    assert [(each["image_id"], each["tag"]) for each in listed if each["tag"] == "dog"] == [
        (ids["rex.jpg"], "dog")
    ]
    for code, wrong in (
        (404, {"images": [99], "tag": "dog"}),
        (404, {"images": ["rex.jpg", "nowhere.jpg"], "tag": "cat"}),
        (404, {"images": ["rex.jpg"], "tag": "unicorn"}),
        (422, {"tag": "dog"}),
        (422, {"images": [1], "where": "dog", "tag": "dog"}),
        (422, {"images": [], "tag": "dog"}),
        (422, {"images": [2**70], "tag": "dog"}),
        (422, {"images": ["\0"], "tag": "dog"}),
        (422, {"images": [1], "album": "x", "tag": "dog"}),
        (422, {"where": "dog AND", "tag": "dog"}),
        (404, {"where": "dog", "album": "none", "tag": "dog"}),
        (422, {"images": [1], "tag": "dog", "verdict": "perhaps"}),
    ):
        said(code, **({"verdict": "confirm"} | wrong))
    assert len(_ok(api.get(f"{V}/verdicts"))["verdicts"]) == 4, "all or none"
    _fault(api.get(f"{V}/verdicts", params={"tag": "unicorn"}), 404)


def test_more_than_can_be_said_at_once(
    shelf: Shelf, api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.web.api.verdicts.MOST_FOUND", 1)
    shelf.tag(rex=DOG, tom=DOG)
    fault = _fault(api.post(f"{V}/verdicts", json={"where": "dog", "tag": "dog", "verdict": "reject"}), 422)
    assert fault["code"] == "too_many" and not shelf.rows("SELECT 1 FROM verdicts")


# -- the document ---------------------------------------------------------------------------


def test_everything_is_documented(sqlite: Database) -> None:
    document = _ok(asking(site_over(sqlite)).get(f"{V}/openapi.json"))
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
        assert schema.get("description") or "enum" in schema, name
    assert "HTTPValidationError" not in str(document)
