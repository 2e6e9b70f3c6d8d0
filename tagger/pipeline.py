"""References in, outcomes out: load, batch, predict, tag. Knows no SQL.

Others see to the loading, in threads of their own; the caller's thread batches, hands batches to the
engine and yields outcomes. Every queue is bounded, so memory does not grow with the library. An
image's id travels with its pixels through every stage, so that no result can land on a neighbour, and
every reference that goes in comes out exactly once.

The same bytes are predicted once: contents that the store knows are passed through, and while a
content is being worked on its copies wait for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Literal, Protocol

import numpy as np

from tagger.engines import Engine, Prediction, activate
from tagger.errors import EngineError, OutOfMemory
from tagger.loading import Client, Found
from tagger.metering import SILENT, Meter, Stage
from tagger.values import (
    Batch,
    EncodedImage,
    ImageRef,
    LabelScore,
    LoadedImage,
    LoadFailure,
    Outcome,
    OutcomeKind,
    Scores,
    TagScore,
)

RECENT = 4096
"""Outcomes remembered for copies of contents that are done but perhaps not yet committed."""


PATIENCE = 1.0
"""Seconds without a loaded image after which what is there is predicted, be the batch ever so small."""


class Loading(Protocol):
    """Reads and loads; see :class:`tagger.supervision.Loaders` and ``DeviceLoaders``."""

    @property
    def room(self) -> int:
        """How many images should be submitted at one time."""

    def submit(self, refs: Sequence[ImageRef], client: Client, since: float | None = None) -> None:
        """Have images read, and loaded if the client wants their content; any failure that is an
        image's is a value. ``since``, by :func:`time.monotonic`, is when they began to wait for this."""

    def abandon(self) -> None:
        """Have every image that is not done fail soon."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What a pipeline is made of."""

    loading: Loading
    engine: Engine
    activation: Literal["softmax", "sigmoid"]
    temperature: float
    tags: Callable[[Scores], Sequence[tuple[TagScore, ...]]]
    labels: Callable[[Scores], Sequence[tuple[LabelScore, ...]]]
    known: Callable[[Sequence[bytes]], Sequence[OutcomeKind | None]]
    """What contents already came to under this model, by their digests; called from many threads."""
    meter: Meter = SILENT
    """Told of the forward passes; what loads has a meter of its own."""


def run(refs: Iterable[ImageRef], stages: Stages) -> Generator[list[Outcome], None, None]:
    """One :class:`Outcome` for each reference, in no certain order, as they come.

    The lists are short; one is empty when nothing has come for :data:`PATIENCE` seconds, so that
    the caller can see to what it has.

    Closing the generator (or an exception in the caller) abandons the loading, and waits for nobody: until
    that is closed its threads may still ask what is known. References that were taken and not yielded are
    the caller's to hand back.

    Raises :class:`EngineError` when the engine fails in a way that a smaller batch does not cure,
    and whatever ``stages.loading`` does.
    """
    try:
        yield from _Flow(stages, _Arrivals(stages)).outcomes(iter(refs))
    except BaseException:
        stages.loading.abandon()
        raise


@dataclass(frozen=True, slots=True)
class _Copy:
    """It is of a content that is being worked on."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class _Parked:
    """A copy that comes out with the one that it waits for."""


@dataclass(frozen=True, slots=True)
class _Again:
    """A copy of what nothing came of meanwhile, through no fault of the content: it must be loaded itself."""

    ref: ImageRef


@dataclass(frozen=True, slots=True)
class _Fault:
    """A place is at fault, and the copies that waited for its content must be loaded themselves."""

    failure: LoadFailure
    copies: list[ImageRef]


_Loaded = LoadedImage | LoadFailure | Outcome | _Parked | _Again | _Fault


@dataclass(slots=True)
class _Contents:
    """Which contents are being worked on, who waits for them, and what the last ones came to."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: dict[bytes, list[ImageRef]] = field(default_factory=dict)
    recent: OrderedDict[bytes, Outcome] = field(default_factory=OrderedDict)

    def enter(self, ref: ImageRef, digest: bytes) -> Outcome | _Copy | None:
        """None for the first with this content, who is to do the work."""
        with self.lock:
            if (done := self.recent.get(digest)) is not None:
                return replace(done, image_id=ref.image_id, reused=True)
            if digest in self.waiting:
                return _Copy(digest)
            self.waiting[digest] = []
            return None

    def park(self, ref: ImageRef, digest: bytes) -> Outcome | _Parked | _Again:
        """Have a copy wait for the first, once those that load have let go of it, and not before: it may
        have to be given to them again."""
        with self.lock:
            if (done := self.recent.get(digest)) is not None:
                return replace(done, image_id=ref.image_id, reused=True)
            if digest not in self.waiting:
                return _Again(ref)
            self.waiting[digest].append(ref)
            return _Parked()

    def leave(self, outcome: Outcome) -> list[Outcome]:
        """The outcome, and the same for every copy that waited for it."""
        if outcome.digest is None:
            return [outcome]
        with self.lock:
            copies = self.waiting.pop(outcome.digest, [])
            self.recent[outcome.digest] = outcome
            if len(self.recent) > RECENT:
                self.recent.popitem(last=False)
        return [outcome, *(replace(outcome, image_id=copy.image_id, reused=True) for copy in copies)]

    def give_up(self, digest: bytes) -> list[ImageRef]:
        """Nothing came of this content, since its first place is at fault: who waited for it."""
        with self.lock:
            return self.waiting.pop(digest, [])


