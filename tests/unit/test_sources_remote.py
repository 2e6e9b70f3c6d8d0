"""Images on servers: one URI for each, confinement, every way in which a server can fail."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from urllib3.util import parse_url

from tagger.errors import SettingsError, SourceError
from tagger.sources import (
    Found,
    OutsideRootsError,
    Refused,
    Roots,
    RootState,
    ScanEvent,
    Skipped,
    SkipReason,
    Stretch,
    Unlisted,
    is_address,
    look,
    objects,
    read,
    root_state,
    scan,
)
from tagger.sources.addresses import Address, parse_address
from tagger.supervision import Loaders, Setup
from tagger.values import FileContent, ImageRef, Limits, LoadedImage, LoadFailure, OutcomeKind, Preprocessing

WEB = Roots.parse(["https://host/photos", "memory://bucket/photos", "pics=https://img.example.org"])


# -- one URI for each image -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        ("https://host/photos/a.jpg", "https://host/photos/a.jpg"),
        ("HTTPS://HOST:443/photos/a.jpg", "https://host/photos/a.jpg"),
        ("https://host:/photos/a.jpg", "https://host/photos/a.jpg"),
        ("https://host/photos/a b.jpg", "https://host/photos/a%20b.jpg"),
        ("https://host/photos/%7ea%2fb%zz.jpg", "https://host/photos/~a%2Fb%25zz.jpg"),
        ("https://host/photos/caf\u00e9.jpg", "https://host/photos/caf%C3%A9.jpg"),
        ("https://host/photos/a.jpg?w=9&q=%2f", "https://host/photos/a.jpg?w=9&q=%2F"),
        ("https://host/photos/a.jpg?", "https://host/photos/a.jpg"),
        ("https://host/photos?id=7", "https://host/photos?id=7"),
        ("https://host/photos//a.jpg", "https://host/photos//a.jpg"),
        ("https://host/photos/..a/.b/...", "https://host/photos/..a/.b/..."),
        ("https://img.example.org/x/a.jpg", "root://pics/x/a.jpg"),
        ("https://img.example.org/", "root://pics"),
        ("https://img.example.org?id=7", "root://pics?id=7"),
        ("root://pics/x/%61.jpg?id=7", "root://pics/x/a.jpg?id=7"),
        ("memory://bucket/photos/a b.jpg", "memory://bucket/photos/a%20b.jpg"),
        ("memory://bucket/photos/a%20b.jpg", "memory://bucket/photos/a%20b.jpg"),
        ("memory://bucket/photos%2Fa.jpg", "memory://bucket/photos/a.jpg"),
        ("memory://bucket/photos/100%.jpg", "memory://bucket/photos/100%25.jpg"),
        ("memory://bucket/photos/a?b#c.jpg", "memory://bucket/photos/a%3Fb%23c.jpg"),
        ("memory://bucket/photos/a\\b.jpg", "memory://bucket/photos/a%5Cb.jpg"),
        ("memory://bucket/photos/%FF.jpg", "memory://bucket/photos/%FF.jpg"),
        ("memory://bucket/photos/2019/", "memory://bucket/photos/2019"),
    ],
)
def test_an_image_has_one_uri(written: str, uri: str) -> None:
    assert WEB.canonical(written) == uri
    assert WEB.canonical(uri) == uri


def test_local_paths_and_uris_are_one_too(tmp_path: Path) -> None:
    roots = Roots.parse([str(tmp_path), f"lib={tmp_path}/lib", "memory://bucket"])
    assert roots.canonical(f"{tmp_path}/a b.jpg") == (tmp_path / "a b.jpg").as_uri()
    assert roots.canonical(f"{tmp_path}/x/../a.jpg") == (tmp_path / "a.jpg").as_uri()
    for same in (f"{tmp_path}/lib/a?.jpg", f"file://{tmp_path}/lib/a%3F.jpg", "root://lib/a%3f.jpg"):
        assert roots.canonical(same) == "root://lib/a%3F.jpg"


@pytest.mark.parametrize(
    ("written", "uri"),
    [
        ("http://[::1]/a", "http://[::1]/a"),
        ("http://[0:0:0:0:0:0:0:1]:80/a", "http://[::1]/a"),
        ("http://[::1]:8080/a", "http://[::1]:8080/a"),
        ("http://h_1.x:08080/", "http://h_1.x:8080"),
        ("s3a://b/k", "s3://b/k"),
        ("sftp://me@host:22/k", "sftp://me@host:22/k"),
        (
            "abfs://container@account.dfs.core.windows.net/k",
            "abfs://container@account.dfs.core.windows.net/k",
        ),
    ],
)
def test_addresses_have_one_form(written: str, uri: str) -> None:
    assert parse_address(written).uri == uri


OUTSIDE = [
    "https://host/photos-private/x",
    "https://host/photo",
    "https://host/",
    "https://host",
    "https://host/Photos/x",
    "https://host//photos/x",
    "https://host/photos%2Fx",
    "https://host.evil/photos/x",
    "https://evil/https://host/photos/x",
    "https://host:444/photos/x",
    "http://host/photos/x",
    "https://img.example.org.evil/x",
    "memory://bucket/photos-private/x",
    "memory://bucket2/photos/x",
    "memory://Bucket/photos/x",
    "memory://bucket",
    "s3://bucket/photos/x",
    "ftp://host/photos/x",
    "root://other/x",
    "file:///etc/passwd",
    "/etc/passwd",
]
STEPS = [
    "https://host/photos/../x",
    "https://host/photos/./x",
    "https://host/photos/..",
    "https://host/photos/%2e%2e/x",
    "https://host/photos/%2E./x",
    "https://host/photos/..%2fx",
    "https://host/photos/a%2f..%2f..%2fx",
    "https://host/photos/..%5cx",
    "https://host/photos/%252e%252e/x",
    "https://host/photos/..%252fx",
    "https://host/photos/%25252525252e%252e/x",
    "https://host/photos/..;a=b/x",
    "root://pics/../x",
    "memory://bucket/photos/../x",
    "memory://bucket/photos/%2e%2e/x",
    "memory://bucket/photos/..%2fx",
    "memory://bucket/photos/..%5Cx",
]
NO_PLACES = [
    "https://host@evil/photos/x",
    "https://user:secret@host/photos/x",
    "https://secret@host/photos/x",
    "memory://user:secret@bucket/photos/x",
    "https://host\\@evil/photos/x",
    "https://host/photos\\x",
    "https://host/photos/a.jpg#part",
    "https://host/photos/a\nb.jpg",
    "https://host/photos/a%00.jpg",
    "memory://bucket/photos/a%00.jpg",
    "https://host/photos/a\0.jpg",
    "https://h\u00f6st/photos/x",
    "https:///photos/x",
    "https://host:99999/photos/x",
    "https://host:x/photos/x",
    "https://host:0/photos/x",
    "https://[::1/photos/x",
    "https://[::z]/photos/x",
    "https://[1:2]/photos/x",
    "https://ho st/photos/x",
    "https://-host/photos/x",
    "https://host-/photos/x",
    "https://host./photos/x",
    "memory:///photos/x",
    "memory://bucket?/photos",
    "memory://../photos/x",
    "https://host/photos/\ud800",
    "memory://bucket/photos/\ud800",
    "/photos/\ud800",
    "zip://a.zip::file:///etc/passwd",
    "simplecache::https://host/photos/x",
    "photos/a.jpg",
    "~/a.jpg",
    "",
    "C:\\photos\\a.jpg",
]


@pytest.mark.parametrize("item", OUTSIDE)
def test_confinement_goes_by_parts(item: str) -> None:
    with pytest.raises(OutsideRootsError):
        WEB.canonical(item)


@pytest.mark.parametrize("item", [*STEPS, *NO_PLACES])
def test_what_may_be_understood_in_two_ways_is_refused(item: str) -> None:
    with pytest.raises(SourceError) as caught:
        WEB.canonical(item)
    assert "secret" not in str(caught.value)
    assert str(caught.value).isprintable()
    result = read(ImageRef(7, item), WEB)
    assert isinstance(result, LoadFailure)
    assert result.kind is OutcomeKind.OUTSIDE
    assert "secret" not in result.reason


@pytest.mark.parametrize(
    "start",
    ["/", "https://host/photos/", "https://user:secret@", "memory://bucket/", "root://pics/", "root://", ""],
)
@pytest.mark.parametrize("letter", ["a", "/", "../", "%25", "@", "\u00e9", "\ud800", "\0"])
def test_a_million_characters_are_refused_in_a_few(start: str, letter: str) -> None:
    roots = Roots(WEB.items, WEB.remote).adding(["/"])
    began = time.process_time()
    for length in (16_000, 1_000_000):
        try:
            uri = roots.canonical(start + letter * (length // len(letter)))
        except SourceError as error:
            assert len(str(error)) < 500
            assert "secret" not in str(error)
        else:
            assert length == 16_000
            assert roots.canonical(uri) == uri
    assert time.process_time() - began < 2


TEXT = st.text(st.sampled_from("a./%2eEfF5cC\\:@?#;hostpt\u00e9 ~[]\ud800\0"), max_size=30)


@given(
    st.one_of(
        st.text(max_size=50),
        st.builds(
            str.__add__,
            st.sampled_from(
                [
                    "https://host/photos",
                    "https://host",
                    "memory://bucket/photos",
                    "root://pics",
                    "/",
                    "file:///",
                ]
            ),
            TEXT,
        ),
    )
)
def test_whatever_is_accepted_lies_within_and_has_one_uri(item: str) -> None:
    roots = Roots(WEB.items, WEB.remote).adding(["/library"])
    try:
        uri = roots.canonical(item)
    except SourceError as error:
        assert len(str(error)) < 500
        return
    assert roots.canonical(uri) == uri
    assert uri.isascii()
    assert uri.isprintable()
    place = roots.place_of(uri)
    if isinstance(place, Address):
        root = next(root.address for root in roots.remote if root.contains(place))
        assert place.parts[: len(root.parts)] == root.parts
        assert not {".", ".."} & set(place.key.replace("\\", "/").split("/"))
        asked = parse_url(place.uri) if place.web else None
        assert asked is None or (asked.netloc, asked.url) == (place.authority, place.uri), "asked as judged"
    else:
        assert place.parts[:2] == ("/", "library")


# -- roots ------------------------------------------------------------------------------------------


def test_roots_are_local_or_remote(tmp_path: Path) -> None:
    roots = Roots.parse([str(tmp_path), "archive=memory://bucket/photos/", "https://img.example.org/public/"])
    assert [root.path for root in roots.items] == [tmp_path]
    assert [root.uri for root in roots.remote] == ["root://archive", "https://img.example.org/public"]
    assert [root.listable for root in roots.remote] == [True, False]
    assert roots.adding(["/elsewhere"]).remote == roots.remote
    assert pickle.loads(pickle.dumps(roots)) == roots


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["nonsense://bucket"], "no protocol"),
        (["file://host/x"], "no protocol"),
        (["zip://x"], "no protocol"),
        (["simplecache://x"], "no protocol"),
        (["oci://bucket"], "pip install 'ocifs'"),
        (["https://user:secret@host/x"], "credentials"),
        (["s3://key:secret@bucket/x"], "credentials"),
        (["https://host/x?token=secret"], "query"),
        (["https://host/x#y"], "fragment"),
        (["https://host/x/../y"], "steps"),
        (["a=memory://b/x", "a=memory://b/y"], "'a'"),
        (["a=memory://b/x", "A=/x"], "'a'"),
        (["a=memory://b/x", "b=memory://b/x"], "one name each"),
    ],
)
def test_a_root_that_cannot_be_is_refused_without_its_secrets(items: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        Roots.parse(items)
    assert "secret" not in str(caught.value)


def test_the_package_of_s3_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagger.sources.objects.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'tagger\[s3\]'"):
        Roots.parse(["s3://bucket/photos"])


def test_prefixes_cover_named_roots_inside() -> None:
    roots = Roots.parse(["memory://b/photos", "old=memory://b/photos/lib/old"])
    assert roots.prefixes(parse_address("memory://b/photos/lib")) == ("memory://b/photos/lib/", "root://old/")
    assert roots.uri_of(parse_address("memory://b/photos/lib/old/a.jpg")) == "root://old/a.jpg"


def test_local_roots_need_neither_fsspec_nor_a_web_client(tmp_path: Path) -> None:
    code = (
        "import sys; from tagger.sources import Roots, scan, prepare\n"
        f"roots = Roots.parse([{str(tmp_path)!r}]); prepare(roots); list(scan({str(tmp_path)!r}, roots))\n"
        "sys.exit(bool({'fsspec', 'urllib3', 'aiohttp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- the web ----------------------------------------------------------------------------------------

PHOTO = bytes(range(256)) * 40


@dataclass
class Site:
    """What the web server of a test does, by path; and what it was asked."""

    address: str = ""
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, roots: Roots | None = None, **options: Any) -> FileContent | LoadFailure:
        return read(ImageRef(7, self.address + path), roots or self.roots, **options)

    def failure(self, path: str, **options: Any) -> LoadFailure:
        """Why there is no image, in words for a person."""
        result = self.get(path, **options)
        assert isinstance(result, LoadFailure)
        assert result.image_id == 7
        assert len(result.reason.split()) > 2, "a reason is a sentence"
        assert "\n" not in result.reason
        assert len(result.reason) < 500
        return result

    @property
    def roots(self) -> Roots:
        return Roots.parse([f"{self.address}/photos"])


def answer(
    status: int = 200, body: bytes = PHOTO, *, length: int | None = -1, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    """A page: ``length`` is what it promises, None for nothing; headers with _ for -."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        if length is not None:
            handler.send_header("Content-Length", str(len(body) if length < 0 else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        if length is None or length > len(body):
            handler.close_connection = True

    return page


def chunked(pieces: list[bytes], *, ends: bool = True) -> Callable[[BaseHTTPRequestHandler], None]:
    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if ends:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return page


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.connections.add(self.client_address)
            made.headers = dict(self.headers)
            page = made.pages.get(self.path, answer(404, b"no such page"))
            try:
                page(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def test_bytes_and_their_digest_over_http(site: Site) -> None:
    site.pages["/photos/a%20b.jpg?w=1"] = answer(Last_Modified="Sat, 20 Jul 2019 16:05:09 GMT")
    result = site.get("/photos/a%20b.jpg?w=1")
    uri = f"{site.address}/photos/a%20b.jpg?w=1"
    assert result == FileContent(7, uri, PHOTO, hashlib.sha256(PHOTO).digest(), 1563638709 * 10**9)
    assert site.headers["Accept-Encoding"] == "identity"


def test_a_named_root_on_the_web(site: Site) -> None:
    site.pages["/photos/a.jpg?w=1"] = answer()
    roots = Roots.parse([f"web={site.address}/photos"])
    result = read(ImageRef(7, "root://web/a.jpg?w=1"), roots)
    assert isinstance(result, FileContent)
    assert result.uri == "root://web/a.jpg?w=1"


def test_connections_are_kept_between_images_and_after_errors(site: Site) -> None:
    site.pages |= {f"/photos/{i}.jpg": answer() for i in range(5)}
    site.pages["/photos/moved.jpg"] = answer(302, b"moved", Location="/photos/1.jpg")
    for name in ("0", "1", "gone", "2", "moved", "3", "4"):
        site.get(f"/photos/{name}.jpg")
    assert len(site.asked) == 8
    assert len(site.connections) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, OutcomeKind.MISSING),
        (410, OutcomeKind.MISSING),
        (401, OutcomeKind.DENIED),
        (403, OutcomeKind.DENIED),
        (204, OutcomeKind.UNREADABLE),
        (206, OutcomeKind.UNREADABLE),
        (300, OutcomeKind.UNREADABLE),
        (302, OutcomeKind.UNREADABLE),
        (400, OutcomeKind.UNREADABLE),
        (429, OutcomeKind.UNREADABLE),
        (500, OutcomeKind.UNREADABLE),
        (503, OutcomeKind.UNREADABLE),
        (799, OutcomeKind.UNREADABLE),
    ],
)
def test_every_status_has_one_outcome(site: Site, status: int, kind: OutcomeKind) -> None:
    site.pages["/photos/a.jpg"] = answer(status, b"" if status == 204 else b"an error page")
    result = site.failure("/photos/a.jpg")
    assert result.kind is kind
    assert str(status) in result.reason
    assert len(site.asked) == (3 if status in (429, 500, 503) else 1)


