"""The engine room of a worker process: models built once, one lease, chunk after chunk.

The database decides. A chunk is claimed piece by piece under this process's lease, tagged, and written
in fenced groups; whatever is in hand when the process dies is another's after its lease. So a process
that cannot be trusted any more (its engine failed, something unforeseen happened) simply ends: the
images in its hands are suspects then, and its supervisor starts another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tagger.errors import DatabaseUnavailable, LoadingError, ModelError, SourceError
from tagger.library import versions
from tagger.library.lease import Lease
from tagger.library.survey import places_of, shown
from tagger.library.workshop import Equipment, Workshop, Written
from tagger.settings import Settings
from tagger.sources import Roots, RootState, root_state
from tagger.store import catalog, dispatch, ledger
from tagger.store.dispatch import Chunk
from tagger.store.ledger import Report, Role
from tagger.store.session import Database
from tagger.values import ImageRef
from worker.logs import context
from worker.messages import ChunkMessage, RefusedMessage
from worker.metrics import ChunkResult, Metrics

if TYPE_CHECKING:
    from tagger.store.catalog import Model

log = logging.getLogger(__name__)

CLAIM, MOST_CLAIMED = 256, 4096
"""Images claimed at once: what is a suspect, should the process die. A second's work on what is quick."""
TRIES = 3
"""So often is an image tried, here or elsewhere, that cannot be had for its place's sake."""
MODELS = 2
"""Models kept ready: the live one, and one that is on its way to be."""
STOP_SECONDS = 20.0
"""How long a chunk may go on when the process is told to stop; what is left is handed back."""
PAUSE_SECONDS = 10.0
"""How long a worker that cannot see its roots leaves the work to others before it looks again."""
LONGEST_TICK = 2.0
"""Seconds that count as work, of those between two words of it."""
FADE = 0.3
"""How much of a worker's known speed a new chunk replaces."""


@dataclass(slots=True)
class _WorkingTime:
    """The seconds that work took. A machine that slept in the midst of it, or a database that was away,
    tells nothing of how fast this worker is."""

    seconds: float = 0.0
    last: float = field(default_factory=time.monotonic)

    def tick(self) -> None:
        """The work goes on; something is heard of it every second."""
        now = time.monotonic()
        self.seconds += min(now - self.last, LONGEST_TICK)
        self.last = now


