"""Names that would be obeyed, were they not escaped: nothing of them is, anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import BROKEN, BYTES, QUOTES, SCRIPT, Server
from tests.browser.test_grid import links, viewer
from tests.browser.test_photo import line

Visit = Callable[..., Page]

NAMES = {SCRIPT: SCRIPT, QUOTES: QUOTES, os.fsdecode(BYTES): "caf\\xe9 <script>.jpg", BROKEN: BROKEN}
"""Of files, and as they are shown."""


@pytest.mark.parametrize("name", NAMES, ids=["script", "quotes", "bytes", "broken"])
def test_a_hostile_name_is_shown_as_it_is(visit: Visit, server: Server, name: str) -> None:
    if not (server.library.photos / name).exists():
        pytest.skip("this file system has no names that are not text")
    page = visit()
    shown = NAMES[name]
    tile = page.get_by_role("link", name=shown, exact=True)
    expect(tile).to_have_attribute("title", f"{server.library.photos}/{shown}")
    tile.click()
    expect(viewer(page).get_by_role("heading", level=1)).to_have_text(shown)
    page.goto(f"{server.url}/photos/{server.library.id_of(name)}")
    expect(page.get_by_role("heading", level=1)).to_have_text(shown)
    expect(page).to_have_title(re.compile(f"^{re.escape(shown)} . Tagger$"))
    if name == BROKEN:
        expect(page.get_by_role("figure").get_by_text("corrupt:")).to_be_visible()
    else:
        expect(line(page, "leopard")).to_be_visible()
    assert page.locator("main script, main b, main svg, main img:not([src^='/photos/'])").count() == 0


def test_a_hostile_name_is_shown_among_failures(visit: Visit) -> None:
    page = visit("/runs/1")
    expect(page.get_by_role("region", name="Failures").get_by_role("link", name=BROKEN)).to_be_visible()
    assert page.locator(".scroll svg").count() == 0


def test_a_hostile_search_is_shown_as_it_is(visit: Visit, visitor: object) -> None:
    visitor.expects.append("status of 422")  # type: ignore[attr-defined]
    typed = "dog \"><img src=x onerror=alert(3)> '"
    page = visit("/")
    page.get_by_role("combobox", name="Search photos").fill(typed)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("combobox", name="Search photos")).to_have_value(typed)
    page.reload()
    expect(page.get_by_role("combobox", name="Search photos")).to_have_value(typed)
    expect(page).to_have_title(re.compile(f"^{re.escape(typed)} . Tagger$"))
    assert page.locator("img[src='x']").count() == 0


def test_a_hostile_tag_is_offered_and_counted_as_it_is(visit: Visit, server: Server) -> None:
    page = visit(f"/photos/{server.library.id_of('ocelot.jpg')}")
    tag = "<img src=x onerror=alert(4)>"
    page.get_by_label("Another tag").fill(tag)
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Make it a tag").click()
    expect(page.get_by_role("listitem", name=f"{tag}, confirmed")).to_be_visible()
    page.get_by_role("link", name="Tagger").click()
    page.wait_for_load_state()
    expect(page.get_by_role("complementary").get_by_role("link", name=re.compile("^<img"))).to_be_visible()
    page.get_by_role("combobox", name="Search photos").press_sequentially('"<im')
    page.get_by_role("option", name=tag).click()
    page.keyboard.press("Enter")
    expect(links(page)).to_have_count(1)
    expect(links(page)).to_have_accessible_name(f"ocelot.jpg, {tag} 1.00")
    assert page.locator("img[src='x']").count() == 0
