"""A pass of the dispatcher: a short queue kept full, from the database, whatever the broker does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import pytest

from tagger.library.dispatch import (
    DEPTH,
    LARGEST,
    SMALLEST,
    USUAL,
    BrokerUnavailable,
    Queue,
    chunk_size,
    dispatch,
)
from tagger.store import catalog, ledger, owners
from tagger.store.dispatch import Chunk
from tagger.store.ledger import Owner, Report, Role, Worker
from tagger.store.runs import RunState
from tagger.store.session import Database
from tests.unit.store.conftest import Shelf, entry
from tests.unit.store.running import (
    all_at_once,
    claim,
    finish,
    found,
    images,
    numbered,
    open_run,
    want,
)

FAR_AWAY = Owner("another-host", 1, 1.0)


@dataclass
class Line(Queue):
    """A queue in memory, of a broker that goes away after so many messages."""

    messages: list[Chunk] = field(default_factory=list)
    waiting: int | None = None
    breaks_after: int = 1_000_000

    def depth(self) -> int:
        if self.breaks_after < 0:
            raise BrokerUnavailable("gone")
        return len(self.messages) if self.waiting is None else self.waiting

    def send(self, chunk: Chunk) -> None:
        if len(self.messages) >= self.breaks_after:
            raise BrokerUnavailable("gone")
        self.messages.append(chunk)

    @property
    def ids(self) -> list[int]:
        return list(chain.from_iterable(chunk.image_ids for chunk in self.messages))


@pytest.fixture
def shelf(sqlite: Database) -> Shelf:
    return _shelf(sqlite)


def _shelf(database: Database) -> Shelf:
    with database.writing() as connection:
        model = catalog.register_model(connection, entry())
    return Shelf(database, model)


def _worker(shelf: Shelf, rate: float | None = None, owner: Owner | None = None) -> int:
    owner = owner or owners.this_process()
    lease = shelf.database.write(partial(ledger.open_lease, owner=owner, role=Role.WORKER))
    shelf.database.write(partial(ledger.renew_lease, lease_id=lease, report=Report("cpu", 0, rate)))
    return lease


def _silence(shelf: Shelf, lease: int) -> None:
    shelf.write("UPDATE leases SET expires_at = '2020-01-01 00:00:00' WHERE id = :lease", lease=lease)


# -- the queue ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "waiting"), [(0, 0), (0, 1), (0, 2), (1, 0), (3, 0), (3, 5), (3, 6), (3, 60)]
)
def test_the_queue_is_kept_a_few_chunks_deep_for_each_worker(
    shelf: Shelf, workers: int, waiting: int
) -> None:
    run = open_run(shelf)
    want(shelf, run, numbered(shelf, 8 * SMALLEST))
    for _ in range(workers):
        _worker(shelf, rate=1.0)
    line = Line(waiting=waiting)
    sent = dispatch(shelf.database, line)
    room = max(0, DEPTH * max(1, workers) - waiting)
    chunks = min(room, 8) if workers else min(room, 1)  # where no speed is known a chunk takes them all
    assert len(line.messages) == chunks
    assert (sent.depth, sent.workers, sent.chunks) == (waiting, workers, chunks)
    assert sent.images == len(line.ids)


def test_all_that_is_wanted_is_sent_over_time_and_nothing_twice(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 700)
    want(shelf, run, ids)
    _worker(shelf, rate=10.0)
    sent: list[int] = []
    for _ in range(10):
        line = Line()
        dispatch(shelf.database, line)
        sent += line.ids
        finish(shelf, line.ids)
    assert sent == ids
    assert found(shelf, run).state == RunState.ENDED, "and the pass after the last one ends the run"


def test_new_work_goes_first_and_bulk_work_only_in_its_hours(shelf: Shelf) -> None:
    bulk, new = open_run(shelf, bulk=True), open_run(shelf)
    ids = numbered(shelf, 4)
    want(shelf, bulk, ids[:2])
    want(shelf, new, ids[2:])
    by_day, by_night = Line(), Line()
    dispatch(shelf.database, by_day, bulk=False)
    assert [chunk.run_id for chunk in by_day.messages] == [new]
    dispatch(shelf.database, by_night, bulk=True)
    assert [chunk.run_id for chunk in by_night.messages] == [bulk]


def test_a_long_run_leaves_no_room_to_bulk_work_and_a_short_one_does(shelf: Shelf) -> None:
    bulk, new = open_run(shelf, bulk=True), open_run(shelf)
    ids = numbered(shelf, 5 * SMALLEST)
    want(shelf, bulk, ids[: 2 * SMALLEST])
    want(shelf, new, ids[2 * SMALLEST :])
    _worker(shelf, rate=1.0)
    senders = []
    for _ in range(4):
        line = Line()
        dispatch(shelf.database, line)
        senders.append([chunk.run_id for chunk in line.messages])
    assert senders == [[new, new], [new, bulk], [bulk], []]


def test_without_anything_to_do_nothing_is_sent(shelf: Shelf) -> None:
    line = Line()
    assert dispatch(shelf.database, line).chunks == 0
    assert line.messages == []


# -- the broker -----------------------------------------------------------------------------


@pytest.mark.parametrize("breaks_after", [0, 1, 3])
def test_what_a_failing_broker_did_not_take_is_due_at_once(shelf: Shelf, breaks_after: int) -> None:
    run, ids = open_run(shelf), numbered(shelf, 4 * SMALLEST)
    want(shelf, run, ids)
    for _ in range(2):
        _worker(shelf, rate=1.0)
    broken, mended = Line(breaks_after=breaks_after), Line()
    with pytest.raises(BrokerUnavailable):
        dispatch(shelf.database, broken)
    assert len(broken.messages) == breaks_after
    dispatch(shelf.database, mended)
    assert sorted(broken.ids + mended.ids) == ids, "each once, the rest at the first occasion"


def test_a_broker_that_is_down_leaves_everything_as_it_is(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 3)
    want(shelf, run, ids)
    before = shelf.rows("SELECT * FROM taggings")
    with pytest.raises(BrokerUnavailable):
        dispatch(shelf.database, Line(breaks_after=-1))
    assert shelf.rows("SELECT * FROM taggings") == before


def test_the_dead_are_seen_to_though_the_broker_is_down(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 3), _worker(shelf, owner=FAR_AWAY)
    want(shelf, run, ids)
    claim(shelf, lease, ids)
    _silence(shelf, lease)
    with pytest.raises(BrokerUnavailable):
        dispatch(shelf.database, Line(breaks_after=-1))
    assert shelf.rows("SELECT DISTINCT lease_id FROM taggings") == [(None,)]


# -- the dead -------------------------------------------------------------------------------


def test_what_a_silent_worker_held_is_sent_again_in_halves(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 8), _worker(shelf, owner=FAR_AWAY)
    want(shelf, run, ids)
    claim(shelf, lease, ids)
    first, second = Line(), Line()
    dispatch(shelf.database, first)
    assert first.messages == [], "it may be alive"
    _silence(shelf, lease)
    dispatch(shelf.database, second)
    assert [chunk.image_ids for chunk in second.messages] == [tuple(ids[:4]), tuple(ids[4:])]


def test_a_worker_that_wrote_all_but_died_before_it_said_so_costs_nothing(shelf: Shelf) -> None:
    run, ids, lease = open_run(shelf), numbered(shelf, 3), _worker(shelf, owner=FAR_AWAY)
    want(shelf, run, ids)
    finish(shelf, ids)
    _silence(shelf, lease)
    line = Line()
    assert dispatch(shelf.database, line).workers == 0
    assert (line.messages, found(shelf, run).state) == ([], RunState.ENDED)


def test_one_that_kills_its_worker_alone_is_quarantined_by_a_pass(shelf: Shelf) -> None:
    run, ids = open_run(shelf), numbered(shelf, 1)
    want(shelf, run, ids)
    for _ in range(3):
        lease = _worker(shelf, owner=FAR_AWAY)
        assert claim(shelf, lease, ids)
        _silence(shelf, lease)
        dispatch(shelf.database, Line(waiting=99))
    dispatch(shelf.database, Line())
    assert shelf.rows("SELECT outcome FROM image_status") == [("quarantined",)]
    ended = found(shelf, run)
    assert (ended.state, ended.total, ended.failed) == (RunState.ENDED, 1, 1)


# -- many passes ----------------------------------------------------------------------------


def test_passes_at_one_time_never_send_an_image_twice(postgresql: Database) -> None:
    shelf = _shelf(postgresql)
    run, ids = open_run(shelf), images(shelf, *(f"{number}.jpg" for number in range(600)))
    want(shelf, run, ids)
    _worker(shelf, rate=1.0)
    lines = [Line(waiting=0) for _ in range(5)]

    def work(number: int) -> None:
        for _ in range(2):
            dispatch(shelf.database, lines[number])

    all_at_once(5, work)
    sent = list(chain.from_iterable(line.ids for line in lines))
    assert sent
    assert len(sent) == len(set(sent))


# -- the size of chunks ---------------------------------------------------------------------


def _workers(*rates: float | None) -> Sequence[Worker]:
    return [Worker(number, "w", "h", 1, None, 0, rate, 0, None) for number, rate in enumerate(rates)]


@pytest.mark.parametrize(
    ("rates", "left", "size"),
    [
        ((), 10_000_000, USUAL),
        ((None, None), 10_000_000, USUAL),
        ((100.0,), 10_000_000, 1000),
        ((100.0, None), 10_000_000, 1000),
        ((50.0, 100.0, 5000.0), 10_000_000, 1000),
        ((0.5,), 10_000_000, SMALLEST),
        ((90_000.0,), 10_000_000, LARGEST),
        ((100.0, 100.0), 1000, 500),
        ((100.0, 100.0, 100.0), 301, 101),
        ((100.0, 100.0), 3, SMALLEST),
        ((100.0,), 0, SMALLEST),
        ((100.0,), -5, SMALLEST),
    ],
)
def test_a_chunk_is_some_seconds_of_work_and_few_images_are_shared_out(
    rates: tuple[float | None, ...], left: int, size: int
) -> None:
    assert chunk_size(_workers(*rates), left) == size
