"""What the API asks of the databases, on both: pages that have every row once, and what is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.testclient import TestClient

from tagger.library import control
from tagger.store import catalog, runs
from tagger.store.runs import Opening, RunKind
from tagger.values import Outcome, OutcomeKind
from tests.unit.store.conftest import ROOT, Shelf, entry
from tests.unit.store.running import open_run
from tests.unit.web.asked import DOG, V, done, fail, ids_of, lists_of, pages_of, put, refused


def test_every_list_has_each_row_once(shelf: Shelf, api: TestClient) -> None:
    """Whatever the size of its pages, and as the document names them."""
    shelf.tag(**{f"photo {index}": DOG if index % 2 else {"cat": 0.9, "car": 0.8} for index in range(7)})
    run_id = open_run(shelf)
    fail(shelf, run_id, *(f"photo {index}.jpg" for index in range(7)), *(f"bad{i}.jpg" for i in range(5)))
    for index in range(4):
        open_run(shelf, f"run {index}")
    for verdict, tag in (("confirm", "car"), ("reject", "retriever")):
        said = {"where": "path:photo", "tag": tag, "verdict": verdict}
        done(api.post(f"{V}/verdicts", json=said))
    found = lists_of(done(api.get(f"{V}/openapi.json")))
    named = ("/search", "/images", "/tags", "/runs", "/runs/{run_id}/failures", "/verdicts")
    assert found == [f"{V}{path}" for path in named]
    for path in found:
        place = path.replace("{run_id}", str(run_id))
        (whole,) = pages_of(api, place, limit=500)
        assert len(whole) >= 4, path
        for limit in (1, 2, len(whole)):
            pages = list(pages_of(api, place, limit=limit))
            assert [row for page in pages for row in page] == whole, path
            assert all(len(page) == limit for page in pages[:-1]) and pages[-1], path
        for wrong in ("x", "!", "e30", "WzFd", "WzEsMl0", "bnVsbA", "WzEsIGZhbHNlXQ", "\u00e9", "9" * 3000):
            assert refused(api.get(place, params={"after": wrong}), 422)["code"] in ("cursor", "invalid"), (
                path
            )
        for much in (0, -1, 501, "x", 2**70):
            assert refused(api.get(place, params={"limit": much}), 422)["code"] == "invalid"


def test_lists_do_not_shift_when_others_write(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(a=DOG, b=DOG, c=DOG)
    first = done(api.get(f"{V}/images", params={"limit": 2}))
    done(api.delete(f"{V}/images/{first['images'][0]['image_id']}"), 204)
    second = done(api.get(f"{V}/images", params={"limit": 2, "after": first["next"]}))
    assert [image["uri"] for image in second["images"]] == [f"{ROOT}/c.jpg"] and second["next"] is None


def test_images_by_place_and_outcome(shelf: Shelf, api: TestClient) -> None:
    put(shelf, {"2019/rex.jpg": DOG, "2020/tom.jpg": {}, "2020/gone.jpg": DOG})
    shelf.scan("2019/rex.jpg", "2020/tom.jpg", "2020/new.jpg")

    def found(**query: Any) -> dict[str, str]:
        images = done(api.get(f"{V}/images", params=query))["images"]
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
    assert "absolute path" in refused(api.get(f"{V}/images", params={"under": "2020"}), 422)["message"]
    assert refused(api.get(f"{V}/images", params={"outcome": "fine"}), 422)


def test_all_that_is_known_of_one_image(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    (image_id,) = ids_of(shelf).values()
    done(api.post(f"{V}/verdicts", json={"images": [image_id], "tag": "car", "verdict": "confirm"}))
    image = done(api.get(f"{V}/images/{image_id}"))
    assert image["uri"] == f"{ROOT}/rex.jpg" and (image["width"], image["format"]) == (640, "JPEG")
    assert [tag["tag"] for tag in image["tags"]] == ["car", "animal", "dog"]
    assert image["tags"][0] == {"tag": "car", "confidence": 1.0, "source": "person", "model": None}
    assert image["statuses"][0]["outcome"] == "ok" and len(image["labels"]) == 5
    (verdict,) = image["verdicts"]
    assert verdict["verdict"] == "confirm" and verdict["decided_at"].endswith("Z")
    assert done(api.delete(f"{V}/images/{image_id}"), 204) is None
    for code, wrong in ((404, image_id), (404, 2**62), (422, 0), (422, 2**63), (422, "x")):
        refused(api.get(f"{V}/images/{wrong}"), code)
        refused(api.delete(f"{V}/images/{wrong}"), code)


def test_tags_and_what_they_are(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8})
    assert done(api.get(f"{V}/tags"))["tags"][0] == {"tag": "animal", "images": 2}
    assert [tag["tag"] for tag in done(api.get(f"{V}/tags", params={"prefix": "C"}))["tags"]] == ["cat"]
    tag = done(api.get(f"{V}/tags/puppy"))
    assert tag == {"name": "dog", "images": 1, "ancestors": ["animal"], "descendants": ["retriever"],
                   "aliases": ["puppy"]}  # fmt: skip
    assert done(api.get(f"{V}/tags/retriever"))["images"] == 0
    assert "no tag 'unicorn'" in refused(api.get(f"{V}/tags/unicorn"), 404)["message"]
    for wrong in ("%00", "x" * 300, ""):
        refused(api.get(f"{V}/tags/{wrong}"), 422)


def test_a_tag_of_ones_own_may_have_any_letters(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    for name in ('o\'neill "x"', "a/b", "100% sure", "<b>", "caf\u00e9"):
        said = {"images": ["rex.jpg"], "tag": name, "verdict": "confirm"}
        assert "--new" in refused(api.post(f"{V}/verdicts", json=said), 404)["message"]
        assert done(api.post(f"{V}/verdicts", json=said | {"new": True})) == {"new": 1, "taken_back": 0}
        quoted = '"' + name.replace('"', '""') + '"'
        assert len(done(api.get(f"{V}/search", params={"q": quoted}))["photos"]) == 1
        assert done(api.get(f"{V}/tags/{quote(name, safe='')}"))["images"] == 1
        assert len(done(api.get(f"{V}/verdicts", params={"tag": name}))["verdicts"]) == 1
        album = f"{V}/albums/{quote(name, safe='')}"
        assert done(api.put(album, json={"expression": quoted}))["name"] == name
        assert len(done(api.get(f"{V}/search", params={"album": name}))["photos"]) == 1
        assert done(api.delete(album), 204) is None


def test_the_failures_of_a_run_by_outcome(shelf: Shelf, api: TestClient) -> None:
    run_id = open_run(shelf)
    fail(shelf, run_id, "a.jpg", "b.jpg")
    assert done(api.get(f"{V}/runs/{run_id}"))["outcomes"] == {"corrupt": 2}
    ticks = done(api.get(f"{V}/runs/{run_id}/throughput"))["ticks"]
    assert sum(tick["done"] for tick in ticks) == sum(tick["failed"] for tick in ticks) == 2

    def failed(**query: str) -> list[Any]:
        failures: list[Any] = done(api.get(f"{V}/runs/{run_id}/failures", params=query))["failures"]
        return failures

    assert {(each["uri"], each["reason"]) for each in failed(outcome="corrupt")} == {
        (f"{ROOT}/a.jpg", "cut off"),
        (f"{ROOT}/b.jpg", "cut off"),
    }
    assert failed(outcome="missing") == []
    status = done(api.get(f"{V}/status"))
    assert status["present"] == 3 and len(status["failures"]) == 3 and status["queues"] is None
    assert {"model": shelf.model.name, "live": True, "outcome": "corrupt", "images": 3} in status["outcomes"]


def test_the_failures_of_one_process_are_by_its_time_and_place(shelf: Shelf, api: TestClient) -> None:
    run_id = shelf.database.write(
        lambda connection: runs.open_run(connection, Opening(RunKind.TAG, shelf.model.id, (ROOT,)))
    )
    shelf.scan("a.jpg")
    lease = shelf.lease()
    shelf.record(lease, *(Outcome(ref.image_id, OutcomeKind.CORRUPT, "x") for ref in shelf.claim(lease)))
    assert len(done(api.get(f"{V}/runs/{run_id}/failures"))["failures"]) == 1
    assert control.page(shelf.database, None, 5)[0].id == run_id


def test_models_are_compared_promoted_and_rolled_back(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    other = replace(entry("b" * 64), spec="tiny2")
    with shelf.database.writing() as connection:
        catalog.register_model(connection, other)
    versions = done(api.get(f"{V}/models"))["versions"]
    assert [(each["spec"], each["live"], each["seen"]) for each in versions] == [
        ("tiny", True, 1),
        ("tiny2", False, 0),
    ]
    assert "no outcome yet" in refused(api.post(f"{V}/models/tiny2/promote"), 409)["message"]
    shelf.write("INSERT INTO taggings (image_id, model_id, outcome) SELECT id, 2, 'empty' FROM images")
    diff = done(api.get(f"{V}/models/diff", params={"before": "tiny", "after": "tiny2"}))
    assert diff["images"] == 1 and {change["tag"]: change["lost"] for change in diff["tags"]} == {
        "animal": 1,
        "dog": 1,
    }
    assert diff["examples"][0]["change"] == "lost"
    assert done(api.post(f"{V}/models/tiny2/promote"))["live"]
    assert done(api.get(f"{V}/search", params={"q": "dog"}))["photos"] == []
    back = done(api.post(f"{V}/vocabularies/imagenet/rollback"))
    assert back["model"]["spec"] == "tiny" and back["lacking"] == 0
    assert refused(api.post(f"{V}/vocabularies/imagenet/rollback"), 409)["code"] == "model"
    assert refused(api.post(f"{V}/models/none/promote"), 409)["code"] == "model"
    refused(api.get(f"{V}/models/diff", params={"before": "tiny"}), 422)


def test_verdicts_on_images_named_and_found(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8}, car={"car": 0.9})
    ids = ids_of(shelf)

    def said(code: int = 200, **word: Any) -> Any:
        answer = api.post(f"{V}/verdicts", json=word)
        return done(answer) if code == 200 else refused(answer, code)

    both = [ids["rex.jpg"], f"{ROOT}/tom.jpg", "/photos/car.jpg"]
    assert said(images=both, tag="puppy", verdict="reject") == {"new": 3, "taken_back": 0}
    assert said(images=["rex.jpg"], tag="dog", verdict="confirm") == {"new": 1, "taken_back": 1}
    found = said(where="cat OR car", tag="dog", verdict="none")
    assert found == {"new": 0, "taken_back": 2, "images": found["images"]} and len(found["images"]) == 2
    assert said(422, where=" ", min=0.85, tag="car", verdict="confirm")["code"] == "expression"
    assert said(where="dog OR cat OR car", tag="car", verdict="confirm")["new"] == 3
    listed = done(api.get(f"{V}/verdicts"))["verdicts"]
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
        (422, {"images": [True], "tag": "dog"}),
        (422, {"images": ["\0"], "tag": "dog"}),
        (422, {"images": [1], "album": "x", "tag": "dog"}),
        (422, {"where": "dog AND", "tag": "dog"}),
        (404, {"where": "dog", "album": "none", "tag": "dog"}),
        (404, {"where": "dog=0", "tag": "of my own", "new": True}),
        (422, {"images": [1], "tag": "dog", "verdict": "perhaps"}),
    ):
        said(code, **({"verdict": "confirm"} | wrong))
    assert len(done(api.get(f"{V}/verdicts"))["verdicts"]) == 4, "all or none"
    refused(api.get(f"{V}/verdicts", params={"tag": "unicorn"}), 404)
