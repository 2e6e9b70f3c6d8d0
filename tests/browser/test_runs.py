"""Runs as they go on, what failed, and another try."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from playwright.sync_api import Page, expect

from tagger.store import runs
from tagger.store.catalog import live_model
from tagger.store.runs import Gain, Opening, RunKind
from tests.browser.conftest import BROKEN, Server, Visitor

Visit = Callable[..., Page]


def begin(server: Server, name: str, images: int) -> int:
    """A run that goes on."""
    with server.library.opened() as database, database.writing() as connection:
        model = live_model(connection, "imagenet")
        assert model is not None
        run = runs.open_run(connection, Opening(RunKind.ENQUEUE, model.id, ("photos",), name))
        runs.grow(connection, run, images)
    return run


def advance(server: Server, run: int, done: int, failed: int = 0) -> None:
    with server.library.opened() as database:
        database.write(partial(runs.advance, gains={run: Gain(done, failed)}))


def test_runs_are_listed_with_what_failed(visit: Visit) -> None:
    page = visit("/runs")
    expect(page.get_by_role("list", name="The library")).to_contain_text("34 photos")
    expect(page.get_by_role("region", name="All runs").get_by_role("row")).to_have_count(2)
    failures = page.get_by_role("region", name="Failures")
    expect(failures.get_by_role("link", name=BROKEN)).to_be_visible()
    expect(failures).to_contain_text("corrupt")
    page.get_by_role("row").nth(1).get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run 1: tag")
    expect(page.get_by_role("img", name=re.compile("Images a second.*[0-9.]+ at most"))).to_be_visible()
    expect(page.get_by_role("table", name="Outcomes")).to_contain_text("corrupt")


def test_what_failed_is_tried_again_and_it_is_told_what_becomes_of_it(visit: Visit, server: Server) -> None:
    page = visit("/runs/1")
    page.get_by_label("Try again").select_option("corrupt")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run 2: retry")
    expect(page.get_by_role("status").first).to_contain_text("No broker is set here")
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("0 of 1 done")
    assert server.library.rows("SELECT kind, total FROM runs WHERE id = 2") == [("retry", 1)]
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("running")


def test_all_that_failed_is_tried_again_and_called_off(
    visit: Visit, visitor: Visitor, server: Server
) -> None:
    page = visit("/runs/1")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("0 of 1 done")
    page.get_by_role("button", name="Cancel").click()
    visitor.answers(page, "Want no more what is left of run 2?", "No")
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("running")
    page.get_by_role("button", name="Cancel").click()
    visitor.answers(page, "Want no more what is left of run 2?", "Cancel run 2")
    expect(page.get_by_role("list", name="How far it is")).to_contain_text("cancelled")
    assert server.library.rows("SELECT state FROM runs WHERE id = 2") == [("cancelled",)]


def test_a_run_that_goes_on_is_seen_to_come_further(visit: Visit, server: Server) -> None:
    run = begin(server, "holidays", 200)
    page = visit("/runs")
    page.evaluate("window.same = true")
    link = page.get_by_role("link", name=str(run), exact=True)
    row = page.get_by_role("row").filter(has=link)
    expect(row).to_contain_text("holidays")
    link.focus()
    advance(server, run, 50)
    expect(row).to_contain_text("50 of 200")
    expect(row.get_by_role("progressbar")).to_have_attribute("value", "50")
    expect(link).to_be_focused()
    assert page.evaluate("window.same")
    link.click()
    far = page.get_by_role("list", name="How far it is")
    expect(far).to_contain_text("50 of 200 done")
    page.evaluate("window.same = true")
    advance(server, run, 70, 7)
    expect(far).to_contain_text("120 of 200 done")
    expect(far).to_contain_text("7 failed")
    expect(page.get_by_role("img", name=re.compile("Images a second"))).to_be_visible()
    assert page.evaluate("window.same")
    advance(server, run, 80)
    with server.library.opened() as database:
        database.write(runs.close_finished)
    expect(far).to_contain_text("ended")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_a_run_that_is_not_there_is_a_page(visit: Visit, visitor: Visitor) -> None:
    visitor.expects.append("status of 404")
    page = visit("/runs/77")
    expect(page.get_by_role("alert")).to_contain_text("77")
