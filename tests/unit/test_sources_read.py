"""The bytes of one file, or the one reason why not."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tagger.sources import Roots, read
from tagger.sources import read as read_function
from tagger.values import FileContent, ImageRef, Limits, LoadFailure, OutcomeKind


def content(path: Path, roots: Roots, **options: object) -> FileContent | LoadFailure:
    return read_function(ImageRef(7, path.as_uri()), roots, **options)  # type: ignore[arg-type]


def failure(path: Path, roots: Roots, **options: object) -> LoadFailure:
    result = content(path, roots, **options)
    assert isinstance(result, LoadFailure)
    assert result.image_id == 7
    assert len(result.reason.split()) > 2, "a reason is a sentence"
    return result


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return Roots().adding([tmp_path])


def test_bytes_and_their_digest(tmp_path: Path, roots: Roots) -> None:
    path = tmp_path / os.fsdecode(b"odd \xff\n.jpg")
    path.write_bytes(b"some bytes")
    os.utime(path, ns=(5, 1_500_000_000_123_456_789))
    result = read(ImageRef(7, roots.uri_of(path)), roots)
    assert result == FileContent(
        7,
        roots.uri_of(path),
        b"some bytes",
        hashlib.sha256(b"some bytes").digest(),
        1_500_000_000_123_456_789,
    )


def test_a_missing_file(tmp_path: Path, roots: Roots) -> None:
    assert failure(tmp_path / "gone.jpg", roots).kind is OutcomeKind.MISSING
    (tmp_path / "file").write_bytes(b"x")
    assert failure(tmp_path / "file" / "below.jpg", roots).kind is OutcomeKind.MISSING


def test_an_empty_file_is_corrupt(tmp_path: Path, roots: Roots) -> None:
    (tmp_path / "a.jpg").touch()
    result = failure(tmp_path / "a.jpg", roots)
    assert result.kind is OutcomeKind.CORRUPT
    assert "0 bytes" in result.reason


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, roots: Roots) -> None:
    with (tmp_path / "a.tif").open("wb") as file:
        file.truncate(400 * 2**30)  # sparse: reading it would take all memory
    result = failure(tmp_path / "a.tif", roots)
    assert result.kind is OutcomeKind.TOO_LARGE
    assert "409600 MB" in result.reason
    assert "256 MB (TAGGER_MAX_BYTES)" in result.reason


def test_the_limit_itself_is_allowed(tmp_path: Path, roots: Roots) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    assert isinstance(content(tmp_path / "a.jpg", roots, limits=Limits(max_bytes=5)), FileContent)
    assert failure(tmp_path / "a.jpg", roots, limits=Limits(max_bytes=4)).kind is OutcomeKind.TOO_LARGE


def test_pipes_sockets_folders_and_devices_never_block(tmp_path: Path) -> None:
    roots = Roots().adding([tmp_path, "/dev/zero"])
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        for path in (tmp_path / "pipe.jpg", tmp_path / "s.jpg", tmp_path / "folder.jpg", Path("/dev/zero")):
            assert failure(path, roots).kind is OutcomeKind.UNSUPPORTED


def failing(number: int) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EACCES, OutcomeKind.DENIED, "owner"),
        (errno.EPERM, OutcomeKind.DENIED, "mode 0"),
        (errno.EIO, OutcomeKind.UNREADABLE, "input/output error"),
        (errno.ESTALE, OutcomeKind.UNREADABLE, "network share"),
        (errno.ENOENT, OutcomeKind.MISSING, "no longer there"),
        (errno.EMFILE, OutcomeKind.UNREADABLE, "too many files"),
        (errno.EPROTO, OutcomeKind.UNREADABLE, "cannot read"),
    ],
)
def test_errors_of_the_system_are_sentences(
    tmp_path: Path, roots: Roots, monkeypatch: pytest.MonkeyPatch, number: int, kind: OutcomeKind, words: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    monkeypatch.setattr("os.open", failing(number))
    result = failure(tmp_path / "a.jpg", roots)
    assert result.kind is kind
    assert words in result.reason


def test_a_link_out_is_outside_and_its_bytes_stay_unread(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "in" / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    roots = Roots().adding([tmp_path / "in"])
    for path in (tmp_path / "in" / "a.jpg", tmp_path / "in" / "folder" / "secret.jpg"):
        result = failure(path, roots)
        assert result.kind is OutcomeKind.OUTSIDE
        assert "secret.jpg" in result.reason
        followed = content(path, roots, follow_links=True)
        assert isinstance(followed, FileContent)
        assert followed.data == b"secret"


def test_a_link_inside_is_read(tmp_path: Path, roots: Roots) -> None:
    (tmp_path / "real.jpg").write_bytes(b"bytes")
    (tmp_path / "a.jpg").symlink_to("real.jpg")
    result = content(tmp_path / "a.jpg", roots)
    assert isinstance(result, FileContent)
    assert result.uri == (tmp_path / "a.jpg").as_uri()


def test_links_that_lead_nowhere_are_missing(tmp_path: Path, roots: Roots) -> None:
    (tmp_path / "a.jpg").symlink_to("gone.jpg")
    (tmp_path / "b.jpg").symlink_to("/nowhere/at/all.jpg")
    (tmp_path / "c.jpg").symlink_to("c.jpg")
    for name in "abc":
        for follow in (False, True):
            result = failure(tmp_path / f"{name}.jpg", roots, follow_links=follow)
            assert result.kind is OutcomeKind.MISSING


@pytest.mark.parametrize(
    "uri", ["root://unknown/a.jpg", "https://example.com/a.jpg", "file:///etc/passwd", "a.jpg"]
)
def test_uris_of_other_places_are_outside(roots: Roots, uri: str) -> None:
    result = read(ImageRef(7, uri), roots)
    assert isinstance(result, LoadFailure)
    assert result.kind is OutcomeKind.OUTSIDE


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], Path]:
    """A file that grows between the two looks at it, as often as asked; nobody really waits."""

    def arrange(times: int) -> Path:
        import importlib

        room = importlib.import_module("tagger.sources.read")
        read_whole, left = room._whole, [times]

        def whole(*args: object) -> bytes:
            data: bytes = read_whole(*args)
            if left[0] > 0:
                left[0] -= 1
                path.write_bytes(path.read_bytes() + b"more")
            return data

        path = tmp_path / "a.jpg"
        path.write_bytes(b"first")
        monkeypatch.setattr(room, "_whole", whole)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        return path

    return arrange


def test_a_file_that_changes_once_is_read_again(changing: Callable[[int], Path], roots: Roots) -> None:
    path = changing(1)
    result = content(path, roots)
    assert isinstance(result, FileContent)
    assert result.data == b"firstmore"
    assert result.digest == hashlib.sha256(b"firstmore").digest()


def test_a_file_that_never_rests_is_unreadable(changing: Callable[[int], Path], roots: Roots) -> None:
    result = failure(changing(1000), roots)
    assert result.kind is OutcomeKind.UNREADABLE
    assert "changing" in result.reason


@pytest.mark.skipif(not Path("/proc/sys/kernel/ostype").exists(), reason="no such system")
def test_what_the_system_makes_up_is_no_file() -> None:
    result = failure(Path("/proc/sys/kernel/ostype"), Roots().adding(["/proc/sys/kernel"]))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert "makes it up" in result.reason
