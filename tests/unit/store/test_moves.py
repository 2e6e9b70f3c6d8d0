"""Moves among copies: each file finds itself again, and what a person said is where it was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import event, insert, select

from tagger.store import outcomes
from tagger.store.moves import Old, partners
from tagger.store.schema import ImageRow, TagRow, VerdictRow
from tagger.store.session import now

from .conftest import HERE, ROOT, Shelf, outcome

DOG = {"animal": 0.99, "dog": 0.97}


def _ids(shelf: Shelf) -> dict[str, int]:
    """The ids of all images, present or not, by their paths."""
    return {
        uri.removeprefix(f"{ROOT}/"): image_id
        for image_id, uri in shelf.rows("SELECT image_id, uri FROM image_info")  # type: ignore[misc]
    }


def _tag_copies(shelf: Shelf, *names: str, under: str = ROOT) -> int:
    """A scan finds just these files, all with the same bytes, and they are tagged; how many had moved.

    What lies elsewhere than ``under`` is not missed by it, but is no longer there.
    """
    shelf.scan(*names, under=(under,))
    lease = shelf.lease()
    group = [outcome(ref.image_id, "the same", DOG) for ref in shelf.claim(lease)]
    with shelf.database.writing() as connection:
        return outcomes.record(
            connection, shelf.model.id, lease, group, HERE, lambda old, new: under != ROOT
        ).moved


def _say(shelf: Shelf, name: str, tag: str = "car", verdict: str = "confirm") -> None:
    """A person's word on the image at a path."""
    with shelf.database.writing() as connection:
        image_id = connection.execute(
            select(ImageRow.id).where(ImageRow.uri == f"{ROOT}/{name}")
        ).scalar_one()
        tag_id = connection.execute(select(TagRow.id).where(TagRow.name == tag)).scalar_one()
        word = {"image_id": image_id, "tag_id": tag_id, "verdict": verdict, "decided_at": now(connection)}
        connection.execute(insert(VerdictRow), [word])


def _counted_right(shelf: Shelf) -> bool:
    return shelf.counts() == shelf.counted()


# -- one file moves, and copies of it go ----------------------------------------------------


def test_a_moved_photo_stays_itself_though_a_copy_of_it_is_deleted(shelf: Shelf) -> None:
    _tag_copies(shelf, "a/orig.jpg", "b/keep.jpg")
    _say(shelf, "b/keep.jpg")
    before = _ids(shelf)
    assert before["a/orig.jpg"] < before["b/keep.jpg"]
    assert _tag_copies(shelf, "c/keep.jpg") == 1
    assert _ids(shelf) == {"a/orig.jpg": before["a/orig.jpg"], "c/keep.jpg": before["b/keep.jpg"]}
    assert shelf.effective("c/keep") == {**DOG, "car": 1.0}
    assert _counted_right(shelf)


def test_of_copies_by_other_names_the_one_spoken_of_is_the_one_that_moved(shelf: Shelf) -> None:
    _tag_copies(shelf, "a/one.jpg", "a/two.jpg", "b/three.jpg")
    _say(shelf, "a/two.jpg", verdict="reject")
    two = _ids(shelf)["a/two.jpg"]
    _tag_copies(shelf, "b/renamed.jpg")
    assert _ids(shelf)["b/renamed.jpg"] == two
    assert _counted_right(shelf)


def test_a_file_name_says_more_than_a_persons_word_which_waits_where_it_was_said(shelf: Shelf) -> None:
    _tag_copies(shelf, "a/keep.jpg", "a/other.jpg")
    _say(shelf, "a/other.jpg")
    before = _ids(shelf)
    _tag_copies(shelf, "c/keep.jpg")
    assert _ids(shelf)["c/keep.jpg"] == before["a/keep.jpg"]
    assert shelf.effective("c/keep") == DOG, "nobody said anything of it"
    _tag_copies(shelf, "c/keep.jpg", "d/found-again.jpg")
    assert _ids(shelf)["d/found-again.jpg"] == before["a/other.jpg"]
    assert shelf.effective("d/found-again") == {**DOG, "car": 1.0}
    assert _counted_right(shelf)


