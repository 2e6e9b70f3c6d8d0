"""Runs: who wants which images, how much of it is done, how fast.

A run owns the pending taggings that it wants (``taggings.run_id``) and is done when none is pending
any more and nobody adds to it. Its numbers are kept by those who change taggings, in the same
transaction, so that no question counts a million rows. A ``tag`` run is one process's own work: it
notes its numbers itself, and no worker is sent for its images.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from tagger.errors import NotFound, SettingsError
from tagger.store.bulk import is_sqlite
from tagger.store.schema import ModelRow, RequestRow, RunRow, RunTickRow, TaggingRow
from tagger.store.session import exclusive, locked, now

_NAMES = 7_461_680
"""Guards the names of runs: two who open one at once must find the same, and one that goes on."""

FADE_SECONDS = 30.0
"""The mean rate of a run forgets what is longer ago than this, more or less."""

SLICE_SECONDS = 10
"""How finely it is kept what a run did when. A run that works for a week without a pause takes 60,480 rows,
1 MB on SQLite and 6 MB on PostgreSQL: not worth making them coarser as they age."""


_ASKED = exists().where(RequestRow.run_id == RunRow.id)


class RunKind(StrEnum):
    """What a run came from."""

    TAG = "tag"
    """``tagger tag``: one process's own."""
    ENQUEUE = "enqueue"
    """A producer's."""
    SCAN = "scan"
    """Of the roots, on schedule."""
    REINDEX = "reindex"
    """What is missing, changed, or failed and worth another try."""
    RETRY = "retry"
    """What failed, by a person's wish."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    PAUSED = "paused"
    """Nothing of it is sent or begun until it is resumed."""
    CANCELLED = "cancelled"
    """What was pending is wanted no more."""
    ENDED = "ended"
    """Every image has its outcome."""
    CUT_OFF = "cut off"
    """A ``tag`` run whose process died."""


class Priority(IntEnum):
    """Which run's images are sent first: the smaller number's."""

    NEW = 0
    BULK = 10
    """Heavy work, which may have hours of its own."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as it stands. ``rate`` is in images a second, of late; ``filling`` while images are added."""

    id: int
    kind: str
    name: str | None
    state: str
    bulk: bool
    model: str | None
    places: str
    started_at: datetime
    finished_at: datetime | None
    total: int
    done: int
    failed: int
    reused: int
    seconds: float | None
    rate: float
    filling: bool
    progressed_at: datetime | None
    """When its last outcome was written, or it was resumed."""
    note: str | None

    @property
    def eta_seconds(self) -> float | None:
        """Seconds until it is done at its present rate; None when that cannot be told."""
        going = self.state == RunState.RUNNING and not self.filling and self.kind != RunKind.TAG
        return max(0, self.total - self.done) / self.rate if going and self.rate > 0.01 else None


@dataclass(frozen=True, slots=True)
class Opening:
    """What a new run is. ``lease_id`` is that of the process which does a ``tag`` run's work."""

    kind: RunKind
    model_id: int
    places: Sequence[str]
    name: str | None = None
    priority: Priority = Priority.NEW
    lease_id: int | None = None


def open_run(connection: Connection, opening: Opening) -> int:
    """Begin a run, or go on with the unfinished one of that name, model and priority; its id."""
    if opening.name is not None and (found := _unfinished(connection, opening)) is not None:
        return found
    return connection.execute(
        insert(RunRow)
        .values(
            kind=opening.kind.value,
            name=opening.name,
            priority=opening.priority.value,
            model_id=opening.model_id,
            lease_id=opening.lease_id,
            places="\n".join(opening.places),
            started_at=now(connection),
            done=0,
            failed=0,
            reused=0,
        )
        .returning(RunRow.id)
    ).scalar_one()


def _unfinished(connection: Connection, opening: Opening) -> int | None:
    exclusive(connection, _NAMES)
    return connection.execute(
        locked(
            connection,
            select(RunRow.id).where(
                RunRow.name == opening.name,
                RunRow.model_id == opening.model_id,
                RunRow.priority == opening.priority.value,
                RunRow.finished_at.is_(None),
            ),
            of=RunRow,
        )
    ).scalar()


def note_tag_run(
    connection: Connection, run_id: int, *, done: int, failed: int, reused: int, seconds: float, ended: bool
) -> None:
    """Note how far a ``tag`` run has come; with each group, so that a killed run tells what it did."""
    state = RunState.ENDED if ended else RunState.RUNNING
    moment = now(connection)
    before = connection.execute(
        locked(connection, select(RunRow.done, RunRow.failed).where(RunRow.id == run_id), of=RunRow)
    ).first()
    if before is None:
        return
    # The same may be noted twice: then it adds nothing.
    _tick(connection, run_id, moment, Gain(done - before.done, failed - before.failed))
    connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(
            done=done,
            failed=failed,
            reused=reused,
            seconds=seconds,
            rate=done / seconds if seconds else 0.0,
            rated_at=moment,
            state=state.value,
            finished_at=moment if ended else None,
        )
    )


