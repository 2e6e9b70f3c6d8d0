"""A folder as a stream of events."""

from __future__ import annotations

import codecs
import os
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagger.sources import (
    Found,
    OutsideRootsError,
    Refused,
    Roots,
    ScanEvent,
    ScanOptions,
    Skipped,
    SkipReason,
    Stretch,
    Unlisted,
    scan,
)
from tagger.values import OutcomeKind


def make(base: Path, *names: str) -> None:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def events(path: Path, roots: Roots | None = None, *, follow_links: bool = False) -> list[ScanEvent]:
    """One for each entry."""
    given = scan(path, roots or Roots().adding([path]), ScanOptions(follow_links=follow_links))
    return [event for one in given for event in (one if isinstance(one, Stretch) else [one])]


def found(path: Path, roots: Roots | None = None, *, follow_links: bool = False) -> set[str]:
    """Paths of what was found, relative to ``path``."""
    roots = roots or Roots().adding([path])
    uris = [event.uri for event in events(path, roots, follow_links=follow_links) if isinstance(event, Found)]
    assert len(uris) == len(set(uris)), "an entry came twice"
    return {str(roots.path_of(uri).relative_to(path)) for uri in uris}


def refused(path: Path, roots: Roots | None = None, *, follow_links: bool = False) -> dict[str, Refused]:
    listed = events(path, roots, follow_links=follow_links)
    return {event.uri.rpartition("/")[2]: event for event in listed if isinstance(event, Refused)}


