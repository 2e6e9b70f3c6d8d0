"""Comparing what a scan finds with what the store knows, in constant memory.

A census holds one connection for the length of a scan. What was seen is noted by a byte for each
id, a megabyte for a million; whatever lies beneath the scanned places and was not seen has vanished
when the scan comes to its end.

Almost always almost everything is unchanged. So the first question is whether the store has just these
files from the first URI to the last, as they are, and with nothing to be done: one row of long texts
answers for hundreds of files, where a row for each would take several times as long.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    text,
    update,
)

from tagger.store import counts, ledger, outcomes, runs
from tagger.store.bulk import insert_or_ignore
from tagger.store.catalog import GROUP, Scope, known_images, within
from tagger.store.schema import ImageRow, TaggingRow
from tagger.store.session import Database, now
from tagger.values import OutcomeKind

_PAGE = 10 * GROUP
"""Ids looked through in one transaction at the end."""
_GAPS = 20
"""Ranges of ids not seen that are looked through by themselves; where there are more, all ids are."""
_HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Seen:
    """A file that the scan came upon, as it is now; or a place it was refused, and why."""

    uri: str
    size: int | None = None
    mtime_ns: int | None = None
    refusal: tuple[OutcomeKind, str] | None = None


@dataclass(slots=True)
class Tally:
    """What a census came to; it counts as the scan goes."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    returned: int = 0
    vanished: int = 0

    @property
    def files(self) -> int:
        """All that was seen."""
        return self.new + self.changed + self.unchanged + self.refused

    def __add__(self, other: Tally) -> Tally:
        return Tally(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Tally) -> Tally:
        return Tally(*map(operator.sub, astuple(self), astuple(other)))


class _Ids:
    """A set of ids as a byte for each that there may be."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.bool_)

    def add(self, ids: NDArray[np.int64]) -> None:
        """Note them."""
        most = int(ids.max(initial=0))
        if most >= len(self._known):
            self._known = np.concatenate([self._known, np.zeros(most + 1, np.bool_)])
        self._known[ids] = True

    def lacking(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those that were not noted."""
        known = np.zeros(len(ids), np.bool_)
        within_reach = ids < len(self._known)
        known[within_reach] = self._known[ids[within_reach]]
        return ids[~known]

    def gaps(self) -> list[tuple[int, int]]:
        """From where to where, both included, ids may be lacking: a few ranges that leave none out."""
        padded = np.concatenate([[True], self._known, [True]])
        edges = np.flatnonzero(padded[1:] != padded[:-1])
        if len(edges) > 2 * _GAPS:
            return [(0, _HIGHEST)]
        inner = [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]
        return [*inner, (len(self._known), _HIGHEST)]


class Standing(Enum):
    """What the store knows of some files, asked for all of them at once."""

    UNCHANGED = auto()
    """All, just as they are; nothing is to be done about any."""
    MIXED = auto()
    NEW = auto()
    """None that it could pass over."""