def test_a_server_that_recovers_at_once_is_asked_again(site: Site) -> None:
    pages = [answer(503, b"busy"), answer(200, PHOTO[:99], length=len(PHOTO)), answer()]
    site.pages["/photos/a.jpg"] = lambda handler: pages.pop(0)(handler)
    assert isinstance(site.get("/photos/a.jpg"), FileContent)


@pytest.mark.parametrize(
    "page",
    [
        answer(200, PHOTO[:-1], length=len(PHOTO)),
        answer(200, b"", length=len(PHOTO)),
        chunked([PHOTO[:100], PHOTO[100:200]], ends=False),
        chunked([], ends=False),
    ],
)
def test_what_was_cut_off_is_no_image(site: Site, page: Callable[[BaseHTTPRequestHandler], None]) -> None:
    site.pages["/photos/a.jpg"] = page
    result = site.failure("/photos/a.jpg")
    assert result.kind is OutcomeKind.UNREADABLE
    assert "before the image was whole" in result.reason


def test_what_is_longer_than_promised_does_not_leak_into_the_next_image(site: Site) -> None:
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    site.pages["/photos/a.jpg"] = answer(200, PHOTO + more, length=len(PHOTO))
    site.pages["/photos/b.jpg"] = answer(200, b"other")
    for name, body in (("a", PHOTO), ("b", b"other"), ("a", PHOTO), ("b", b"other")):
        result = site.get(f"/photos/{name}.jpg")
        assert isinstance(result, FileContent)
        assert result.data == body


