"""Where images are tagged: an engine, the processes that load for it, and a lease to write under.

Whoever has claimed images, for a whole folder or for one message, has them tagged here. What comes of
them is written group by group, each in one transaction, fenced by the lease.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tagger import pipeline
from tagger.engines import Engine, select_engine
from tagger.errors import SourceError
from tagger.library.convert import convert_apart, key_of, network_of
from tagger.library.decoding import device_decoders
from tagger.library.known import KnownContents
from tagger.library.lease import Lease
from tagger.library.survey import Place, gone_away, moved_away, shown
from tagger.library.versions import Choice
from tagger.loading import PillowLoader
from tagger.metering import SILENT, Meter, Stage
from tagger.models import weights
from tagger.pipeline import Loading, Stages
from tagger.scoring import TagScorer, top_labels
from tagger.sources import Roots
from tagger.store import ledger, outcomes
from tagger.store.catalog import Model
from tagger.store.ledger import PASSING
from tagger.store.outcomes import Provenance
from tagger.store.session import Database
from tagger.supervision import DeviceLoaders, Loaders, Setup
from tagger.values import Decoding, EngineName, ImageRef, Limits, Outcome, OutcomeKind, Precision

if TYPE_CHECKING:
    from sqlalchemy import Connection

AWAY = timedelta(seconds=30)
"""How long images wait whose place is not there."""
GROUP = 512
"""Outcomes written in one transaction: twice as many as would do, since half of what a transaction takes on
busy cores is waiting for one ..."""
GROUP_SECONDS = 2.0
"""... or whatever came in this time, so that slow files do not hold up what is done."""
MOST_WAITING = 4 * GROUP
"""Outcomes that wait for a database which is slower than the engine, before the engine waits too."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a workshop is made of. ``threads`` images are loaded at one time, and as many compute.

    ``device_pixels`` decoded pixels may lie on the engine's device at one time, where it decodes.
    What fails for its place's sake is tried ``tries`` times, with a pause before each but the first.
    """

    threads: int
    cache_dir: Path
    engine: EngineName = "auto"
    precision: Precision = "auto"
    decoding: Decoding = "auto"
    device_pixels: int = 200_000_000
    limits: Limits = field(default_factory=Limits)
    follow_links: bool = False
    tries: int = 1
    meter: Meter = SILENT


@dataclass(frozen=True, slots=True)
class Written:
    """Outcomes that were just committed; none when for a second nothing has come.

    ``put_off`` images more will be tried again, and have no outcome yet; those at the URIs ``away`` since
    their place is not there. ``uris`` is by image id.
    """

    outcomes: tuple[Outcome, ...] = ()
    moved: int = 0
    put_off: int = 0
    away: tuple[str, ...] = ()
    uris: dict[int, str] = field(default_factory=dict)


class _Writing:
    """Groups of outcomes on their way into the database, one at a time, in a thread of its own: the
    engine does not wait for the database, nor the database for more than it can take."""

    def __init__(self, write: Callable[[list[Outcome]], Written], late: list[Written]) -> None:
        self._write = write
        self._late = late
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tagger-write")
        self._group: list[Outcome] = []
        self._last = -math.inf  # the first is written as it comes, for all to see that there are some
        self._under_way: Future[Written] | None = None

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Have them written with the next group; waits only when too many wait already."""
        self._group += outcomes
        if self._under_way is not None and len(self._group) >= MOST_WAITING:
            wait([self._under_way])

    def take(self) -> Written | None:
        """What was just committed; the next group is begun when it is due. Raises what went wrong."""
        if self._under_way is not None and self._under_way.done():
            # No new one is begun before the caller knows: what it notes with that builds on this.
            under_way, self._under_way = self._under_way, None
            return under_way.result()
        if self._under_way is None and self._is_due():
            self._begin()
        return None

    def flush(self) -> None:
        """Write all that is left, and put it with what was late."""
        while self._under_way is not None or self._group:
            if self._under_way is None:
                self._begin()
            assert self._under_way is not None
            under_way, self._under_way = self._under_way, None
            self._late.append(under_way.result())

    def _is_due(self) -> bool:
        waited = time.monotonic() - self._last >= GROUP_SECONDS
        return len(self._group) >= GROUP or (bool(self._group) and waited)

    def _begin(self) -> None:
        group, self._group = self._group, []
        self._last = time.monotonic()
        self._under_way = self._thread.submit(self._write, group)

    def __enter__(self) -> _Writing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()


