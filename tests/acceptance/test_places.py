"""Every name and place that a file system allows: one outcome each, and the very bytes back."""

from __future__ import annotations

import os
import socket
import subprocess
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tagger.sources import Roots
from tagger.store.session import Database
from tests.photos import EXAMPLES

from .conftest import TAGGER, Tagger
from .test_commands import Ask

NAMES = [
    b"\xff\xfe.jpg",
    b"caf\xe9.jpg",
    b"\xed\xa0\x80 a lone surrogate.jpg",
    b"new\nline.jpg",
    b"tab\tand\rreturn.jpg",
    b"\x1b[2J\x1b]0;title\x07.jpg",
    b"\x01\x7f.jpg",
    b"'quotes\"`.jpg",
    b"back\\slash.jpg",
    b"\\xff.jpg",
    b"%41.jpg",
    b"%2F%00.jpg",
    b"a.jpg",
    b"A.jpg",
    b"a.JPG",
    b"a_b.jpg",
    b"aXb.jpg",
    b"#1?&;=$(x)*{}.jpg",
    b"[red]x[b].jpg",
    b"-rf.jpg",
    b"--help",
    b"~",
    b" spaces .jpg ",
    b"dots.jpg...",
    b"file:",
    b"root:",
    b"'; DROP TABLE images;--",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.jpg".encode(),
    "\N{LINE SEPARATOR}\N{ZERO WIDTH NO-BREAK SPACE}.jpg".encode(),
    "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}.jpg".encode(),
    unicodedata.normalize("NFC", "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg").encode(),
    unicodedata.normalize("NFD", "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg").encode(),
    b"n" * 255,
    "\N{LATIN SMALL LETTER U WITH DIAERESIS}".encode() * 127,
]
FOLDERS = [b"\xff \n\x1b[31m", b"%41", b"a", b"A", b"file:", b"root:", b"~", b"-d", b"[x]"]


@dataclass(frozen=True)
class Places:
    """A folder of them, and what must come of each file beneath."""

    folder: Path
    expected: Mapping[bytes, str]

    @property
    def tagged(self) -> set[bytes]:
        return {path for path, outcome in self.expected.items() if outcome == "ok"}


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    folder = tmp_path / "places"
    expected: dict[bytes, str] = {}
    photo = (EXAMPLES / "domestic_dog.jpg").read_bytes()
    for below in [b"names/" + name for name in NAMES] + [name + b"/p.jpg" for name in FOLDERS]:
        path = folder / os.fsdecode(below)
        with suppress(OSError):  # not every file system takes every name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo)
    # Nor does each keep apart what differs in case or composition only.
    expected |= {os.fsencode(path): "ok" for path in folder.rglob("*") if path.is_file()}
    expected |= _links(folder, photo) | _no_photos(folder) | _deep(folder, photo)
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # a socket's own path may have no more than 107 bytes
        server.bind("socket.jpg")
        os.chdir(here)
        yield Places(folder, expected | {os.fsencode(folder / "socket.jpg"): "unsupported"})


def _links(folder: Path, photo: bytes) -> dict[bytes, str]:
    secret = folder.parent / "secret \x1b[31m.jpg"
    secret.write_bytes(photo)
    (folder / "real").mkdir()
    (folder / "real" / "r.jpg").write_bytes(photo)
    os.link(folder / "real" / "r.jpg", folder / "hard.jpg")
    for name, target in {
        "up": "..",
        "again": "real",
        "self.jpg": "self.jpg",
        "one": "two",
        "two": "one",
        "gone.jpg": "no\x1b[31m\nwhere",
        "zero.jpg": "/dev/zero",
        "passwd.jpg": "/etc/passwd",
        "secret.jpg": str(secret),
        "link0.jpg": "real/r.jpg",
        **{f"link{number}.jpg": f"link{number - 1}.jpg" for number in range(1, 20)},
    }.items():
        (folder / name).symlink_to(target)
    outcomes = dict.fromkeys(["self.jpg", "one", "two", "gone.jpg"], "missing")
    # The link `up` leads out too: to the folder that holds this one.
    outcomes |= dict.fromkeys(["up", "zero.jpg", "passwd.jpg", "secret.jpg"], "outside")
    outcomes |= dict.fromkeys(
        ["real/r.jpg", "hard.jpg", *(f"link{number}.jpg" for number in range(20))], "ok"
    )
    return {os.fsencode(folder / name): outcome for name, outcome in outcomes.items()}


