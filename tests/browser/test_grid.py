"""The grid of photos: by the keyboard, selecting, and correcting many."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import BROKEN, Server, Visitor
from tests.browser.test_search import box, tiles

Visit = Callable[..., Page]

ELEPHANTS = ("african_elephants.jpg", "african_elephants_bw.jpg")


def links(page: Page) -> Locator:
    return tiles(page).get_by_role("link")


def viewer(page: Page) -> Locator:
    return page.get_by_role("dialog", name="Photo")


def bulk(page: Page) -> Locator:
    return page.get_by_role("form", name="What is selected")


def toast(page: Page) -> Locator:
    return page.locator("#toast")  # of the many regions with words of state, the one that speaks of deeds


def picked(page: Page) -> list[int]:
    """The places of the selected photos that are in the page."""
    boxes = tiles(page).get_by_role("checkbox").all()
    return [place for place, each in enumerate(boxes) if each.is_checked()]


def test_arrows_go_from_photo_to_photo(visit: Visit) -> None:
    page = visit()
    expect(links(page).nth(20)).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(links(page).nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(links(page).nth(2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(links(page).nth(1)).to_be_focused()
    columns = len(
        page.evaluate("getComputedStyle(document.getElementById('grid')).gridTemplateColumns").split()
    )
    page.keyboard.press("ArrowDown")
    expect(links(page).nth(1 + columns)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(links(page).nth(1)).to_be_focused()
    expect(page.locator("#grid a[tabindex='0']")).to_have_count(1)


def test_photos_are_selected_by_the_keyboard(visit: Visit) -> None:
    page = visit()
    expect(links(page).nth(20)).to_be_visible()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(bulk(page)).to_contain_text("1 selected")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(bulk(page)).to_contain_text("3 selected")
    assert picked(page) == [2, 3, 4]
    page.keyboard.press("Escape")
    expect(bulk(page)).to_be_hidden()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(bulk(page)).to_contain_text("2 selected")
    assert picked(page) == [5, 6], "a range begins where one stands, if nothing is selected"


def test_a_range_is_selected_with_the_mouse(visit: Visit) -> None:
    page = visit()
    links(page).nth(1).hover()
    tiles(page).get_by_role("checkbox").nth(1).check()
    links(page).nth(4).click(modifiers=["Shift"])
    expect(bulk(page)).to_contain_text("4 selected")
    bulk(page).get_by_role("button", name="Clear").click()
    assert picked(page) == []


def test_a_photo_is_opened_and_closed_by_the_keyboard(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    name = links(page).nth(1).get_attribute("title") or ""
    page.keyboard.press("Enter")
    expect(viewer(page).get_by_role("heading", level=1)).to_have_text(name.rpartition("/")[2])
    page.keyboard.press("Escape")
    expect(viewer(page)).to_be_hidden()
    expect(links(page).nth(1)).to_be_focused()


def test_the_tag_that_was_searched_is_corrected_in_the_grid(visit: Visit, server: Server) -> None:
    page = visit("/?q=elephant")
    expect(tiles(page)).to_have_count(2)
    page.keyboard.press("ArrowRight")
    said = server.library.verdicts
    name = (links(page).first.get_attribute("title") or "").rpartition("/")[2]
    page.keyboard.press("c")
    expect(toast(page)).to_contain_text("Confirmed elephant: 1 verdict.")
    assert said(name) == {"elephant": "confirm"}
    page.keyboard.press("r")
    expect(toast(page)).to_contain_text("Rejected elephant")
    assert said(name)["elephant"] == "reject"
    expect(tiles(page).first).to_have_attribute("data-said", "reject")
    page.keyboard.press("u")
    expect(toast(page)).to_contain_text("Took back 1 verdict")
    assert said(name) == {}
    expect(links(page).first).to_be_focused()


def test_keys_that_speak_of_no_tag_say_so(visit: Visit, server: Server) -> None:
    page = visit()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    expect(toast(page)).to_contain_text("was not found for a tag")
    assert server.library.rows("SELECT * FROM verdicts") == []


def test_many_are_corrected_at_once(visit: Visit, visitor: Visitor, server: Server) -> None:
    page = visit()
    for number in range(3):
        links(page).nth(number).hover()
        tiles(page).get_by_role("checkbox").nth(number).check()
    bulk(page).get_by_label("Tag").fill("fox")
    bulk(page).get_by_role("button", name="Confirm").click()
    expect(toast(page)).to_contain_text("Confirmed fox: 3 verdicts.")
    assert len(server.library.rows("SELECT * FROM verdicts WHERE verdict = 'confirm'")) == 3
    bulk(page).get_by_role("button", name="Confirm").dblclick()
    expect(toast(page)).to_contain_text("said before")
    bulk(page).get_by_role("button", name="Take back").click()
    expect(toast(page)).to_contain_text("Took back 3 verdicts on fox.")
    bulk(page).get_by_label("Tag").fill("our garden")
    visitor.expects.append("status of 404.*/api/v1/verdicts")
    with visitor.question(page, "There is no tag our garden."):
        bulk(page).get_by_role("button", name="Confirm").click()
    expect(toast(page)).to_contain_text("Confirmed our garden: 3 verdicts.")


def test_all_that_a_search_finds_is_corrected_after_a_question(
    visit: Visit, visitor: Visitor, server: Server
) -> None:
    page = visit("/?q=elephant")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    bulk(page).get_by_label("all that the search finds").check()
    expect(bulk(page).get_by_label("Tag", exact=True)).to_have_value("elephant")
    visitor.accepts = False
    with visitor.question(page, 'Reject elephant on all photos that "elephant" finds (2 photos)?'):
        bulk(page).get_by_role("button", name="Reject").click()
    expect(bulk(page)).to_contain_text("All that the search finds")
    assert server.library.rows("SELECT * FROM verdicts") == []
    visitor.accepts = True
    with visitor.question(page, "Reject elephant"):
        bulk(page).get_by_role("button", name="Reject").click()
    expect(toast(page)).to_contain_text("Rejected elephant: 2 verdicts.")
    assert {name for name in ELEPHANTS if server.library.verdicts(name) == {"elephant": "reject"}}
    box(page).fill("elephant ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("No photo is found")


def test_what_was_said_of_all_can_be_undone(visit: Visit, visitor: Visitor, server: Server) -> None:
    page = visit("/?q=elephant")
    links(page).first.focus()
    page.keyboard.press("x")
    bulk(page).get_by_label("all that the search finds").check()
    with visitor.question(page, "Reject elephant"):
        bulk(page).get_by_role("button", name="Reject").click()
    toast(page).get_by_role("button", name="Undo").click()
    expect(toast(page)).to_have_text("Took back 2 verdicts on elephant.")
    assert server.library.rows("SELECT * FROM verdicts") == []


def test_a_double_click_opens_a_photo_for_good(visit: Visit) -> None:
    page = visit()
    links(page).nth(7).dblclick()
    expect(viewer(page).get_by_role("heading", level=1)).to_be_visible()
    expect(viewer(page)).to_be_visible()
    page.mouse.click(4, 4)  # beside it
    expect(viewer(page)).to_be_hidden()


def test_an_arrow_held_down_leads_through_the_photos_to_the_last(visit: Visit) -> None:
    page = visit()
    expect(links(page).nth(20)).to_be_visible()
    names = [(each.get_attribute("title") or "").rpartition("/")[2] for each in links(page).all()]
    links(page).first.click()
    for _ in range(len(names) + 5):
        page.keyboard.down("ArrowRight")  # without letting go: it repeats
    page.keyboard.up("ArrowRight")
    expect(viewer(page).get_by_role("heading", level=1)).to_have_text(names[-1])
    expect(viewer(page).get_by_role("button", name="Next photo")).to_be_disabled()
    viewer(page).get_by_role("button", name="Previous photo").click()
    expect(viewer(page).get_by_role("heading", level=1)).to_have_text(names[-2])
    page.keyboard.press("ArrowLeft")
    expect(viewer(page).get_by_role("heading", level=1)).to_have_text(names[-3])
    viewer(page).get_by_role("button", name="Close").click()
    expect(links(page).nth(len(names) - 3)).to_be_focused()


def test_the_keys_are_shown(visit: Visit) -> None:
    page = visit()
    page.keyboard.press("?")
    shown = page.get_by_role("dialog", name="Keys")
    expect(shown).to_contain_text("select the photo")
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()


def test_a_picture_that_cannot_be_shown_leaves_its_name(visit: Visit) -> None:
    page = visit()
    broken = page.get_by_role("link", name=BROKEN)
    broken.scroll_into_view_if_needed()
    expect(tiles(page).filter(has=broken)).to_have_class(re.compile("broken"))


def test_a_server_that_is_away_is_told_and_the_page_lives_on(
    visit: Visit, visitor: Visitor, server: Server
) -> None:
    page = visit("/?q=elephant")
    page.keyboard.press("ArrowRight")
    expect(links(page).first).to_be_focused()
    visitor.expects += ["ERR_CONNECTION_REFUSED", "htmx:sendError"]
    server.stop()
    try:
        page.keyboard.press("c")
        expect(toast(page)).to_have_text("The server does not answer.")
        page.keyboard.press("Enter")
        expect(viewer(page)).to_be_visible()
        expect(viewer(page).get_by_role("status")).to_have_text("The server does not answer.")
        page.keyboard.press("Escape")
        box(page).fill("dog")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="does not answer")).to_be_visible()
    finally:
        server.start()
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(1)
    page.keyboard.press("Tab")
    links(page).first.focus()
    page.keyboard.press("c")
    expect(toast(page)).to_contain_text("Confirmed dog: 1 verdict.")


def test_two_tabs_say_what_was_said_last(visit: Visit, server: Server) -> None:
    page = visit("/?q=dog")
    other = page.context.new_page()
    other.goto(page.url)
    for each, key, told in ((page, "c", "Confirmed"), (other, "r", "Rejected"), (page, "u", "Took back")):
        links(each).first.focus()
        each.keyboard.press(key)
        expect(toast(each)).to_contain_text(f"{told} ")
    assert server.library.verdicts("domestic_dog.jpg") == {}