def test_a_file_not_missed_yet_that_moved_is_known_by_its_name_among_vanished_copies(shelf: Shelf) -> None:
    """It was tagged only at its new place, long after a copy of it had gone."""
    _tag_copies(shelf, "a/orig.jpg", "b/keep.jpg")
    _tag_copies(shelf, "b/keep.jpg")
    keep = _ids(shelf)["b/keep.jpg"]
    assert _tag_copies(shelf, "c/keep.jpg", under=f"{ROOT}/c") == 1
    assert _ids(shelf)["c/keep.jpg"] == keep
    assert _counted_right(shelf)


def test_an_image_that_a_person_spoke_of_does_not_become_another(shelf: Shelf) -> None:
    """It was broken when it was read before, and has now the bytes of one that is gone."""
    _tag_copies(shelf, "a.jpg")
    shelf.scan("b.jpg")
    _say(shelf, "b.jpg")
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    shelf.record(lease, outcome(ref.image_id, "the same", DOG))
    assert shelf.effective("b") == {**DOG, "car": 1.0}
    assert _counted_right(shelf)


# -- many move at once ----------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("trip/b/2.jpg",), ("trip/b/2.jpg", "trip/a/1.jpg")])
def test_each_copy_in_a_renamed_folder_finds_itself(shelf: Shelf, words: Sequence[str]) -> None:
    # In an order of ids that is not that of the new paths.
    for name in ("b/2.jpg", "a/2.jpg", "b/1.jpg", "a/1.jpg"):
        _tag_copies(shelf, *(known for known in _ids(shelf)), f"trip/{name}")
    for name in words:
        _say(shelf, name)
    before = _ids(shelf)
    assert _tag_copies(shelf, *sorted(name.replace("trip", "journey") for name in before)) == 4
    assert _ids(shelf) == {name.replace("trip", "journey"): image for name, image in before.items()}
    assert _counted_right(shelf)


def test_more_new_copies_than_old_ones_use_each_old_one_once(shelf: Shelf) -> None:
    _tag_copies(shelf, "a/1.jpg", "a/2.jpg")
    before = _ids(shelf)
    assert _tag_copies(shelf, "b/0.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg") == 2
    after = _ids(shelf)
    assert len(set(after.values())) == 4
    assert (after["b/1.jpg"], after["b/2.jpg"]) == (before["a/1.jpg"], before["a/2.jpg"])


# -- which of them, in full -----------------------------------------------------------------


def _paired(new: Sequence[str], old: Mapping[str, str]) -> dict[str, str]:
    """The partners' paths. What is known of old ones: ``v`` for vanished, ``s`` for spoken of."""
    paths, known = dict(enumerate(new, start=1000)), list(old)
    olds = [Old(number, path, "v" in said, "s" in said) for number, (path, said) in enumerate(old.items())]
    found = partners(paths, olds, lambda before, after: "there" not in before)
    return {paths[one]: known[other] for one, other in found.items()}


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("/p/b/x.jpg", {"/p/b/y.jpg": "vs", "/q/x.jpg": "v"}),
        ("/p/b/x.jpg", {"/p/b/y.jpg": "vs", "/q/x.jpg": ""}),
        ("/p/b/x.jpg", {"/p/b/y/x.jpg": "v", "/q/x.jpg": "vs"}),
        ("/p/b/x.jpg", {"/p/b/y.jpg": "v", "/q/z.jpg": "vs"}),
        ("/p/b/x.jpg", {"/p/a/x.jpg": "", "/q/x.jpg": "v"}),
        ("/p/b/x.jpg", {"/q/r/x.jpg": "v", "/q/b/x.jpg": "v"}),
        ("/p/b/c/x.jpg", {"/p/a/x.jpg": "v", "/p/b/x.jpg": "v"}),
        ("/p/b/c/x.jpg", {"/p/a/y.jpg": "v", "/p/b/y.jpg": "v"}),
        ("/p/b/x.jpg", {"/p/there/x.jpg": "s", "/q/y.jpg": "v"}),
    ],
    ids=[
        "the name before the word",
        "the name before what is known to have vanished",
        "the word before nearness, of one name",
        "the word before nearness, of other names",
        "what is known to have vanished before nearness",
        "the folder's name",
        "the nearer folder, of one name",
        "the nearer folder, of other names",
        "not one that is still there",
    ],
)
def test_the_likelier_of_two_has_moved(new: str, old: Mapping[str, str]) -> None:
    expected = list(old)[-1]
    assert _paired([new], old) == {new: expected}
    assert _paired([new], dict(reversed(old.items()))) == {new: expected}, "whichever id is the lower"