def _nothing_more(connection: Connection, written: Written) -> None:
    pass


class Workshop:
    """Tags what is claimed for one model version; a context that starts and ends its processes.

    Args:
        places: what must still be there when an image is missing (roots, or folders that were scanned).

    Raises on entering: :class:`LoadingError`, :class:`ModelError` or :class:`EngineError`.
    """

    def __init__(
        self,
        database: Database,
        choice: Choice,
        model: Model,
        roots: Roots,
        places: Sequence[Place],
        equipment: Equipment,
        lease: Lease,
    ) -> None:
        self.model = model
        self.engine: Engine
        self.late: list[Written] = []
        """What was written as :meth:`run` was closed."""
        self._database = database
        self._choice = choice
        self._roots = roots
        self._places = places
        self._equipment = equipment
        self._lease = lease
        self._refs: dict[int, ImageRef] = {}
        self._open = ExitStack()

    def __enter__(self) -> Workshop:
        with self._open as opened:  # what has started is ended if the rest cannot be
            known = KnownContents(self._database, self.model.id)
            opened.callback(known.close)
            loaders = opened.enter_context(self._start_loaders())
            self.engine = opened.enter_context(self._start_engine())
            self._stages = self._make_stages(self._start_decoding(loaders, opened), known)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def engine_words(self) -> str:
        """What computes, for a person: ``openvino f32 on CPU``."""
        return f"{self.engine.name} {self.engine.precision} on {self.engine.device}"

    def claim(self, claim: Callable[[Connection, int, int], list[ImageRef]]) -> list[ImageRef]:
        """Claim images by a function of connection, model id and lease id."""
        return self._lease.under(lambda connection, lease_id: claim(connection, self.model.id, lease_id))

    def run(
        self,
        refs: Iterable[ImageRef],
        note: Callable[[Connection, Written], None] = _nothing_more,
    ) -> Generator[Written, None, None]:
        """Tag what was claimed, and tell what was written, at least every second or so.

        ``note`` is called in the transaction of each group, in another thread, and perhaps again for
        the same group. Closing the generator ends it early: what is done is written, and told by
        :attr:`late`; what is not is still claimed.

        Raises :class:`SourceError` when a place has gone away, :class:`EngineError` when the engine
        fails, :class:`LoadingError` and :class:`DatabaseUnavailable` at the end of all patience.
        """
        self.late = []
        results = pipeline.run(self._noted(refs), self._stages)
        with _Writing(lambda group: self._write(group, note), self.late) as writing:
            try:
                with closing(results):
                    for some in results:
                        writing.add(some)
                        if (written := writing.take()) is not None:
                            yield written
                        elif not some:
                            yield Written()
            finally:
                writing.flush()
        self._refs.clear()
        yield from self.late
        self.late = []

    def _noted(self, refs: Iterable[ImageRef]) -> Iterator[ImageRef]:
        for ref in refs:
            self._refs[ref.image_id] = ref
            yield ref

    def _write(self, group: list[Outcome], note: Callable[[Connection, Written], None]) -> Written:
        """One transaction: outcomes, tallies, and what the caller notes."""
        began = time.monotonic()
        away = self._away(group)
        again = [outcome for outcome in group if self._is_worth_another_try(outcome)]
        kept_back = {outcome.image_id for outcome in again} | away
        final = [outcome for outcome in group if outcome.image_id not in kept_back]

        def work(connection: Connection) -> Written:
            self._put_off(connection, again, away)
            written = replace(self._record(connection, final), put_off=len(kept_back), away=self._named(away))
            note(connection, written)
            return written

        written = self._database.write(work)
        for outcome in group:
            self._refs.pop(outcome.image_id, None)
        self._equipment.meter.spent(Stage.WRITE, time.monotonic() - began, len(group))
        return written

    def _away(self, group: Sequence[Outcome]) -> set[int]:
        """Images that are no more missing than all else at their place, which is not there."""
        lacking = {
            self._refs[outcome.image_id].uri: outcome.image_id
            for outcome in group
            if outcome.kind in (OutcomeKind.MISSING, OutcomeKind.UNREADABLE)
        }
        unknown = self._of_unknown_roots(group)
        away = gone_away(self._places, self._roots, lacking) if lacking else {}
        if away and self._equipment.tries == 1:
            place = shown(next(iter(away.values())))
            raise SourceError(
                f"{place} went away while its images were read; those that are left stay pending: mount it "
                "again and run the same command"
            )
        return {lacking[uri] for uri in away} | unknown

    def _named(self, image_ids: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._refs[image_id].uri for image_id in image_ids)

    def _of_unknown_roots(self, group: Sequence[Outcome]) -> set[int]:
        """Images of roots that are not set up on this machine, and perhaps on others."""
        if self._equipment.tries == 1:
            return set()
        suspects = [outcome.image_id for outcome in group if outcome.kind is OutcomeKind.OUTSIDE]
        return {image_id for image_id in suspects if not self._roots.knows(self._refs[image_id].uri)}

    def _record(self, connection: Connection, group: Sequence[Outcome]) -> Written:
        engine = self.engine
        recorded = outcomes.record(
            connection,
            self.model.id,
            self._lease.id,
            group,
            Provenance(engine.name, engine.precision, PillowLoader.name),
            partial(moved_away, self._roots),
        )
        kept = tuple(outcome for outcome in group if outcome.image_id in recorded.image_ids)
        uris = {outcome.image_id: self._refs[outcome.image_id].uri for outcome in kept}
        return Written(kept, recorded.moved, uris=uris)

    def _is_worth_another_try(self, outcome: Outcome) -> bool:
        """What speaks of the place may be another matter in a while, or on another machine."""
        return outcome.kind in PASSING and self._refs[outcome.image_id].attempts < self._equipment.tries

    def _put_off(self, connection: Connection, again: Sequence[Outcome], away: Collection[int]) -> None:
        lease_id = self._lease.id
        for outcome in again:
            if outcome.image_id not in away:
                delay = ledger.back_off(self._refs[outcome.image_id].attempts + 1)
                ledger.put_off(connection, lease_id, [outcome.image_id], delay)
        if away:
            ledger.put_off(connection, lease_id, list(away), AWAY, counted=False)

    # -- what it is made of -----------------------------------------------------------------

    def _start_loaders(self) -> Loaders:
        setup = Setup(
            roots=self._roots,
            limits=self._equipment.limits,
            preprocessing=self._choice.spec.preprocessing,
            follow_links=self._equipment.follow_links,
        )
        return Loaders(setup, self._equipment.threads, self._note_death, meter=self._equipment.meter)

    def _start_decoding(self, loaders: Loaders, opened: ExitStack) -> Loading:
        """The loaders themselves, or with the engine's device to decode for them."""
        equipment, preprocessing = self._equipment, self._choice.spec.preprocessing
        decoders = device_decoders(equipment.decoding, self.engine.name, preprocessing)
        if not decoders:
            return loaders
        return opened.enter_context(
            DeviceLoaders(loaders, decoders, equipment.device_pixels, meter=equipment.meter)
        )

    def _note_death(self, ref: ImageRef) -> None:
        """Count in the store, before it is tried again, what an image has done to its process."""
        lease_id = self._lease.id
        self._database.write(lambda connection: ledger.note_death(connection, lease_id, ref.image_id))

    def _start_engine(self) -> Engine:
        spec = self._choice.spec
        weights.fetch(spec.weights)
        convert_apart(spec, self._equipment.engine, self._equipment.cache_dir)
        return select_engine(
            self._equipment.engine,
            network=lambda: network_of(spec),
            preprocessing=spec.preprocessing,
            key=key_of(spec),
            cache_dir=self._equipment.cache_dir,
            threads=self._equipment.threads,
            precision=self._equipment.precision,
            ranges=spec.ranges,
        )

    def _make_stages(self, loading: Loading, known: KnownContents) -> Stages:
        spec, taxonomy = self._choice.spec, self._choice.taxonomy
        keys = [label.key for label in taxonomy.labels]
        scorer = TagScorer(taxonomy, keys, spec.floor, spec.kind)
        return Stages(
            loading=loading,
            engine=self.engine,
            activation=spec.kind,
            temperature=spec.temperature,
            tags=lambda scores: scorer(scores.probabilities),
            labels=lambda scores: top_labels(scores.probabilities, spec.floor),
            known=known,
            meter=self._equipment.meter,
        )
