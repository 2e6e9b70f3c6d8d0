"""Nobody comes in who should not, and no other site has a browser do what it wants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product

import pytest
from starlette.testclient import TestClient

from tagger.store.session import Database
from tagger.web.app import make_app
from tagger.web.security import COOKIE, SESSION_SECONDS, TRIES, TRY_SECONDS, Door, is_local
from tests.unit.store.conftest import Shelf
from tests.unit.web.conftest import TOKEN, asking, site_over

BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGE = {"Accept": "text/html,*/*"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TAGS = "/api/v1/tags"


@pytest.fixture
def database(sqlite: Database) -> Database:
    """One is enough: who comes in is not asked of it."""
    return sqlite


def _entered(guarded: TestClient, **headers: str) -> TestClient:
    answer = guarded.post("/login", data={"token": TOKEN}, headers=headers)
    assert answer.status_code == 303
    return guarded


def test_without_the_token_nothing_is_told(guarded: TestClient) -> None:
    for path in (TAGS, "/api/v1/openapi.json", "/nowhere", "/docs"):
        answer = guarded.get(path)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "unauthorized"
    assert guarded.get("/healthz").json() == {"ok": True}


def test_a_wrong_token_is_none(guarded: TestClient) -> None:
    for header in (
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        "Bearer \xe9\xe9",
    ):
        assert guarded.get(TAGS, headers={b"Authorization": header.encode("latin-1")}).status_code == 401


def test_the_token_opens(guarded: TestClient) -> None:
    assert guarded.get(TAGS, headers=BEARER).status_code == 200
    assert guarded.get(TAGS, headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200


def test_who_guesses_is_not_listened_to_for_a_minute() -> None:
    moment = [1000.0]
    door = Door(TOKEN, clock=lambda: moment[0])
    assert not any(door.opens(b"guess", "1.2.3.4") for _ in range(TRIES))
    with pytest.raises(Exception, match="wait a minute"):
        door.opens(TOKEN.encode(), "1.2.3.4")
    assert door.opens(TOKEN.encode(), "5.6.7.8"), "others are"
    moment[0] += TRY_SECONDS + 1
    assert door.opens(TOKEN.encode(), "1.2.3.4")


def test_guessing_ends_in_429_and_sessions_go_on(guarded: TestClient) -> None:
    _entered(guarded)
    codes = {guarded.get("/", headers={"Authorization": "Bearer no"}).status_code for _ in range(TRIES + 1)}
    assert 429 in codes
    assert guarded.get(TAGS).status_code == 200
    last = guarded.post("/login", data={"token": TOKEN})
    assert last.status_code == 429 and last.headers["Retry-After"] == "60"


# -- browsers -------------------------------------------------------------------------------


def test_a_browser_is_led_to_the_form_and_back(guarded: TestClient) -> None:
    answer = guarded.get("/images/7?q=dog&x=a b", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=/images/7%3Fq%3Ddog%26x%3Da%2520b"
    form = guarded.get(answer.headers["Location"], headers=PAGE)
    assert form.status_code == 200 and 'value="/images/7?q=dog&amp;x=a%20b"' in form.text
    back = guarded.post("/login", data={"token": TOKEN, "next": "/images/7?q=dog"})
    assert back.status_code == 303 and back.headers["Location"] == "/images/7?q=dog"
    cookie = back.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and f"Max-Age={SESSION_SECONDS}" in cookie
    assert "Secure" not in cookie and TOKEN not in cookie
    assert guarded.get(TAGS).status_code == 200
    assert guarded.get("/login").status_code == 200
    assert guarded.post("/logout").headers["Location"] == "/login"
    assert guarded.get(TAGS).status_code == 401


def test_over_https_the_session_stays_there(sqlite: Database) -> None:
    secure = TestClient(make_app(site_over(sqlite, TOKEN)), "https://photos.example", follow_redirects=False)
    assert "Secure" in secure.post("/login", data={"token": TOKEN}).headers["Set-Cookie"]


def test_a_wrong_token_in_the_form_is_said_and_not_shown(guarded: TestClient) -> None:
    answer = guarded.post("/login", data={"token": "<b>wrong</b>", "next": '"><script>'})
    assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
    assert "not the token" in answer.text and "wrong<" not in answer.text and "<script>" not in answer.text
    assert guarded.post("/login", json={"token": TOKEN}).status_code == 401
    assert guarded.post("/login", content=b"token=%ff&next=%00", headers=FORM).status_code == 401


def test_a_session_cannot_be_made_or_prolonged(guarded: TestClient) -> None:
    _entered(guarded)
    until, _, word = guarded.cookies[COOKIE].strip('"').partition(".")
    other = Door("another-token-of-many-letters").session()
    for forged in ("", ".", f"{int(until) + 1}.{word}", f"{until}.", until, f"{until}.{'0' * 64}", other):
        guarded.cookies.clear()
        assert guarded.get(TAGS, headers={"Cookie": f"{COOKIE}={forged}"}).status_code == 401, forged
    moment = [1000.0]
    door = Door(TOKEN, clock=lambda: moment[0])
    session = door.session()
    moment[0] += SESSION_SECONDS - 1
    assert door.knows(session)
    moment[0] += 1
    assert not door.knows(session)
    assert not Door(None).knows(Door(None).session())


def test_nobody_is_sent_elsewhere(guarded: TestClient) -> None:
    outside = (
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil",
        "evil",
        "javascript:x",
        "",
    )
    for elsewhere in (*outside, "/\t/evil.example", "/\n/evil.example", " /x"):
        assert not is_local(elsewhere)
        answer = guarded.post("/login", data={"token": TOKEN, "next": elsewhere})
        assert answer.headers["Location"] == "/"
        assert 'name="next" value="/"' in guarded.get("/login", params={"next": elsewhere}).text


def test_a_path_with_two_slashes_is_not_led_back_to(guarded: TestClient) -> None:
    answer = guarded.get("http://localhost:8484//evil.example/x", headers=PAGE)
    assert answer.headers["Location"] == "/login?next=/"


def test_where_there_is_no_token_nobody_is_asked(api: TestClient) -> None:
    assert api.get("/login", params={"next": "/x"}).headers["Location"] == "/x"


# -- other sites ----------------------------------------------------------------------------


def test_without_a_token_the_server_has_no_other_name(api: TestClient) -> None:
    others = ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "192.168.0.1")
    for host in (*others, "localhost:8484@evil.example", "0.0.0.0:8484", "localhost:"):
        assert api.get(TAGS, headers={"Host": host}).status_code == 421, host
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8484", "[::1]:8484", "127.0.0.2"):
        assert api.get(TAGS, headers={"Host": host}).status_code == 200, host


OWN, FOREIGN = "http://localhost:8484", "https://evil.example"


def test_no_other_site_says_a_verdict(shelf: Shelf, api: TestClient) -> None:
    shelf.tag(rex={"animal": 0.9})
    said = {"images": ["rex.jpg"], "tag": "dog", "verdict": "confirm"}
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN},
        {"Sec-Fetch-Site": "same-site", "Origin": OWN},
        {"Origin": FOREIGN},
        {"Origin": "http://localhost:8485"},
        {"Origin": "null"},
        {"Origin": "http://[evil"},
    ):
        answer = api.post("/api/v1/verdicts", json=said, headers=headers)
        assert answer.status_code == 403 and answer.json()["error"]["code"] == "cross_site", headers
        assert api.put("/api/v1/albums/x", json={"expression": "dog"}, headers=headers).status_code == 403
        assert api.delete("/api/v1/images/1", headers=headers).status_code == 403
        assert api.post("/logout", headers=headers).status_code == 403
    assert not shelf.rows("SELECT 1 FROM verdicts")
    for own in (
        {"Sec-Fetch-Site": "same-origin", "Origin": OWN},
        {"Sec-Fetch-Site": "none"},
        {"Origin": OWN},
        {},
    ):
        assert api.post("/api/v1/verdicts", json=said, headers=own).status_code == 200, own


def test_a_session_is_no_word_of_another_site_and_a_token_is(guarded: TestClient) -> None:
    _entered(guarded)
    foreign = {"Origin": FOREIGN}
    assert guarded.delete("/api/v1/images/1", headers=foreign).status_code == 403
    assert guarded.delete("/api/v1/images/1", headers=foreign | BEARER).status_code == 404
    assert guarded.post("/login", data={"token": TOKEN}, headers=foreign).status_code == 403


def test_only_json_is_json(shelf: Shelf, api: TestClient) -> None:
    """What a form elsewhere can send must not be taken for it."""
    shelf.tag(rex={"animal": 0.9})
    said = json.dumps({"images": ["rex.jpg"], "tag": "dog", "verdict": "confirm"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = api.post("/api/v1/verdicts", content=said, headers={"Content-Type": kind})
        assert answer.status_code == 422 and not shelf.rows("SELECT 1 FROM verdicts")


# -- everything -----------------------------------------------------------------------------


def test_all_answers_have_the_headers(guarded: TestClient) -> None:
    paths = [TAGS, "/nowhere", "/healthz", "/login", "/api/v1/images/x"]
    for path, headers in product(paths, ({}, BEARER)):
        answer = guarded.get(path, headers=headers)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] in ("no-store", "private, no-cache")


def test_a_request_has_its_limit(api: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield b'"' + b"x" * 10_000

    large = b'"' + b"x" * 1_000_001
    for content in (large, pieces()):
        answer = api.post("/api/v1/enqueue", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413 and "1,000,000" in answer.json()["error"]["message"]


def test_what_is_no_wish_is_refused_in_the_one_form(api: TestClient) -> None:
    odd = (b"[" * 500_000, b"{", b"", b"null", b"\xff", b"[NaN]", b'{"items": 1e999}', b'{"\\ud800": 1}')
    for content in (*odd, b'{"items": ["\\ud800"]}', b'{"items": [' + b"9" * 5000 + b"]}"):
        answer = api.post("/api/v1/enqueue", content=content, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500 and answer.json()["error"]["message"]


def test_what_goes_wrong_here_is_not_told(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    site = site_over(shelf.database)
    app = make_app(site)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    answer = TestClient(app, "http://localhost", raise_server_exceptions=False).get("/broken")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert answer.json()["error"]["code"] == "internal_server_error"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "a secret" in caplog.text


def test_a_database_that_is_away_is_said_so(sqlite: Database) -> None:
    from tagger.store.session import open_database

    away = asking(site_over(open_database("postgresql://nobody:secret@127.0.0.1:1/x")))
    answer = away.get(TAGS)
    assert answer.status_code == 503 and answer.json()["error"]["code"] == "database_unavailable"
    assert "secret" not in answer.text
    health = away.get("/healthz")
    assert health.status_code == 503 and health.json() == {"ok": False}