def skipped(path: Path) -> Counter[SkipReason]:
    return Counter(event.reason for event in events(path) if isinstance(event, Skipped))


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that anybody may read, while this process has no special rights."""
    base = Path(tempfile.mkdtemp())
    was = os.geteuid()
    if was == 0:
        os.chown(base, 65534, -1)
        os.seteuid(65534)
    yield base
    if was == 0:
        os.seteuid(0)
    shutil.rmtree(base)


def test_every_file_is_found_with_its_size_and_time(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "2019/b.HEIC", "2019/deep/down/c")
    (tmp_path / "a.jpg").write_bytes(b"12345")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    by_uri = {event.uri: event for event in events(tmp_path) if isinstance(event, Found)}
    assert len(by_uri) == 3
    assert by_uri[(tmp_path / "a.jpg").as_uri()] == Found(
        (tmp_path / "a.jpg").as_uri(), 5, 1_234_567_890_123_456_789
    )


def test_unknown_and_missing_extensions_get_a_row(tmp_path: Path) -> None:
    names = {
        "noextension",
        "photo.jpg.bak",
        "x.cr2",
        "x.NEF",
        "x.dng",
        "x.weird",
        "x.svg",
        "x.",
        "a.json.jpg",
    }
    make(tmp_path, *names)
    assert found(tmp_path) == names


def test_odd_names_are_found_as_they_are(tmp_path: Path) -> None:
    names = {"new\nline.jpg", 'q"uote.jpg', "\N{SNOWMAN}.jpg", os.fsdecode(b"\xff\xfe.jpg"), "A.jpg", "a.jpg"}
    make(tmp_path, *names)
    assert found(tmp_path) == names


def test_hidden_and_system_entries_are_passed_over(tmp_path: Path) -> None:
    make(
        tmp_path,
        "keep/a.jpg",
        ".hidden.jpg",
        "._a.jpg",
        ".DS_Store",
        ".thumbnails/x.jpg",
        ".Trash-1000/x.jpg",
    )
    make(tmp_path, "@eaDir/x.jpg", "#recycle/x.jpg", "$RECYCLE.BIN/x.jpg", "System Volume Information/x")
    make(tmp_path, "__MACOSX/x.jpg", "lost+found/x", "Cat Previews.lrdata/x.jpg", "Thumbs.db", "desktop.ini")
    assert found(tmp_path) == {"keep/a.jpg"}
    assert skipped(tmp_path) == {SkipReason.HIDDEN: 5, SkipReason.SYSTEM: 9}


def test_a_photo_library_of_apple_shows_its_originals(tmp_path: Path) -> None:
    library = "Photos Library.photoslibrary"
    make(tmp_path, f"{library}/originals/1/a.heic", f"{library}/resources/derivatives/a.jpg")
    make(
        tmp_path,
        f"{library}/database/x.jpg",
        "iPhoto.photolibrary/Masters/b.jpg",
        "iPhoto.photolibrary/Thumbnails/b.jpg",
    )
    make(tmp_path, "resources/c.jpg")
    assert found(tmp_path) == {
        f"{library}/originals/1/a.heic",
        "iPhoto.photolibrary/Masters/b.jpg",
        "resources/c.jpg",
    }


def test_known_non_images_are_counted_by_kind(tmp_path: Path) -> None:
    make(tmp_path, "a.xmp", "a.AAE", "a.jpg.json", "a.mp4", "b.MOV", "a.pdf", "a.mp3", "a.zip", "a.jpg")
    assert found(tmp_path) == {"a.jpg"}
    assert skipped(tmp_path) == {
        SkipReason.SIDECAR: 3,
        SkipReason.VIDEO: 2,
        SkipReason.DOCUMENT: 1,
        SkipReason.AUDIO: 1,
        SkipReason.ARCHIVE: 1,
    }


def test_a_file_named_outright_is_never_skipped(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.mp4", ".taggerignore")
    (tmp_path / ".taggerignore").write_text("*\n")
    path = tmp_path / ".hidden.mp4"
    assert [type(event) for event in events(path)] == [Found]


def test_a_hidden_folder_named_outright_is_scanned(tmp_path: Path) -> None:
    make(tmp_path, ".photos/a.jpg", ".photos/.b.jpg")
    assert found(tmp_path / ".photos") == {"a.jpg"}


def test_an_ignore_file_speaks_for_its_folder_and_below(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a.jpg",
        "b.png",
        "cache/c.jpg",
        "2019/cache/d.jpg",
        "2019/e.jpg",
        "2019/only.png",
        "x/y/f.jpg",
    )
    (tmp_path / ".taggerignore").write_text("# a comment\n*.png\ncache/\n/x/y\n")
    (tmp_path / "2019" / ".taggerignore").write_text("!only.png\ne.*\n")
    assert found(tmp_path) == {"a.jpg", "2019/only.png"}
    assert skipped(tmp_path)[SkipReason.IGNORED] == 5


def test_a_scan_further_down_obeys_the_ignore_files_above(tmp_path: Path) -> None:
    make(tmp_path, "2019/a.jpg", "2019/b.png")
    (tmp_path / ".taggerignore").write_text("*.png\n")
    assert found(tmp_path / "2019", Roots().adding([tmp_path])) == {"a.jpg"}


def test_names_that_are_not_utf8_can_be_ignored(tmp_path: Path) -> None:
    make(tmp_path, os.fsdecode(b"\xff.jpg"), "a.jpg")
    (tmp_path / ".taggerignore").write_bytes(b"\xff.jpg\n")
    assert found(tmp_path) == {"a.jpg"}


def test_a_folder_whose_ignore_file_makes_no_sense_is_left_alone(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "private/b.jpg")
    (tmp_path / "private" / ".taggerignore").mkdir()
    assert found(tmp_path) == {"a.jpg"}
    (event,) = [event for event in events(tmp_path) if isinstance(event, Unlisted)]
    assert event.uri_prefix == (tmp_path / "private").as_uri() + "/"
    assert ".taggerignore" in event.reason


def test_an_ignore_file_may_begin_with_the_mark_of_an_editor(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.png", "c.gif")
    (tmp_path / ".taggerignore").write_text("*.png\n*.gif\n", encoding="utf-8-sig")
    assert found(tmp_path) == {"a.jpg"}


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_an_ignore_file_in_utf_16_is_refused(tmp_path: Path, mark: bytes) -> None:
    make(tmp_path, "a.jpg", "private/b.jpg")
    (tmp_path / "private" / ".taggerignore").write_bytes(mark + b"*\0\n\0")
    assert found(tmp_path) == {"a.jpg"}
    (event,) = [event for event in events(tmp_path) if isinstance(event, Unlisted)]
    assert "UTF-16" in event.reason


def test_links_to_files_inside_are_found_by_their_own_name(tmp_path: Path) -> None:
    make(tmp_path, "real/a.jpg", "real/v.mp4")
    (tmp_path / "real/a.jpg").write_bytes(b"123")
    (tmp_path / "b.jpg").symlink_to("real/a.jpg")
    (tmp_path / "v.mp4").symlink_to("real/v.mp4")
    assert found(tmp_path) == {"real/a.jpg", "b.jpg"}
    sizes = {event.size for event in events(tmp_path) if isinstance(event, Found)}
    assert sizes == {3}


def test_links_to_folders_inside_are_skipped_since_they_are_reached(tmp_path: Path) -> None:
    make(tmp_path, "real/a.jpg")
    (tmp_path / "again").symlink_to("real")
    assert found(tmp_path) == {"real/a.jpg"}
    assert skipped(tmp_path)[SkipReason.LINK] == 1


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.jpg", "photos-private/secret.jpg")
    base = tmp_path / "photos"
    (base / "file.jpg").symlink_to(tmp_path / "photos-private/secret.jpg")
    (base / "folder").symlink_to("../photos-private")
    (base / "back.jpg").symlink_to("../photos/a.jpg")
    refusals = refused(base)
    assert {name: event.kind for name, event in refusals.items()} == {
        "file.jpg": OutcomeKind.OUTSIDE,
        "folder": OutcomeKind.OUTSIDE,
    }
    assert "photos-private" in refusals["folder"].reason
    assert found(base) == {"a.jpg", "back.jpg"}


def test_a_link_into_another_root_is_inside(tmp_path: Path) -> None:
    make(tmp_path, "one/a.jpg", "two/b.jpg")
    (tmp_path / "one" / "b.jpg").symlink_to(tmp_path / "two" / "b.jpg")
    roots = Roots().adding([tmp_path / "one", tmp_path / "two"])
    assert found(tmp_path / "one", roots) == {"a.jpg", "b.jpg"}


def test_followed_links_lead_anywhere(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    base = tmp_path / "photos"
    (base / "out").symlink_to(tmp_path / "elsewhere")
    (base / "out.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    assert found(base, follow_links=True) == {"a.jpg", "out/b.jpg", "out.jpg"}


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "one/a.jpg", "two/b.jpg")
    (tmp_path / "one" / "up").symlink_to(tmp_path)
    (tmp_path / "one" / "self").symlink_to(".")
    (tmp_path / "two" / "one").symlink_to("../one")
    assert found(tmp_path) == {"one/a.jpg", "two/b.jpg"}
    assert found(tmp_path, follow_links=True) == {"one/a.jpg", "two/b.jpg", "two/one/a.jpg"}


def test_links_that_lead_nowhere_are_missing(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nothing.jpg")
    (tmp_path / "far.jpg").symlink_to("/nowhere/at/all.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for follow in (False, True):
        refusals = refused(tmp_path, follow_links=follow)
        assert {event.kind for event in refusals.values()} == {OutcomeKind.MISSING}
        assert set(refusals) == {"gone.jpg", "far.jpg", "loop.jpg"}


def test_special_files_are_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.jpg"))
        refusals = refused(tmp_path)
    assert {event.kind for event in refusals.values()} == {OutcomeKind.UNSUPPORTED}
    assert "pipe" in refusals["pipe.jpg"].reason
    assert "socket" in refusals["s.jpg"].reason


def test_a_folder_that_may_not_be_listed_is_a_warning_and_no_row(nobody: Path) -> None:
    make(nobody, "open/a.jpg", "closed/b.jpg")
    (nobody / "closed").chmod(0)
    assert found(nobody) == {"open/a.jpg"}
    (event,) = [event for event in events(nobody) if isinstance(event, Unlisted)]
    assert event.uri_prefix == (nobody / "closed").as_uri() + "/"
    assert event.kind is OutcomeKind.DENIED
    assert "0000" in event.reason
    assert not refused(nobody)
    (nobody / "closed").chmod(0o700)


def test_files_in_a_folder_that_may_only_be_listed_are_denied(nobody: Path) -> None:
    make(nobody, "half/b.jpg")
    (nobody / "half").chmod(0o400)
    assert refused(nobody)["b.jpg"].kind is OutcomeKind.DENIED
    (nobody / "half").chmod(0o700)


def test_a_place_that_is_absent_says_that_nothing_is_known(tmp_path: Path) -> None:
    (event,) = events(tmp_path / "unmounted")
    assert isinstance(event, Unlisted)
    assert event.kind is OutcomeKind.MISSING
    assert event.uri_prefix == (tmp_path / "unmounted").as_uri() + "/"


def test_what_vanishes_during_the_scan_harms_nothing(tmp_path: Path) -> None:
    make(tmp_path, *(f"{folder}/{number}.jpg" for folder in "abc" for number in range(3)))
    stream = scan(tmp_path, Roots().adding([tmp_path]))
    first = next(stream)
    assert isinstance(first, Stretch)
    assert len(first) == 3
    current = Roots().adding([tmp_path]).path_of(first.uris[0]).parent
    for folder in tmp_path.iterdir():
        if folder != current:
            shutil.rmtree(folder)
    assert not list(stream)


def test_a_disk_that_goes_away_during_the_scan_is_not_taken_for_empty(tmp_path: Path) -> None:
    base = tmp_path / "disk"
    make(base, *(f"{folder}/{number}.jpg" for folder in "abc" for number in range(3)))
    roots = Roots().adding([base])
    stream = scan(base, roots)
    next(stream)
    shutil.rmtree(base)
    unlisted = [event for event in stream if isinstance(event, Unlisted)]
    assert unlisted
    assert {event.uri_prefix for event in unlisted} == {base.as_uri() + "/"}


def test_a_named_root_inside_names_what_is_beneath_it(tmp_path: Path) -> None:
    make(tmp_path, "lib/a.jpg", "lib/old/b.jpg")
    roots = Roots.parse([str(tmp_path), f"old={tmp_path}/lib/old"])
    uris = {event.uri for event in events(tmp_path, roots) if isinstance(event, Found)}
    assert uris == {(tmp_path / "lib/a.jpg").as_uri(), "root://old/b.jpg"}
    assert all(uri == roots.uri_of(roots.path_of(uri)) for uri in uris)


def test_a_place_outside_the_roots_cannot_be_scanned(tmp_path: Path) -> None:
    with pytest.raises(OutsideRootsError):
        next(scan(tmp_path, Roots().adding([tmp_path / "inside"])))


def test_a_scan_streams_and_never_holds_a_large_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[scan.__module__], "_BLOCK", 10)
    make(tmp_path, *(f"{number}.jpg" for number in range(50)))
    stream = scan(tmp_path, Roots().adding([tmp_path]))
    first = next(stream)
    make(tmp_path / "later", "x.jpg")
    events = [first, *stream]
    assert all(isinstance(event, Found) for event in events), "a part of it is no stretch of the whole"
    assert len(events) >= 50


def test_photos_come_in_the_order_of_their_uris(tmp_path: Path) -> None:
    make(
        tmp_path,
        "b/2.jpg",
        "b-1.jpg",
        "b.jpg",
        "b0.jpg",
        "a b.jpg",
        "ä.jpg",
        "_.jpg",
        "x",
        "b/sub/1.jpg",
        "B.JPG",
    )
    uris = [event.uri for event in events(tmp_path) if isinstance(event, Found)]
    assert len(uris) == 10
    assert uris == sorted(uris)


def test_depth_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 300)
    make(deep, "a.jpg")
    assert found(tmp_path) == {str((deep / "a.jpg").relative_to(tmp_path))}