LEFT_BY_URLLIB3 = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""It leaves a socket to the collector when two lengths do not agree."""


@LEFT_BY_URLLIB3
@pytest.mark.parametrize("header", ["-1", "x", "99999999999999999999999", "1, 2"])
def test_a_length_that_is_none_is_no_image_cut_short(site: Site, header: str) -> None:
    def page(handler: BaseHTTPRequestHandler) -> None:
        answer(200, PHOTO, length=None, Content_Length=header)(handler)

    site.pages["/photos/a.jpg"] = page
    result = site.get("/photos/a.jpg")
    assert isinstance(result, LoadFailure) or result.data == PHOTO
    gc.collect()


def test_an_image_of_unknown_length(site: Site) -> None:
    site.pages["/photos/a.jpg"] = chunked([PHOTO, PHOTO])
    site.pages["/photos/b.jpg"] = answer(length=None)
    admitted: list[int] = []
    result = site.get("/photos/a.jpg", admit=admitted.append)
    assert isinstance(result, FileContent)
    assert result.data == PHOTO * 2
    assert admitted == [8_000_000]
    again = site.get("/photos/b.jpg", limits=Limits(max_bytes=len(PHOTO)), admit=admitted.append)
    assert isinstance(again, FileContent)
    assert admitted[1:] == [len(PHOTO)]


def test_memory_is_asked_for_before_it_is_used(site: Site) -> None:
    site.pages["/photos/a.jpg"] = answer()
    site.pages["/photos/b.jpg"] = chunked([bytes(1_000_000)] * 9)
    admitted: list[int] = []
    site.get("/photos/a.jpg", admit=admitted.append)
    assert admitted == [len(PHOTO)]
    site.get("/photos/b.jpg", limits=Limits(max_bytes=20_000_000), admit=admitted.append)
    assert admitted[1:] == [8_000_000, 20_000_000]


def test_too_large_is_said_before_and_while_reading(site: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(PHOTO)

    admitted: list[int] = []
    site.pages |= {"/photos/a.jpg": answer(), "/photos/endless": endless}
    for path in ("/photos/a.jpg", "/photos/endless"):
        limits = Limits(max_bytes=len(PHOTO) - 1)
        result = site.failure(path, limits=limits, admit=admitted.append)
        assert result.kind is OutcomeKind.TOO_LARGE
        assert "TAGGER_MAX_BYTES" in result.reason
    assert admitted == [len(PHOTO) - 1]


def test_an_empty_answer_is_corrupt(site: Site) -> None:
    site.pages["/photos/a.jpg"] = answer(body=b"")
    assert site.failure("/photos/a.jpg").kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("headers", [{"Content_Encoding": "gzip"}, {"Transfer_Encoding": "gzip, chunked"}])
def test_what_was_compressed_on_the_way_is_no_image(site: Site, headers: dict[str, str]) -> None:
    site.pages["/photos/a.jpg"] = answer(length=None, **headers)
    result = site.failure("/photos/a.jpg")
    assert result.kind is OutcomeKind.UNREADABLE
    assert "gzip" in result.reason


def test_a_slow_server_is_not_waited_for_ever(site: Site) -> None:
    go_on = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        go_on.wait(20)

    def stalls(handler: BaseHTTPRequestHandler) -> None:
        answer(200, PHOTO[:10], length=len(PHOTO))(handler)
        handler.wfile.flush()
        go_on.wait(20)

    site.pages |= {"/photos/slow": slow, "/photos/stalls": stalls}
    for path in site.pages:
        began = time.monotonic()
        result = site.failure(path, limits=Limits(max_seconds=0.9))
        assert time.monotonic() - began < 3
        assert result.kind is OutcomeKind.UNREADABLE
        assert "did not answer in time" in result.reason
    go_on.set()


def test_redirects_are_followed_inside_only(site: Site) -> None:
    secret = "http://127.0.0.1:1/photos/a.jpg"
    site.pages |= {
        "/photos/real.jpg": answer(),
        "/photos/relative": answer(301, b"", Location="real.jpg"),
        "/photos/path": answer(307, b"", Location="/photos/relative#part"),
        "/photos/out": answer(302, b"", Location="/private/a.jpg?token=secret"),
        "/photos/far": answer(302, b"", Location=secret),
        "/photos/late": answer(302, b"", Location="out"),
        "/photos/climbs": answer(302, b"", Location="/photos/%2e%2e/private/a.jpg"),
        "/photos/steps": answer(302, b"", Location="../private/a.jpg"),
        "/photos/user": answer(302, b"", Location=f"http://me:secret@{site.address[7:]}/photos/real.jpg"),
        "/photos/file": answer(302, b"", Location="file:///etc/passwd"),
        "/photos/store": answer(302, b"", Location="memory://lib/photos/a.jpg"),
        "/photos/broken": answer(302, b"", Location="http://[::1/x"),
        "/photos/loop": answer(302, b"", Location="loop"),
        "/private/a.jpg": answer(),
    }
    with_store = Roots(remote=site.roots.remote + Roots.parse(["memory://lib"]).remote)
    assert isinstance(site.get("/photos/relative"), FileContent)
    assert isinstance(site.get("/photos/path"), FileContent)
    for name in ("out", "far", "late", "climbs", "steps", "user", "file", "store", "broken"):
        result = site.failure(f"/photos/{name}", roots=with_store)
        assert result.kind is OutcomeKind.OUTSIDE, name
        assert "secret" not in result.reason
    assert site.failure("/photos/loop").kind is OutcomeKind.UNREADABLE
    assert not any("private" in path for path in site.asked)
    both = Roots.parse([f"{site.address}/photos", f"{site.address}/private"])
    assert isinstance(site.get("/photos/steps", both), FileContent)


def test_a_server_that_is_not_there() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    result = Site(address).failure("/photos/a.jpg")
    assert result.kind is OutcomeKind.UNREADABLE
    assert "takes no connections" in result.reason
    assert root_state(parse_address(address)) is RootState.ABSENT
    result = Site("http://nobody.invalid").failure("/photos/a.jpg")
    assert result.kind is OutcomeKind.UNREADABLE
    assert "nobody.invalid" in result.reason


@LEFT_BY_URLLIB3
def test_a_server_that_talks_nonsense_or_hangs_up() -> None:
    for word in (
        b"220 mail.example.org ESMTP\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n12345",
    ):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve(server: socket.socket = server, word: bytes = word) -> None:
                for _ in range(3):
                    connection, _peer = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(word)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            result = Site(f"http://127.0.0.1:{server.getsockname()[1]}").failure("/photos/a.jpg")
            assert result.kind is OutcomeKind.UNREADABLE
    gc.collect()


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_bytes(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        result = Site(f"https://localhost:{server.getsockname()[1]}").failure("/photos/a.jpg")
        thread.join()
    assert result.kind is OutcomeKind.UNREADABLE
    assert "no safe connection" in result.reason


def self_signed() -> bytes:
    """A key and a certificate for localhost."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(1))
        .not_valid_after(today + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def test_a_web_server_cannot_be_listed_and_is_not_asked_when_looked_at(site: Site) -> None:
    with pytest.raises(SourceError, match="one by one"):
        list(scan(parse_address(f"{site.address}/photos"), site.roots))
    uri = f"{site.address}/photos/a.jpg"
    assert look(uri, site.roots) == Found(uri, None, None)
    assert site.asked == []
    assert root_state(parse_address(f"{site.address}/photos")) is RootState.PRESENT


def test_a_loading_process_stays_fit_and_connected(site: Site) -> None:
    image = io.BytesIO()
    Image.new("RGB", (80, 60), "red").save(image, "JPEG")
    site.pages |= {f"/photos/{i}.jpg": answer(body=image.getvalue()) for i in range(30)}
    setup = Setup(site.roots, Limits(), Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3))
    with Loaders(setup, 1, lambda ref: pytest.fail("died")) as loaders:
        for path in site.pages:
            result = loaders.load(ImageRef(7, site.address + path), lambda digest: True)
            assert isinstance(result, LoadedImage)
    assert len(site.connections) == 1


