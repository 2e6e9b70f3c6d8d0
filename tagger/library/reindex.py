"""Wanting again what is known: what a model lacks, what has changed, what failed and may not now.

Each makes a run of bulk work, which goes after new images, and in its own hours where these are set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tagger.errors import SettingsError, SourceError
from tagger.library import versions
from tagger.library.lease import Lease
from tagger.library.survey import Place, survey
from tagger.sources import Roots
from tagger.store import runs, wants
from tagger.store.catalog import Model, Scope
from tagger.store.census import Tally
from tagger.store.ledger import PASSING, Role
from tagger.store.runs import Opening, Priority, Run, RunKind
from tagger.store.session import Database
from tagger.values import OutcomeKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

WORTH_RETRYING = (*PASSING, OutcomeKind.TIMEOUT)
"""Failures that another try may cure though the bytes are the same: of the place, or of the hour."""
FAILURES = tuple(kind for kind in OutcomeKind if not kind.tagged)
"""Everything that a person may want to have tried again."""


class What(StrEnum):
    """What a reindex looks for."""

    MISSING = "missing"
    """Present images that the model was never asked about, or that nobody sees to any more."""
    CHANGED = "changed"
    """The roots are scanned: new, changed, moved and vanished files."""
    FAILED = "failed"
    """What failed and may go well now."""


@dataclass(frozen=True, slots=True)
class Rework:
    """What came of it. ``warnings`` speak of places that could not be scanned."""

    run: Run
    tally: Tally
    warnings: tuple[str, ...]


def reindex(
    database: Database,
    what: Sequence[What],
    roots: Roots,
    *,
    kind: RunKind = RunKind.REINDEX,
    model: str | None = None,
    bulk: bool = True,
) -> Rework:
    """Want, in one run, all of ``what`` beneath the roots.

    Raises :class:`SettingsError` when no root is set; :class:`SourceError` when none can be scanned.
    """
    scope = _scope(roots)
    with _filling(database, kind, what, model, bulk=bulk) as run:
        scanned = _scan(run, roots) if What.CHANGED in what else _Scanned(Tally(), ())
        if What.MISSING in what:
            run.want(lambda connection, after: wants.missing(connection, run.model.id, scope, after))
        if What.FAILED in what:
            run.want_again(scope, WORTH_RETRYING)
    return Rework(run.result(), scanned.tally, scanned.warnings)


def retry(
    database: Database,
    outcomes: Sequence[OutcomeKind],
    roots: Roots,
    *,
    model: str | None = None,
) -> Run:
    """Want again, in one run, the present images beneath the roots that ended so.

    Raises :class:`SettingsError` when no root is set.
    """
    scope = _scope(roots)
    with _filling(database, RunKind.RETRY, outcomes, model, bulk=True) as run:
        run.want_again(scope, outcomes)
    return run.result()


def _scope(roots: Roots) -> Scope:
    prefixes = [root.uri for root in roots.items] + [root.uri for root in roots.remote]
    if not prefixes:
        raise SettingsError("no roots are set: name the folders of the library in TAGGER_ROOTS")
    return Scope(tuple(f"{prefix}/" for prefix in prefixes))


@dataclass(frozen=True, slots=True)
class _Scanned:
    tally: Tally
    warnings: tuple[str, ...]


def _scan(run: _Filling, roots: Roots) -> _Scanned:
    """Scan the roots that can be listed; one that cannot be had now keeps none of the others back."""
    places: list[Place] = [root.path for root in roots.items]
    places += [root.address for root in roots.remote if root.listable]
    tally, warnings = Tally(), []
    for place in places:
        try:
            found = survey(
                run.database,
                run.model,
                [place],
                roots,
                follow_links=False,
                retry_failed=False,
                watch=lambda tally: None,
                run_id=run.id,
            )
        except SourceError as fault:
            warnings.append(str(fault))
            continue
        tally += found.tally
        warnings += found.warnings
    return _Scanned(tally, tuple(warnings))


def _filling(
    database: Database, kind: RunKind, what: Sequence[StrEnum], model: str | None, *, bulk: bool
) -> _Filling:
    chosen = versions.register(database, versions.choose(database, model))
    return _Filling(database, chosen, kind, tuple(one.value for one in what), bulk)


class Find(Protocol):
    """Finds images with ids after one, some hundreds of them, in the order of ids."""

    def __call__(self, connection: Connection, after: int) -> list[int]:
        """None when there are no more."""


class _Filling:
    """A run being filled with known images, some hundreds in a transaction."""

    def __init__(
        self, database: Database, model: Model, kind: RunKind, places: tuple[str, ...], bulk: bool
    ) -> None:
        self.database = database
        self.model = model
        self._kind = kind
        self._places = places
        self._bulk = bulk
        self.id = 0

    def __enter__(self) -> _Filling:
        self._lease = Lease(self.database, Role.FILL).__enter__()
        priority = Priority.BULK if self._bulk else Priority.NEW
        opening = Opening(self._kind, self.model.id, self._places, self._lease.id, priority=priority)
        self.id = self.database.write(lambda connection: runs.open_run(connection, opening))
        return self

    def __exit__(self, *fault: object) -> None:
        self.database.write(lambda connection: runs.filled(connection, self.id, self._lease.id))
        self._lease.__exit__(None, None, None)

    def result(self) -> Run:
        """The run as it stands."""
        return self.database.read(lambda connection: runs.find_run(connection, self.id))

    def want(self, find: Find) -> None:
        """Want what ``find`` finds, group by group: it is asked for images with ids after the last."""
        for group in self._groups(find):
            self.database.write(
                partial(wants.want_for, model_id=self.model.id, image_ids=group, run_id=self.id)
            )

    def want_again(self, scope: Scope, outcomes: Sequence[OutcomeKind]) -> None:
        """Want again what ended so."""

        def find(connection: Connection, after: int) -> list[int]:
            return wants.ended_so(connection, self.model.id, scope, outcomes, after)

        for group in self._groups(find):
            self.database.write(
                partial(
                    wants.want_again_for,
                    model_id=self.model.id,
                    image_ids=group,
                    outcomes=outcomes,
                    run_id=self.id,
                )
            )

    def _groups(self, find: Find) -> Iterator[list[int]]:
        last = 0
        while group := self.database.read(partial(find, after=last)):
            yield group
            last = group[-1]
