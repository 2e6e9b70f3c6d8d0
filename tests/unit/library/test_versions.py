"""Versions side by side: compared, promoted, taken back, removed; readers see one of them, whole."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import text

from tagger.errors import ModelError, NotFound
from tagger.library import lookup, thresholds, verdicts, versions
from tagger.library.verdicts import Saying, Verdict
from tagger.sources import Roots
from tagger.store import catalog
from tagger.store.queries import Changed, TagChange
from tagger.store.session import Database
from tests.unit.store.conftest import Shelf, entry

OLD = {"animal": 0.99, "dog": 0.97}
NEW = {"animal": 0.9, "cat": 0.8}


@pytest.fixture
def candidate(shelf: Shelf) -> Shelf:
    """Another version beside the live one; both have seen the same photos."""
    shelf.tag(rex=OLD, tom=NEW)
    with shelf.database.writing() as connection:
        model = catalog.register_model(connection, entry("b" * 64))
    beside = Shelf(shelf.database, model)
    beside.tag(rex=NEW, tom=NEW)
    return beside


def test_what_changes_is_told_by_tag_and_by_example(shelf: Shelf, candidate: Shelf) -> None:
    found = versions.diff(shelf.database, shelf.model.name, candidate.model.name, examples=1)
    assert found.images == 2
    assert found.tags == (
        TagChange("cat", 1, 0, 0, 0.0),
        TagChange("dog", 0, 1, 0, 0.0),
        TagChange("animal", 0, 0, 1, pytest.approx(-0.09)),
    )
    uri = "file:///photos/rex.jpg"
    assert found.examples == (
        Changed(uri, "cat", "gained", None, 0.8),
        Changed(uri, "dog", "lost", 0.97, None),
        Changed(uri, "animal", "shifted", 0.99, 0.9),
    )
    with pytest.raises(ModelError, match="are the same version"):
        versions.diff(shelf.database, shelf.model.name, shelf.model.name, examples=1)


def test_a_promotion_is_taken_back_step_by_step(shelf: Shelf, candidate: Shelf) -> None:
    with shelf.database.writing() as connection:
        third = Shelf(shelf.database, catalog.register_model(connection, entry("c" * 64)))
    third.tag(rex={"car": 0.9}, tom={"car": 0.9})
    versions.promote(shelf.database, candidate.model.name)
    versions.promote(shelf.database, third.model.name)
    with pytest.raises(ModelError, match="is live already"):
        versions.promote(shelf.database, third.model.name)
    assert shelf.effective("rex") == {"car": 0.9}
    assert versions.roll_back(shelf.database, "imagenet").model.name == candidate.model.name
    assert shelf.effective("rex") == NEW
    assert versions.roll_back(shelf.database, "imagenet").model.name == shelf.model.name
    assert shelf.effective("rex") == OLD
    assert shelf.counts() == shelf.counted()
    with pytest.raises(ModelError, match="there is nothing to go back to"):
        versions.roll_back(shelf.database, "imagenet")
    versions.promote(shelf.database, third.model.name)
    assert versions.roll_back(shelf.database, "imagenet").model.name == shelf.model.name


def test_what_came_since_is_lacking_after_going_back(shelf: Shelf, candidate: Shelf) -> None:
    versions.promote(shelf.database, candidate.model.name)
    candidate.tag(rex=NEW, tom=NEW, max=NEW)
    assert versions.roll_back(shelf.database, "imagenet").lacking == 1


def test_a_version_is_pruned_with_all_that_it_said_and_nothing_else(shelf: Shelf, candidate: Shelf) -> None:
    verdicts.say(shelf.database, [Saying("rex.jpg", "car", Verdict.CONFIRM)], Roots())
    with pytest.raises(ModelError, match="is live"):
        versions.prune(shelf.database, shelf.model.name)
    before = shelf.effective("rex"), shelf.rows("SELECT * FROM tag_counts ORDER BY tag")
    versions.prune(shelf.database, candidate.model.name)
    assert (shelf.effective("rex"), shelf.rows("SELECT * FROM tag_counts ORDER BY tag")) == before
    for table in ("tag_scores", "class_scores", "taggings", "thresholds", "labels"):
        left = {model for (model,) in shelf.rows(f"SELECT DISTINCT model_id FROM {table}")}
        assert left == {shelf.model.id}, table
    with pytest.raises(ModelError, match="has tagged anything in this database"):
        versions.prune(shelf.database, candidate.model.name)


def test_a_pruned_version_can_be_made_again(shelf: Shelf, candidate: Shelf) -> None:
    versions.prune(shelf.database, candidate.model.name)
    with shelf.database.writing() as connection:
        again = Shelf(shelf.database, catalog.register_model(connection, entry("b" * 64)))
    again.tag(rex=NEW, tom=NEW)
    versions.promote(shelf.database, again.model.name)
    assert shelf.effective("rex") == NEW


def test_one_cannot_go_back_to_what_was_pruned(shelf: Shelf, candidate: Shelf) -> None:
    versions.promote(shelf.database, candidate.model.name)
    versions.prune(shelf.database, shelf.model.name)
    with pytest.raises(ModelError, match="is not there any more"):
        versions.roll_back(shelf.database, "imagenet")


def test_a_page_of_two_statements_is_of_one_version(shelf: Shelf, candidate: Shelf) -> None:
    """While versions take over from each other as fast as they can."""
    seen: list[tuple[dict[str, float], dict[str, float]]] = []
    over = threading.Event()

    def tags(connection: object) -> dict[str, float]:
        rows = connection.execute(  # type: ignore[attr-defined]
            text("SELECT tag, confidence FROM effective_tags WHERE uri LIKE '%rex.jpg'")
        )
        return dict(rows.all())

    def read() -> None:
        while not over.is_set():
            with shelf.database.reading() as connection:
                first = tags(connection)
                time.sleep(0.002)
                seen.append((first, tags(connection)))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(15):
        versions.promote(shelf.database, candidate.model.name)
        time.sleep(0.003)
        versions.roll_back(shelf.database, "imagenet")
        time.sleep(0.003)
    over.set()
    reader.join()
    assert all(first == second and first in (OLD, NEW) for first, second in seen)
    assert {tuple(first) for first, _ in seen} == {tuple(OLD), tuple(NEW)}


_DIES = """
import sys, time
from tagger.store import catalog, counts
from tagger.store.session import open_database
database = open_database(sys.argv[1])
with database.writing() as connection:
    catalog.promote(connection, catalog.find_model(connection, sys.argv[2]))
    counts.refresh(connection)
    print("promoted, not committed", flush=True)
    time.sleep(60)