class _Arrivals:
    """What is being loaded, and what of it is through; the client of those that load."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.contents = _Contents()
        self.running = 0
        # Enough that nobody waits for work while a batch is gathered.
        self.room = stages.loading.room + stages.engine.batch_sizes[-1]
        self._through: SimpleQueue[_Loaded | BaseException] = SimpleQueue()
        self._met: dict[int, Outcome | _Copy] = {}
        """By image, what need not be loaded."""
        self._entered: dict[int, bytes] = {}
        """By image, the content that it was the first to bring."""

    def start(self, refs: Sequence[ImageRef]) -> None:
        self.running += len(refs)
        self.stages.loading.submit(refs, self, time.monotonic())

    def next(self) -> _Loaded | None:
        """The next image that is through, in the order of finishing; None if none is for a while."""
        try:
            result = self._through.get(timeout=PATIENCE)
        except Empty:
            return None
        self.running -= 1
        if isinstance(result, BaseException):
            raise result
        return result

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        """All but those whose content is known, or being worked on; see :class:`Client`."""
        fresh = [(ref, digest) for ref, digest in found if self._is_first(ref, digest)]
        if fresh:
            kinds = self.stages.known([digest for _, digest in fresh])
            for (ref, digest), kind in zip(fresh, kinds, strict=True):
                if kind is not None:
                    self._met[ref.image_id] = Outcome(ref.image_id, kind, digest=digest, reused=True)
        return [ref.image_id not in self._met for ref, _ in found]

    def done(self, ref: ImageRef, result: Found) -> None:
        """See :class:`Client`."""
        met, entered = self._met.pop(ref.image_id, None), self._entered.pop(ref.image_id, None)
        if isinstance(result, LoadFailure) and result.digest is None and entered is not None:
            self._through.put(_Fault(result, self.contents.give_up(entered)))
            return
        through = self.contents.park(ref, met.digest) if isinstance(met, _Copy) else met or result
        # Nothing is loaded only where the content was met, and nobody has told where a device is.
        assert through is not None and not isinstance(through, EncodedImage)
        self._through.put(through)

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        """See :class:`Client`; raised in the caller's thread."""
        self._through.put(fault)

    def _is_first(self, ref: ImageRef, digest: bytes) -> bool:
        met = self.contents.enter(ref, digest)
        if met is None:
            self._entered[ref.image_id] = digest
        else:
            self._met[ref.image_id] = met
        return met is None


