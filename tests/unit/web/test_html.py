"""The pages as text: what a browser without scripts gets, and names that are markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from tagger.store.runs import Tick
from tagger.store.session import Database
from tagger.web.pages.plot import HEIGHT, WIDTH, plot
from tagger.web.pages.render import sure
from tests.unit.store.conftest import Shelf
from tests.unit.store.running import open_run
from tests.unit.web.asked import DOG, fail, ids_of, put

EVIL = "<img src=x onerror=alert(1)>&\"'.jpg"
HERE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
PART = {**HERE, "HX-Request": "true"}


@pytest.fixture
def database(sqlite: Database) -> Database:
    """One is enough: what differs between databases is below the pages, and tested there."""
    return sqlite


def page(api: TestClient, path: str, code: int = 200, **asked: Any) -> str:
    answer = api.get(path, params=asked or None, headers=HERE)
    assert answer.status_code == code, answer.text
    assert answer.headers["Content-Type"].startswith("text/html") and "<html" in answer.text
    return str(answer.text)


def test_markup_in_the_name_of_a_photo_is_text_on_every_page(shelf: Shelf, api: TestClient) -> None:
    put(shelf, {f"trip/{EVIL}": DOG, "plain.jpg": DOG})
    ((image,),) = shelf.rows("SELECT id FROM images WHERE uri LIKE '%alert%'")
    run = open_run(shelf, "<b>run</b>")
    fail(shelf, run, EVIL)
    for path in (
        "/",
        "/?q=dog",
        f"/photos/{image}",
        "/runs",
        f"/runs/{run}",
        "/models",
        "/facets",
        "/grid?q=dog",
    ):
        answer = api.get(path, headers=HERE)
        assert answer.status_code == 200, path
        assert "<img src=x" not in answer.text and "<b>run" not in answer.text, path
    assert "&lt;img src=x onerror=alert(1)&gt;" in page(api, f"/photos/{image}")
    assert "&lt;b&gt;run" in page(api, f"/runs/{run}")


@pytest.mark.parametrize("typed", ['<img src=x onerror="x">', "dog<b>", '"><script>', "'"])
def test_markup_in_a_search_is_text(shelf: Shelf, api: TestClient, typed: str) -> None:
    shelf.tag(rex=DOG)
    text = page(api, "/", 422, q=typed)
    assert (
        "<img src=x" not in text
        and "<b>" not in text
        and "<script>'" not in text
        and '"><script>"' not in text
    )


def test_a_search_that_is_not_understood_shows_its_place(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    text = page(api, "/", 422, q="animal AND dgo")
    assert "there is no tag" in text and re.search(r"animal AND <mark>dgo</mark>", text)
    assert "no cursor" in page(api, "/", 422, q="dog", after="x")
    assert "no album" in page(api, "/", 422, album="x").lower()


def test_a_search_of_ten_thousand_terms_is_refused_in_words(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    assert "more than 60 tags and filters" in page(api, "/", 422, q=" OR ".join(["dog"] * 2_800))


def test_pages_follow_each_other_without_a_script(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(**{f"photo {index}": DOG for index in range(100)})
    text, seen = page(api, "/", q="dog"), list[str]()
    for _ in range(3):
        seen += re.findall(r'<li class="tile" data-id="(\d+)"', text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        if following is None:
            break
        text = page(api, following[1].replace("&amp;", "&"))
    assert len(seen) == len(set(seen)) == 100


def test_a_word_is_said_by_a_form_and_by_none_of_another_site(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex={"animal": 0.9, "dog": 0.8})
    image = ids_of(shelf)["rex.jpg"]

    def say(tag: str, verdict: str, **headers: str) -> Any:
        data = {"tag": tag, "verdict": verdict}
        return api.post(f"/photos/{image}/verdicts", data=data, headers=HERE | headers)

    def held() -> list[tuple[object, ...]]:
        return shelf.rows(
            "SELECT t.name, v.verdict FROM verdicts v JOIN tags t ON t.id = v.tag_id ORDER BY 1"
        )

    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
    ):
        assert say("dog", "reject", **headers).status_code == 403
    assert held() == []
    assert say("puppy", "confirm").headers["Location"] == f"/photos/{image}"
    assert held() == [("dog", "confirm")]
    assert "confirmed" in page(api, f"/photos/{image}")
    assert say("dog", "none").status_code == 303 and held() == []
    quoted = 'o\'neill "x" <b>'
    asked = say(quoted, "confirm")
    assert asked.status_code == 200 and "Make it a tag" in asked.text and "<b>" not in asked.text
    assert say(quoted, "new").status_code == 303
    assert held() == [('o\'neill "x" <b>', "confirm")]
    link = re.search(r'href="(/\?q=[^"]*neill[^"]*)"', page(api, f"/photos/{image}"))
    assert link is not None
    assert f'data-id="{image}"' in page(api, link[1].replace("&amp;", "&"))


def test_htmx_gets_the_part_and_a_browser_the_page(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG)
    for path in ("/?q=dog", "/photos/1", "/runs", "/models"):
        part, whole = api.get(path, headers=PART), api.get(path, headers=HERE)
        assert "<html" not in part.text and "<html" in whole.text and "<title>" in part.text
        assert "HX-Request" in part.headers["Vary"]
        back = api.get(path, headers=PART | {"HX-History-Restore-Request": "true"})
        assert "<html" in back.text, path


def test_what_is_not_there_is_a_page_of_its_own(api: TestClient) -> None:
    assert "there is no image 4711" in page(api, "/photos/4711", 404)
    assert "run 4711" in page(api, "/runs/4711", 404)
    assert api.get("/photos/4711").headers["Content-Type"] == "application/json"
    assert api.get("/api/v1/images/4711", headers=HERE).status_code == 404


def test_a_library_without_photos_says_how_to_begin(sqlite: Any) -> None:
    from tests.unit.web.conftest import asking, site_over

    assert "tagger tag" in page(asking(site_over(sqlite)), "/")


def test_facets_narrow_and_leave_out_what_all_have(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex=DOG, tom={"animal": 0.9, "cat": 0.8}, car={"car": 0.9, "animal": 0.8})
    text = api.get("/facets", params={"q": "animal"}, headers=PART).text
    assert "Kinds of it" in text and "q=dog" in text and "q=animal+AND+car" in text
    assert "q=animal+AND+NOT+car" in text and "q=animal+AND+animal" not in text
    either = api.get("/facets", params={"q": "dog OR cat"}, headers=PART).text
    assert "q=%28dog+OR+cat%29+AND+cat" in either


def _tick(second: float, done: int, seconds: float = 10.0, failed: int = 0) -> Tick:
    return Tick(datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=second), seconds, done, failed)


def test_the_plot_says_what_the_run_did() -> None:
    assert plot([]) is None
    drawn = plot([_tick(0, 100), _tick(10, 0), _tick(20, 50, failed=25)])
    assert drawn is not None and (drawn.peak, drawn.seconds) == (10.0, 30.0)
    points = [tuple(map(float, each.split())) for each in drawn.line.removeprefix("M").split(" L")]
    assert points[0] == (0.0, 0.0) and points[-1] == (WIDTH, HEIGHT / 2)
    assert (WIDTH / 3, HEIGHT) in [(round(x), y) for x, y in points]  # the pause
    assert drawn.failed is not None and drawn.area.endswith("Z")
    short = plot([_tick(9.9, 50, seconds=5.0), _tick(10, 100, seconds=7.0)])  # as of a run of some seconds
    assert short is not None
    across = [float(each.split()[0]) for each in short.line.removeprefix("M").split(" L")]
    assert across == sorted(across)
    single = plot([_tick(0, 7, seconds=0.1)])
    assert single is not None and single.failed is None and round(single.peak) == 70


def test_confidence_is_never_rounded_up_to_a_certainty() -> None:
    assert [sure(each) for each in (0.999, 1.0, 0.5)] == ["0.99", "1.00", "0.50"]