# -- stores -----------------------------------------------------------------------------------------

LIBRARY = {
    "a.jpg": b"one",
    "2019/b c.jpg": b"two",
    "2019/deep/er/d": b"three",
    "2019/100%25.jpg": b"four",
    "2019/\u00e9.png": b"five",
    "2019/.hidden.jpg": b"x",
    "@eaDir/a.jpg/SYNO_THUMB.jpg": b"x",
    "@eaDir/b.jpg/SYNO_THUMB.jpg": b"x",
    "clip.mp4": b"x",
    "My.photoslibrary/originals/o.jpg": b"six",
    "My.photoslibrary/resources/r.jpg": b"x",
}
NAMES = {
    "a.jpg": 3,
    "2019/b%20c.jpg": 3,
    "2019/deep/er/d": 5,
    "2019/100%2525.jpg": 4,
    "2019/%C3%A9.png": 4,
    "My.photoslibrary/originals/o.jpg": 3,
}
SKIPS = sorted([SkipReason.HIDDEN, SkipReason.SYSTEM, SkipReason.SYSTEM, SkipReason.VIDEO])


@pytest.fixture
def memory() -> Iterator[None]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    for name, data in LIBRARY.items():
        store.pipe_file(f"/lib/photos/{name}", data)
    yield
    store.store.clear()


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """An S3 server in a process of its own, with the library in the bucket ``lib``."""
    port = free_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (
        pytest.MonkeyPatch.context() as environment,
        subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as server,
    ):
        for name, value in settings.items():
            environment.setenv(name, value)
        try:
            wait_for(port, server)
            store = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
            store.mkdir("lib")
            store.mkdir("bare")
            for name, data in LIBRARY.items():
                store.pipe_file(f"lib/photos/{name}", data)
            yield store
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the S3 server does not come up")


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of the library, in either store."""
    request.getfixturevalue(request.param)
    return f"{request.param}://lib/photos"


def events(place: str, roots: Roots) -> list[ScanEvent]:
    return list(scan(parse_address(place), roots))


def test_a_store_is_scanned_like_a_disk(store: str) -> None:
    for roots, prefix in ((Roots.parse([store]), store), (Roots.parse([f"lib={store}"]), "root://lib")):
        found = events(store, roots)
        sizes = {event.uri: event.size for event in found if isinstance(event, Found)}
        assert sizes == {f"{prefix}/{name}": size for name, size in NAMES.items()}
        assert sorted(event.reason for event in found if isinstance(event, Skipped)) == SKIPS
        assert len(found) == len(sizes) + len(SKIPS)


def test_what_is_scanned_can_be_looked_at_and_read(store: str) -> None:
    roots = Roots.parse([f"lib={store}"])
    for event in events(store, roots):
        if isinstance(event, Found):
            assert roots.canonical(event.uri) == event.uri
            assert look(event.uri, roots) == event
            result = read(ImageRef(7, event.uri), roots)
            assert isinstance(result, FileContent)
            assert result.size == event.size
            assert result.mtime_ns == event.mtime_ns
            assert result.data in LIBRARY.values()


def test_s3_tells_when_an_object_was_changed(s3: Any) -> None:
    found = [
        event
        for event in events("s3://lib/photos/2019", Roots.parse(["s3://lib"]))
        if isinstance(event, Found)
    ]
    for event in found:
        assert event.mtime_ns is not None
        assert abs(event.mtime_ns / 1e9 - time.time()) < 600


def test_a_place_may_be_given_by_its_uri(memory: None, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    roots = Roots.parse(["lib=memory://lib/photos", f"disk={tmp_path}"])
    assert Found("root://lib/2019/deep/er/d", 5, None) in list(scan("root://lib/2019", roots))
    (stretch,) = scan("root://disk", roots)
    assert isinstance(stretch, Stretch)
    assert stretch.uris == ["root://disk/a.jpg"]
    with pytest.raises(OutsideRootsError):
        list(scan("memory://lib/other", roots))


def test_a_single_object_and_a_folder_within(store: str) -> None:
    roots = Roots.parse([store])
    (event,) = events(f"{store}/a.jpg", roots)
    assert isinstance(event, Found)
    assert (event.uri, event.size) == (f"{store}/a.jpg", 3)
    assert events(f"{store}/clip.mp4", roots) != [], "what is named outright is never passed over"
    names = {event.uri for event in events(f"{store}/2019/deep", roots) if isinstance(event, Found)}
    assert names == {f"{store}/2019/deep/er/d"}


def test_what_is_not_there_or_no_file(store: str) -> None:
    roots = Roots.parse([store])
    for name, kind in (("gone.jpg", OutcomeKind.MISSING), ("2019", OutcomeKind.UNSUPPORTED)):
        result = read(ImageRef(7, f"{store}/{name}"), roots)
        assert isinstance(result, LoadFailure)
        assert result.kind is kind
        seen = look(f"{store}/{name}", roots)
        assert isinstance(seen, Refused)
        assert seen.kind is kind
    (event,) = events(f"{store}/gone", roots)
    assert isinstance(event, Unlisted)
    assert event.uri_prefix == f"{store}/gone/"
    with pytest.raises(OutsideRootsError):
        events(store.removesuffix("photos") + "private", roots)


def test_limits_hold_for_stores(store: str) -> None:
    roots = Roots.parse([store])
    admitted: list[int] = []
    assert isinstance(
        read(ImageRef(7, f"{store}/a.jpg"), roots, Limits(max_bytes=3), admit=admitted.append), FileContent
    )
    result = read(ImageRef(7, f"{store}/a.jpg"), roots, Limits(max_bytes=2), admit=admitted.append)
    assert isinstance(result, LoadFailure)
    assert result.kind is OutcomeKind.TOO_LARGE
    assert admitted == [3]


def test_a_size_that_is_known_is_believed_until_it_is_not_so(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots, asked = Roots.parse(["s3://lib"]), []
    opened = objects._store("s3", "lib", os.getpid())
    kept = opened.info

    def info(path: str) -> Any:
        asked.append(path)
        return kept(path)

    monkeypatch.setattr(opened, "info", info)
    for size, looks in ((3, 0), (2, 1), (4, 1), (10**12, 1), (0, 1), (None, 1)):
        asked.clear()
        result = read(ImageRef(7, "s3://lib/photos/a.jpg", size=size), roots)
        assert isinstance(result, FileContent)
        assert result.data == b"one"
        assert len(asked) == looks, size
    gone = read(ImageRef(7, "s3://lib/photos/gone.jpg", size=3), roots)
    assert isinstance(gone, LoadFailure)
    assert gone.kind is OutcomeKind.MISSING


def test_an_empty_object_is_corrupt(s3: Any) -> None:
    s3.pipe_file("lib/other/empty.jpg", b"")
    result = read(ImageRef(7, "s3://lib/other/empty.jpg"), Roots.parse(["s3://lib"]))
    assert isinstance(result, LoadFailure)
    assert result.kind is OutcomeKind.CORRUPT


def test_an_object_that_changes_while_it_is_read(memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    kept = MemoryFileSystem.cat_file
    times = [1]

    def grown(self: Any, path: str, start: int | None = None, end: int | None = None) -> Any:
        if times[0]:
            times[0] -= 1
            self.pipe_file(path, self.store[path].getvalue() + b"more")
        return kept(self, path, start, end)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", grown)
    roots = Roots.parse(["memory://lib"])
    result = read(ImageRef(7, "memory://lib/photos/a.jpg"), roots)
    assert isinstance(result, FileContent)
    assert result.data == b"onemore"
    times[0] = 9
    always = read(ImageRef(7, "memory://lib/photos/a.jpg"), roots)
    assert isinstance(always, LoadFailure)
    assert "keeps changing" in always.reason


def test_a_listing_goes_on_from_page_to_page(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, pages = type(s3).call_s3, []

    def small_pages(self: Any, method: str, **options: Any) -> Any:
        pages.append(method)
        return kept(self, method, MaxKeys=2, **options)

    monkeypatch.setattr("s3fs.S3FileSystem.call_s3", small_pages)
    found = events("s3://lib/photos", Roots.parse(["s3://lib"]))
    assert {event.uri for event in found if isinstance(event, Found)} == {
        f"s3://lib/photos/{name}" for name in NAMES
    }
    assert pages == ["list_objects_v2"] * 6


def test_names_that_are_no_place_are_told_and_harm_nothing(s3: Any) -> None:
    for name in ("a\\..\\b.jpg", "a//c.jpg", "a/d.jpg", "a/"):
        s3.call_s3("put_object", Bucket="lib", Key=f"odd/{name}", Body=b"x")
    found = events("s3://lib/odd", Roots.parse(["s3://lib"]))
    assert {event.uri for event in found if isinstance(event, Found)} == {
        "s3://lib/odd/a//c.jpg",
        "s3://lib/odd/a/d.jpg",
    }
    (unlisted,) = (event for event in found if isinstance(event, Unlisted))
    assert unlisted.uri_prefix == "s3://lib/odd/a%5C..%5Cb.jpg/"
    result = read(ImageRef(7, "s3://lib/odd/a//c.jpg"), Roots.parse(["s3://lib"]))
    assert isinstance(result, FileContent)


def test_the_state_of_stores(s3: Any, memory: None) -> None:
    s3.pipe_file("bare/.hidden/a.jpg", b"x")
    assert root_state(parse_address("s3://lib")) is RootState.PRESENT
    assert root_state(parse_address("s3://lib/photos/a.jpg")) is RootState.PRESENT
    assert root_state(parse_address("s3://bare")) is RootState.EMPTY
    assert root_state(parse_address("s3://nowhere")) is RootState.ABSENT
    assert root_state(parse_address("s3://lib/nowhere")) is RootState.ABSENT
    assert root_state(parse_address("memory://lib/photos")) is RootState.PRESENT
    assert root_state(parse_address("memory://nowhere")) is RootState.ABSENT


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


class NoCredentialsError(Exception):
    """As botocore calls it."""


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (PermissionError("Access Denied"), OutcomeKind.DENIED, "does not let us"),
        (NoCredentialsError(), OutcomeKind.DENIED, "credentials"),
        (TimeoutError(), OutcomeKind.UNREADABLE, "in time"),
        (OSError(5, "odd"), OutcomeKind.UNREADABLE, "odd"),
        (RuntimeError("https://user:secret@host/\n" + "x" * 10_000), OutcomeKind.UNREADABLE, "memory://lib"),
        (IsADirectoryError(), OutcomeKind.UNSUPPORTED, "folder"),
        (ModuleNotFoundError("none", name="paramiko"), OutcomeKind.UNREADABLE, "paramiko"),
    ],
)
def test_errors_of_a_library_are_sentences(
    memory: None, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: OutcomeKind, words: str
) -> None:
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.info", raising(error))
    roots = Roots.parse(["memory://lib"])
    result = read(ImageRef(7, "memory://lib/photos/a.jpg"), roots)
    assert isinstance(result, LoadFailure)
    assert result.kind is kind
    assert words in result.reason
    assert "secret" not in result.reason
    assert len(result.reason) < 400
    (event,) = scan(parse_address("memory://lib/photos"), roots)
    assert isinstance(event, Unlisted)
    assert event.kind is kind


def test_a_folder_that_cannot_be_listed_is_unlisted_and_the_others_are_found(
    memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    kept = MemoryFileSystem.ls

    def closed(self: Any, path: str, detail: bool = True) -> Any:
        if path.endswith("/2019"):
            raise PermissionError(path)
        return kept(self, path, detail=detail)

    monkeypatch.setattr(MemoryFileSystem, "ls", closed)
    found = events("memory://lib/photos", Roots.parse(["memory://lib"]))
    assert [event.uri_prefix for event in found if isinstance(event, Unlisted)] == [
        "memory://lib/photos/2019/"
    ]
    assert "memory://lib/photos/a.jpg" in {event.uri for event in found if isinstance(event, Found)}


# -- one look at a local file -----------------------------------------------------------------------


def test_a_look_at_local_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"123")
    os.utime(tmp_path / "in" / "a.jpg", ns=(5, 6))
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "in" / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to("a.jpg")
    os.mkfifo(tmp_path / "in" / "pipe")
    roots = Roots.parse([f"lib={tmp_path / 'in'}"])
    assert look("root://lib/a.jpg", roots) == Found("root://lib/a.jpg", 3, 6)
    assert look("root://lib/link.jpg", roots) == Found("root://lib/link.jpg", 3, 6)
    assert look("root://lib/out.jpg", roots, follow_links=True) == Found(
        "root://lib/out.jpg", 1, look_mtime(tmp_path)
    )
    for name, kind in (
        ("gone.jpg", OutcomeKind.MISSING),
        ("a.jpg/below", OutcomeKind.MISSING),
        ("out.jpg", OutcomeKind.OUTSIDE),
        ("../secret.jpg", OutcomeKind.OUTSIDE),
        ("pipe", OutcomeKind.UNSUPPORTED),
        ("", OutcomeKind.UNSUPPORTED),
    ):
        seen = look(f"root://lib/{name}", roots)
        assert isinstance(seen, Refused), name
        assert seen.kind is kind, name


def look_mtime(tmp_path: Path) -> int:
    return (tmp_path / "secret.jpg").stat().st_mtime_ns


def test_what_looks_like_an_address() -> None:
    assert is_address("s3://b/k")
    assert not is_address("/a/s3://b")
    assert not is_address("a b://c")
