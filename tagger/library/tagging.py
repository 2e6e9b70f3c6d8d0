"""``tagger tag``: scan, then run the pipeline over what is pending, writing group by group."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tagger.library import versions
from tagger.library.lease import Lease, free_dead
from tagger.library.survey import Survey, survey
from tagger.library.versions import Choice
from tagger.library.workshop import Equipment, Workshop, Written
from tagger.sources import Roots
from tagger.store import catalog, ledger, queries, runs
from tagger.store.catalog import Model, Scope
from tagger.store.census import Tally
from tagger.store.runs import Opening, RunKind
from tagger.store.session import Database
from tagger.values import ImageRef, OutcomeKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLAIM = 512
"""Images claimed at once: one transaction, and in a moment done or handed back."""
REASONS = 5
"""Images that a report names for each outcome."""


@dataclass(frozen=True, slots=True)
class TagRequest:
    """What to tag and with what."""

    paths: tuple[Path, ...]
    roots: Roots
    equipment: Equipment
    model: str | None = None
    retry_failed: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """An image that could not be tagged, and why; or one that was, though it is damaged."""

    uri: str
    kind: OutcomeKind
    reason: str


@dataclass(slots=True)
class Progress:
    """What a run has come to; it counts as the run goes.

    ``reused`` of the done had known bytes, and ``moved`` of these were known at another place.
    """

    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)
    reused: int = 0
    moved: int = 0
    remarks: dict[OutcomeKind, list[Remark]] = field(default_factory=dict)
    """The first of each outcome that have something to say: why it failed, or what is damaged."""

    @property
    def done(self) -> int:
        """Images with an outcome."""
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        """Those that could not be tagged."""
        return sum(images for kind, images in self.outcomes.items() if not kind.tagged)


@dataclass(frozen=True, slots=True)
class TagReport:
    """What a run came to.

    ``seconds`` is the tagging alone, without scan and start-up. ``left`` images are still pending:
    the run was interrupted, or another process works on them, and has not
    finished within two minutes. ``failed_before`` images could not be tagged by an earlier run and
    were not tried again. ``engine`` is None when nothing was pending, so that none was started.
    """

    model: Model
    survey: Survey
    progress: Progress
    failed_before: int
    left: int
    seconds: float
    interrupted: bool
    engine: str | None


class Watch(Protocol):
    """Told how far a run is."""

    def scanning(self, tally: Tally) -> None:
        """Some more files were compared with the store."""

    def quiet(self, place: str) -> None:
        """The scan waits for this folder, which has not answered for half a second or more."""

    def starting(self, total: int) -> None:
        """The scan is over and ``total`` images are pending; the engine is being made ready."""

    def tagging(self, engine: str) -> None:
        """The engine is ready."""

    def advanced(self, progress: Progress) -> None:
        """Some more outcomes are in."""

    def waiting(self, images: int) -> None:
        """All is done but what other processes hold."""


def tag(database: Database, request: TagRequest, watch: Watch) -> TagReport:
    """Scan the paths and tag what is new, changed or unfinished; go on where a run was cut off.

    Ctrl-C (KeyboardInterrupt) ends it early and in order: what is done is written, what is not is
    handed back, and the report says so.

    Raises :class:`SourceError` when none of the paths can be used, or one goes away while images
    are read from it; :class:`ModelError` or :class:`EngineError` when the model cannot run.
    """
    choice = versions.choose(database, request.model)
    versions.require_weights(database, choice)
    model = versions.register(database, choice)
    free_dead(database)
    found = survey(
        database,
        model,
        request.paths,
        request.roots,
        follow_links=request.equipment.follow_links,
        retry_failed=request.retry_failed,
        watch=watch.scanning,
        quiet=watch.quiet,
    )
    run = _Run(database, request, choice, model, found, watch)
    try:
        run.work()
    except KeyboardInterrupt:
        run.interrupt()
    return run.report()


class _Run:
    """One run over what is pending at the surveyed places."""

    def __init__(
        self,
        database: Database,
        request: TagRequest,
        choice: Choice,
        model: Model,
        found: Survey,
        watch: Watch,
    ) -> None:
        self.database = database
        self.request = request
        self.choice = choice
        self.model = model
        self.survey = found
        self.watch = watch
        self.progress = Progress()
        self.id = 0
        self.engine: str | None = None
        self.began = self.ended = 0.0
        self.failed_before = 0
        self.interrupted = False

    def work(self) -> None:
        total = self._pending()
        with self.database.reading() as connection:
            self.failed_before = queries.failed(connection, self.model.id, self.survey.scope)
        self.watch.starting(total)
        if not total:
            return
        with Lease(self.database) as lease, self._workshop(lease) as workshop:
            self._begin(lease, total)
            self.engine = workshop.engine_words
            self.watch.tagging(self.engine)
            self.began = self.ended = time.monotonic()
            more = True
            while more:
                self._tag(workshop)
                more = self._wait_for_others()
        self._end()  # a run that was cut off stays open

    def interrupt(self) -> None:
        """Note that the run was ended in order, before it was done."""
        self.interrupted = True
        if self.id:
            self._end()

    def report(self) -> TagReport:
        return TagReport(
            model=self.model,
            survey=self.survey,
            progress=self.progress,
            failed_before=self.failed_before,
            left=self._pending(),
            seconds=self.ended - self.began,
            interrupted=self.interrupted,
            engine=self.engine,
        )

    def _workshop(self, lease: Lease) -> Workshop:
        found = self.survey
        return Workshop(
            self.database, self.choice, self.model, found.roots, found.places, self.request.equipment, lease
        )

    def _begin(self, lease: Lease, total: int) -> None:
        with self.database.writing() as connection:
            places = _named(connection, self.survey.scope.prefixes)
            opening = Opening(RunKind.TAG, self.model.id, places, lease_id=lease.id)
            self.id = runs.open_run(connection, opening)
            runs.grow(connection, self.id, total)

    def _wait_for_others(self) -> bool:
        """Wait for what other processes hold; True when there is something to take over.

        They finish it, or die: then their lease runs out within a minute.
        """
        deadline = time.monotonic() + 2 * ledger.LEASE_SECONDS
        while self._pending() and time.monotonic() < deadline:
            free_dead(self.database)
            if self.database.read(
                lambda connection: ledger.claimable(connection, self.model.id, self.survey.scope)
            ):
                return True
            self.watch.waiting(self._pending())
            time.sleep(1.0)
        return False

    def _end(self) -> None:
        self.database.write(lambda connection: self._note(connection, self.progress, ended=True))
        self.database.write(runs.close_finished)  # of others, whose images were among these

    def _note(self, connection: Connection, progress: Progress, *, ended: bool = False) -> None:
        runs.note_tag_run(
            connection,
            self.id,
            done=progress.done,
            failed=progress.failed,
            reused=progress.reused,
            seconds=time.monotonic() - self.began if self.began else 0.0,
            ended=ended,
        )

    def _pending(self) -> int:
        return self.database.read(
            lambda connection: ledger.pending(connection, self.model.id, self.survey.scope)
        )

    def _tag(self, workshop: Workshop) -> None:
        """All that was never begun; then what died with its process, each claim by itself."""
        self._run(workshop, self._fresh(workshop))
        while suspects := self._claim(workshop, ledger.claim_suspects):
            self._run(workshop, suspects)

    def _run(self, workshop: Workshop, refs: Iterable[ImageRef]) -> None:
        def note(connection: Connection, written: Written) -> None:
            self._note(connection, self._counted(written))

        results = workshop.run(refs, note)
        try:
            for written in results:
                self._advance(written)
        except BaseException:
            results.close()
            for written in workshop.late:
                self._advance(written)
            raise

    def _fresh(self, workshop: Workshop) -> Iterator[ImageRef]:
        """Claim by claim, until nothing is left that is free."""
        while refs := self._claim(workshop, ledger.claim):
            yield from refs

    def _claim(
        self, workshop: Workshop, claim: Callable[[Connection, int, int, Scope, int], list[ImageRef]]
    ) -> list[ImageRef]:
        scope = self.survey.scope
        return workshop.claim(
            lambda connection, model_id, lease_id: claim(connection, model_id, lease_id, scope, CLAIM)
        )

    def _advance(self, written: Written) -> None:
        if written.outcomes:
            self.progress = self._counted(written)
            self.ended = time.monotonic()
            self.watch.advanced(self.progress)

    def _counted(self, written: Written) -> Progress:
        """The progress with what was written: a copy, which holds once the transaction does."""
        progress = deepcopy(self.progress)
        progress.moved += written.moved
        for outcome in written.outcomes:
            progress.outcomes[outcome.kind] += 1
            progress.reused += outcome.reused
            named = progress.remarks.setdefault(outcome.kind, [])
            if outcome.reason and len(named) < REASONS:
                named.append(Remark(written.uris[outcome.image_id], outcome.kind, outcome.reason))
        return progress


def _named(connection: Connection, prefixes: Sequence[str]) -> tuple[str, ...]:
    """What a run is over, for a person: folders end with a slash, and files do not."""
    files = catalog.known_images(connection, [prefix.removesuffix("/") for prefix in prefixes])
    present = {uri for uri, known in files.items() if not known.vanished}
    return tuple(uri if (uri := prefix.removesuffix("/")) in present else prefix for prefix in prefixes)