def _no_photos(folder: Path) -> dict[bytes, str]:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "empty.jpg").touch()
    with (folder / "endless.jpg").open("wb") as file:
        file.truncate(10 * 2**40)  # sparse: ten terabytes of nothing
    found = {"pipe.jpg": "unsupported", "empty.jpg": "corrupt", "endless.jpg": "too_large"}
    if os.geteuid() == 0:
        with suppress(OSError):  # a container may forbid it
            os.mknod(folder / "device.jpg", 0o020666, os.makedev(1, 5))
            found["device.jpg"] = "unsupported"
    return {os.fsencode(folder / name): outcome for name, outcome in found.items()}


def _deep(folder: Path, photo: bytes) -> dict[bytes, str]:
    deep = folder.joinpath(*["d"] * 300)
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(photo)
    return {os.fsencode(deep / "a.jpg"): "ok"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "tagger.db")
    database: Database = request.getfixturevalue("postgresql")
    return database.engine.url.render_as_string(hide_password=False)


def _path(uri: str) -> bytes:
    return os.fsencode(Roots().adding(["/"]).path_of(uri))


def _null_ended(tagger: Tagger, url: str) -> set[bytes]:
    command = [*TAGGER, "search", "dog", "--null", "--db", url]
    out = subprocess.run(command, env=tagger.env, cwd=tagger.folder, stdout=subprocess.PIPE, check=True)
    return set(out.stdout.split(b"\0")) - {b""}


def test_each_has_one_outcome_and_its_own_name_on_either_database(
    tagger: Tagger, places: Places, url: str, rows: Ask
) -> None:
    report = tagger.json("tag", places.folder, "--db", url)
    found = rows(url, "SELECT uri, outcome, reason FROM image_status")
    assert len(found) == len({uri for uri, _, _ in found}) == report["scan"]["files"]
    assert {_path(uri): outcome for uri, outcome, _ in found} == places.expected
    assert report["scan"]["skipped"] == {"link": 1} and report["warnings"] == []
    for _, outcome, reason in found:
        assert outcome == "ok" or (len(reason.split()) > 2 and reason.isprintable())
    assert _null_ended(tagger, url) == places.tagged
    again = tagger.json("tag", places.folder, "--db", url)
    assert (again["tagged"], again["scan"]["new"], again["scan"]["changed"]) == (0, 0, 0)


def test_a_terminal_sees_no_name_that_it_would_obey(tagger: Tagger, places: Places) -> None:
    odd = places.folder / os.fsdecode(FOLDERS[0])
    shown = tagger("tag", places.folder, "--show") + tagger("status") + tagger("show", odd / "p.jpg")
    shown += tagger("show", odd / "nothing.jpg", code=1)
    plain = Tagger({**tagger.env, "PYTHONIOENCODING": "ascii"}, tagger.folder)
    few = plain("search", "dog")
    lines = (shown + few).replace("\N{ZERO WIDTH JOINER}", "").splitlines()
    assert [line for line in lines if not line.isprintable()] == []
    assert r"\x1b[2J" in shown and "[red]x[b].jpg" in shown
    assert few.isascii() and r"\u202egpj.jpg" in few and r"caf\xe9.jpg" in few


def test_odd_names_move_and_are_forgotten_alone(tagger: Tagger, places: Places) -> None:
    names = places.folder / "names"
    tagger("tag", names)
    before = tagger.rows("SELECT image_id FROM image_info ORDER BY image_id")
    moved = names.rename(places.folder / os.fsdecode(b"moved \xff\n"))
    report = tagger.json("tag", moved)
    assert report["moved"] == report["tagged"] == len(before)
    assert tagger.rows("SELECT image_id FROM image_info ORDER BY image_id") == before
    assert tagger.json("forget", moved / "a_b.jpg", "--yes") == {"forgotten": 1}
    left = {_path(uri) for (uri,) in tagger.rows("SELECT uri FROM image_info")}
    assert left == {os.fsencode(path) for path in moved.iterdir()} - {os.fsencode(moved / "a_b.jpg")}


def test_paths_may_be_named_in_any_form(tagger: Tagger, places: Places) -> None:
    real = places.folder / "real"
    for form in (f"places/names/../{real.name}/", places.folder / "again"):
        assert tagger.json("tag", form)["scan"]["files"] == 1
    assert tagger.rows("SELECT uri FROM image_info") == [((real / "r.jpg").as_uri(),)]
    assert "is not there, or cannot be read" in tagger("tag", places.folder / "self.jpg", code=3)
    assert "a named pipe, not a file" in tagger("tag", places.folder / "pipe.jpg")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_what_is_closed_is_denied_or_warned_of(tagger: Tagger, photos: Path) -> None:
    (photos / "broken.jpg").chmod(0)
    (photos / "trip").chmod(0)
    report = tagger.json("tag", photos)
    (photos / "trip").chmod(0o700)
    assert report["outcomes"] == {"denied": 1, "unsupported": 1}
    (warning,) = report["warnings"]
    assert "no permission to read" in warning and "trip" in warning
