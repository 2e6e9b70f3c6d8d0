"""Where images live: roots, URIs and back, confinement."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.errors import SettingsError, SourceError
from tagger.sources import OutsideRootsError, Root, Roots, RootState, root_state

ODD_NAMES = [
    "a b.jpg",
    "100%.jpg",
    "line\nbreak.jpg",
    "quote'\".jpg",
    "\N{SMILING FACE WITH SUNGLASSES}.jpg",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg",
    "cafe\N{COMBINING ACUTE ACCENT}.jpg",
    os.fsdecode(b"not-utf8-\xff\xfe.jpg"),
    "a?b#c;d=e&f.jpg",
    "~home",
    "-rf",
    "n" * 255,
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_file_name_comes_back_from_its_uri(tmp_path: Path, name: str) -> None:
    roots = Roots().adding([tmp_path])
    uri = roots.uri_of(tmp_path / name)
    assert uri == (tmp_path / name).as_uri()
    assert uri.isascii()
    assert uri.isprintable()
    assert roots.path_of(uri) == tmp_path / name


@given(
    st.binary(min_size=1, max_size=40).filter(
        lambda raw: not {0, ord("/")} & set(raw) and raw not in (b".", b"..")
    )
)
def test_any_bytes_that_name_a_file_come_back(raw: bytes) -> None:
    roots = Roots((Root(Path("/library"), "photos"),))
    path = Path("/library") / os.fsdecode(raw)
    uri = roots.uri_of(path)
    uri.encode("ascii")
    assert os.fsencode(roots.path_of(uri)) == b"/library/" + raw


def test_hosts_that_mount_a_library_elsewhere_agree_on_its_uris(tmp_path: Path) -> None:
    here = Roots.parse([f"photos={tmp_path / 'here'}"])
    there = Roots.parse([f"photos={tmp_path / 'there'}"])
    uri = here.uri_of(tmp_path / "here" / "2019" / "a b.jpg")
    assert uri == "root://photos/2019/a%20b.jpg"
    assert there.path_of(uri) == tmp_path / "there" / "2019" / "a b.jpg"


def test_a_root_has_a_uri_without_a_slash_at_its_end(tmp_path: Path) -> None:
    roots = Roots.parse([f"photos={tmp_path}", "/elsewhere"])
    assert roots.uri_of(tmp_path) == "root://photos"
    assert roots.uri_of("/elsewhere") == "file:///elsewhere"
    assert roots.path_of("root://photos") == tmp_path


def test_a_single_file_may_be_a_root(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    roots = Roots.parse([str(photo)])
    assert roots.path_of(roots.uri_of(photo)) == photo
    with pytest.raises(OutsideRootsError):
        roots.uri_of(tmp_path / "b.jpg")


def test_the_whole_machine_may_be_a_root() -> None:
    roots = Roots.parse(["/"])
    assert roots.uri_of("/photos/a.jpg") == "file:///photos/a.jpg"
    assert roots.path_of("file:///photos/a.jpg") == Path("/photos/a.jpg")
    assert roots.prefixes(Path("/")) == ("file:///",)


def test_the_deepest_named_root_names_a_file(tmp_path: Path) -> None:
    roots = Roots.parse([str(tmp_path), f"all={tmp_path}/lib", f"old={tmp_path}/lib/old"])
    assert roots.uri_of(tmp_path / "lib/old/a.jpg") == "root://old/a.jpg"
    assert roots.uri_of(tmp_path / "lib/new/a.jpg") == "root://all/new/a.jpg"
    assert roots.uri_of(tmp_path / "a.jpg").startswith("file:///")


def test_adding_a_folder_inside_a_named_root_changes_no_uri(tmp_path: Path) -> None:
    roots = Roots.parse([f"photos={tmp_path}"])
    inside = tmp_path / "2019"
    assert roots.adding([inside]).uri_of(inside / "a.jpg") == "root://photos/2019/a.jpg"
    explicit = Roots.parse([f"photos={tmp_path}", str(inside)])
    assert explicit.uri_of(inside / "a.jpg") == "root://photos/2019/a.jpg"


def test_adding_takes_paths_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    roots = Roots().adding(["a=b"])
    assert roots.items == (Root(tmp_path / "a=b"),)


def test_relative_roots_and_links_are_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.chdir(tmp_path)
    assert Roots.parse(["link"]).items == (Root(tmp_path / "disk"),)
    assert Roots.parse(["./disk"]).items == (Root(tmp_path / "disk"),)
    assert Roots.parse([(tmp_path / "disk").as_uri()]).items == (Root(tmp_path / "disk"),)


def test_a_path_through_a_link_to_the_root_has_the_same_uri(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    roots = Roots().adding([tmp_path / "link"])
    assert roots.uri_of(tmp_path / "link" / "a.jpg") == (tmp_path / "disk" / "a.jpg").as_uri()


@pytest.mark.parametrize(
    "path",
    [
        "/photos-private/a.jpg",
        "/photos.jpg",
        "/photo",
        "/",
        "/photos/../etc/passwd",
        "/photos/sub/../../photos2/x",
    ],
)
def test_confinement_goes_by_components(path: str) -> None:
    roots = Roots((Root(Path("/photos")),))
    with pytest.raises(OutsideRootsError):
        roots.uri_of(path)
    with pytest.raises(OutsideRootsError):
        roots.path_of("file://" + path)


@pytest.mark.parametrize(
    "uri",
    [
        "root://photos/../secret",
        "root://photos/a/../../secret",
        "root://photos/%2e%2e/secret",
        "root://photos/..%2fsecret",
        "root://other/a.jpg",
        "root:///a.jpg",
        "file:///library/%2E%2E/etc/passwd",
    ],
)
def test_a_uri_cannot_climb_out(uri: str) -> None:
    roots = Roots((Root(Path("/library"), "photos"),))
    with pytest.raises(OutsideRootsError):
        roots.path_of(uri)


@pytest.mark.parametrize(
    "uri", ["https://example.com/a.jpg", "a.jpg", "", "file://host/a.jpg", "file:///library/a%00b"]
)
def test_what_is_no_local_file_is_no_place(uri: str) -> None:
    with pytest.raises(SourceError):
        Roots((Root(Path("/library")),)).path_of(uri)


def test_going_up_and_down_again_inside_stays_inside() -> None:
    roots = Roots((Root(Path("/library"), "photos"),))
    assert roots.path_of("root://photos/a/../b.jpg") == Path("/library/b.jpg")


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ([""], "''"),
        (["photos=/a", "photos=/b"], "photos=/b"),
        (["photos=/a", "Photos=/b"], "Photos=/b"),
        (["photos=/a", "pictures=/a"], "pictures=/a"),
        (["/a\0b"], "/a"),
    ],
)
def test_a_root_that_cannot_be_is_named_in_the_error(items: list[str], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Roots.parse(items)
    assert named in str(caught.value)


def test_naming_a_root_twice_in_the_same_way_is_harmless() -> None:
    assert Roots.parse(["photos=/a", "/a", "photos=/a"]).items == (Root(Path("/a"), "photos"),)


def test_prefixes_cover_named_roots_inside(tmp_path: Path) -> None:
    roots = Roots.parse([str(tmp_path), f"old={tmp_path}/lib/old"])
    assert roots.prefixes(tmp_path / "lib") == ((tmp_path / "lib").as_uri() + "/", "root://old/")
    assert roots.prefixes(tmp_path / "lib/old") == ("root://old/",)


def test_a_root_is_present_empty_or_absent(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "mount" / "lost+found").mkdir(parents=True)
    (tmp_path / "mount" / ".nomedia").touch()
    (tmp_path / "full" / "2019").mkdir(parents=True)
    assert root_state(tmp_path / "full") is RootState.PRESENT
    assert root_state(tmp_path / "a.jpg") is RootState.PRESENT
    assert root_state(tmp_path / "mount") is RootState.EMPTY
    assert root_state(tmp_path / "gone") is RootState.ABSENT
    assert root_state(tmp_path / "a.jpg" / "below") is RootState.ABSENT
