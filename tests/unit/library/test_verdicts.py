"""A person's word: it outlives models, the last one counts, and tallies hold."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tagger.errors import NotFound, SourceError
from tagger.library import verdicts
from tagger.library.verdicts import Said, Saying, Verdict
from tagger.sources import Roots
from tests.unit.store.conftest import ROOT, TREE, Shelf

NOWHERE = Roots()


def _say(shelf: Shelf, image: str, tag: str, verdict: Verdict | None, **options: bool) -> Said:
    return verdicts.say(shelf.database, [Saying(f"{image}.jpg", tag, verdict)], NOWHERE, **options)


def _stale(shelf: Shelf) -> int:
    return len(shelf.rows("SELECT tag_id FROM stale_tags"))


def test_a_confirmed_tag_holds_with_all_that_it_implies(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.45}, tom={"animal": 0.9, "cat": 0.9})
    assert _say(shelf, "rex", "retriever", Verdict.CONFIRM) == Said(1, 0)
    assert shelf.effective("rex") == {"retriever": 1.0, "dog": 1.0, "animal": 1.0}
    assert set(shelf.rows("SELECT tag, source FROM effective_tags WHERE uri LIKE '%rex%'")) == {
        (tag, "person") for tag in ("retriever", "dog", "animal")
    }
    assert shelf.counts() == shelf.counted() == {"animal": 2, "cat": 1, "dog": 1, "retriever": 1}
    assert _say(shelf, "rex", "retriever", Verdict.CONFIRM) == Said(0, 0)


def test_a_rejected_tag_does_not_hold_nor_anything_below_it(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.99, "dog": 0.97, "retriever": 0.9})
    _say(shelf, "rex", "puppy", Verdict.REJECT)
    assert shelf.effective("rex") == {"animal": 0.99}
    assert shelf.counts() == shelf.counted() == {"animal": 1}


def test_the_last_word_counts_above_and_below(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.99})
    _say(shelf, "rex", "animal", Verdict.REJECT)
    assert shelf.effective("rex") == {}
    assert _say(shelf, "rex", "dog", Verdict.CONFIRM) == Said(1, 1)
    assert shelf.effective("rex") == {"dog": 1.0, "animal": 1.0}
    assert _say(shelf, "rex", "animal", Verdict.REJECT) == Said(1, 1)
    assert shelf.effective("rex") == {}


def test_what_was_said_can_be_taken_back(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.99, "dog": 0.97})
    _say(shelf, "rex", "dog", Verdict.REJECT)
    assert _say(shelf, "rex", "dog", None) == Said(0, 1)
    assert shelf.effective("rex") == {"animal": 0.99, "dog": 0.97}
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1}


def test_many_at_once_are_noted_together_or_not_at_all(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9}, tom={"animal": 0.9})
    table = "image,tag,verdict\nrex.jpg,dog,\ntom.jpg,cat,confirm\nrex.jpg,animal,none\n"
    sayings = list(verdicts.read_csv(StringIO(table), Verdict.CONFIRM))
    assert verdicts.say(shelf.database, sayings, NOWHERE) == Said(2, 0)
    assert shelf.effective("rex") == {"dog": 1.0, "animal": 1.0}
    with pytest.raises(NotFound, match=r"max\.jpg is not in this database"):
        verdicts.say(
            shelf.database,
            [Saying("rex.jpg", "car", Verdict.CONFIRM), Saying("max.jpg", "dog", Verdict.CONFIRM)],
            NOWHERE,
        )
    assert "car" not in shelf.effective("rex")


def test_words_are_noted_in_their_order(shelf: Shelf) -> None:
    """One photo under two names, and words on two tags that bear on each other."""
    shelf.tag(rex={"animal": 0.9}, tom={"animal": 0.9})
    one, other = "rex.jpg", "photos/rex.jpg"
    words = [
        ("tom.jpg", "dog", Verdict.CONFIRM),
        (one, "animal", Verdict.REJECT),
        (other, "dog", Verdict.CONFIRM),
        (one, "dog", Verdict.REJECT),
        (other, "dog", Verdict.CONFIRM),
    ]
    verdicts.say(shelf.database, [Saying(*word) for word in words], NOWHERE)
    assert shelf.effective("rex") == {"dog": 1.0, "animal": 1.0}
    assert verdicts.say(
        shelf.database, [Saying(name, "cat", Verdict.CONFIRM) for name in (one, other)], NOWHERE
    ) == Said(1, 0)
    assert shelf.counts() == shelf.counted()


def test_more_images_than_are_counted_at_once(shelf: Shelf) -> None:
    shelf.tag(**{f"p{number}": {"animal": 0.9} for number in range(450)})
    ids = [image_id for (image_id,) in shelf.rows("SELECT id FROM images")]
    stale = _stale(shelf)
    assert verdicts.say_of(shelf.database, ids, "dog", Verdict.CONFIRM) == Said(450, 0)  # type: ignore[arg-type]
    assert shelf.counts() == shelf.counted() == {"animal": 450, "dog": 450}
    assert _stale(shelf) == stale


def test_a_person_has_words_of_their_own(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9})
    with pytest.raises(NotFound, match=r"'My Rex'.*a tag of your own: --new"):
        _say(shelf, "rex", "My Rex", Verdict.CONFIRM)
    _say(shelf, "rex", "My Rex", Verdict.CONFIRM, new_tags=True)
    assert shelf.effective("rex") == {"animal": 0.9, "my rex": 1.0}
    assert shelf.counts() == shelf.counted()
    assert _say(shelf, "rex", "my rex", Verdict.CONFIRM) == Said(0, 0)
    _say(shelf, "rex", "my rex", None)
    assert not shelf.rows("SELECT id FROM tags WHERE name = 'my rex'"), "it goes with what was said of it"
    for word in ("", " ", "a\tb\x1b[31m", "x" * 101):
        with pytest.raises(NotFound, match="cannot be a tag"):
            _say(shelf, "rex", word, Verdict.CONFIRM, new_tags=True)


def test_what_was_said_is_listed_and_taken_back_everywhere(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9, "dog": 0.9}, tom={"animal": 0.9, "dog": 0.8})
    for photo in ("rex", "tom"):
        _say(shelf, photo, "dog", Verdict.REJECT)
    _say(shelf, "tom", "car", Verdict.CONFIRM)
    said = verdicts.listed(shelf.database, None, None)
    assert {(each.uri[-7:], each.tag, each.verdict) for each in said} == {
        ("rex.jpg", "dog", "reject"),
        ("tom.jpg", "dog", "reject"),
        ("tom.jpg", "car", "confirm"),
    }
    assert [each.tag for each in verdicts.listed(shelf.database, "car", 5)] == ["car"]
    assert verdicts.take_back_all(shelf.database, "dog", Verdict.REJECT) == Said(0, 2)
    assert shelf.effective("rex") == {"animal": 0.9, "dog": 0.9}
    assert shelf.counts() == shelf.counted()


def test_tallies_that_were_stale_before_stay_so(shelf: Shelf) -> None:
    """Their numbers do not hold until they are counted again, whatever is said meanwhile."""
    shelf.tag(rex={"animal": 0.9, "dog": 0.45})
    shelf.write(
        "UPDATE thresholds SET threshold = 0.4 WHERE tag_id = (SELECT id FROM tags WHERE name = 'dog')"
    )
    before = _stale(shelf)
    assert before
    _say(shelf, "rex", "cat", Verdict.CONFIRM)
    assert _stale(shelf) == before
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1, "cat": 1}


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("", "should name its columns.*it has: nothing"),
        ("image,label\na.jpg,dog\n", "it has: image, label"),
        ("uri,tag\na.jpg,\n", "line 2 .* names no image or no tag"),
        ("image,tag,verdict\na.jpg,dog,yes\n", "line 2 .*'yes' is neither confirm nor reject nor none"),
    ],
)
def test_a_table_that_is_none_is_refused_by_line(table: str, fault: str) -> None:
    with pytest.raises(SourceError, match=fault):
        list(verdicts.read_csv(StringIO(table), Verdict.CONFIRM))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    words=st.lists(
        st.tuples(
            st.sampled_from(["rex", "tom"]),
            st.sampled_from(sorted(TREE)),
            st.sampled_from([Verdict.CONFIRM, Verdict.REJECT, None]),
        ),
        max_size=6,
    )
)
def test_whatever_is_said_in_whatever_order_tallies_hold_and_the_last_word_does(
    shelf: Shelf, words: list[tuple[str, str, Verdict | None]]
) -> None:
    if not shelf.rows("SELECT id FROM images"):
        shelf.tag(rex={"animal": 0.9, "dog": 0.8}, tom={"animal": 0.6, "cat": 0.3})
    shelf.write("DELETE FROM verdicts")
    shelf.write("DELETE FROM stale_tags")
    shelf.write("DELETE FROM tag_tallies")
    shelf.write(
        "INSERT INTO tag_tallies (tag_id, images) SELECT tag_id, COUNT(*) FROM effective_tags GROUP BY tag_id"
    )
    for image, tag, verdict in words:
        _say(shelf, image, tag, verdict)
        if verdict is not None:
            assert (tag in shelf.effective(image)) is (verdict is Verdict.CONFIRM)
        assert shelf.counts() == shelf.counted()
        assert not _stale(shelf)
    assert {uri for (uri,) in shelf.rows("SELECT uri FROM images")} == {f"{ROOT}/rex.jpg", f"{ROOT}/tom.jpg"}
