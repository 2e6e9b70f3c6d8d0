"""``tagger tag``: scan, then run the pipeline over what is pending, writing group by group."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tagger import pipeline
from tagger.engines import Engine, select_engine
from tagger.library import versions
from tagger.library.lease import Lease, free_dead
from tagger.library.survey import Survey, moved_away, still_there, survey
from tagger.library.versions import Choice
from tagger.loading import PillowLoader
from tagger.models import ModelSpec
from tagger.pipeline import Stages
from tagger.sources import Roots
from tagger.store import ledger, outcomes, queries
from tagger.store.catalog import Model, Scope
from tagger.store.census import Tally
from tagger.store.outcomes import Provenance, Recorded
from tagger.store.session import Database
from tagger.supervision import Loaders, Setup
from tagger.taxonomy import TagScorer, top_labels
from tagger.values import EngineName, ImageRef, Limits, Outcome, OutcomeKind, Precision

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from torch import nn

CLAIM = 256
"""Images claimed at once: one transaction, and in a moment done or handed back."""
GROUP = 128
"""Outcomes written in one transaction ..."""
GROUP_SECONDS = 2.0
"""... or whatever came in this time, so that slow files do not hold up what is done."""
REASONS = 5
"""Images that a report names for each outcome."""


@dataclass(frozen=True, slots=True)
class TagRequest:
    """What to tag and how. ``threads`` images are loaded at one time, and as many threads compute."""

    paths: tuple[Path, ...]
    roots: Roots
    threads: int
    cache_dir: Path
    model: str | None = None
    engine: EngineName = "auto"
    precision: Precision = "auto"
    limits: Limits = field(default_factory=Limits)
    follow_links: bool = False
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
    model = versions.register(database, choice)
    free_dead(database)
    found = survey(
        database,
        model,
        request.paths,
        request.roots,
        follow_links=request.follow_links,
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


def _network(spec: ModelSpec) -> nn.Module:
    """The network with its weights; torch is imported only when an engine wants it built."""
    from tagger.models import networks

    return networks.build(spec)


class _Run:
    """One run of the pipeline over what is pending at the surveyed places."""

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
        self.uris: dict[int, str] = {}
        self.id = 0
        self.lease: Lease
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
        with self.database.writing() as connection:
            self.id = queries.start_run(connection, "tag", self.model.id, self.survey.scope.prefixes)
        with self._start_loaders() as loaders, self._start_engine() as engine:
            self.engine = f"{engine.name} {engine.precision} on {engine.device}"
            self.watch.tagging(self.engine)
            self.began = self.ended = time.monotonic()
            stages = self._stages(engine, loaders)
            more = True
            while more:
                with Lease(self.database) as self.lease:
                    self._tag(stages)
                more = self._wait_for_others()
        self._end()  # a run that was cut off stays open

    def interrupt(self) -> None:
        """Note that the run was ended in order, before it was done."""
        self.interrupted = True
        if self.id:
            self._end()

    def _wait_for_others(self) -> bool:
        """Wait for what other processes hold; True when there is something to take over.

        They finish it, or die: then their lease runs out within a minute.
        """
        deadline = time.monotonic() + 2 * ledger.LEASE_SECONDS
        while self._pending() and time.monotonic() < deadline:
            free_dead(self.database)
            with self.database.reading() as connection:
                if ledger.claimable(connection, self.model.id, self.survey.scope):
                    return True
            self.watch.waiting(self._pending())
            time.sleep(1.0)
        return False

    def _end(self) -> None:
        with self.database.writing() as connection:
            self._note(connection, self.progress, ended=True)

    def _note(self, connection: Connection, progress: Progress, *, ended: bool = False) -> None:
        queries.note_run(
            connection,
            self.id,
            done=progress.done,
            failed=progress.failed,
            reused=progress.reused,
            seconds=time.monotonic() - self.began if self.began else 0.0,
            ended=ended,
        )

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

    def _pending(self) -> int:
        with self.database.reading() as connection:
            return ledger.pending(connection, self.model.id, self.survey.scope)

    def _start_engine(self) -> Engine:
        spec = self.choice.spec
        return select_engine(
            self.request.engine,
            network=lambda: _network(spec),
            preprocessing=spec.preprocessing,
            key=f"{spec.name}-{spec.weights.sha256[:16]}",
            cache_dir=self.request.cache_dir,
            threads=self.request.threads,
            precision=self.request.precision,
        )

    def _start_loaders(self) -> Loaders:
        setup = Setup(
            roots=self.survey.roots,
            limits=self.request.limits,
            preprocessing=self.choice.spec.preprocessing,
            follow_links=self.request.follow_links,
        )
        return Loaders(setup, self.request.threads, self._note_death)

    def _note_death(self, ref: ImageRef) -> None:
        """Count in the store, before it is tried again, what an image has done to its process."""
        with self.database.writing() as connection:
            ledger.note_death(connection, self.lease.id, ref.image_id)

    def _tag(self, stages: Stages) -> None:
        """All that was never begun; then what died with its process, each claim by itself."""
        self._run(self._fresh(), stages)
        while suspects := self._claim(ledger.claim_suspects):
            self._run(suspects, stages)

    def _run(self, refs: Iterable[ImageRef], stages: Stages) -> None:
        engine = stages.engine
        provenance = Provenance(engine.name, engine.precision, PillowLoader.name)
        group: list[Outcome] = []
        results = pipeline.run(refs, stages)
        try:
            with closing(results):
                for some in results:
                    group += some
                    if len(group) >= GROUP or time.monotonic() - self.ended >= GROUP_SECONDS:
                        self._write(group, provenance)
        finally:
            self._write(group, provenance)

    def _fresh(self) -> Iterator[ImageRef]:
        """Claim by claim, until nothing is left that is free."""
        while refs := self._claim(ledger.claim):
            yield from refs

    def _claim(self, claim: Callable[[Connection, int, int, Scope, int], list[ImageRef]]) -> list[ImageRef]:
        with self.database.writing() as connection:
            refs = claim(connection, self.model.id, self.lease.id, self.survey.scope, CLAIM)
        self.uris.update((ref.image_id, ref.uri) for ref in refs)
        return refs

    def _stages(self, engine: Engine, loaders: Loaders) -> Stages:
        spec, taxonomy = self.choice.spec, self.choice.taxonomy
        keys = [label.key for label in taxonomy.labels]
        scorer = TagScorer(taxonomy, keys, spec.floor, spec.kind)
        return Stages(
            loading=loaders,
            engine=engine,
            activation=spec.kind,
            temperature=spec.temperature,
            tags=lambda scores: scorer(scores.probabilities),
            labels=lambda scores: top_labels(scores.probabilities, spec.floor),
            known=self._known,
        )

    def _known(self, digest: bytes) -> OutcomeKind | None:
        with self.database.reading() as connection:
            return outcomes.known_contents(connection, self.model.id, [digest]).get(digest)

    def _write(self, group: list[Outcome], provenance: Provenance) -> None:
        """One transaction: outcomes, tallies and how far the run is; then the group is empty."""
        if not group:
            return
        if any(outcome.kind in (OutcomeKind.MISSING, OutcomeKind.UNREADABLE) for outcome in group):
            still_there(self.survey.places)
        away = partial(moved_away, self.survey.roots)
        with self.database.writing() as connection:
            written = outcomes.record(connection, self.model.id, self.lease.id, group, provenance, away)
            # A copy: it holds once the transaction does.
            progress = self._counted(group, written)
            self._note(connection, progress)
        self.progress = progress
        for outcome in group:
            self.uris.pop(outcome.image_id, None)
        group.clear()
        self.ended = time.monotonic()
        self.watch.advanced(self.progress)

    def _counted(self, group: list[Outcome], written: Recorded) -> Progress:
        """The progress with those of the group that were written."""
        progress = deepcopy(self.progress)
        progress.moved += written.moved
        for outcome in group:
            if outcome.image_id not in written.image_ids:
                continue
            progress.outcomes[outcome.kind] += 1
            progress.reused += outcome.reused
            named = progress.remarks.setdefault(outcome.kind, [])
            if outcome.reason and len(named) < REASONS:
                named.append(Remark(self.uris[outcome.image_id], outcome.kind, outcome.reason))
        return progress
