"""The pages as people use them: a real browser before a real ``tagger serve``.

One library is tagged for all processes of a test run. Each process has servers of its own, started when a
test first needs them; a test that finds the library changed by another has it put back first.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pytest
from filelock import FileLock
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)
from sqlalchemy import text

from tagger.library import versions
from tagger.sources import quote_path
from tagger.store import migrate
from tagger.store.session import Database, open_database
from tests.benchmarks import made
from tests.photos import EXAMPLES

HERE: Final = Path(__file__).parent
TAGGER: Final = [sys.executable, "-m", "tagger"]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER: Final = (
    "no Chromium: the pages are not tested in a browser (Debian: apt-get install chromium)"  # for `make test`
)
TOKEN: Final = "a-token-that-nobody-guesses"
PATIENCE_MS: Final = 20_000
"""How long something may take to show; the machine may be busy."""
MANY: Final = 5_200
"""Photos of the library that is too large for a page."""

SCRIPT = "<img src=x onerror=alert(1)>.jpg"
QUOTES = "\"it's\" & 'that' <b>.jpg"
BYTES = b"caf\xe9 <script>.jpg"
BROKEN = "<svg onload=alert(2)> broken.jpg"


def _program() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser all of these tests are left out, which a line for each file says."""
    if _program() is None:
        for item in items:
            if item.path.parent == HERE:
                item.add_marker(pytest.mark.skip(reason=NO_BROWSER))


