"""A server with a token, and pages without a script."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import BROKEN, TOKEN, Server, Visitor
from tests.browser.test_search import tiles

Visit = Callable[..., Page]


def test_a_person_signs_in_and_out(visitor: Visitor, locked: Server) -> None:
    visitor.expects += ["status of 401", f"/photos/{locked.library.id_of(BROKEN)}/"]
    page = visitor.page(f"{locked.url}/?q=dog&min=0.1")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    expect(page.get_by_label("Token")).to_be_focused()
    page.keyboard.type("this is not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("This is not the token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{locked.url}/?q=dog&min=0.1")
    expect(tiles(page)).to_have_count(1)
    expect(tiles(page).get_by_role("img")).to_have_js_property("complete", True)
    assert page.get_by_role("img", name=re.compile("^domestic_dog")).evaluate("img => img.naturalWidth") > 0
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto(locked.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_signing_in_leads_to_no_other_site(visitor: Visitor, locked: Server) -> None:
    page = visitor.page(f"{locked.url}/login?next=//elsewhere.example/")
    visitor.expects.append("status of 422")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(tiles(page).first).to_be_visible()
    assert page.url == f"{locked.url}/"


def test_a_session_that_is_over_is_told(visitor: Visitor, locked: Server) -> None:
    page = visitor.page(f"{locked.url}/login?next=/?q=dog")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(tiles(page)).to_have_count(1)
    page.context.clear_cookies()
    visitor.expects += ["status of 401", "htmx:responseError", "Response Status Error Code 401"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    expect(page.get_by_role("status").filter(has_text="token")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_without_a_script_one_searches_opens_and_confirms(visit: Visit, server: Server) -> None:
    page = visit("/", java_script_enabled=False)
    expect(page.get_by_text("Counting tags")).to_be_hidden()
    expect(page.get_by_role("button", name="Keys")).to_be_hidden()
    expect(page.get_by_role("slider")).to_be_disabled()
    page.get_by_role("combobox", name="Search photos").fill("dog")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("slider").fill("0.1")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile(r"q=dog.*min=0\.1"))
    expect(tiles(page)).to_have_count(1)
    page.get_by_role("link", name=re.compile("^domestic_dog")).click()
    page.get_by_role("button", name="Confirm dog", exact=True).click()
    expect(page.get_by_role("listitem", name="dog, confirmed")).to_be_visible()
    assert server.library.verdicts("domestic_dog.jpg") == {"dog": "confirm"}
    page.get_by_label("Another tag").fill("our rex")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Make it a tag").click()
    expect(page.get_by_role("listitem", name="our rex, confirmed")).to_be_visible()


def test_without_a_script_a_run_is_called_off_after_a_question(
    visit: Visit, visitor: Visitor, server: Server
) -> None:
    page = visit("/runs/1", java_script_enabled=False)
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("button", name="Cancel").click()
    visitor.answers(page, "Want no more what is left of run 2?", "No")
    page.get_by_role("button", name="Cancel").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("alertdialog")).to_be_hidden()
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("running")
    page.get_by_role("button", name="Cancel").click()
    visitor.answers(page, "Want no more what is left of run 2?", "Cancel run 2")
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("cancelled")
    assert server.library.rows("SELECT state FROM runs WHERE id = 2") == [("cancelled",)]


def test_without_a_script_there_is_a_link_to_the_next_photos(visitor: Visitor, large: Server) -> None:
    visitor.expects.append("/photos/.*/small")
    page = visitor.page(large.url, java_script_enabled=False)
    first = {each.get_attribute("href") for each in tiles(page).get_by_role("link").all()}
    page.get_by_role("link", name="More photos").click()
    expect(page).to_have_url(re.compile("after="))
    second = {each.get_attribute("href") for each in tiles(page).get_by_role("link").all()}
    assert len(first) == len(second) == 60 and not first & second