# -- the numbers ----------------------------------------------------------------------------


def grow(connection: Connection, run_id: int, images: int) -> None:
    """Note that a run wants so many more images (or, negative, that others took them over).

    Raises :class:`SettingsError` when it was cancelled: it may want nothing more.
    """
    if not images:
        return
    done = connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.finished_at.is_(None))
        .values(total=RunRow.total + images)
    )
    if not done.rowcount:
        raise SettingsError(f"run {run_id} was cancelled while images were added to it")


@dataclass(frozen=True, slots=True)
class Gain:
    """What a group of outcomes adds to its run."""

    done: int = 0
    failed: int = 0
    reused: int = 0


def advance(connection: Connection, gains: Mapping[int, Gain]) -> None:
    """Add outcomes to the numbers of their runs, and let the rate follow.

    The rate is a mean over exponentially fading time: of two events the later counts e times as
    much for every :data:`FADE_SECONDS` between them. Several workers may add to it by turns.
    """
    moment = now(connection)
    for run_id in sorted(gains):  # in one order, so that no two writers wait for each other
        gain = gains[run_id]
        before = connection.execute(
            locked(
                connection,
                select(RunRow.rate, RunRow.rated_at, RunRow.started_at).where(RunRow.id == run_id),
                of=RunRow,
            )
        ).first()
        if before is None:
            continue
        faded = before.rate * _fading(before.rated_at or moment, moment)
        connection.execute(
            update(RunRow)
            .where(RunRow.id == run_id)
            .values(
                done=RunRow.done + gain.done,
                failed=RunRow.failed + gain.failed,
                reused=RunRow.reused + gain.reused,
                rate=faded + gain.done / FADE_SECONDS,
                rated_at=moment,
                seconds=(moment - before.started_at).total_seconds(),
            )
        )
        _tick(connection, run_id, moment, gain)


def _tick(connection: Connection, run_id: int, moment: datetime, gain: Gain) -> None:
    """Add to the slice of time that ``moment`` is in; the run's row is held, so that nobody waits here."""
    if gain.done:
        mark = "?" if is_sqlite(connection) else "%s"
        at = int(moment.timestamp()) // SLICE_SECONDS * SLICE_SECONDS
        connection.exec_driver_sql(_TICK.format(mark=mark), (run_id, at, gain.done, gain.failed))


_TICK = """
    INSERT INTO run_ticks (run_id, at, done, failed) VALUES ({mark}, {mark}, {mark}, {mark})
    ON CONFLICT (run_id, at) DO UPDATE
    SET done = run_ticks.done + excluded.done, failed = run_ticks.failed + excluded.failed"""
"""With every group of outcomes, and so written for the drivers (as in :mod:`tagger.store.outcomes`)."""


def pending_by_run(connection: Connection, which: ColumnElement[bool]) -> Counter[int]:
    """How many pending taggings of each run there are among ``which``."""
    rows = connection.execute(
        select(TaggingRow.run_id, func.count())
        .where(which, TaggingRow.outcome.is_(None), TaggingRow.run_id.is_not(None))
        .group_by(TaggingRow.run_id)
    )
    return Counter({run_id: images for run_id, images in rows if run_id is not None})


def fail(connection: Connection, which: ColumnElement[bool]) -> None:
    """Note that all that is pending among ``which`` is about to end as failed."""
    pending = pending_by_run(connection, which)
    advance(connection, {run_id: Gain(images, images) for run_id, images in pending.items()})


def _fading(since: datetime, until: datetime) -> float:
    return math.exp(-max(0.0, (until - since).total_seconds()) / FADE_SECONDS)


# -- their ends -----------------------------------------------------------------------------


def close_finished(connection: Connection) -> None:
    """End the runs of which nothing is pending and to which nobody adds, and note those cut off.

    To be called before the transaction holds images: it waits for those who join a run.
    """
    exclusive(connection, _NAMES)  # or one that somebody joins just now would seem to be done
    # In the order of an index: PostgreSQL would else look through all that is done for what is not.
    pending = (
        select(TaggingRow.image_id)
        .where(TaggingRow.run_id == RunRow.id, TaggingRow.outcome.is_(None))
        .order_by(TaggingRow.not_before, TaggingRow.image_id)
        .limit(1)
        .scalar_subquery()
    )
    is_open = RunRow.finished_at.is_(None)
    over = and_(is_open, RunRow.kind != RunKind.TAG.value, ~_ASKED, pending.is_(None))
    # Images that were forgotten meanwhile, or merged with others, are wanted no more.
    connection.execute(
        update(RunRow)
        .where(over)
        .values(state=RunState.ENDED.value, finished_at=now(connection), total=RunRow.done)
    )
    connection.execute(
        update(RunRow)
        .where(is_open, RunRow.kind == RunKind.TAG.value, RunRow.lease_id.is_(None))
        .values(state=RunState.CUT_OFF.value, finished_at=now(connection))
    )


