"""Comparing what a scan finds with what the store knows, in constant memory.

A census holds one connection for the length of a scan. What was seen is noted in a temporary
table, so that a million files need no memory here; whatever lies beneath the scanned places and
was not seen has vanished when the scan comes to its end.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field

from sqlalchemy import ColumnElement, Connection, TextClause, bindparam, select, text, update

from tagger.store import counts, ledger, outcomes, runs
from tagger.store.catalog import GROUP, Scope, insert_or_ignore, known_images, within
from tagger.store.schema import ImageRow, TaggingRow
from tagger.store.session import Database, now
from tagger.values import OutcomeKind


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


@dataclass(frozen=True, slots=True)
class Census:
    """One scan's comparison; made by :func:`taking`."""

    connection: Connection
    model_id: int
    retry_failed: bool
    run_id: int | None = None
    tally: Tally = field(default_factory=Tally)

    def observe(self, group: Sequence[Seen]) -> None:
        """Write down a group of files in one transaction: new, changed, back again, or refused."""
        if not group:
            return
        with self.connection.begin():
            counts.guard(self.connection)
            known = known_images(self.connection, [seen.uri for seen in group])
            fresh = {seen.uri: seen for seen in group if seen.uri not in known}
            ids = {uri: image.id for uri, image in known.items()} | self._add(list(fresh.values()))
            self._note([ids[seen.uri] for seen in group])
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
        unseen: list[ColumnElement[bool] | TextClause] = [
            within(scope),
            ImageRow.vanished_at.is_(None),
            text("NOT EXISTS (SELECT 1 FROM seen_images s WHERE s.image_id = images.id)"),
        ]
        last = 0
        while True:
            with self.connection.begin():
                gone = list(
                    self.connection.execute(
                        select(ImageRow.id)
                        .where(*unseen, ImageRow.id > last)
                        .order_by(ImageRow.id)
                        .limit(GROUP)
                    ).scalars()
                )
                self._vanish(gone)
            if len(gone) < GROUP:
                return
            last = gone[-1]

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

    def _note(self, image_ids: Sequence[int]) -> None:
        self.connection.execute(
            text(
                "INSERT INTO seen_images (image_id) SELECT id FROM images WHERE id IN :ids "
                "ON CONFLICT DO NOTHING"
            ).bindparams(bindparam("ids", expanding=True)),
            {"ids": list(image_ids)},
        )

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
        failed = [kind for kind in OutcomeKind if not kind.tagged] if self.retry_failed else ledger.PASSING
        ledger.want_again(self.connection, found, self.model_id, failed, self.run_id)
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
        with connection.begin():
            connection.execute(text("DROP TABLE IF EXISTS seen_images"))
            connection.execute(text("CREATE TEMPORARY TABLE seen_images (image_id BIGINT PRIMARY KEY)"))
        yield Census(connection, model_id, retry_failed, run_id)
        with connection.begin():
            connection.execute(text("DROP TABLE seen_images"))