class Runtime:
    """All that a worker process holds. :meth:`tag_chunk` is called from one thread.

    ``progress`` is called whenever the work is seen to go on.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        metrics: Metrics,
        name: str,
        progress: Callable[[], None],
    ) -> None:
        self.database = database
        self.roots = Roots.parse(settings.roots)
        self.stopping = threading.Event()
        self._settings = settings
        self._metrics = metrics
        self._progress = progress
        self._report = Report()
        self._lease = Lease(database, Role.WORKER, name, lambda: self._report, metrics.lease_lost)
        self._workshops: OrderedDict[str, tuple[Workshop, ExitStack]] = OrderedDict()

    def __enter__(self) -> Runtime:
        self._lease.__enter__()
        return self

    def __exit__(self, *fault: object) -> None:
        for _, opened in self._workshops.values():
            opened.close()
        self._workshops.clear()
        self._lease.__exit__(None, None, None)

    def tag_chunk(self, message: ChunkMessage, chunk_id: str) -> ChunkResult:
        """Tag what of the chunk is still wanted.

        Raises :class:`RefusedMessage` for a model that cannot be had here. Anything else that it raises
        means that this process is to end.
        """
        with context(run=message.run, chunk=chunk_id, model=message.model):
            began = time.monotonic()
            try:
                result = self._tag(message)
            except (SourceError, LoadingError, DatabaseUnavailable) as fault:
                # Of the place or the machine, not of the images: they are free for others at once.
                log.error("chunk given back: %s", fault)
                if isinstance(fault, DatabaseUnavailable):
                    self._metrics.write_failed()
                self._tell(note=str(fault))
                self._give_back(message)
                self.stopping.wait(PAUSE_SECONDS)
                result = ChunkResult.FAILED
            self._metrics.chunk(result, time.monotonic() - began)
            return result

    def stop(self) -> None:
        """Begin nothing more; what is in hand is finished, or handed back after a while."""
        self.stopping.set()

    # -- one chunk ----------------------------------------------------------------------------

    def _tag(self, message: ChunkMessage) -> ChunkResult:
        self._require_roots()
        workshop = self._workshop(self._model(message.model))
        done, clock = 0, _WorkingTime()
        away: list[str] = []
        results = workshop.run(self._claims(workshop, message, away))
        deadline = float("inf")
        try:
            for written in results:
                self._progress()
                clock.tick()
                done += self._count(written, message.model)
                away += written.away
                if self.stopping.is_set():
                    deadline = min(deadline, time.monotonic() + STOP_SECONDS)
                if time.monotonic() > deadline:
                    break
        finally:
            results.close()
        done += sum(self._count(written, message.model) for written in workshop.late)
        clock.tick()
        if away:
            raise SourceError(
                f"{away[0]} and {len(away) - 1} more wait for their root, which cannot be seen from here: "
                "is it in TAGGER_ROOTS, and mounted?"
            )
        self._lease.let_go()
        if done:
            self._learn(done, clock.seconds)
        log.info("chunk done: %d of %d images in %.1f s", done, len(message.images), clock.seconds)
        if not self.stopping.is_set():
            return ChunkResult.DONE
        self._give_back(message)
        return ChunkResult.HANDED_BACK

    def _claims(self, workshop: Workshop, message: ChunkMessage, away: Sequence[str]) -> Iterator[ImageRef]:
        """Piece by piece, so that little is in hand at one time; nothing more once told to stop, or once
        some turn out to be ``away``: what is in hand is finished, and the rest is for others."""
        size = max(CLAIM, min(round(self._report.rate or 0), MOST_CLAIMED))
        for start in range(0, len(message.images), size):
            if self.stopping.is_set() or away:
                return
            piece = message.images[start : start + size]
            yield from workshop.claim(partial(ledger.claim_these, image_ids=piece))

    def _give_back(self, message: ChunkMessage) -> None:
        """What nobody has begun may be sent to others at once."""
        chunk = Chunk(message.run, message.model, tuple(message.images))
        self._lease.let_go()
        self.database.write(partial(dispatch.unsend, chunk=chunk))

    def _count(self, written: Written, model: str) -> int:
        self._metrics.written(Counter(outcome.kind for outcome in written.outcomes), model)
        for outcome in written.outcomes:
            if not outcome.kind.tagged:
                uri = written.uris[outcome.image_id]
                log.warning(
                    "%s: %s", outcome.kind, outcome.reason, extra={"image": outcome.image_id, "uri": uri}
                )
        return len(written.outcomes)

    def _learn(self, images: int, seconds: float) -> None:
        """How fast this worker is, so that its chunks have the right size."""
        rate = images / max(seconds, 1e-3)
        known = self._report.rate
        self._tell(
            images=self._report.images + images,
            rate=rate if known is None else known + FADE * (rate - known),
            note=None,
        )

    def _tell(self, **news: object) -> None:
        """Let others see it soon: with the next heartbeat, and now if the database is there."""
        self._report = replace(self._report, **news)  # type: ignore[arg-type]
        with suppress(DatabaseUnavailable):
            self._lease.tell()

    # -- what it needs ------------------------------------------------------------------------

    def _require_roots(self) -> None:
        """Raise :class:`SourceError` while no root is there: whatever is wanted is not missing."""
        places = places_of(self.roots)
        if all(root_state(place) is not RootState.PRESENT for place in places):
            named = ", ".join(map(shown, places))
            raise SourceError(f"{named} cannot be seen from here: is it mounted?")

    def _model(self, name: str) -> Model:
        """The version by its full name; it must be one that this program can run."""
        try:
            model = self.database.read(partial(catalog.find_model, name=name))
            if model.name != name:
                raise ModelError(f"{name!r} is no full name of a model version")
            versions.require_same(model)
        except ModelError as fault:
            raise RefusedMessage(f"a model that cannot be run here: {fault}") from fault
        return model

    def _workshop(self, model: Model) -> Workshop:
        """Built at its first use, in this process; the one not used for longest makes room."""
        if model.name in self._workshops:
            self._workshops.move_to_end(model.name)
            return self._workshops[model.name][0]
        while len(self._workshops) >= MODELS:
            _, (_, opened) = self._workshops.popitem(last=False)
            opened.close()
        began = time.monotonic()
        with ExitStack() as opened:
            workshop = opened.enter_context(self._make(model))
            self._workshops[model.name] = workshop, opened.pop_all()
        engine = workshop.engine
        self._metrics.ready(model.name, engine.name, engine.device, engine.precision)
        self._tell(device=workshop.engine_words)
        log.info("%s is ready: %s, in %.1f s", model.name, workshop.engine_words, time.monotonic() - began)
        return workshop

    def _make(self, model: Model) -> Workshop:
        settings = self._settings
        equipment = Equipment(
            threads=settings.cores,
            cache_dir=settings.cache_dir,
            engine=settings.engine,
            precision=settings.precision,
            decoding=settings.decoding,
            device_pixels=settings.device_pixels,
            limits=settings.limits,
            tries=TRIES,
            meter=self._metrics,
        )
        choice = versions.choose(self.database, model.spec)
        return Workshop(
            self.database, choice, model, self.roots, places_of(self.roots), equipment, self._lease
        )
