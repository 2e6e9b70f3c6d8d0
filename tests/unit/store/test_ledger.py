"""Wants, claims, fencing, moves: what must hold whatever is killed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text

from tagger.errors import DatabaseError, ModelError
from tagger.store import catalog, ledger, migrate, outcomes, queries
from tagger.store.bulk import ask
from tagger.store.census import Seen
from tagger.store.owners import is_dead, this_process
from tagger.store.session import Database, open_database
from tagger.values import Outcome, OutcomeKind

from .conftest import HERE, ROOT, Shelf, entry, outcome

DOG = {"animal": 0.99, "dog": 0.97}


def test_a_claim_is_nobody_elses_and_counts_the_attempt(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg", "c.jpg")
    first, second = shelf.lease(), shelf.lease()
    assert [ref.uri for ref in shelf.claim(first, 2)] == [f"{ROOT}/a.jpg", f"{ROOT}/b.jpg"]
    assert [ref.uri for ref in shelf.claim(second)] == [f"{ROOT}/c.jpg"]
    assert shelf.claim(second) == []
    assert shelf.rows("SELECT DISTINCT attempts FROM image_status") == [(1,)]


def test_a_result_is_written_only_under_the_lease_that_holds_the_image(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    slow, quick = shelf.lease(), shelf.lease()
    (ref,) = shelf.claim(slow)
    shelf.die(slow)
    shelf.suspects(quick)
    assert shelf.record(slow, outcome(ref.image_id, "late", DOG)) == []
    assert shelf.effective("a") == {}
    assert shelf.record(quick, outcome(ref.image_id, "right", {"cat": 0.9})) == [ref.image_id]
    assert shelf.record(quick, outcome(ref.image_id, "again", DOG)) == []
    assert shelf.effective("a") == {"cat": 0.9}


def test_a_lease_id_is_never_given_twice(shelf: Shelf) -> None:
    first = shelf.lease()
    with shelf.database.writing() as connection:
        ledger.close_lease(connection, first)
    assert shelf.lease() > first


def test_what_a_closed_lease_held_is_free_again(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    lease = shelf.lease()
    shelf.claim(lease)
    shelf.die(lease)
    assert len(shelf.suspects(shelf.lease())) == 1


def test_suspects_are_claimed_apart_from_what_was_never_begun(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg", "c.jpg")
    lease = shelf.lease()
    begun = shelf.claim(lease, 2)
    shelf.die(lease)
    lease = shelf.lease()
    assert [ref.uri for ref in shelf.claim(lease)] == [f"{ROOT}/c.jpg"]
    assert shelf.suspects(lease) == [replace(ref, attempts=2) for ref in begun]


def test_after_a_second_death_suspects_wait_a_while(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    for begin in (shelf.claim, shelf.suspects):
        lease = shelf.lease()
        assert begin(lease)
        with shelf.database.writing() as connection:
            ledger.close_lease(connection, lease)
    assert not shelf.suspects(shelf.lease())
    assert [ledger.back_off(deaths).total_seconds() for deaths in range(1, 7)] == [0, 5, 10, 10, 10, 10]


def test_after_each_death_suspects_are_claimed_in_halves(shelf: Shelf) -> None:
    shelf.scan(*(f"{number}.jpg" for number in range(16)))
    lease = shelf.lease()
    shelf.claim(lease, 16)
    sizes = []
    for _ in range(6):
        shelf.die(lease)
        lease = shelf.lease()
        sizes.append(len(shelf.suspects(lease, 16)))
    # The other half of each is taken before what died once more.
    assert sizes == [8, 8, 4, 4, 4, 4]


def test_the_one_that_kills_every_process_is_found_and_the_others_are_done(shelf: Shelf) -> None:
    """A whole process dies, again and again, as when the system ends a container for its memory."""
    shelf.scan(*(f"{number:02}.jpg" for number in range(40)), "killer.jpg")
    deaths = 0
    while shelf.rows("SELECT 1 FROM image_status WHERE outcome = 'pending'"):
        lease = shelf.lease()
        while refs := shelf.claim(lease, 32) or shelf.suspects(lease, 32):
            if any("killer" in ref.uri for ref in refs):
                deaths += 1
                shelf.die(lease)
                break
            shelf.record(lease, *(outcome(ref.image_id, ref.uri, DOG) for ref in refs))
    rows = shelf.rows("SELECT uri, reason FROM image_status WHERE outcome = 'quarantined'")
    reason = "3 processes died while they had this image, and no other, in hand"
    assert rows == [(f"{ROOT}/killer.jpg", reason)]
    assert shelf.rows("SELECT COUNT(*) FROM image_status WHERE outcome = 'ok'") == [(40,)]
    assert deaths <= 9, "one in a claim of 32, of 16, ... of 1, and twice more alone"


def test_what_died_alone_is_remembered_by_the_next_claim(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg")
    lease = shelf.lease()
    a, _ = shelf.claim(lease)
    with shelf.database.writing() as connection:
        ledger.note_death(connection, lease, a.image_id)
        ledger.note_death(connection, lease + 1, a.image_id)  # not the holder: counts for nothing
    shelf.die(lease)
    claims = [shelf.suspects(shelf.lease()), shelf.suspects(shelf.lease())]
    assert [[(ref.uri, ref.deaths) for ref in refs] for refs in claims] == [
        [(f"{ROOT}/b.jpg", 0)],
        [(f"{ROOT}/a.jpg", 1)],
    ]
    assert shelf.rows("SELECT attempts FROM image_status WHERE uri LIKE '%a.jpg'") == [(3,)]


def test_a_changed_file_has_killed_nobody_yet(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    for _ in range(3):
        lease = shelf.lease()
        _ = shelf.claim(lease) or shelf.suspects(lease)
        shelf.die(lease)
    assert shelf.rows("SELECT outcome FROM image_status") == [("quarantined",)]
    shelf.scan(Seen(f"{ROOT}/a.jpg", 11, 2))
    (ref,) = shelf.claim(shelf.lease())
    assert ref.deaths == 0


def test_leases_expire_unless_renewed(shelf: Shelf) -> None:
    lease = shelf.lease()
    with shelf.database.writing() as connection:
        assert ledger.expired_leases(connection) == []
        connection.execute(
            text("UPDATE leases SET expires_at = :past"),
            {"past": ledger.now(connection) - timedelta(hours=1)},
        )
        assert ledger.expired_leases(connection) == [lease]
        assert ledger.renew_lease(connection, lease)
        assert ledger.expired_leases(connection) == []
        ledger.close_lease(connection, lease)
        assert not ledger.renew_lease(connection, lease)


def test_only_the_certainly_dead_are_dead() -> None:
    here = this_process()
    assert not is_dead(here)
    assert is_dead(ledger.Owner(here.host, here.pid, here.process_started - 100)), "the number was reused"
    assert is_dead(ledger.Owner(here.host, 2**22 + 1, 0.0))
    assert not is_dead(ledger.Owner("another-host", 2**22 + 1, 0.0))
    namesake = here.host.partition("/")[0] + "/0123456789ab"
    assert not is_dead(ledger.Owner(namesake, 2**22 + 1, 0.0)), "another machine of the same name"


def test_every_failure_is_written_with_its_reason(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    shelf.record(lease, Outcome(ref.image_id, OutcomeKind.CORRUPT, "the file ends in its header"))
    rows = shelf.rows("SELECT outcome, reason FROM image_status WHERE finished_at IS NOT NULL")
    assert rows == [("corrupt", "the file ends in its header")]


def test_copies_share_the_first_writers_scores(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg")
    lease = shelf.lease()
    a, b = shelf.claim(lease)
    shelf.record(lease, outcome(a.image_id, "same", DOG))
    with shelf.database.reading() as connection:
        digest = outcome(0, "same", {}).digest
        assert digest is not None
        assert outcomes.known_contents(partial(ask, connection), shelf.model.id, [digest, b"x" * 32]) == {
            digest: OutcomeKind.OK
        }
    shelf.record(lease, outcome(b.image_id, "same", {"cat": 0.9}))
    assert shelf.effective("a") == shelf.effective("b") == DOG
    assert shelf.counts() == shelf.counted() == {"animal": 2, "dog": 2}


def test_a_changed_file_is_wanted_again_and_an_unchanged_one_is_not(shelf: Shelf) -> None:
    shelf.tag(a=DOG, b=DOG)
    before = shelf.rows("SELECT finished_at FROM image_status WHERE uri LIKE '%/a.jpg'")
    tally = shelf.scan("a.jpg", Seen(f"{ROOT}/b.jpg", 11, 2))
    assert (tally.new, tally.changed, tally.unchanged) == (0, 1, 1)
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    assert ref.uri == f"{ROOT}/b.jpg" and ref.size == 11
    shelf.record(lease, outcome(ref.image_id, "b2", {"cat": 0.9}))
    assert shelf.effective("b") == {"cat": 0.9}
    assert shelf.rows("SELECT finished_at FROM image_status WHERE uri LIKE '%/a.jpg'") == before
    assert shelf.counts() == shelf.counted()


def test_a_moved_file_keeps_its_id_its_finish_and_its_verdicts(shelf: Shelf) -> None:
    shelf.tag(a=DOG)
    ((image_id, finished),) = shelf.rows("SELECT image_id, finished_at FROM image_status")
    shelf.write(
        "INSERT INTO verdicts (image_id, tag_id, verdict, decided_at) "
        "SELECT i.id, t.id, 'confirm', CURRENT_TIMESTAMP FROM images i, tags t WHERE t.name = 'car'"
    )
    tally = shelf.scan("elsewhere/a.jpg")
    assert (tally.new, tally.vanished) == (1, 1)
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    digest = outcome(0, "a", {}).digest
    shelf.record(lease, Outcome(ref.image_id, OutcomeKind.OK, digest=digest, reused=True))
    assert shelf.rows("SELECT image_id, uri, finished_at, outcome FROM image_status") == [
        (image_id, f"{ROOT}/elsewhere/a.jpg", finished, "ok")
    ]
    assert shelf.effective("elsewhere/a") == {**DOG, "car": 1.0}
    assert shelf.counts()["dog"] == 1


def test_a_copy_of_a_present_file_is_an_image_of_its_own(shelf: Shelf) -> None:
    shelf.tag(a=DOG)
    shelf.scan("a.jpg", "copy.jpg")
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    shelf.record(lease, outcome(ref.image_id, "a", DOG))
    assert len(shelf.rows("SELECT * FROM image_status")) == 2


def test_pending_images_that_vanish_end_as_missing_and_come_back(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "b.jpg")
    shelf.scan("b.jpg")
    rows = shelf.rows("SELECT outcome FROM image_status ORDER BY uri")
    assert rows == [("missing",), ("pending",)]
    shelf.scan("a.jpg", "b.jpg")
    assert shelf.rows("SELECT DISTINCT outcome FROM image_status") == [("pending",)]


def test_nothing_vanishes_beneath_a_place_that_could_not_be_listed(shelf: Shelf) -> None:
    shelf.scan("a.jpg", "locked/b.jpg", "locked/deep/c.jpg", "locked-not/d.jpg")
    tally = shelf.scan("a.jpg", unlisted=(f"{ROOT}/locked",))
    assert tally.vanished == 1
    gone = shelf.rows("SELECT uri FROM image_info WHERE vanished_at IS NOT NULL")
    assert gone == [(f"{ROOT}/locked-not/d.jpg",)]


def test_a_scan_touches_nothing_outside_its_root(shelf: Shelf) -> None:
    shelf.scan(Seen(f"{ROOT}-private/x.jpg", 1, 1), under=("file:///nothing",))
    shelf.scan("a.jpg")
    assert shelf.rows("SELECT uri FROM image_info WHERE vanished_at IS NOT NULL") == []


def test_refusals_are_settled_by_the_scan_and_looked_at_again(shelf: Shelf) -> None:
    away = Seen(f"{ROOT}/link.jpg", refusal=(OutcomeKind.OUTSIDE, "leads out of the roots"))
    shelf.scan(away)
    status = shelf.rows("SELECT outcome, reason, finished_at FROM image_status")
    assert status[0][:2] == ("outside", "leads out of the roots")
    shelf.scan(away)
    assert shelf.rows("SELECT outcome, reason, finished_at FROM image_status") == status
    shelf.scan("link.jpg")
    assert shelf.rows("SELECT outcome, reason FROM image_status") == [("pending", None)]


def test_forgetting_leaves_no_trace_and_spares_the_rest(shelf: Shelf) -> None:
    shelf.tag(a=DOG, b={"car": 0.9})
    with shelf.database.writing() as connection:
        assert catalog.forget(connection, [f"{ROOT}/a.jpg"]) == 1
    assert shelf.rows("SELECT uri FROM image_info") == [(f"{ROOT}/b.jpg",)]
    assert shelf.rows("SELECT COUNT(*) FROM contents") == [(1,)]
    assert shelf.rows("SELECT DISTINCT content_id FROM tag_scores") == shelf.rows("SELECT id FROM contents")
    assert shelf.counts() == {"car": 1}


def test_nothing_holds_of_bytes_that_are_gone(shelf: Shelf) -> None:
    shelf.tag(a=DOG, b=DOG)
    shelf.scan(Seen(f"{ROOT}/a.jpg", 0, 2), Seen(f"{ROOT}/b.jpg", refusal=(OutcomeKind.OUTSIDE, "leads out")))
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    shelf.record(lease, Outcome(ref.image_id, OutcomeKind.CORRUPT, "the file is empty (0 bytes)"))
    assert shelf.effective("a") == shelf.effective("b") == shelf.counts() == {}


def test_what_was_read_before_a_change_is_not_written_after_it(shelf: Shelf) -> None:
    shelf.scan("a.jpg")
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    shelf.scan(Seen(f"{ROOT}/a.jpg", 99, 9))
    assert shelf.record(lease, outcome(ref.image_id, "old bytes", DOG)) == []
    assert [again.size for again in shelf.claim(shelf.lease())] == [99]


def test_a_copy_whose_scores_were_forgotten_meanwhile_is_done_again(shelf: Shelf) -> None:
    shelf.tag(a=DOG)
    shelf.scan("a.jpg", "copy.jpg")
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    with shelf.database.writing() as connection:
        catalog.forget(connection, [f"{ROOT}/a.jpg"])
    digest = outcome(0, "a", {}).digest
    assert shelf.record(lease, Outcome(ref.image_id, OutcomeKind.OK, digest=digest, reused=True)) == []
    assert len(shelf.claim(shelf.lease())) == 1


def test_a_move_is_known_before_the_old_place_is_missed(shelf: Shelf) -> None:
    shelf.tag(a=DOG)
    ((old,),) = shelf.rows("SELECT image_id FROM image_status")
    shelf.scan("new/a.jpg", under=(f"{ROOT}/new",))
    lease = shelf.lease()
    (ref,) = shelf.claim(lease)
    with shelf.database.writing() as connection:
        done = outcomes.record(
            connection, shelf.model.id, lease, [outcome(ref.image_id, "a", DOG)], HERE, lambda old, new: True
        )
    assert done.moved == 1
    assert shelf.rows("SELECT image_id, uri FROM image_status") == [(old, f"{ROOT}/new/a.jpg")]


@pytest.mark.parametrize("first", ["old", "new"])
def test_what_came_of_the_old_place_of_a_moved_image_is_of_no_account(shelf: Shelf, first: str) -> None:
    """It was wanted again meanwhile, and missed in the same group."""
    shelf.tag(a=DOG)
    ((old,),) = shelf.rows("SELECT image_id FROM image_status")
    with shelf.database.writing() as connection:
        ledger.want_again(connection, [old])
    shelf.scan("new/a.jpg", under=(f"{ROOT}/new",))
    lease = shelf.lease()
    (new,) = (ref.image_id for ref in shelf.claim(lease) if ref.image_id != old)
    gone = Outcome(old, OutcomeKind.MISSING, "no longer there")
    group = [outcome(new, "a", DOG), gone]
    with shelf.database.writing() as connection:
        told = group if first == "new" else group[::-1]
        outcomes.record(connection, shelf.model.id, lease, told, HERE, lambda old, new: True)
    assert shelf.rows("SELECT image_id, uri, outcome FROM image_status") == [(old, f"{ROOT}/new/a.jpg", "ok")]
    assert shelf.rows("SELECT COUNT(*) FROM image_info WHERE vanished_at IS NOT NULL") == [(0,)]
    assert shelf.effective("new/a") == DOG
    assert shelf.counts() == shelf.counted()


@pytest.mark.parametrize(
    ("photos", "said"),
    [
        (("a",), rf"no outcome yet for 1 image, {ROOT}/a.jpg: tag its folder .* or `tagger forget` it$"),
        (
            ("a", "b"),
            rf"for 2 images, such as {ROOT}/a.jpg, {ROOT}/b.jpg: tag their folders .*`tagger forget` them$",
        ),
    ],
)
def test_promotion_waits_for_the_last_image(shelf: Shelf, photos: Sequence[str], said: str) -> None:
    shelf.tag(**dict.fromkeys(photos, DOG))
    with shelf.database.writing() as connection:
        candidate = catalog.register_model(connection, entry("b" * 64))
        with pytest.raises(ModelError, match=said):
            catalog.promote(connection, candidate)


def test_registering_again_changes_nothing(shelf: Shelf) -> None:
    shelf.write("UPDATE thresholds SET threshold = 0.9")
    with shelf.database.writing() as connection:
        assert catalog.register_model(connection, entry()) == shelf.model
    assert shelf.rows("SELECT DISTINCT threshold FROM thresholds") == [(0.9,)]


def test_tags_are_found_by_name_and_alias_whatever_the_case(shelf: Shelf) -> None:
    with shelf.database.reading() as connection:
        found = {word: catalog.resolve_tag(connection, word) for word in ("Dog", "PUPPY", "cat", "yak")}
    assert found == {"Dog": "dog", "PUPPY": "dog", "cat": "cat", "yak": None}


def test_an_older_or_newer_schema_is_refused_with_what_to_do(database: Database) -> None:
    migrate.check(database)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'from-the-future'"))
    with pytest.raises(DatabaseError, match="newer tagger"):
        migrate.check(database)
    with database.writing() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(DatabaseError, match="tagger db upgrade"):
        migrate.check(database)


def test_a_backup_is_a_whole_database_and_overwrites_nothing(sqlite: Database, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path_factory.mktemp("backup") / "copy.db"
    copy = open_database(str(migrate.backup(sqlite, target)))
    migrate.check(copy)
    copy.close()
    with pytest.raises(DatabaseError, match="there already"):
        migrate.backup(sqlite, target)


def test_two_machines_that_start_at_once_register_one_model(database: Database) -> None:
    def register(_: int) -> catalog.Model:
        with database.writing() as connection:
            return catalog.register_model(connection, entry())

    with ThreadPoolExecutor(4) as pool:
        models = set(pool.map(register, range(4)))
    assert len(models) == 1


def test_a_path_may_be_as_long_as_it_likes(shelf: Shelf) -> None:
    """Four folders of eighty Chinese letters are enough for PostgreSQL's B-tree to refuse them."""
    letters = random.Random(1)
    name = "/".join("".join(f"%{letters.randrange(256):02X}" for _ in range(240)) for _ in range(16))
    shelf.scan(f"{name}/a.jpg", f"{name}/b.jpg", "short.jpg")
    shelf.scan(f"{name}/a.jpg", f"{name}/b.jpg", "short.jpg")
    refs = shelf.claim(shelf.lease())
    assert [ref.uri for ref in refs] == [f"{ROOT}/{name}/a.jpg", f"{ROOT}/{name}/b.jpg", f"{ROOT}/short.jpg"]
    assert shelf.scan("short.jpg").vanished == 2


def test_the_end_of_a_path_is_looked_up_letter_by_letter(shelf: Shelf) -> None:
    shelf.scan("trip/a_b.JPG", "trip/a_b.jpg", "trip/aXb.jpg", "other/a_b.jpg")
    with shelf.database.reading() as connection:
        found = queries.find_images(connection, None, "trip/a_b.jpg", 10)
        assert [uri for _, uri in found] == [f"{ROOT}/trip/a_b.jpg"]
        assert len(queries.find_images(connection, None, "a_b.jpg", 10)) == 2
