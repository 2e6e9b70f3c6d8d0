"""Searching, by the keyboard and by the mouse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Server, Visitor

Visit = Callable[..., Page]


def tiles(page: Page) -> Locator:
    return page.get_by_role("list", name="Photos").get_by_role("listitem")


def box(page: Page) -> Locator:
    return page.get_by_role("combobox", name="Search photos")


def test_completions_are_picked_and_searched_by_the_keyboard(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("/")
    expect(box(page)).to_be_focused()
    page.keyboard.type("germ")
    options = page.get_by_role("option")
    expect(options.first).to_be_visible()
    expect(box(page)).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(box(page)).to_have_attribute("aria-activedescendant", "completion-1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(box(page)).to_have_value(re.compile("^german shepherd ?$"))
    expect(options).to_have_count(0)
    expect(page).to_have_url(re.compile("/$"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=german(\\+|%20)shepherd"))
    expect(tiles(page)).to_have_count(1)
    expect(tiles(page).get_by_role("link")).to_have_accessible_name(re.compile("^domestic_dog.jpg, german"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 photo")


@contextmanager
def held_back(page: Page, address: str) -> Iterator[None]:
    """Within, nothing that is asked of this address is answered; afterwards all of it is."""
    held: list[Route] = []
    release = Event()

    def handle(route: Route) -> None:
        if release.is_set():
            route.continue_()
        else:
            held.append(route)

    page.route(address, handle)
    yield
    release.set()
    for route in held:
        route.continue_()


def test_keys_pressed_before_the_completions_come_are_for_those(visit: Visit) -> None:
    page = visit()
    options = page.get_by_role("option")
    box(page).press_sequentially("ger")
    expect(options.first).to_be_visible()
    with held_back(page, "**/completions?*"):
        page.keyboard.type("man")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(options.nth(1)).to_have_attribute("aria-selected", "false")  # these are for "ger"
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    expect(box(page)).to_have_attribute("aria-activedescendant", "completion-2")
    with held_back(page, "**/completions?*"):
        page.keyboard.type(" shep")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
    expect(box(page)).to_have_value(re.compile("^german shepherd ?$"))
    expect(options).to_have_count(0)
    expect(page).to_have_url(re.compile("/$"))


def test_what_is_typed_is_searched_where_no_completion_comes(visit: Visit, visitor: Visitor) -> None:
    visitor.expects.append("ERR_FAILED")
    page = visit()
    page.route("**/completions?*", lambda route: route.abort())
    box(page).press_sequentially("dog")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=dog"))
    expect(tiles(page)).to_have_count(1)


def test_escape_closes_the_completions_and_keeps_what_was_typed(visit: Visit) -> None:
    page = visit()
    box(page).press_sequentially("do")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("option")).to_have_count(0)
    expect(box(page)).to_have_value("do")
    expect(box(page)).to_have_attribute("aria-expanded", "false")


def test_a_completion_is_picked_with_the_mouse(visit: Visit) -> None:
    page = visit()
    box(page).press_sequentially("elephant AND mam")
    page.get_by_role("option", name="mammal").first.click()
    expect(box(page)).to_be_focused()
    expect(box(page)).to_have_value(re.compile("^elephant AND mammal ?$"))
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2 photos")


def test_a_wrong_search_shows_where_and_what_may_be_meant(visit: Visit, visitor: Visitor) -> None:
    visitor.expects.append("status of 422")
    page = visit("/?q=dog")
    box(page).fill("animal AND elefant")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("elephant")
    expect(alert.get_by_role("mark")).to_have_text("elefant")
    box(page).fill("dog AND (cat")
    page.keyboard.press("Enter")
    expect(alert.get_by_role("mark")).to_have_count(1)
    expect(alert).not_to_contain_text("elefant")
    page.go_back()
    expect(alert.get_by_role("mark")).to_have_text("elefant")
    page.go_back()
    expect(tiles(page)).to_have_count(1)
    expect(box(page)).to_have_value("dog")


def test_a_search_that_finds_nothing_says_so(visit: Visit) -> None:
    page = visit("/?q=sofa")
    expect(page.get_by_role("heading", level=1)).to_have_text("No photo is found")
    page.get_by_role("main").get_by_role("link", name="All photos").click()
    expect(tiles(page).nth(20)).to_be_visible()


def test_a_facet_narrows_and_back_leads_back(visit: Visit) -> None:
    page = visit("/?q=animal")
    before = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("complementary").get_by_role("link", name=re.compile("^elephant")).first.click()
    expect(page).to_have_url(re.compile("q=.*elephant"))
    expect(tiles(page)).to_have_count(2)
    expect(box(page)).to_have_value(re.compile("elephant"))
    page.go_back()
    expect(page).to_have_url(re.compile("q=animal$"))
    expect(page.get_by_role("heading", level=1)).to_have_text(before)
    expect(box(page)).to_have_value("animal")
    page.go_forward()
    expect(tiles(page)).to_have_count(2)


def test_the_page_is_alive_after_going_back(visit: Visit) -> None:
    page = visit()
    for word in ("dog", "elephant"):
        box(page).fill(word)
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"q={word}"))
    page.go_back()
    expect(tiles(page)).to_have_count(1)
    expect(tiles(page)).to_have_attribute("aria-posinset", "1")  # it was loaded anew, and its script runs
    page.get_by_role("button", name="Keys").click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    box(page).fill("")
    box(page).press_sequentially("leop")
    expect(page.get_by_role("option", name="leopard").first).to_be_visible()


def test_without_a_tag_is_one_click(visit: Visit) -> None:
    page = visit("/?q=dog OR elephant")
    page.get_by_role("link", name="without german shepherd").click()
    expect(page).to_have_url(re.compile("NOT"))
    expect(tiles(page)).to_have_count(2)
    expect(box(page)).to_have_value('(dog OR elephant) AND NOT "german shepherd"')


def test_the_slider_narrows(visit: Visit) -> None:
    page = visit("/?q=dog OR car")
    expect(tiles(page)).to_have_count(2)
    slider = page.get_by_role("slider", name="At least this sure")
    slider.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", level=1)).to_have_text("No photo is found")
    expect(page).to_have_url(re.compile("min=1"))
    expect(slider).to_be_focused()
    page.keyboard.press("Home")
    expect(tiles(page)).to_have_count(2)


def test_an_album_is_kept_shown_opened_and_removed(visit: Visit, visitor: Visitor, server: Server) -> None:
    page = visit("/?q=elephant")
    page.get_by_label("Name of an album").fill('big & "grey" <ones>')
    page.get_by_role("button", name="Keep").click()
    expect(page).to_have_url(re.compile("album="))
    albums = page.get_by_role("region", name="Albums")
    expect(albums.get_by_role("link")).to_have_text('big & "grey" <ones>')
    expect(tiles(page)).to_have_count(2)
    assert server.library.rows("SELECT name, expression FROM albums") == [('big & "grey" <ones>', "elephant")]
    page.get_by_role("link", name="Tagger").click()
    expect(tiles(page).nth(20)).to_be_visible()
    albums.get_by_role("link").click()
    expect(tiles(page)).to_have_count(2)
    expect(albums.get_by_role("link")).to_have_attribute("aria-current", "true")
    # Its tags are counted, so that nothing is asked of it any more.
    expect(page.get_by_role("region", name="Also on these photos")).to_be_visible()
    albums.get_by_role("button", name="Remove this album").click()
    visitor.answers(page, 'Remove the album big & "grey" <ones>? Its photos stay.', "Remove")
    expect(tiles(page).nth(20)).to_be_visible()
    assert server.library.rows("SELECT name FROM albums") == []


def test_numbers_of_an_earlier_search_do_not_come_late(visit: Visit) -> None:
    page = visit()
    held: list[Route] = []
    page.route(re.compile(r"/facets\?q=animal"), lambda route: held.append(route))
    box(page).fill("animal")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=animal"))
    box(page).fill("dog")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 photo")
    expect(page.get_by_role("complementary")).not_to_contain_text("Counting")
    held[0].fulfill(body="<span id='total' hx-swap-oob='innerHTML'>12 photos</span>")
    page.get_by_role("link", name="Runs").focus()  # and whatever else is to come has come
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 photo")


def test_light_and_dark_stay(visit: Visit) -> None:
    page = visit()
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    page.get_by_role("button", name="Switch between light and dark").click()
    chosen = page.evaluate(background)
    assert chosen != before
    page.reload()
    assert page.evaluate(background) == chosen
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    assert page.evaluate(background) == chosen
