"""Filling runs: what is asked for is wanted, all of it and once, whoever dies on the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from tagger.errors import ModelError, SettingsError, SourceError
from tagger.library import control, versions
from tagger.library.filling import (
    ATTEMPTS,
    FAILURES,
    NAMED,
    REASONS,
    Ask,
    Filled,
    What,
    ask_for,
    fill,
    fill_next,
)
from tagger.library.lease import free_dead
from tagger.search.expression import ExpressionError
from tagger.sources import OutsideRootsError, Roots
from tagger.store import ledger, runs
from tagger.store.ledger import Owner, Role
from tagger.store.runs import RunKind, RunState
from tagger.store.session import Database, open_database
from tagger.values import OutcomeKind
from tests.unit.store.running import all_at_once

ENQUEUE = Ask(RunKind.ENQUEUE)
REINDEX = Ask(RunKind.REINDEX, bulk=True)
DEAD = Owner("another-host", 1, 1.0)


@pytest.fixture(scope="module")
def registered(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that knows the default model, to be copied: making its rows takes a while."""
    place = tmp_path_factory.mktemp("registered") / "tagger.db"
    shutil.copy(sqlite_template, place)
    database = open_database(str(place))
    versions.register(database, versions.choose(database, None))
    database.close()
    return place


@pytest.fixture
def sqlite(registered: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(registered, tmp_path / "tagger.db")
    database = open_database(str(tmp_path / "tagger.db"))
    yield database
    database.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A root with two folders and three files."""
    root = tmp_path / "photos"
    for name in ("a.jpg", "trip/b.jpg", "trip/deep/c.jpg"):
        _put(root / name)
    return root


@pytest.fixture
def roots(photos: Path) -> Roots:
    return Roots.parse((f"photos={photos}",))


def _put(path: Path, content: bytes = b"\xff\xd8 not much of a photo") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _rows(database: Database, query: str, **values: object) -> list[tuple[object, ...]]:
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query), values)]


def _write(database: Database, statement: str, **values: object) -> None:
    with database.writing() as connection:
        connection.execute(text(statement), values)


def _state(database: Database) -> dict[str, tuple[object, ...]]:
    """Outcome and run of each image; the run None where nobody wants it."""
    query = (
        "SELECT i.uri, t.outcome, t.run_id FROM images i LEFT JOIN taggings t ON t.image_id = i.id ORDER BY 1"
    )
    return {str(uri): rest for uri, *rest in _rows(database, query)}  # type: ignore[misc]


def _names(database: Database) -> list[str]:
    return [uri.removeprefix("root://photos/") for uri in _state(database)]


def _end_all(database: Database, outcome: str) -> None:
    _write(database, "UPDATE taggings SET outcome = :outcome, lease_id = NULL", outcome=outcome)
    _write(database, "UPDATE runs SET done = total")
    database.write(runs.close_finished)


def _run(database: Database, filled: Filled) -> runs.Run:
    return database.read(partial(runs.find_run, run_id=filled.run_id))


# -- what may be asked for ------------------------------------------------------------------


def test_files_folders_and_uris_are_wanted_each_image_once(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    items = (
        str(photos / "a.jpg"),
        (photos / "a.jpg").as_uri(),
        "root://photos/a.jpg",
        str(photos / "trip"),
        "root://photos/trip/deep",
    )
    filled = fill(sqlite, replace(ENQUEUE, items=items), roots)
    assert _names(sqlite) == ["a.jpg", "trip/b.jpg", "trip/deep/c.jpg"]
    assert (filled.wanted, filled.tally.new, filled.warnings, filled.bad) == (3, 3, [], [])
    assert set(map(tuple, _state(sqlite).values())) == {(None, filled.run_id)}
    run = _run(sqlite, filled)
    assert (run.total, run.filling, run.state) == (3, False, RunState.RUNNING)


def test_an_address_is_wanted_without_asking_its_server(sqlite: Database) -> None:
    roots = Roots.parse(("https://photos.example/albums",))
    filled = fill(sqlite, replace(ENQUEUE, items=("https://photos.example/albums/1/a.jpg",)), roots)
    assert filled.wanted == 1
    assert list(_state(sqlite)) == ["https://photos.example/albums/1/a.jpg"]


def test_the_same_asked_for_twice_does_nothing_twice(sqlite: Database, photos: Path, roots: Roots) -> None:
    ask = replace(ENQUEUE, items=(str(photos), str(photos / "a.jpg")))
    first, second = fill(sqlite, ask, roots), fill(sqlite, ask, roots)
    assert (first.wanted, second.wanted) == (3, 0)
    assert _run(sqlite, second).state == RunState.ENDED
    assert {run for _, run in _state(sqlite).values()} == {first.run_id}


def test_those_who_name_one_run_fill_it_together(sqlite: Database, photos: Path, roots: Roots) -> None:
    named = replace(ENQUEUE, name="upload")
    first = fill(sqlite, replace(named, items=(str(photos / "a.jpg"),)), roots)
    second = fill(sqlite, replace(named, items=(str(photos / "trip"),)), roots)
    assert first.run_id == second.run_id
    assert (second.wanted, _run(sqlite, second).total) == (2, 3)


def test_a_list_with_bad_lines_gives_what_is_good_and_names_the_first_of_the_others(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    bad = [
        "/etc/passwd",
        "not a path",
        "/photos\0.jpg",
        f"{photos}/../x.jpg",
        "s3://elsewhere/a.jpg",
        "\ud800",
    ]
    lines = [str(photos / "a.jpg"), *bad, f"{photos}/trip/b.jpg"]
    filled = fill(sqlite, ENQUEUE, roots, stream=iter(lines))
    assert _names(sqlite) == ["a.jpg", "trip/b.jpg"]
    assert filled.bad_items == len(bad)
    assert len(filled.bad) == REASONS
    assert all(one.reason for one in filled.bad)


def test_a_long_list_is_taken_in_groups_and_told_as_it_goes(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    paths = [str(_put(photos / "many" / f"{number:04}.jpg")) for number in range(601)]
    seen: list[int] = []
    filled = fill(
        sqlite, ENQUEUE, roots, stream=iter(paths), watch=lambda so_far: seen.append(so_far.tally.new)
    )
    assert (filled.wanted, seen) == (601, [500, 601])
    places = _run(sqlite, filled).places.split("\n")
    assert len(places) == NAMED, "a run names some, whatever it has"


def test_one_item_outside_the_roots_refuses_all_before_anything_is_written(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    (photos / "link").symlink_to("/etc")
    for bad, fault in (
        ("/etc/passwd", OutsideRootsError),
        (f"{photos}/../outside.jpg", OutsideRootsError),
        ("https://elsewhere.example/a.jpg", OutsideRootsError),
        (f"{photos}-2/a.jpg", OutsideRootsError),
        ("a.jpg", SourceError),
        ("/" + "x" * 1_000_000, SourceError),
        (f"{photos}/\0", SourceError),
    ):
        with pytest.raises(fault) as refusal:
            fill(sqlite, replace(ENQUEUE, items=(str(photos / "a.jpg"), bad)), roots)
        assert len(str(refusal.value)) < 1000
    for table in ("images", "taggings", "runs", "requests", "leases"):
        assert _rows(sqlite, f"SELECT COUNT(*) FROM {table}") == [(0,)], table


def test_what_else_cannot_be_had_is_refused_before_anything_is_written(
    sqlite: Database, roots: Roots
) -> None:
    with pytest.raises(ModelError, match="no-such-model"):
        fill(sqlite, replace(ENQUEUE, model="no-such-model"), roots)
    for ask in (replace(REINDEX, what=(What.MISSING,)), replace(REINDEX, outcomes=FAILURES)):
        with pytest.raises(SettingsError, match="TAGGER_ROOTS"):
            fill(sqlite, ask, Roots())
    for where, said in (("dog AND", "missing at the end"), ("unicorn", "no tag 'unicorn'")):
        with pytest.raises(ExpressionError, match=said):
            fill(sqlite, replace(REINDEX, what=(What.MISSING,), where=(where,)), roots)
    assert _rows(sqlite, "SELECT COUNT(*) FROM runs") == [(0,)]


def test_a_link_that_leads_outside_is_wanted_and_ends_as_outside(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    (photos / "sly.jpg").symlink_to("/etc/passwd")
    filled = fill(sqlite, replace(ENQUEUE, items=(str(photos / "sly.jpg"), str(photos / "a.jpg"))), roots)
    state = _state(sqlite)
    assert state["root://photos/sly.jpg"][0] == "outside"
    run = _run(sqlite, filled)
    assert (run.total, run.done, run.failed) == (2, 1, 1)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_names_may_be_any_bytes(database: Database, photos: Path, roots: Roots) -> None:
    odd = [os.fsdecode(os.fsencode(photos) + b"/" + name) for name in (b"\xff\xfe.jpg", b"two\nlines.jpg")]
    for path in odd:
        _put(Path(path))
    filled = fill(database, replace(ENQUEUE, items=(odd[0],)), roots, stream=[odd[1]])
    assert filled.wanted == 2
    assert len(_run(database, filled).places.split("\n")) == 2
    assert set(_names(database)) == {"%FF%FE.jpg", "two%0Alines.jpg"}


# -- places that are not there --------------------------------------------------------------


def test_a_folder_that_cannot_be_used_keeps_nothing_else_back(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    (photos / "an-empty-one").mkdir()
    items = (str(photos / "an-empty-one"), str(photos / "trip"))
    filled = fill(sqlite, replace(ENQUEUE, items=items), roots, stream=[str(photos / "a.jpg")])
    assert filled.wanted == 3
    assert len(filled.warnings) == 1
    assert "an-empty-one is empty" in filled.warnings[0]


def test_a_root_that_is_not_there_gives_a_warning_and_the_others_are_scanned(
    sqlite: Database, photos: Path, tmp_path: Path
) -> None:
    roots = Roots.parse((f"away={tmp_path / 'away'}", f"photos={photos}"))
    filled = fill(sqlite, replace(REINDEX, what=(What.CHANGED,)), roots)
    assert filled.wanted == 3
    assert len(filled.warnings) == 1
    assert "away is not there" in filled.warnings[0]
    assert _rows(sqlite, "SELECT COUNT(*) FROM requests") == [(0,)], "it is answered all the same"


@pytest.mark.parametrize("mount_point", ["is gone", "is empty"])
def test_what_is_known_of_a_root_that_is_away_is_not_touched(
    sqlite: Database, photos: Path, roots: Roots, mount_point: str
) -> None:
    everything = (str(photos / "a.jpg"), str(photos / "trip/b.jpg"), str(photos))
    fill(sqlite, replace(ENQUEUE, items=everything), roots)
    _end_all(sqlite, "ok")
    before = _state(sqlite)
    photos.rename(photos.parent / "unmounted")
    if mount_point == "is empty":
        photos.mkdir()
    filled = fill(sqlite, replace(ENQUEUE, items=everything[:2]), roots)
    fill(sqlite, replace(REINDEX, what=tuple(What)), roots)
    assert _state(sqlite) == before
    assert "not touched" in filled.warnings[0]
    assert _rows(sqlite, "SELECT COUNT(*) FROM images WHERE vanished_at IS NOT NULL") == [(0,)]


def test_a_file_that_is_gone_while_its_root_is_there_is_missing(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    fill(sqlite, replace(ENQUEUE, items=(str(photos),)), roots)
    _end_all(sqlite, "ok")
    (photos / "a.jpg").unlink()
    fill(sqlite, replace(ENQUEUE, items=(str(photos / "a.jpg"),)), roots)
    assert [outcome for outcome, _ in _state(sqlite).values()] == ["missing", "ok", "ok"]


# -- fillers that die -----------------------------------------------------------------------


class Killed(BaseException):
    """As if the process had ended here."""


def _kill(_: Filled) -> None:
    raise Killed


@pytest.mark.parametrize("how", ["before it began", "in the middle", "before it could say so"])
def test_a_filler_that_dies_leaves_the_rest_to_the_next_and_nothing_differs(
    sqlite: Database, photos: Path, roots: Roots, how: str
) -> None:
    _put(photos / "zoo" / "d.jpg")
    items = (str(photos / "trip"), str(photos / "a.jpg"), str(photos / "zoo"))
    ask = replace(ENQUEUE, name="upload", items=items)
    if how == "before it began":
        run_id = ask_for(sqlite, ask)
        _hold_request_by_the_dead(sqlite)
    elif how == "in the middle":
        with pytest.raises(Killed):
            fill(sqlite, ask, roots, watch=_kill)
        assert len(_state(sqlite)) == 3, "some of it was done"
        ((run_id,),) = _rows(sqlite, "SELECT id FROM runs")
        _hold_request_by_the_dead(sqlite)
    else:
        run_id = fill(sqlite, ask, roots).run_id
        _write(
            sqlite, "INSERT INTO requests (run_id, body) VALUES (:run, :body)", run=run_id, body=ask.to_json()
        )
        _hold_request_by_the_dead(sqlite)
    assert fill_next(sqlite, roots) is None, "somebody sees to it"
    free_dead(sqlite)
    filled = fill_next(sqlite, roots)
    assert filled is not None and filled.run_id == run_id
    assert _state(sqlite) == {
        f"root://photos/{name}": [None, run_id]
        for name in ("a.jpg", "trip/b.jpg", "trip/deep/c.jpg", "zoo/d.jpg")
    }
    assert _run(sqlite, filled).total == 4
    assert fill_next(sqlite, roots) is None


def _hold_request_by_the_dead(database: Database) -> None:
    """A process of another host has the request, and has given no sign of life for long."""
    lease = database.write(partial(ledger.open_lease, owner=DEAD, role=Role.FILL))
    _write(database, "UPDATE requests SET lease_id = :lease", lease=lease)
    _write(database, "UPDATE leases SET expires_at = '2020-01-01 00:00:00'")


def test_a_filler_that_fails_leaves_its_request_free_at_once(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    with pytest.raises(Killed):
        fill(sqlite, replace(ENQUEUE, items=(str(photos),)), roots, watch=_kill)
    filled = fill_next(sqlite, roots)
    assert filled is not None
    assert (_run(sqlite, filled).total, len(_state(sqlite))) == (3, 3)


def test_requests_are_answered_in_their_order_and_what_cannot_be_had_is_left_out(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    first = ask_for(sqlite, replace(ENQUEUE, items=("/etc/passwd", str(photos / "a.jpg"))))
    second = ask_for(sqlite, replace(REINDEX, what=(What.CHANGED,)))
    one, two = fill_next(sqlite, roots), fill_next(sqlite, roots)
    assert one is not None and two is not None
    assert [one.run_id, two.run_id] == [first, second]
    assert (one.bad_items, one.wanted, two.wanted) == (1, 1, 2)
    assert fill_next(sqlite, roots) is None


def test_a_request_for_a_model_that_is_not_had_here_holds_up_no_other_and_is_given_up_at_last(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    """Another version of this program may have asked for it, and may come back to it."""
    run_id = ask_for(sqlite, replace(ENQUEUE, items=(str(photos),)))
    _write(sqlite, "UPDATE requests SET body = :body", body=replace(ENQUEUE, model="newer").to_json())
    other = ask_for(sqlite, replace(ENQUEUE, items=(str(photos / "a.jpg"),)))
    first, second = fill_next(sqlite, roots), fill_next(sqlite, roots)
    assert first is not None and second is not None
    assert [first.run_id, second.run_id] == [run_id, other]
    assert "newer" in first.warnings[0]
    assert fill_next(sqlite, roots) is None, "it is tried again later"
    for _ in range(ATTEMPTS - 1):
        _write(sqlite, "UPDATE requests SET not_before = NULL")
        assert fill_next(sqlite, roots) is not None
    run = sqlite.read(partial(runs.find_run, run_id=run_id))
    assert (run.state, run.filling) == (RunState.ENDED, False)
    assert run.note is not None
    assert "newer" in run.note


def test_many_fillers_answer_each_request_once(postgresql: Database, photos: Path, roots: Roots) -> None:
    paths = [str(_put(photos / f"{number}.jpg")) for number in range(8)]
    asked = [ask_for(postgresql, replace(ENQUEUE, items=(path,))) for path in paths]

    def work(_: int) -> list[int]:
        done = []
        while (filled := fill_next(postgresql, roots)) is not None:
            done.append(filled.run_id)
        return done

    done = [run for answered in all_at_once(4, work) for run in answered]
    assert sorted(done) == asked
    assert [_run_total(postgresql, run) for run in asked] == [1] * 8
    assert _rows(postgresql, "SELECT COUNT(*) FROM leases") == [(0,)]


def _run_total(database: Database, run_id: int) -> int:
    return database.read(partial(runs.find_run, run_id=run_id)).total


def test_a_run_that_is_cancelled_while_it_is_filled_says_so_and_wants_nothing(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    cancelled: list[int] = []

    def cancel(filled: Filled) -> None:
        if not cancelled:
            cancelled.append(control.cancel(sqlite, filled.run_id))

    stream = [str(_put(photos / "many" / f"{number:04}.jpg")) for number in range(600)]
    with pytest.raises(SettingsError, match="was cancelled while images were added"):
        fill(sqlite, ENQUEUE, roots, stream=stream, watch=cancel)
    assert cancelled == [500]
    assert _rows(sqlite, "SELECT COUNT(*) FROM taggings") == [(0,)]
    assert _rows(sqlite, "SELECT state FROM runs") == [(RunState.CANCELLED,)]
    again = fill(sqlite, ENQUEUE, roots, stream=stream)
    assert again.wanted == 600


# -- the known library ----------------------------------------------------------------------


@pytest.fixture
def mixed(sqlite: Database, photos: Path, roots: Roots) -> Callable[[], dict[str, object]]:
    """A library with every outcome in the root, and the same outside of it; what is pending now."""
    for kind in OutcomeKind:
        _put(photos / "all" / f"{kind.value}.jpg")
    fill(sqlite, replace(ENQUEUE, items=(str(photos / "all"),)), roots)
    model = versions.register(sqlite, versions.choose(sqlite, None))
    for kind in OutcomeKind:
        uri, outside = f"root://photos/all/{kind.value}.jpg", f"file:///elsewhere/{kind.value}.jpg"
        _write(
            sqlite,
            "INSERT INTO images (uri, size, mtime_ns, added_at) VALUES (:uri, 1, 1, '2020-01-01')",
            uri=outside,
        )
        _write(
            sqlite,
            "INSERT INTO taggings (image_id, model_id) SELECT id, :model FROM images WHERE uri = :uri",
            uri=outside,
            model=model.id,
        )
        for each in (uri, outside):
            _write(
                sqlite,
                "UPDATE taggings SET outcome = :outcome "
                "WHERE image_id = (SELECT id FROM images WHERE uri = :uri)",
                outcome=kind.value,
                uri=each,
            )
    _write(sqlite, "UPDATE runs SET done = total, finished_at = started_at, state = 'ended'")

    def pending() -> dict[str, object]:
        return {uri: run for uri, (outcome, run) in _state(sqlite).items() if outcome is None}

    assert pending() == {}
    return pending


Pending = Callable[[], dict[str, object]]


def test_a_retry_takes_the_outcomes_that_it_names_and_only_in_the_roots(
    sqlite: Database, roots: Roots, mixed: Pending
) -> None:
    filled = fill(sqlite, Ask(RunKind.RETRY, outcomes=(OutcomeKind.CORRUPT, OutcomeKind.QUARANTINED)), roots)
    assert mixed() == dict.fromkeys(
        ("root://photos/all/corrupt.jpg", "root://photos/all/quarantined.jpg"), filled.run_id
    )
    assert filled.wanted == 2


def test_a_retry_of_all_failures_leaves_what_was_tagged(
    sqlite: Database, roots: Roots, mixed: Pending
) -> None:
    filled = fill(sqlite, Ask(RunKind.RETRY, outcomes=FAILURES), roots)
    assert set(mixed()) == {f"root://photos/all/{kind.value}.jpg" for kind in FAILURES}
    assert filled.wanted == len(FAILURES)


def test_what_is_retried_is_tried_with_a_clean_record(sqlite: Database, roots: Roots, mixed: Pending) -> None:
    _write(sqlite, "UPDATE taggings SET attempts = 9, deaths = 3")
    fill(sqlite, Ask(RunKind.RETRY, outcomes=(OutcomeKind.QUARANTINED,)), roots)
    assert _rows(sqlite, "SELECT attempts, deaths FROM taggings WHERE outcome IS NULL") == [(0, 0)]


def test_reindexing_what_failed_takes_what_may_go_well_now(
    sqlite: Database, roots: Roots, mixed: Pending
) -> None:
    fill(sqlite, replace(REINDEX, what=(What.FAILED,)), roots)
    found = {uri.removeprefix("root://photos/all/").removesuffix(".jpg") for uri in mixed()}
    assert found == {"missing", "denied", "outside", "unreadable", "timeout"}


def test_reindexing_what_is_missing_takes_what_nobody_sees_to(
    sqlite: Database, roots: Roots, mixed: Pending
) -> None:
    _write(sqlite, "DELETE FROM taggings WHERE outcome = 'ok'")
    _write(sqlite, "UPDATE taggings SET outcome = NULL, run_id = NULL WHERE outcome = 'empty'")
    filled = fill(sqlite, replace(REINDEX, what=(What.MISSING,)), roots)
    wanted = {uri for uri, run in mixed().items() if run == filled.run_id}
    assert wanted == {"root://photos/all/ok.jpg", "root://photos/all/empty.jpg"}


def test_reindexing_what_changed_finds_new_changed_and_vanished_files(
    sqlite: Database, photos: Path, roots: Roots
) -> None:
    fill(sqlite, replace(ENQUEUE, items=(str(photos),)), roots)
    _end_all(sqlite, "ok")
    _put(photos / "a.jpg", b"other bytes, and more of them")
    _put(photos / "new.jpg")
    (photos / "trip/b.jpg").unlink()
    filled = fill(sqlite, replace(REINDEX, what=(What.CHANGED,)), roots)
    tally = filled.tally
    assert (tally.new, tally.changed, tally.unchanged, tally.vanished, filled.wanted) == (1, 1, 1, 1, 2)
    state = _state(sqlite)
    assert [state[f"root://photos/{name}"] for name in ("a.jpg", "new.jpg")] == [[None, filled.run_id]] * 2


def test_nothing_outside_the_roots_is_touched_by_anything(
    sqlite: Database, roots: Roots, mixed: Pending
) -> None:
    outside = "SELECT * FROM images JOIN taggings ON id = image_id WHERE uri LIKE 'file:///elsewhere/%'"
    before = _rows(sqlite, outside)
    fill(sqlite, replace(REINDEX, what=tuple(What)), roots)
    fill(sqlite, Ask(RunKind.RETRY, outcomes=FAILURES), roots)
    assert len(before) == len(OutcomeKind)
    assert _rows(sqlite, outside) == before


def test_an_ask_survives_being_written_down() -> None:
    ask = Ask(
        RunKind.REINDEX,
        model="m",
        name="näme",
        bulk=True,
        items=("/a\udcff", "s3://b/c"),
        what=tuple(What),
        outcomes=FAILURES,
        retry_failed=True,
    )
    assert Ask.from_json(ask.to_json()) == ask
    assert ask.to_json().isascii()