"""


def test_a_promotion_that_dies_half_way_has_not_been(shelf: Shelf, candidate: Shelf) -> None:
    address = shelf.database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _DIES, address, candidate.model.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("promoted")
        process.kill()
    assert shelf.effective("rex") == OLD
    assert shelf.counts() == shelf.counted()
    versions.promote(shelf.database, candidate.model.name)
    assert shelf.effective("rex") == NEW


def test_another_vocabulary_is_live_beside_and_not_instead(shelf: Shelf) -> None:
    shelf.tag(rex=OLD)
    with shelf.database.writing() as connection:
        mine = Shelf(shelf.database, catalog.register_model(connection, entry("d" * 64, "mine")))
    mine.tag(rex={"car": 0.95})
    assert shelf.effective("rex") == {**OLD, "car": 0.95}


# -- thresholds -------------------------------------------------------------------------------


def test_a_threshold_holds_as_soon_as_it_is_set(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.9, "dog": 0.45})
    (changed,) = thresholds.change(shelf.database, None, "puppy", 0.4)
    assert (changed.tag, changed.threshold) == ("dog", 0.4)
    assert shelf.effective("rex") == {"animal": 0.9, "dog": 0.45}
    assert shelf.counts() == shelf.counted() == {"animal": 1, "dog": 1}
    listed = {each.tag: each.threshold for each in thresholds.listed(shelf.database, None)}
    assert listed["dog"] == 0.4 and listed["animal"] == 0.4 and listed["car"] == 0.7


def test_thresholds_that_cannot_be_are_refused(shelf: Shelf) -> None:
    with pytest.raises(ModelError, match=r"must be from 0\.05, the floor of tiny@a"):
        thresholds.change(shelf.database, None, "dog", 0.01)
    with pytest.raises(NotFound, match="there is no tag 'unicorn'"):
        thresholds.change(shelf.database, None, "unicorn", 0.5)


def _spoken(shelf: Shelf, right: list[float], wrong: list[float]) -> None:
    photos = {f"r{i}": {"dog": score} for i, score in enumerate(right)}
    photos |= {f"w{i}": {"dog": score} for i, score in enumerate(wrong)}
    shelf.tag(**photos)
    sayings = [Saying(f"{name}.jpg", "dog", Verdict.CONFIRM) for name in photos if name.startswith("r")]
    sayings += [Saying(f"{name}.jpg", "dog", Verdict.REJECT) for name in photos if name.startswith("w")]
    verdicts.say(shelf.database, sayings, Roots())


def test_a_threshold_is_fitted_to_the_wanted_precision(shelf: Shelf) -> None:
    _spoken(shelf, right=[0.3 + i / 100 for i in range(40)], wrong=[0.1 + i / 100 for i in range(22)])
    (dog,) = thresholds.fit(shelf.database, None, precision=0.95, least_cases=20)
    assert (dog.tag, dog.before, dog.cases) == ("dog", 0.5, 62)
    assert dog.after is not None and 0.29 <= dog.after <= 0.31
    assert dog.precision >= 0.95
    listed = {each.tag: each.threshold for each in thresholds.listed(shelf.database, None)}
    assert listed["dog"] == dog.after and listed["cat"] == 0.5


@pytest.mark.parametrize(("before", "after"), [(0.99, 0.9), (0.5, 0.5)])
def test_a_threshold_is_not_fitted_to_where_nobody_has_looked(
    shelf: Shelf, before: float, after: float
) -> None:
    """Neither lowered beyond what people spoke of, nor raised though nobody found anything wrong below."""
    _spoken(shelf, right=[0.9 + i / 1000 for i in range(20)], wrong=[])
    thresholds.change(shelf.database, None, "dog", before)
    (dog,) = thresholds.fit(shelf.database, None, precision=0.95, least_cases=20)
    assert dog.after == after


def test_a_precision_out_of_reach_leaves_the_threshold(shelf: Shelf) -> None:
    _spoken(shelf, right=[0.6] * 10, wrong=[0.9] * 10)
    (dog,) = thresholds.fit(shelf.database, None, precision=0.9, least_cases=10)
    assert dog.after is None and dog.precision == 0.5
    assert {each.tag: each.threshold for each in thresholds.listed(shelf.database, None)}["dog"] == 0.5


def test_too_few_cases_decide_nothing_and_a_dry_run_sets_nothing(shelf: Shelf) -> None:
    _spoken(shelf, right=[0.4] * 8, wrong=[0.2] * 3)
    assert thresholds.fit(shelf.database, None, precision=0.9, least_cases=12) == []
    (dog,) = thresholds.fit(shelf.database, None, precision=0.9, least_cases=10, dry_run=True)
    assert dog.after == pytest.approx(0.3)
    assert {each.tag: each.threshold for each in thresholds.listed(shelf.database, None)}["dog"] == 0.5


def test_words_above_and_below_are_cases_too(shelf: Shelf) -> None:
    shelf.tag(rex={"animal": 0.8, "dog": 0.7}, car={"animal": 0.3, "dog": 0.2})
    verdicts.say(
        shelf.database,
        [Saying("rex.jpg", "dog", Verdict.CONFIRM), Saying("car.jpg", "animal", Verdict.REJECT)],
        Roots(),
    )
    with shelf.database.reading() as connection:
        from tagger.store import thresholds as stored

        found = stored.cases(connection, shelf.model)
    assert {tag: sorted((c.confidence, c.right) for c in cases) for tag, cases in found.items()} == {
        "animal": [(0.3, False), (0.8, True)],
        "dog": [(0.2, False), (0.7, True)],
    }


def test_search_follows_a_promotion(shelf: Shelf, candidate: Shelf) -> None:
    def found(database: Database, tag: str) -> set[str]:
        return {photo.uri.rsplit("/", 1)[1] for photo in lookup.search(database, tag).photos}

    assert found(shelf.database, "dog") == {"rex.jpg"}
    versions.promote(shelf.database, candidate.model.name)
    assert found(shelf.database, "dog") == set()
    assert found(shelf.database, "animal") == {"rex.jpg", "tom.jpg"}
