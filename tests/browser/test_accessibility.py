"""Each page for everybody: by axe's rules, in light and dark, on a desk and in a hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import BROKEN, Server, Visitor
from tests.browser.test_grid import bulk, links, viewer
from tests.browser.test_search import tiles

DESK = {"width": 1280, "height": 900}
HAND = {"width": 320, "height": 640}

Arrive = Callable[[Page, Server], None]


def _gallery(page: Page, server: Server) -> None:
    page.goto(server.url)
    expect(page.get_by_role("complementary").get_by_role("list").first).to_be_attached()


def _searched(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?q=animal")
    page.get_by_label("Name of an album").evaluate("input => input.closest('details').open = true")
    page.get_by_label("Name of an album").fill("animals")
    page.get_by_role("button", name="Keep").click()
    page.goto(f"{server.url}/?q=animal")
    expect(page.get_by_role("region", name="Kinds of it")).to_be_attached()
    page.get_by_role("complementary").locator("details").evaluate("details => details.open = true")


def _completed(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?q=sofa")
    page.get_by_role("combobox", name="Search photos").press_sequentially(" OR do")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")


def _fault(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?q=dog AND (elefant")
    expect(page.get_by_role("alert")).to_be_visible()


def _photo(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/photos/{server.library.id_of('domestic_dog.jpg')}")
    page.get_by_role("button", name="Confirm animal").click()
    page.get_by_role("button", name="Reject german shepherd").click()
    expect(page.get_by_role("listitem", name="german shepherd, rejected")).to_be_visible()
    page.get_by_text("own words").click()
    page.get_by_label("Another tag").fill("no such thing")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_be_visible()


def _broken(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/photos/{server.library.id_of(BROKEN)}")
    expect(page.get_by_role("figure").get_by_text("corrupt:")).to_be_visible()


def _viewer(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?q=dog")
    links(page).first.click()
    expect(viewer(page).get_by_role("heading", level=1)).to_be_visible()


def _bulk(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/?q=animal")
    links(page).first.focus()
    page.keyboard.press("c")
    expect(page.get_by_role("status").filter(has_text="Confirmed")).to_be_visible()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(bulk(page)).to_contain_text("2 selected")


def _help(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def _runs(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs")


def _run(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs/1")


def _retried(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/runs/1")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("progressbar")).to_be_attached()


def _asked(page: Page, server: Server) -> None:
    _models(page, server)
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("alertdialog")).to_be_visible()


def _models(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/models")


def _diff(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/models")
    page.get_by_role("link", name="Compare").click()
    page.wait_for_load_state()
    expect(page.get_by_role("region", name="Gained")).to_be_visible()


def _error(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/photos/999999")
    expect(page.get_by_role("alert")).to_be_visible()


PAGES: dict[str, Arrive] = {
    "gallery": _gallery,
    "search": _searched,
    "completions": _completed,
    "fault": _fault,
    "photo": _photo,
    "broken photo": _broken,
    "viewer": _viewer,
    "bulk": _bulk,
    "help": _help,
    "runs": _runs,
    "run": _run,
    "retried": _retried,
    "models": _models,
    "asked": _asked,
    "diff": _diff,
    "error": _error,
}


AXE = Axe().axe_script


def violations(page: Page, *rules: str) -> list[str]:
    """What keeps somebody out, in words; ``rules`` alone are looked at, if any are named."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    return [
        f"{found['id']} ({found['impact']}) at {json.dumps(node['target'])}: {node['failureSummary']}"
        for found in page.evaluate("options => axe.run(options)", options)["violations"]
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


def judge(page: Page) -> None:
    """The page as it stands, in light and dark, on a desk and in a hand."""
    found = {}
    page.evaluate(AXE)
    for size, viewport in (("desk", DESK), ("hand", HAND)):
        page.set_viewport_size(viewport)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            # Colours are all that the theme changes; and all else takes its time.
            rules = () if (size, theme) in (("desk", "light"), ("hand", "dark")) else ("color-contrast",)
            found[f"{size}, {theme}"] = violations(page, *rules)
        wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        found[f"{size}, width"] = [f"{wide} pixels wide, of {window}"] if wide > window else []
    said = [f"{where}: {each}" for where, some in found.items() for each in some]
    assert not said, "\n\n".join(said)


@pytest.mark.parametrize("arrive", PAGES.values(), ids=PAGES)
def test_a_page_keeps_nobody_out(visitor: Visitor, server: Server, arrive: Arrive) -> None:
    visitor.expects += [r"status of 4(04|22)"]
    page = visitor.blank()
    arrive(page, server)
    judge(page)


def test_the_page_before_all_others_keeps_nobody_out(visitor: Visitor, locked: Server) -> None:
    visitor.expects.append("status of 401")
    page = visitor.page(locked.url)
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    judge(page)


def test_what_is_narrowed_on_a_phone_is_found_again(visitor: Visitor, server: Server) -> None:
    """The panel folds up there, and leaves the room to the photos."""
    visitor.expects.append("status of 422")
    page = visitor.page(f"{server.url}/?q=animal", viewport=HAND, has_touch=True, is_mobile=True)
    expect(page.get_by_role("slider")).to_be_hidden()
    page.get_by_text("Narrow", exact=True).tap()
    expect(page.get_by_role("slider")).to_be_visible()
    # The tags come after the photos, some of which have such names too.
    page.get_by_role("complementary").get_by_role("link", name=re.compile("^elephant")).first.tap()
    expect(tiles(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