@dataclass(frozen=True, slots=True)
class Census:
    """One scan's comparison; made by :func:`taking`."""

    connection: Connection
    model_id: int
    retry_failed: bool
    run_id: int | None = None
    tally: Tally = field(default_factory=Tally)
    _seen: _Ids = field(default_factory=_Ids)

    def passes_over(
        self, uris: Sequence[str], sizes: Sequence[int | None], mtimes_ns: Sequence[int | None]
    ) -> Standing:
        """Note these files, in the order of their URIs, as seen, if they are all that is known from the
        first to the last, and unchanged, and nothing is to be done about any."""
        with self.connection.begin():
            sqlite = self.connection.dialect.name == "sqlite"
            if not sqlite:
                self.connection.execute(_BY_INDEX)
            known = self.connection.execute(
                _at_rest(self.retry_failed, self.run_id is not None, sqlite),
                {"first": uris[0], "last": uris[-1], "model": self.model_id, "run": self.run_id},
            ).one()
        ours = tuple(map(_BETWEEN.join, (uris, map(str, sizes), map(str, mtimes_ns))))
        if (known.uris, known.sizes, known.mtimes_ns) != ours:
            return Standing.NEW if known.uris is None else Standing.MIXED
        self._seen.add(_numbers(known.ids))
        self.tally.unchanged += len(uris)
        return Standing.UNCHANGED

    def observe(self, group: Sequence[Seen]) -> None:
        """Write down a group of files in one transaction: new, changed, back again, or refused."""
        if not group:
            return
        with self.connection.begin():
            counts.guard(self.connection)
            known = known_images(self.connection, [seen.uri for seen in group])
            fresh = {seen.uri: seen for seen in group if seen.uri not in known}
            ids = {uri: image.id for uri, image in known.items()} | self._add(list(fresh.values()))
            self._seen.add(np.array(list(ids.values()), np.int64))
            changed = [
                seen
                for seen in group
                if (image := known.get(seen.uri)) is not None
                and seen.refusal is None
                and (image.size, image.mtime_ns) != (seen.size, seen.mtime_ns)
            ]
            self._change(ids, changed)
            self._return([image.id for image in known.values() if image.vanished])
            ledger.want(self.connection, self.model_id, sorted(ids.values()), self.run_id)
            self._judge(ids, group)
            refused = sum(seen.refusal is not None for seen in group)
            self.tally.refused += refused
            self.tally.new += sum(seen.refusal is None for seen in fresh.values())
            self.tally.changed += len(changed)
            self.tally.unchanged += (
                len(group) - refused - len(changed) - sum(seen.refusal is None for seen in fresh.values())
            )

    def close(self, scope: Scope) -> None:
        """Mark what is in ``scope`` and was not seen."""
        for first, last in self._seen.gaps():
            while first <= last:
                with self.connection.begin():
                    present = _numbers(self.connection.execute(_ids(scope, first, last)).scalar())
                    gone = self._seen.lacking(present).tolist()
                    for start in range(0, len(gone), GROUP):
                        self._vanish(gone[start : start + GROUP])
                first = int(present[-1]) + 1 if len(present) == _PAGE else last + 1

    def _add(self, fresh: Sequence[Seen]) -> dict[str, int]:
        if not fresh:
            return {}
        moment = now(self.connection)
        self.connection.execute(
            insert_or_ignore(self.connection, ImageRow),
            [
                {"uri": seen.uri, "size": seen.size, "mtime_ns": seen.mtime_ns, "added_at": moment}
                for seen in fresh
            ],
        )
        added = known_images(self.connection, [seen.uri for seen in fresh])
        return {uri: image.id for uri, image in added.items()}

    def _change(self, ids: Mapping[str, int], changed: Sequence[Seen]) -> None:
        for seen in changed:
            self.connection.execute(
                update(ImageRow)
                .where(ImageRow.id == ids[seen.uri])
                .values(size=seen.size, mtime_ns=seen.mtime_ns)
            )
        ledger.want_again(self.connection, [ids[seen.uri] for seen in changed], run_id=self.run_id)

    def _return(self, image_ids: Sequence[int]) -> None:
        if not image_ids:
            return
        with counts.kept_up(self.connection, image_ids):
            self.connection.execute(
                update(ImageRow).where(ImageRow.id.in_(image_ids)).values(vanished_at=None)
            )
        self.tally.returned += len(image_ids)

    def _judge(self, ids: Mapping[str, int], group: Sequence[Seen]) -> None:
        """Look again at what failed for its place's sake (or all, if asked); settle refusals."""
        found = [ids[seen.uri] for seen in group if seen.refusal is None]
        ledger.want_again(self.connection, found, self.model_id, _tried_again(self.retry_failed), self.run_id)
        refusals = {ids[seen.uri]: seen.refusal for seen in group if seen.refusal is not None}
        if not refusals:
            return
        stays = self.connection.execute(
            select(TaggingRow.image_id, TaggingRow.outcome).where(
                TaggingRow.model_id == self.model_id, TaggingRow.image_id.in_(refusals)
            )
        )
        other = [
            image_id
            for image_id, outcome in stays
            if outcome is not None and outcome != refusals[image_id][0].value
        ]
        ledger.want_again(self.connection, other, self.model_id, run_id=self.run_id)
        outcomes.settle(self.connection, self.model_id, refusals)

    def _vanish(self, image_ids: Sequence[int]) -> None:
        """Mark images as gone; what was still pending of them ends as missing."""
        if not image_ids:
            return
        moment = now(self.connection)
        with counts.kept_up(self.connection, image_ids):
            self.connection.execute(
                update(ImageRow).where(ImageRow.id.in_(image_ids)).values(vanished_at=moment)
            )
        runs.fail(self.connection, TaggingRow.image_id.in_(image_ids))
        self.connection.execute(
            update(TaggingRow)
            .where(TaggingRow.image_id.in_(image_ids), TaggingRow.outcome.is_(None))
            .values(
                outcome=OutcomeKind.MISSING.value,
                reason="the file was gone at the last scan",
                finished_at=moment,
                lease_id=None,
            )
        )
        self.tally.vanished += len(image_ids)