class _Flow:
    """The caller's side: feeds those that load, batches what comes, and collects scores."""

    def __init__(self, stages: Stages, loading: _Arrivals) -> None:
        self.stages = stages
        self.loading = loading
        self.largest = stages.engine.batch_sizes[-1]
        self.ready: list[LoadedImage] = []
        self.flying: deque[tuple[list[LoadedImage], Future[Prediction]]] = deque()

    def outcomes(self, refs: Iterator[ImageRef]) -> Iterator[list[Outcome]]:
        more = True
        while more or self.loading.running or self.ready or self.flying:
            more = more and self._feed(refs)
            result = self.loading.next() if self.loading.running else None
            # Nothing loaded for now: slow files must not hold up what is ready.
            idle = result is None
            yield self._sort(result)
            while self._is_due(idle):
                if len(self.flying) < self.stages.engine.depth:
                    self._launch()
                else:
                    yield self._land()
            while self.flying and (idle or self.flying[0][1].done()):
                yield self._land()

    def _is_due(self, idle: bool) -> bool:
        """Whether a batch is to be launched: a full one, or what there is."""
        return len(self.ready) >= self.largest or (idle and bool(self.ready))

    def _feed(self, refs: Iterator[ImageRef]) -> bool:
        """Keep those busy that load; False when there are no more references.

        Many at a time, so that small images can be loaded by the handful.
        """
        wanted = self.loading.room - self.loading.running
        if wanted < self.stages.loading.room // 2:
            return True
        some = list(islice(refs, wanted))
        self.loading.start(some)
        return len(some) == wanted

    def _sort(self, result: _Loaded | None) -> list[Outcome]:
        match result:
            case LoadedImage():
                self.ready.append(result)
            case Outcome():
                # A content that the store knows; a copy of a recent one left already.
                return self.loading.contents.leave(result)
            case LoadFailure():
                return self.loading.contents.leave(_failed(result))
            case _Fault(failure, copies):
                self.loading.start(copies)
                return [_failed(failure)]
            case _Again(ref):
                self.loading.start([ref])
            case _Parked() | None:
                pass
        return []

    def _launch(self) -> None:
        images, self.ready = self.ready[: self.largest], self.ready[self.largest :]
        images.sort(key=_is_on_device)  # as a batch has them
        batch, began = _batch(images), time.monotonic()
        future = self.stages.engine.submit(batch)
        # Told by the engine's thread, at once: until it is landed a batch may lie there for a while.
        future.add_done_callback(partial(self._measure, len(images), began))
        self.flying.append((images, future))

    def _measure(self, images: int, began: float, future: Future[Prediction]) -> None:
        """Tell of a forward pass that came to something."""
        if future.cancelled() or future.exception() is not None:
            return
        meter, sizes = self.stages.meter, self.stages.engine.batch_sizes
        meter.spent(Stage.PREDICT, time.monotonic() - began, images)
        meter.batch(images, next(size for size in sizes if size >= images))

    def _land(self) -> list[Outcome]:
        images, future = self.flying.popleft()
        try:
            prediction = future.result()
        except OutOfMemory as fault:
            self._halve(images, fault)
            return []
        ids = tuple(image.image_id for image in images)
        scores = activate(ids, prediction, self.stages.activation, self.stages.temperature)
        return [
            each for outcome in self._judge(images, scores) for each in self.loading.contents.leave(outcome)
        ]

    def _halve(self, images: list[LoadedImage], fault: OutOfMemory) -> None:
        """Go on with half the batch, from here on; the images come round again, first in line."""
        if len(images) == 1:
            raise EngineError(f"one image alone does not fit in memory: {fault}") from fault
        self.stages.meter.halved()
        self.largest = min(self.largest, (len(images) + 1) // 2)
        self.ready = images + self.ready

    def _judge(self, images: Sequence[LoadedImage], scores: Scores) -> Iterator[Outcome]:
        rows = zip(images, self.stages.tags(scores), self.stages.labels(scores), strict=True)
        for position, (image, tags, labels) in enumerate(rows):
            assert scores.ids[position] == image.image_id  # no result lands on a neighbour
            yield Outcome(
                image.image_id,
                OutcomeKind.OK if tags else OutcomeKind.EMPTY,
                reason=image.note,
                digest=image.digest,
                facts=image.facts,
                tags=tags,
                labels=labels,
                loader=image.loader,
            )


def _batch(images: Sequence[LoadedImage]) -> Batch:
    """Those with arrays must come first."""
    ids = tuple(image.image_id for image in images)
    arrays = [image.pixels for image in images if isinstance(image.pixels, np.ndarray)]
    tensors = tuple(image.pixels for image in images if not isinstance(image.pixels, np.ndarray))
    pixels = np.stack(arrays) if arrays else np.empty((0, *tensors[0].shape), np.uint8)
    return Batch(ids, pixels, tensors)


def _is_on_device(image: LoadedImage) -> bool:
    return not isinstance(image.pixels, np.ndarray)


def _failed(failure: LoadFailure) -> Outcome:
    return Outcome(
        failure.image_id,
        failure.kind,
        reason=failure.reason,
        digest=failure.digest,
        facts=failure.facts,
    )