# -- libraries -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """A database, and the folder of its photos."""

    file: Path
    photos: Path

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def id_of(self, name: str) -> int:
        """The id of a photo."""
        ((found,),) = self.rows(
            "SELECT id FROM images WHERE uri = ?", f"file://{quote_path(str(self.photos / name))}"
        )
        return int(found)

    def verdicts(self, name: str) -> dict[str, str]:
        """What was said of a photo."""
        rows = self.rows(
            "SELECT tags.name, verdict FROM verdicts JOIN tags ON tags.id = tag_id WHERE image_id = ?",
            self.id_of(name),
        )
        return dict(rows)

    @contextmanager
    def opened(self) -> Iterator[Database]:
        database = open_database(str(self.file))
        yield database
        database.close()


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TAGGER_")}
    return kept | {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"} | more


@pytest.fixture(scope="session")
def folder(common: Path) -> Path:
    """What the processes of a test run share."""
    found = common / "browser"
    found.mkdir(exist_ok=True)
    return found


@pytest.fixture(scope="session")
def tagged(chromium: str, folder: Path, engine_cache: Path) -> Library:
    """The example photos and some with hostile names, tagged once; a second version beside them."""
    library = Library(folder / "tagged.db", folder / "photos")
    with FileLock(folder / "tagged.lock"):
        if not library.file.exists():
            making = Library(folder / "making.db", library.photos)
            _lay_out(library.photos)
            environment = _environment(
                TAGGER_DATABASE_URL=str(making.file),
                TAGGER_CACHE_DIR=str(engine_cache),
                TAGGER_DATA_DIR=str(folder),
                TAGGER_THREADS="1",
                TAGGER_PRECISION="f32",
            )
            run = subprocess.run(
                [*TAGGER, "tag", library.photos], env=environment, capture_output=True, text=True, timeout=240
            )
            assert run.returncode == 0, run.stderr
            _add_version(making)
            _into(making.file, library.file)
    return library


def _lay_out(photos: Path) -> None:
    shutil.copytree(EXAMPLES, photos, dirs_exist_ok=True)
    ocelot = (EXAMPLES / "ocelot.jpg").read_bytes()
    for number, name in enumerate((SCRIPT, QUOTES, os.fsdecode(BYTES))):
        # Of other bytes each, since copies are not tagged.
        comment = b"\xff\xfe\x00\x0a%08d" % number
        with suppress(OSError):  # some systems have no names that are not text
            (photos / name).write_bytes(ocelot[:2] + comment + ocelot[2:])
    (photos / BROKEN).write_bytes(ocelot[:300])


_COLUMNS = {
    "taggings": "image_id, {}, attempts, outcome, reason, content_id, engine, precision, loader, finished_at",
    "class_scores": "content_id, {}, rank, label_index, confidence",
    "tag_scores": "content_id, {}, tag_id, confidence * 0.9",
}


def _add_version(library: Library) -> None:
    """A version that has seen all that the first has, is less sure of it, and takes dogs for cats."""
    with library.opened() as database:
        old = versions.with_counts(database)[0]
        new = versions.register(database, versions.choose(database, "efficientnet-lite1"))
        with database.writing() as connection:
            for table, columns in _COLUMNS.items():
                names = columns.format("model_id").replace(" * 0.9", "")
                values = columns.format(new.id)
                connection.execute(text(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}"))
            connection.execute(
                text(
                    "UPDATE tag_scores SET tag_id = (SELECT id FROM tags WHERE name = 'cat') "
                    "WHERE model_id = :new AND tag_id = (SELECT id FROM tags WHERE name = 'dog')"
                ),
                {"new": new.id},
            )
        assert old.live


def _into(source: Path, target: Path) -> None:
    """All of a database into another, which may be open elsewhere."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target, timeout=30)) as other:
        one.backup(other)


@pytest.fixture(scope="session")
def counted(chromium: str, folder: Path) -> Library:
    """A library of made rows, whose photos are nowhere."""
    library = Library(folder / "counted.db", folder / "nowhere")
    with FileLock(folder / "counted.lock"):
        if not library.file.exists():
            making = Library(folder / "making-counted.db", library.photos)
            with making.opened() as database:
                migrate.upgrade(database)
                made.fill([database], MANY)
            _into(making.file, library.file)
    return library


# -- servers -------------------------------------------------------------------------------------


@dataclass
class Server:
    """``tagger serve`` in a process of its own; ``url`` is where it is."""

    library: Library
    environment: Mapping[str, str]
    said: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.said.open("a") as said:
            command = [*TAGGER, "serve", self.library.photos, "--port", str(self.port)]
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=subprocess.PIPE, stderr=said, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        address = re.search(r"http://\S+:(\d+)", line)
        assert address, f"it did not start: {line}{self.said.read_text()}"
        self.port = int(address[1])

    def stop(self) -> None:
        if self.process is not None:
            assert self.process.stdout is not None
            self.process.terminate()
            self.process.wait(30)
            self.process.stdout.close()
            self.process = None
        assert "Traceback" not in self.said.read_text(), self.said.read_text()


@contextmanager
def _serving(source: Library, own: Path, **settings: str) -> Iterator[Server]:
    own.mkdir()
    library = Library(own / "tagger.db", source.photos)
    library.photos.mkdir(exist_ok=True)
    _into(source.file, library.file)
    environment = _environment(
        TAGGER_DATABASE_URL=str(library.file),
        TAGGER_CACHE_DIR=str(source.file.parent / "cache"),
        TAGGER_DATA_DIR=str(own),
        **settings,
    )
    server = Server(library, environment, own / "said.txt")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="package")
def _server(tagged: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with _serving(tagged, tmp_path_factory.mktemp("server") / "own") as server:
        yield server


@pytest.fixture
def server(_server: Server, tagged: Library) -> Server:
    """A server of the tagged library, as it was tagged."""
    _into(tagged.file, _server.library.file)
    return _server


@pytest.fixture(scope="package")
def locked(tagged: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a token."""
    with _serving(tagged, tmp_path_factory.mktemp("locked") / "own", TAGGER_TOKEN=TOKEN) as server:
        yield server


@pytest.fixture(scope="package")
def large(counted: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of many photos, none of which is there."""
    with _serving(counted, tmp_path_factory.mktemp("large") / "own") as server:
        yield server


# -- browsers ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program; nothing is begun where there is none."""
    found = _program()
    assert found is not None
    return found


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    # Not for the session: Playwright's loop runs in this thread, where other tests have theirs.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def usual(browser: Browser) -> BrowserContext:
    """What most look at the pages with: it keeps what it was told to keep, as people's browsers do."""
    return _context(browser)


def _context(browser: Browser, **options: Any) -> BrowserContext:
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    return context


@dataclass
class Visitor:
    """Somebody with a browser, who minds everything that goes wrong in it.

    ``accepts`` is what is answered to a question; ``asked`` are those that nobody expected.
    ``expects`` are patterns of what the browser may complain of; htmx does so of what it breaks off itself.
    """

    browser: Browser
    usual: BrowserContext
    accepts: bool = True
    asked: list[str] = field(default_factory=list)
    expects: list[str] = field(default_factory=lambda: ["htmx:(sendAbort|afterRequest)"])
    complaints: list[str] = field(default_factory=list)
    _unanswered: set[Request] = field(default_factory=set)
    _contexts: set[BrowserContext] = field(default_factory=set)

    def blank(self, **options: Any) -> Page:
        """An empty page; ``options`` are of a browser other than the usual one."""
        context = _context(self.browser, **options) if options else self.usual
        if context not in self._contexts:
            self._contexts.add(context)
            for event, listener in self._ears.items():
                context.on(event, listener)
        return context.new_page()

    def page(self, url: str, **options: Any) -> Page:
        """The page of an address."""
        page = self.blank(**options)
        page.goto(url)
        return page

    @cached_property
    def _ears(self) -> dict[Any, Callable[..., None]]:
        return {
            "console": self._hear,
            "weberror": self._regret,
            "dialog": self._answer,
            "request": self._await,
            "requestfinished": self._have,
            "requestfailed": self._have,
        }

    def answers(self, page: Page, asked: str, answer: str) -> None:
        """The page itself asks this, and is answered by the button of that name."""
        question = page.get_by_role("alertdialog", name=asked)
        question.get_by_role("button", name=answer, exact=True).click()
        expect(question).to_be_hidden()

    @contextmanager
    def question(self, page: Page, asked: str) -> Iterator[None]:
        """The browser asks something within, and what is asked is this."""
        with page.expect_event("dialog") as dialog:
            yield
        self.asked.remove(dialog.value.message)
        assert asked in dialog.value.message

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def _regret(self, error: WebError) -> None:
        self.complaints.append(str(error.error))

    def _answer(self, dialog: Dialog) -> None:
        self.asked.append(dialog.message)
        if self.accepts:
            dialog.accept()
        else:
            dialog.dismiss()

    def _await(self, request: Request) -> None:
        if request.method == "POST":
            self._unanswered.add(request)

    def _have(self, request: Request) -> None:
        self._unanswered.discard(request)

    def _hear_out(self) -> None:
        """What was said last is not to reach the library of whoever comes next."""
        end = time.monotonic() + PATIENCE_MS / 1000
        while self._unanswered and time.monotonic() < end:
            next(iter(self._unanswered)).frame.page.wait_for_timeout(20)
        assert not self._unanswered, f"no answer came to {[each.url for each in self._unanswered]}"

    def _forget(self, context: BrowserContext) -> None:
        """Leave nothing to whoever comes next but what the browser has read."""
        for event, listener in self._ears.items() if context in self._contexts else ():
            context.remove_listener(event, listener)
        for page in context.pages:
            if page.url.startswith("http"):
                page.evaluate("localStorage.clear()")
            page.close()
        context.clear_cookies()

    def leave(self) -> None:
        self._hear_out()
        for context in self._contexts - {self.usual}:
            context.close()
        self._forget(self.usual)
        left = [one for one in self.complaints if not any(re.search(each, one) for each in self.expects)]
        assert not left, "the browser complains:\n" + "\n".join(left)
        assert not self.asked, f"a question was not expected: {self.asked}"


@pytest.fixture
def visitor(browser: Browser, usual: BrowserContext) -> Iterator[Visitor]:
    expect.set_options(timeout=PATIENCE_MS)
    visitor = Visitor(browser, usual)
    yield visitor
    visitor.leave()


@pytest.fixture
def visit(visitor: Visitor, server: Server) -> Callable[..., Page]:
    """Opens a page of the tagged library, one of whose photos cannot be shown."""
    broken = server.library.id_of(BROKEN)
    visitor.expects.append(f"status of 422.*/photos/{broken}/(small|large)")

    def open_page(path: str = "/", **options: Any) -> Page:
        return visitor.page(server.url + path, **options)

    return open_page