def test_of_two_that_are_alike_in_all_the_lower_id_has_moved() -> None:
    assert _paired(["/p/c/x.jpg"], {"/p/b/x.jpg": "v", "/p/a/x.jpg": "v"}) == {"/p/c/x.jpg": "/p/b/x.jpg"}


def test_no_file_takes_the_partner_of_one_that_has_a_better_claim() -> None:
    old = {"/p/a.jpg": "vs", "/p/b.jpg": "v"}
    assert _paired(["/q/0.jpg", "/q/a.jpg"], old) == {"/q/a.jpg": "/p/a.jpg", "/q/0.jpg": "/p/b.jpg"}
    old = {"/p/b/1.jpg": "v", "/p/a/1.jpg": "v"}
    new = ["/p/a/deep/2.jpg", "/p/b/deep/2.jpg"]
    assert _paired(new, old) == {new[0]: "/p/a/1.jpg", new[1]: "/p/b/1.jpg"}


def test_none_is_looked_for_where_enough_have_vanished_and_each_other_one_once_at_most() -> None:
    looked: list[str] = []

    def look(old: str, new: str) -> bool:
        looked.append(old)
        return False

    new = {1000 + number: f"/new/{number}/x.jpg" for number in range(50)}
    present = [Old(number, f"/old/{number}/x.jpg", False, False) for number in range(60)]
    vanished = [Old(100 + number, f"/gone/{number}/x.jpg", True, False) for number in range(50)]
    assert partners(new, present + vanished, look) == {1000 + number: 100 + number for number in range(50)}
    assert looked == []
    assert partners(new, present, look) == {}
    assert len(looked) == len(set(looked)) == 60


def test_of_a_content_with_very_many_copies_not_all_are_looked_for() -> None:
    looked: list[str] = []

    def look(old: str, new: str) -> bool:
        looked.append(old)
        return "gone" in old

    new = {number: f"/new/{number}.jpg" for number in range(500)}
    gone = [Old(1000 + number, f"/gone/{number}.jpg", False, False) for number in range(400)]
    present = [Old(10_000 + number, f"/old/{number}.jpg", False, False) for number in range(5000)]
    assert partners(new, present + gone, look) == {number: 1000 + number for number in range(400)}
    assert len(looked) < 1000


def test_many_that_move_take_no_more_statements_than_few(shelf: Shelf) -> None:
    def statements_to_move(number: int) -> int:
        names = [f"{number}-{one}" for one in range(number)]
        shelf.tag(**dict.fromkeys(names, DOG))
        shelf.scan(*(f"elsewhere/{name}.jpg" for name in names))
        lease = shelf.lease()
        group = [outcome(ref.image_id, Path(ref.uri).stem, DOG) for ref in shelf.claim(lease)]
        counted: list[str] = []
        with shelf.database.writing() as connection:
            event.listen(connection, "before_cursor_execute", lambda *args: counted.append(args[2]))
            assert outcomes.record(connection, shelf.model.id, lease, group, HERE).moved == number
        return len(counted)

    assert statements_to_move(2) == statements_to_move(40)