@contextmanager
def taking(
    database: Database, model_id: int, *, retry_failed: bool = False, run_id: int | None = None
) -> Iterator[Census]:
    """A census that wants what it sees from the model, for a run if there is one.

    ``retry_failed`` tries every failure again.
    """
    with database.session() as connection:
        yield Census(connection, model_id, retry_failed, run_id)


def _tried_again(retry_failed: bool) -> Sequence[OutcomeKind]:
    """Outcomes that another scan looks at again although the file is the same."""
    return [kind for kind in OutcomeKind if not kind.tagged] if retry_failed else ledger.PASSING


@cache
def _at_rest(retry_failed: bool, for_run: bool, sqlite: bool) -> Select[str, str, str, str]:
    """What is known from URI ``first`` to ``last``, present, and in need of nothing from ``model``.

    In one row. Pending images are in need of nothing but by a ``run`` that is not theirs.
    """
    unrest: ColumnElement[bool] = TaggingRow.outcome.in_([kind.value for kind in _tried_again(retry_failed)])
    rest: ColumnElement[bool] = or_(TaggingRow.outcome.is_(None), ~unrest)
    if for_run:
        other = and_(TaggingRow.outcome.is_(None), TaggingRow.run_id.is_distinct_from(bindparam("run")))
        unrest, rest = or_(unrest, TaggingRow.outcome.is_(None)), and_(rest, ~other)
    own = select(TaggingRow.image_id).where(
        TaggingRow.image_id == ImageRow.id, TaggingRow.model_id == bindparam("model")
    )
    at_rest: ColumnElement[bool] = own.where(rest).exists()
    if sqlite:
        # As a rule no tagging at all is in unrest, which a few looks into an index tell; then that of an
        # image need not be read, only be there. (PostgreSQL would read all there are, to be prepared.)
        any_unrest = select(TaggingRow.image_id).where(TaggingRow.model_id == bindparam("model"), unrest)
        at_rest = or_(and_(~any_unrest.exists(), own.exists()), at_rest)
    rows = (
        select(ImageRow.id, ImageRow.uri, ImageRow.size, ImageRow.mtime_ns)
        .where(
            ImageRow.uri >= bindparam("first"),
            ImageRow.uri <= bindparam("last"),
            ImageRow.vanished_at.is_(None),
            at_rest,
        )
        .order_by(ImageRow.uri)
        .subquery()
    )
    return select(
        func.aggregate_strings(rows.c.uri, _BETWEEN).label("uris"),
        _listed(rows.c.size).label("sizes"),
        _listed(rows.c.mtime_ns).label("mtimes_ns"),
        _listed(rows.c.id).label("ids"),
    )


def _ids(scope: Scope, first: int, last: int) -> Select[str]:
    """The ids of a page of present images, in their order."""
    rows = (
        select(ImageRow.id)
        .where(within(scope), ImageRow.vanished_at.is_(None), ImageRow.id >= first, ImageRow.id <= last)
        .order_by(ImageRow.id)
        .limit(_PAGE)
        .subquery()
    )
    return select(_listed(rows.c.id))


# PostgreSQL, which knows little of a growing table, would else read all of it.
_BY_INDEX = text("SELECT set_config('enable_seqscan', 'off', true)")

_BETWEEN = " "
"""Stands between the parts of a listing: in no number, and in no URI."""


def _listed(column: ColumnElement[Any]) -> ColumnElement[str]:
    """All values of a column as one text. Both databases add them up in the order of the subquery."""
    return func.aggregate_strings(cast(column, Text), _BETWEEN)


def _numbers(listed: str | None) -> NDArray[np.int64]:
    return np.fromstring(listed or "", np.int64, sep=_BETWEEN)
