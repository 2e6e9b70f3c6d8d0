"""Another version beside the live one: compared, promoted, rolled back."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Server, Visitor
from tests.browser.test_search import tiles

Visit = Callable[..., Page]


def live(server: Server) -> str:
    ((name,),) = server.library.rows("SELECT spec FROM models WHERE live")
    return str(name)


def test_versions_are_compared_promoted_and_rolled_back(
    visit: Visit, visitor: Visitor, server: Server
) -> None:
    page = visit("/models")
    versions = page.get_by_role("region", name="Versions of imagenet")
    expect(versions.get_by_role("row")).to_have_count(3)
    versions.get_by_role("link", name="Compare").click()
    figures = page.get_by_role("list", name="In short")
    expect(figures).to_contain_text("photos that both have seen")
    gained = page.get_by_role("region", name="Gained")
    expect(gained.get_by_role("listitem").first).to_contain_text("cat")
    expect(gained.get_by_role("img", name="domestic_dog.jpg").first).to_be_visible()
    expect(page.get_by_role("region", name="Lost").get_by_role("listitem").first).to_contain_text("dog")
    expect(page.get_by_role("region", name="By tag").get_by_role("row").nth(1)).to_be_visible()
    promote = page.get_by_role("button", name="Promote")
    promote.click()
    visitor.answers(page, "from now on?", "No")
    assert live(server) == "efficientnet-lite0"
    promote.click()
    visitor.answers(page, "from now on?", "Promote")
    expect(page).to_have_url(f"{server.url}/models")
    assert live(server) == "efficientnet-lite1"
    page.get_by_label("Search photos").fill("dog")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("No photo is found")
    page.get_by_role("link", name="Models").click()
    versions.get_by_role("button", name="Roll back to efficientnet-lite0").click()
    visitor.answers(page, "again?", "Roll back")
    expect(versions.get_by_role("row").nth(1)).to_contain_text("efficientnet-lite0")  # the live one
    expect(versions.get_by_role("button", name="Promote")).to_be_visible()
    assert live(server) == "efficientnet-lite0"
    page.goto(f"{server.url}/?q=dog")
    expect(tiles(page)).to_have_count(1)


def test_what_cannot_be_promoted_yet_says_why(visit: Visit, visitor: Visitor, server: Server) -> None:
    with server.library.opened() as database, database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE taggings SET outcome = NULL, finished_at = NULL WHERE model_id = 2 AND image_id = 4"
        )
    page = visit("/models")
    visitor.expects.append("status of 409")
    page.get_by_role("button", name="Promote").click()
    visitor.answers(page, "from now on?", "Promote")
    expect(page.get_by_role("alert")).to_contain_text("1 image")
    assert live(server) == "efficientnet-lite0"