def pause(connection: Connection, run_id: int) -> None:
    """Send and begin nothing more of the run; what is being worked on is finished.

    Raises :class:`NotFound` or :class:`SettingsError` when there is no such run to be paused.
    """
    _require(connection, run_id, "pause", RunState.RUNNING)
    connection.execute(update(RunRow).where(RunRow.id == run_id).values(state=RunState.PAUSED.value))


def resume(connection: Connection, run_id: int) -> None:
    """Go on with a run that was paused; raises as :func:`pause`."""
    _require(connection, run_id, "resume", RunState.PAUSED)
    connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(state=RunState.RUNNING.value, rate=0.0, rated_at=now(connection))
    )


def cancel(connection: Connection, run_id: int) -> int:
    """Want no more what is pending of the run; how many images that were.

    What is being worked on is turned away when it comes. What was to be tried again ends as it was; any
    other is wanted again by the next scan or enqueuing that meets it. Raises as :func:`pause`.
    """
    _require(connection, run_id, "cancel")
    connection.execute(delete(RequestRow).where(RequestRow.run_id == run_id))
    left = and_(TaggingRow.run_id == run_id, TaggingRow.outcome.is_(None))
    kept = connection.execute(
        update(TaggingRow)
        .where(left, TaggingRow.previous.is_not(None))
        .values(
            outcome=TaggingRow.previous,
            reason=f"as it was before run {run_id}, which was cancelled",
            finished_at=now(connection),
            previous=None,
            lease_id=None,
            not_before=None,
        )
    ).rowcount
    gone = kept + connection.execute(delete(TaggingRow).where(left)).rowcount
    connection.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(state=RunState.CANCELLED.value, finished_at=now(connection))
    )
    return gone


def _require(connection: Connection, run_id: int, deed: str, state: RunState | None = None) -> None:
    row = connection.execute(
        locked(
            connection,
            select(RunRow.kind, RunRow.state, RunRow.finished_at).where(RunRow.id == run_id),
            of=RunRow,
        )
    ).first()
    if row is None:
        raise NotFound(f"there is no run {run_id}: `tagger run list` shows them")
    if row.finished_at is not None:
        raise SettingsError(f"run {run_id} is over ({row.state}): there is nothing to {deed}")
    if row.kind == RunKind.TAG:
        raise SettingsError(f"run {run_id} is a `tagger tag` of somebody's: end it there, with Ctrl-C")
    if state is not None and row.state != state:
        raise SettingsError(f"run {run_id} is {row.state}: there is nothing to {deed}")


# -- looking --------------------------------------------------------------------------------


def last_runs(connection: Connection, limit: int, *, empty: bool = True) -> list[Run]:
    """The unfinished runs and the newest of the others; ``empty`` ones too, which found nothing to do."""
    moment = now(connection)
    is_open = RunRow.finished_at.is_(None)
    newest = select(RunRow.id).order_by(RunRow.id.desc()).limit(limit)
    if not empty:
        newest = newest.where(
            or_(is_open, RunRow.kind == RunKind.TAG.value, RunRow.total > 0, RunRow.note.is_not(None))
        )
    rows = connection.execute(
        select(RunRow, ModelRow.name.label("model_name"), _ASKED.label("filling"))
        .outerjoin(ModelRow, ModelRow.id == RunRow.model_id)
        .where(or_(is_open, RunRow.id.in_(newest)))
        .order_by(RunRow.finished_at.is_not(None), RunRow.id.desc())
        .limit(4 * limit)
    )
    return [_run(row, moment) for row in rows]


def runs_before(connection: Connection, run_id: int | None, limit: int) -> list[Run]:
    """The runs that were begun before one (None: all), the newest first, whether they are over or not."""
    moment = now(connection)
    rows = connection.execute(
        select(RunRow, ModelRow.name.label("model_name"), _ASKED.label("filling"))
        .outerjoin(ModelRow, ModelRow.id == RunRow.model_id)
        .where(true() if run_id is None else RunRow.id < run_id)
        .order_by(RunRow.id.desc())
        .limit(limit)
    )
    return [_run(row, moment) for row in rows]


def unfinished(connection: Connection) -> list[Run]:
    """All runs that are not over, the oldest first; those of ``tagger tag`` left out."""
    moment = now(connection)
    rows = connection.execute(
        select(RunRow, ModelRow.name.label("model_name"), _ASKED.label("filling"))
        .outerjoin(ModelRow, ModelRow.id == RunRow.model_id)
        .where(RunRow.finished_at.is_(None), RunRow.kind != RunKind.TAG.value)
        .order_by(RunRow.id)
    )
    return [_run(row, moment) for row in rows]


