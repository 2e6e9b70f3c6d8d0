"""A library that is too large for a page: only what is near the window is in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Server, Visitor
from tests.browser.test_grid import bulk, links, viewer
from tests.browser.test_search import tiles

# Scrolls to the end by steps, as fast as photos come, and notes each that was in the page.
SCROLL = """async () => {
  const grid = document.getElementById("grid");
  const frame = () => new Promise(requestAnimationFrame);
  const at = new Map();
  let most = 0, wrong = 0, quiet = 0;
  while (quiet < 400) {
    most = Math.max(most, grid.children.length);
    let before = 0;
    for (const tile of grid.children) {
      const place = Number(tile.getAttribute("aria-posinset"));
      wrong += before && place !== before + 1 ? 1 : 0;
      wrong += at.has(place) && at.get(place) !== Number(tile.dataset.id) ? 1 : 0;
      at.set(place, Number(tile.dataset.id));
      before = place;
    }
    const before_y = scrollY;
    scrollBy(0, 1.8 * innerHeight); // three rows more are in the page, above and below
    await frame(); await new Promise((done) => setTimeout(done)); // behind what the page does in it
    quiet = scrollY === before_y ? quiet + 1 : 0;
    if (quiet && grid.lastElementChild.getAttribute("aria-setsize") == before) break;
  }
  return { ids: [...at.entries()].sort((a, b) => a[0] - b[0]), most, wrong };
}"""
TAGS = """async () => {
  const tags = new Set();
  for (let step = 0; step < 100; step += 1) {
    for (const tile of document.querySelectorAll("#grid > li")) tags.add(tile.dataset.tag);
    scrollBy(0, innerHeight / 2);
    await new Promise(requestAnimationFrame);
  }
  return [...tags];
}"""
NO_PICTURES = """new MutationObserver((changes) => {
  for (const { addedNodes } of changes) for (const node of addedNodes) {
    for (const image of node.querySelectorAll?.(".tile img") ?? []) image.removeAttribute("src");
  }
}).observe(document, { childList: true, subtree: true });"""
SHOWN = "[...document.querySelectorAll('#grid > li')].map(each => Number(each.dataset.id))"


def library(visitor: Visitor, large: Server) -> Page:
    """The page of all photos; pictures are not even asked for, for there are none."""
    visitor.expects.append("/photos/.*/small")  # but for the few that were, before the script was there
    page = visitor.blank()
    page.add_init_script(NO_PICTURES)
    page.goto(large.url)
    return page


def present(large: Server) -> set[int]:
    return {image for (image,) in large.library.rows("SELECT id FROM images WHERE vanished_at IS NULL")}


def test_scrolling_shows_every_photo_once_with_few_in_the_page(visitor: Visitor, large: Server) -> None:
    page = library(visitor, large)
    first = page.evaluate(SHOWN)
    found: dict[str, Any] = page.evaluate(SCROLL)
    ids = [image for _, image in found["ids"]]
    assert [place for place, _ in found["ids"]] == list(range(1, len(ids) + 1))
    assert found["wrong"] == 0, "tiles stand in their order, whenever one looks"
    assert len(ids) == len(set(ids)) and set(ids) == present(large)
    assert found["most"] < 400
    page.evaluate("scrollTo(0, 0)")
    expect(links(page).first).to_have_attribute("href", f"/photos/{first[0]}")
    assert page.evaluate(SHOWN)[:10] == first[:10]


def test_what_is_selected_stays_so_out_of_sight(visitor: Visitor, large: Server) -> None:
    page = library(visitor, large)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    chosen = links(page).nth(1).get_attribute("href")
    for _ in range(4):
        page.evaluate("scrollBy(0, 3 * innerHeight)")
        expect(tiles(page).last).to_be_attached()
    expect(page.locator(f"#grid a[href='{chosen}']")).to_have_count(0)
    expect(bulk(page)).to_contain_text("1 selected")
    page.evaluate("scrollTo(0, 0)")
    expect(tiles(page).get_by_role("checkbox").nth(1)).to_be_checked()
    expect(tiles(page).nth(1).get_by_role("link")).to_have_attribute("href", chosen or "")


@pytest.mark.parametrize("all_there", [True, False], ids=["long page", "short page"])
def test_the_grid_reflows_and_keeps_its_place(visitor: Visitor, large: Server, all_there: bool) -> None:
    page = library(visitor, large)
    if not all_there:  # smaller tiles make it so short at first that the browser moves it
        page.route(re.compile("/grid"), lambda route: None)
        page.reload()
    page.evaluate("scrollTo(0, 1200)")
    seen = """() => { const head = document.querySelector(".top").offsetHeight;
      return Number([...document.querySelectorAll("#grid > li")]
        .find(each => each.getBoundingClientRect().bottom > head).getAttribute("aria-posinset")); }"""
    page.evaluate("new Promise(requestAnimationFrame)")
    before = page.evaluate(seen)

    def keeps_its_place(within: int) -> None:
        for _ in range(100):  # not by Playwright's own waiting, which compiles text, as the policy forbids
            if abs(page.evaluate(seen) - before) <= within:
                break
            page.wait_for_timeout(50)
        assert abs(page.evaluate(seen) - before) <= within

    grid = page.locator("#grid")
    expect(grid).to_have_attribute("style", re.compile("columns: 5"))
    page.set_viewport_size({"width": 800, "height": 900})
    expect(grid).to_have_attribute("style", re.compile("columns: 3"))
    keeps_its_place(within=5)
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(grid).to_have_attribute("style", re.compile("columns: 5"))
    keeps_its_place(within=8)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_open_photo_leads_beyond_what_was_loaded(visitor: Visitor, large: Server) -> None:
    visitor.expects.append("/photos/.*/large")
    page = library(visitor, large)
    links(page).first.click()
    for _ in range(70):  # the page came with sixty
        page.keyboard.down("ArrowRight")
        page.evaluate("new Promise(requestAnimationFrame)")
    page.keyboard.up("ArrowRight")
    expect(viewer(page).get_by_role("heading", level=1)).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer(page)).to_be_hidden()
    place = page.locator("#grid li:has(a:focus)")
    expect(place).to_have_attribute("aria-posinset", re.compile("^(7.|6.)$"))
    expect(place).to_be_in_viewport()


def test_searching_while_photos_are_fetched_shows_the_search_alone(visitor: Visitor, large: Server) -> None:
    page = library(visitor, large)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    search = page.get_by_role("combobox", name="Search photos")
    search.fill("dog")
    page.keyboard.press("Enter")
    page.evaluate("scrollBy(0, 500)")
    search.fill("vehicle")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("vehicle")
    assert page.evaluate(TAGS) == ["vehicle"]


def test_photos_that_cannot_be_shown_have_their_names(visitor: Visitor, large: Server) -> None:
    visitor.expects.append("/photos/.*/small")
    page = visitor.page(large.url)
    expect(tiles(page).first).to_have_class(re.compile("broken"))
    expect(links(page).first).to_have_accessible_name(re.compile(r"IMG_\d+\.jpg"))


def test_photos_that_do_not_come_are_fetched_later(visitor: Visitor, large: Server) -> None:
    visitor.expects.append("/grid")
    page = library(visitor, large)
    page.route(re.compile("/grid"), lambda route: route.abort())
    page.reload()
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.get_by_role("status").filter(has_text="No more photos for now")).to_be_visible()
    page.unroute(re.compile("/grid"))
    expect(page.locator("#grid > li[aria-posinset='61']")).to_be_attached()
