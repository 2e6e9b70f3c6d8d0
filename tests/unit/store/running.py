"""Short ways to put images into a shelf, and to want them for runs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sqlalchemy import insert, select

from tagger.store import ledger, runs, wants
from tagger.store.runs import Opening, Priority, Run, RunKind
from tagger.store.schema import ImageRow, TaggingRow
from tagger.store.session import now
from tagger.values import ImageRef, Outcome, OutcomeKind

from .conftest import ROOT, Shelf, outcome

T = TypeVar("T")
DOG = {"animal": 0.99, "dog": 0.97}


def images(shelf: Shelf, *names: str) -> list[int]:
    """Images that nobody wants yet; their ids."""
    with shelf.database.writing() as connection:
        rows = [
            {"uri": f"{ROOT}/{name}", "size": 10, "mtime_ns": 1, "added_at": now(connection)}
            for name in names
        ]
        connection.execute(insert(ImageRow), rows)
        known = dict(connection.execute(select(ImageRow.uri, ImageRow.id)).all())
    return [known[row["uri"]] for row in rows]


def numbered(shelf: Shelf, number: int) -> list[int]:
    return images(shelf, *(f"{index:06}.jpg" for index in range(number)))


def open_run(
    shelf: Shelf, name: str | None = None, *, kind: RunKind = RunKind.ENQUEUE, bulk: bool = False
) -> int:
    priority = Priority.BULK if bulk else Priority.NEW
    opening = Opening(kind, shelf.model.id, ("photos",), name, priority)
    return shelf.database.write(partial(runs.open_run, opening=opening))


def want(shelf: Shelf, run_id: int, image_ids: Sequence[int], model_id: int | None = None) -> None:
    shelf.database.write(
        partial(wants.want_for, model_id=model_id or shelf.model.id, image_ids=image_ids, run_id=run_id)
    )


def claim(shelf: Shelf, lease: int, image_ids: Sequence[int]) -> list[ImageRef]:
    return shelf.database.write(
        partial(ledger.claim_these, model_id=shelf.model.id, lease_id=lease, image_ids=image_ids)
    )


def ended(image_id: int, kind: OutcomeKind = OutcomeKind.OK, *, reused: bool = False) -> Outcome:
    if not kind.tagged:
        return Outcome(image_id, kind, reason="for a test")
    done = outcome(image_id, f"content {image_id}", DOG if kind is OutcomeKind.OK else {})
    if reused:
        digest = hashlib.sha256(b"known").digest()
        return Outcome(image_id, kind, digest=digest, facts=done.facts, reused=True)
    return done


def finish(shelf: Shelf, image_ids: Sequence[int], kind: OutcomeKind = OutcomeKind.OK) -> None:
    """Claimed by a worker, and recorded."""
    lease = shelf.lease()
    claim(shelf, lease, image_ids)
    shelf.record(lease, *(ended(image_id, kind) for image_id in image_ids))


def close_finished(shelf: Shelf) -> None:
    shelf.database.write(runs.close_finished)


def found(shelf: Shelf, run_id: int) -> Run:
    return shelf.database.read(partial(runs.find_run, run_id=run_id))


def numbers(shelf: Shelf, run_id: int) -> tuple[int, int, int]:
    """Total, done, failed."""
    run = found(shelf, run_id)
    return run.total, run.done, run.failed


def pending_of(shelf: Shelf, run_id: int | None) -> list[int]:
    wanted = TaggingRow.run_id.is_(None) if run_id is None else TaggingRow.run_id == run_id
    with shelf.database.reading() as connection:
        rows = connection.execute(
            select(TaggingRow.image_id)
            .where(wanted, TaggingRow.outcome.is_(None))
            .order_by(TaggingRow.image_id)
        )
        return list(rows.scalars())


# -- at the same time -----------------------------------------------------------------------


def all_at_once(number: int, work: Callable[[int], T]) -> list[T]:
    """What each of so many threads, which begin together, makes of its number."""
    start = threading.Barrier(number)

    def begin(position: int) -> T:
        start.wait(20)
        return work(position)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def later(work: Callable[[], T]) -> Future[T]:
    """What another thread makes of it."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def until_one_waits(shelf: Shelf) -> None:
    """Until a transaction waits for another one's lock; or a while, if it finds that it need not."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    for _ in range(40):
        if shelf.rows(waiting) != [(0,)]:
            return
        threading.Event().wait(0.05)