def find_run(connection: Connection, run_id: int) -> Run:
    """One run; raises :class:`NotFound`."""
    row = connection.execute(
        select(RunRow, ModelRow.name.label("model_name"), _ASKED.label("filling"))
        .outerjoin(ModelRow, ModelRow.id == RunRow.model_id)
        .where(RunRow.id == run_id)
    ).first()
    if row is None:
        raise NotFound(f"there is no run {run_id}: `tagger run list` shows them")
    return _run(row, now(connection))


def _run(run: Any, moment: datetime) -> Run:
    return Run(
        id=run.id,
        kind=run.kind,
        name=run.name,
        state=run.state,
        bulk=run.priority >= Priority.BULK,
        model=run.model_name,
        places=run.places,
        started_at=run.started_at,
        finished_at=run.finished_at,
        total=run.total,
        done=run.done,
        failed=run.failed,
        reused=run.reused,
        seconds=run.seconds,
        rate=_rate(run, moment),
        filling=run.filling,
        progressed_at=run.rated_at,
        note=run.note,
    )


def unfinished_of(connection: Connection, model_id: int) -> list[int]:
    """The runs that still want something from a model."""
    return list(
        connection.execute(
            select(RunRow.id)
            .where(RunRow.model_id == model_id, RunRow.finished_at.is_(None), RunRow.done < RunRow.total)
            .order_by(RunRow.id)
        ).scalars()
    )


def late_rate(connection: Connection, model_id: int, runs: int = 5) -> float | None:
    """Images a second over the last runs that took their time, by preference those of this model; None if
    there were none."""
    of_model = RunRow.model_id == model_id
    rows = connection.execute(
        select(RunRow.done, RunRow.seconds)
        .where(RunRow.seconds > 1, RunRow.done > 0)
        .order_by(of_model.desc(), RunRow.id.desc())
        .limit(runs)
    ).all()
    seconds = sum(row.seconds for row in rows)
    return sum(row.done for row in rows) / seconds if seconds else None


def _rate(run: Any, moment: datetime) -> float:
    """Images a second: of late while it goes on, of its whole time when it is over."""
    if run.finished_at is not None or run.kind == RunKind.TAG:
        return run.done / run.seconds if run.seconds else 0.0
    if run.rated_at is None:
        return 0.0
    # A young run has not had the time that the mean is made for.
    age = 1.0 - _fading(run.started_at, moment)
    rate: float = run.rate * _fading(run.rated_at, moment) / max(age, 1e-3)
    return rate


# -- how fast, over time --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """What a run did in so many ``seconds`` from a moment on."""

    at: datetime
    seconds: float
    done: int
    failed: int


def throughput(connection: Connection, run_id: int, points: int = 120) -> tuple[Tick, ...]:
    """What a run did when, from first to last, in at most so many steps of one width; none if it did nothing.

    In a step without images it did nothing: it was paused, or nobody worked. The first step begins no
    earlier than the run, and the last ends with the latest outcome, so that divided by its ``seconds``
    each tells a rate. Raises :class:`NotFound`.
    """
    run = find_run(connection, run_id)
    of_run = RunTickRow.run_id == run_id
    bounds = connection.execute(
        select(func.min(RunTickRow.at), func.max(RunTickRow.at)).where(of_run).group_by(RunTickRow.run_id)
    ).first()
    if bounds is None:
        return ()
    first, last = bounds
    slices = (last - first) // SLICE_SECONDS + 1
    width = math.ceil(slices / points) * SLICE_SECONDS
    step = (RunTickRow.at - first) // width
    sums = (func.sum(RunTickRow.done), func.sum(RunTickRow.failed))
    rows = connection.execute(select(step, *sums).where(of_run).group_by(step))
    found = {number: (int(done), int(failed)) for number, done, failed in rows}
    return tuple(
        _step(run, first + number * width, width, *found.get(number, (0, 0)))
        for number in range((last - first) // width + 1)
    )


def _step(run: Run, at: int, width: int, done: int, failed: int) -> Tick:
    """What was done in a step, and how long that took: the run has not been there for all of its first, and
    its last has hardly begun when it is looked at."""
    began, latest = run.started_at.timestamp(), (run.progressed_at or run.started_at).timestamp()
    begin = began if at < began < at + width else at
    end = latest if at < latest < at + width else at + width
    # What was written in a moment was done in more than that: some of it in the step before.
    least = max(min(SLICE_SECONDS / 2, latest - began), 0.1)
    return Tick(datetime.fromtimestamp(begin, UTC), max(end - begin, least), done, failed)
