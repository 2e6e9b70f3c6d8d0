"""A photo: what is said of it, and a person's word on that."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from tests.browser.conftest import Server
from tests.browser.test_grid import links, viewer
from tests.browser.test_search import tiles

Visit = Callable[..., Page]
DOG = "domestic_dog.jpg"


@pytest.fixture
def dog(visit: Visit, server: Server) -> Page:
    """A photo of a dog, on a page of its own."""
    return visit(f"/photos/{server.library.id_of(DOG)}")


def tags(page: Page) -> Locator:
    return page.get_by_role("region", name="Tags").get_by_role("listitem")


def line(page: Page, tag: str) -> Locator:
    return page.get_by_role("listitem", name=re.compile(f"^{re.escape(tag)}, "))


def test_a_photo_shows_its_tags_as_a_tree_with_bars(dog: Page) -> None:
    expect(dog.get_by_role("heading", level=1)).to_have_text(DOG)
    expect(dog.get_by_role("img", name=re.compile(f"^{DOG}: animal"))).to_be_visible()
    names = [(each.get_attribute("aria-label") or "").partition(",")[0] for each in tags(dog).all()]
    assert names.index("animal") < names.index("dog") < names.index("german shepherd")
    left = [line(dog, tag).get_by_role("link").bounding_box() for tag in ("animal", "dog")]
    inner = "el => el.getBoundingClientRect().x + parseFloat(getComputedStyle(el).paddingLeft)"
    at = [line(dog, tag).get_by_role("link").evaluate(inner) for tag in ("animal", "dog", "german shepherd")]
    assert all(left) and at[0] < at[1] < at[2]
    expect(line(dog, "dog").locator("meter")).to_have_attribute("value", re.compile(r"0\.\d+"))
    dog.get_by_text("own words").click()
    expect(dog.get_by_role("table").get_by_role("row").nth(4)).to_be_visible()
    expect(dog.get_by_text("JPEG, ")).to_be_visible()


def test_words_are_said_by_the_keyboard_and_the_focus_stays(dog: Page, server: Server) -> None:
    said = server.library.verdicts
    dog.keyboard.press("ArrowDown")
    expect(tags(dog).first).to_be_focused()
    while "dog," not in (dog.locator(":focus").get_attribute("aria-label") or "")[:4]:
        dog.keyboard.press("ArrowDown")
    dog.keyboard.press("c")
    expect(dog.get_by_role("listitem", name="dog, confirmed")).to_be_focused()
    assert said(DOG) == {"dog": "confirm"}
    expect(dog.get_by_role("listitem", name="animal, confirmed")).to_be_visible()
    dog.keyboard.press("u")
    expect(line(dog, "dog")).to_have_accessible_name(re.compile(r"dog, 0\.\d+"))
    expect(line(dog, "dog")).to_be_focused()
    assert said(DOG) == {}
    dog.keyboard.press("r")
    rejected = dog.get_by_role("listitem", name="dog, rejected")
    expect(rejected).to_be_visible()
    assert said(DOG) == {"dog": "reject"}
    expect(dog.locator(".line:focus")).to_have_count(1)
    rejected.focus()
    dog.keyboard.press("u")
    expect(line(dog, "dog")).to_have_accessible_name(re.compile(r"dog, 0\.\d+"))
    expect(dog.locator(".line:focus")).to_have_count(1)
    assert said(DOG) == {}


def test_words_are_said_with_the_mouse(dog: Page, server: Server) -> None:
    dog.get_by_role("button", name="Reject german shepherd").click()
    dog.get_by_role("button", name="Take back: german shepherd is rejected").click()
    expect(line(dog, "german shepherd")).to_have_accessible_name(re.compile(r"0\.\d+"))
    dog.get_by_role("button", name="Confirm german shepherd").dblclick()
    expect(dog.get_by_role("button", name="Take back: german shepherd is confirmed")).to_be_visible()
    assert server.library.verdicts(DOG) == {"german shepherd": "confirm"}


def test_words_that_are_said_at_once_are_all_kept_and_shown(dog: Page, server: Server) -> None:
    dog.evaluate(
        """() => { for (const name of ["Confirm animal", "Reject german shepherd", "Confirm mammal"])
        document.querySelector(`[aria-label="${name}"]`).click(); }"""
    )
    expect(dog.get_by_role("listitem", name="german shepherd, rejected")).to_be_visible()
    expect(dog.get_by_role("button", name="Take back: animal is confirmed")).to_be_visible()
    expect(dog.get_by_role("button", name="Take back: mammal is confirmed")).to_be_visible()
    assert len(server.library.verdicts(DOG)) == 3


def test_a_word_that_is_taken_back_at_once_is_taken_back(dog: Page, server: Server) -> None:
    line(dog, "dog").focus()
    answers: list[Response] = []
    dog.on("response", lambda answer: answers.append(answer) if "/verdicts" in answer.url else None)
    for key in "crcur":
        dog.keyboard.press(key)
    for _ in range(200):
        if len(answers) == 5:
            break
        dog.wait_for_timeout(50)
    expect(dog.get_by_role("listitem", name="dog, rejected")).to_be_visible()
    assert server.library.verdicts(DOG) == {"dog": "reject"}


def test_a_word_on_one_photo_does_not_show_it_again(visit: Visit, server: Server) -> None:
    page = visit("/?q=mammal")
    links(page).first.click()
    heading = viewer(page).get_by_role("heading", level=1)
    first = heading.inner_text()
    held: list[Route] = []
    page.route(re.compile("/verdicts"), lambda route: held.append(route))
    viewer(page).get_by_role("button", name="Confirm mammal").click()
    page.keyboard.press("ArrowRight")
    expect(heading).not_to_have_text(first)
    second = heading.inner_text()
    with page.expect_response(re.compile("/verdicts")):
        held[0].continue_()
    viewer(page).get_by_role("button", name="Next photo").focus()
    expect(heading).to_have_text(second)
    assert server.library.verdicts(first) == {"mammal": "confirm"}
    page.keyboard.press("Escape")
    expect(tiles(page).first).to_have_attribute("data-said", "confirm")


def test_a_tag_of_ones_own_is_made_and_found(dog: Page, server: Server) -> None:
    name = 'o\'neill "x" <b>'
    dog.get_by_label("Another tag").fill(name)
    dog.get_by_role("button", name="Add").click()
    expect(dog.get_by_role("alert")).to_contain_text("There is no tag")
    expect(dog.get_by_label("Another tag")).to_have_value(name)
    expect(dog.get_by_label("Another tag")).to_be_focused()
    dog.get_by_role("button", name="Make it a tag").click()
    expect(dog.get_by_role("listitem", name=f"{name}, confirmed")).to_be_visible()
    assert server.library.verdicts(DOG) == {name: "confirm"}
    dog.get_by_role("link", name=name, exact=True).click()
    expect(tiles(dog)).to_have_count(1)
    expect(links(dog)).to_have_accessible_name(f"{DOG}, {name} 1.00")
    dog.get_by_role("link", name="Tagger").click()
    dog.get_by_role("complementary").get_by_role("link", name=re.compile("^o'neill")).first.click()
    expect(tiles(dog)).to_have_count(1)


def test_a_known_tag_is_added_under_another_word(dog: Page, server: Server) -> None:
    dog.get_by_label("Another tag").press_sequentially("automobile")
    dog.keyboard.press("Enter")
    expect(dog.get_by_role("listitem", name="car, confirmed")).to_be_visible()
    expect(dog.get_by_role("listitem", name="vehicle, confirmed")).to_be_visible()
    assert server.library.verdicts(DOG) == {"car": "confirm"}


def test_an_open_photo_takes_words_and_leads_to_the_next(visit: Visit, server: Server) -> None:
    page = visit("/?q=mammal")
    links(page).first.click()
    heading = viewer(page).get_by_role("heading", level=1)
    first = heading.inner_text()
    # The tag that it was found for is the one that keys speak of.
    expect(viewer(page).get_by_role("listitem", name=re.compile("^mammal, 0"))).to_be_focused()
    page.keyboard.press("c")
    expect(viewer(page).get_by_role("listitem", name="mammal, confirmed")).to_be_focused()
    assert server.library.verdicts(first) == {"mammal": "confirm"}
    page.keyboard.press("ArrowRight")
    expect(heading).not_to_have_text(first)
    second = heading.inner_text()
    expect(viewer(page).get_by_role("listitem", name=re.compile("^mammal, 0"))).to_be_focused()
    page.keyboard.press("r")
    expect(viewer(page).get_by_role("listitem", name="mammal, rejected")).to_be_visible()
    assert server.library.verdicts(second) == {"mammal": "reject"}
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text(first)
    viewer(page).get_by_label("Another tag").fill("no such thing")
    page.keyboard.press("ArrowLeft")  # within what is typed
    expect(heading).to_have_text(first)
    page.keyboard.press("Enter")
    expect(viewer(page).get_by_role("alert")).to_be_visible()
    expect(viewer(page).get_by_role("button", name="Make it a tag")).to_be_visible()


def test_going_back_closes_an_open_photo(visit: Visit, server: Server) -> None:
    page = visit("/?q=mammal")
    address = page.url
    links(page).nth(1).click()
    expect(viewer(page).get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(page).to_have_url(re.compile("/photos/"))
    page.go_back()
    expect(viewer(page)).to_be_hidden()
    expect(page).to_have_url(address)
    expect(links(page).nth(2)).to_be_focused()
    page.go_forward()
    expect(viewer(page).get_by_role("heading", level=1)).to_be_visible()
    page.reload()
    expect(page.get_by_role("main").get_by_role("heading", level=1)).to_be_visible()
    page.go_back()
    expect(tiles(page).nth(2)).to_be_visible()
    expect(viewer(page)).to_be_hidden()
    page.go_forward()
    expect(page.get_by_role("heading", level=1).last).to_have_text(re.compile(r"\."))


def test_what_was_said_of_an_open_photo_shows_in_the_grid(visit: Visit) -> None:
    page = visit("/?q=dog")
    links(page).first.click()
    viewer(page).get_by_role("button", name="Reject dog", exact=True).click()
    expect(viewer(page).get_by_role("listitem", name="dog, rejected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(tiles(page)).to_have_attribute("data-said", "reject")


def test_a_photo_that_is_not_there_is_a_page(visit: Visit, visitor: object) -> None:
    visitor.expects.append("status of 404")  # type: ignore[attr-defined]
    page = visit("/photos/99999")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("main").get_by_role("link", name="Photos").click()
    expect(tiles(page).first).to_be_visible()
