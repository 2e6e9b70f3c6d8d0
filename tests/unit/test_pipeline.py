"""Whatever happens inside, each reference comes out once, and under its own name."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagger import pipeline
from tagger.engines import Prediction
from tagger.errors import EngineError, OutOfMemory
from tagger.loading import Client
from tagger.pipeline import Stages
from tagger.values import (
    Batch,
    ImageFacts,
    ImageRef,
    LabelScore,
    LoadedImage,
    LoadFailure,
    Outcome,
    OutcomeKind,
    Scores,
    TagScore,
)


@dataclass
class Engine:
    """Says of a picture what its first pixel is; ``fits`` images go into its memory."""

    batch_sizes: tuple[int, ...] = (1, 4, 8)
    depth: int = 2
    fits: int = 8
    seen: list[int] = field(default_factory=list)
    name = "test"
    device = "here"
    precision = "f32"

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)

    def submit(self, batch: Batch) -> Future[Prediction]:
        return self._pool.submit(self._predict, batch)

    def _predict(self, batch: Batch) -> Prediction:
        if len(batch) > self.fits:
            raise OutOfMemory("no memory")
        self.seen.append(len(batch))
        time.sleep(0.001 * (batch.ids[0] % 3))
        logits = np.full((len(batch), 10), -20.0, np.float32)
        logits[np.arange(len(batch)), batch.pixels[:, 0, 0, 0] % 10] = 20.0
        return Prediction(logits, np.zeros((len(batch), 1), np.float16))

    def close(self) -> None:
        self._pool.shutdown()


@dataclass
class Loading:
    """The first letter decides: 255 is corrupt, anything else a pixel; *missing* is, *slow* waits.

    Asks about a handful at once, and tells of it when all of it is loaded, in some order.
    """

    room: int = 6
    handful: int = 3
    gone: frozenset[int] = frozenset()
    abandoned: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(3))

    def submit(self, refs: Sequence[ImageRef], client: Client, since: float | None = None) -> None:
        for start in range(0, len(refs), self.handful):
            self.pool.submit(self._work, refs[start : start + self.handful], client)

    def _work(self, refs: Sequence[ImageRef], client: Client) -> None:
        there = [(ref, _digest(ref)) for ref in refs if ref.uri != "missing"]
        wanted = dict(zip((ref.image_id for ref, _ in there), client.wanted(there), strict=True))
        for ref in sorted(refs, key=lambda ref: hash(ref.uri + str(ref.image_id))):
            try:
                client.done(ref, self._load(ref) if wanted.get(ref.image_id, True) else None)
            except BaseException as fault:
                client.failed(ref, fault)

    def _load(self, ref: ImageRef) -> LoadedImage | LoadFailure | None:
        if ref.uri == "missing":
            return LoadFailure(ref.image_id, OutcomeKind.MISSING, "no longer there")
        digest = _digest(ref)
        if ref.uri == "slow":
            self._hang()
        if ref.image_id in self.gone:
            return LoadFailure(ref.image_id, OutcomeKind.MISSING, "gone since it was read")
        value = ord(ref.uri[0])
        if value == 255:
            return LoadFailure(ref.image_id, OutcomeKind.CORRUPT, "broken", digest)
        pixels = np.full((2, 2, 3), value, np.uint8)
        return LoadedImage(ref.image_id, digest, ImageFacts(2, 2, "TEST"), pixels)

    def abandon(self) -> None:
        self.abandoned.set()

    def _hang(self) -> None:
        while not self.go_on.wait(0.01):
            if self.abandoned.is_set():
                raise RuntimeError("abandoned")


def _digest(ref: ImageRef) -> bytes:
    return hashlib.sha256(ref.uri.encode("latin-1")).digest()


def _tags(scores: Scores) -> Sequence[tuple[TagScore, ...]]:
    best = scores.probabilities.argmax(axis=1)
    return [() if index == 0 else (TagScore(f"tag {index}", 1.0),) for index in best]


def _labels(scores: Scores) -> Sequence[tuple[LabelScore, ...]]:
    return [(LabelScore(int(index), 1.0),) for index in scores.probabilities.argmax(axis=1)]


def _stages(
    engine: Engine,
    loading: Loading | None = None,
    known: Callable[[Sequence[bytes]], Sequence[OutcomeKind | None]] = lambda digests: [None] * len(digests),
) -> Stages:
    return Stages(
        loading=loading or Loading(),
        engine=engine,
        activation="softmax",
        temperature=1.0,
        tags=_tags,
        labels=_labels,
        known=known,
    )


def _run(contents: Sequence[str], engine: Engine | None = None, room: int = 6) -> list[Outcome]:
    engine = engine or Engine()
    refs = (ImageRef(number, content) for number, content in enumerate(contents))
    outcomes = [each for some in pipeline.run(refs, _stages(engine, Loading(room))) for each in some]
    engine.close()
    return outcomes


def _expected(content: str) -> tuple[OutcomeKind, str | None]:
    if content == "missing":
        return OutcomeKind.MISSING, None
    value = content.encode("latin-1")[0]
    if value == 255:
        return OutcomeKind.CORRUPT, None
    return (OutcomeKind.EMPTY, None) if value % 10 == 0 else (OutcomeKind.OK, f"tag {value % 10}")


_contents = st.one_of(st.just("missing"), st.integers(0, 255).map(chr), st.just("\xff"))


@settings(max_examples=60, deadline=None)
@given(st.lists(_contents, max_size=70), st.integers(1, 8), st.integers(1, 5))
def test_every_reference_has_one_outcome_and_its_own(contents: list[str], fits: int, room: int) -> None:
    outcomes = _run(contents, Engine(fits=fits), room)
    assert sorted(outcome.image_id for outcome in outcomes) == list(range(len(contents)))
    for outcome in outcomes:
        kind, tag = _expected(contents[outcome.image_id])
        assert outcome.kind is kind
        assert [score.tag for score in outcome.tags] == ([tag] if tag else [])


def test_the_same_bytes_are_predicted_once() -> None:
    engine = Engine()
    outcomes = _run(["a", "b", "a", "a", "b"] * 20, engine)
    assert sum(engine.seen) == 2
    assert Counter(outcome.reused for outcome in outcomes) == {True: 98, False: 2}
    assert {outcome.tags[0].tag for outcome in outcomes} == {"tag 7", "tag 8"}


def test_what_the_store_knows_is_not_loaded() -> None:
    engine = Engine()
    stages = _stages(engine, known=lambda digests: [OutcomeKind.EMPTY] * len(digests))
    (outcome,) = (each for some in pipeline.run([ImageRef(1, "a")], stages) for each in some)
    assert (outcome.kind, outcome.reused, engine.seen) == (OutcomeKind.EMPTY, True, [])


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    engine = Engine(fits=3)
    outcomes = _run([chr(value) for value in range(1, 100)], engine)
    assert len(outcomes) == 99 and max(engine.seen) <= 3


def test_one_image_that_does_not_fit_is_an_error_that_says_so() -> None:
    with pytest.raises(EngineError, match="one image alone"):
        _run(["a", "b"], Engine(fits=0))


def test_an_engine_that_fails_stops_the_run() -> None:
    class Broken(Engine):
        def _predict(self, batch: Batch) -> Prediction:
            raise EngineError("the device is gone")

    with pytest.raises(EngineError, match="gone"):
        _run(["a"], Broken())


def test_batches_are_full_while_there_is_work() -> None:
    engine = Engine()
    _run([chr(value) for value in range(1, 82)], engine)
    assert sorted(engine.seen, reverse=True) == [8] * 10 + [1]


def test_little_is_taken_ahead_of_what_comes_out() -> None:
    """Memory must not grow with the library: references are taken as outcomes are consumed."""
    taken = 0

    def refs():  # type: ignore[no-untyped-def]
        nonlocal taken
        for number in range(100_000):
            taken += 1
            yield ImageRef(number, f"{chr(number % 250)}{number}")

    engine = Engine()
    outcomes = pipeline.run(refs(), _stages(engine, Loading(2)))
    come = 0
    while come < 50:
        come += len(next(outcomes))
    time.sleep(0.2)
    assert taken < 50 + 100
    outcomes.close()
    engine.close()


def test_closing_early_stops_the_threads() -> None:
    engine = Engine()
    outcomes = pipeline.run((ImageRef(n, f"a{n}") for n in range(1000)), _stages(engine))
    next(outcomes)
    outcomes.close()
    engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tagger-load")]


def test_a_slow_image_holds_up_no_other() -> None:
    """What is loaded is predicted, though it fills no batch; and the caller can see to what it has."""
    engine, loading = Engine(), Loading(handful=1)
    refs = [ImageRef(0, "slow"), *(ImageRef(n, chr(n)) for n in range(1, 6))]
    outcomes = pipeline.run(refs, _stages(engine, loading))
    come: list[int] = []
    while len(come) < 5:
        come += [outcome.image_id for outcome in next(outcomes)]
    assert sorted(come) == [1, 2, 3, 4, 5]
    while next(outcomes):
        pass  # an empty list: nothing has come for a while
    loading.go_on.set()
    assert [outcome.image_id for some in outcomes for outcome in some] == [0]
    engine.close()


def test_closing_early_abandons_what_is_being_loaded() -> None:
    engine, loading = Engine(), Loading()
    outcomes = pipeline.run([ImageRef(0, "slow")], _stages(engine, loading))
    assert next(outcomes) == []
    outcomes.close()
    assert loading.abandoned.is_set()
    engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tagger-load")]


def test_copies_of_what_is_being_loaded_share_its_failure() -> None:
    outcomes = _run(["\xff", "\xff", "\xff"])
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.CORRUPT] * 3


def test_a_fault_of_the_place_is_not_shared_with_copies_elsewhere() -> None:
    """The first was read, and gone when it was to be read again; its copies are where they were."""
    engine = Engine()
    refs = [ImageRef(number, "a") for number in range(6)]
    stages = _stages(engine, Loading(gone=frozenset({0, 3})))
    outcomes = {each.image_id: each.kind for some in pipeline.run(refs, stages) for each in some}
    engine.close()
    assert len(outcomes) == 6
    assert outcomes[0] is OutcomeKind.MISSING
    assert {outcomes[number] for number in (1, 2, 4, 5)} == {OutcomeKind.OK}


@pytest.mark.parametrize("copy_is_through_first", [True, False])
def test_a_copy_whose_first_comes_to_nothing_is_loaded_however_long_its_handful_takes(
    copy_is_through_first: bool,
) -> None:
    """Both are asked about; then the first is gone, while those that load still hold the copy, or not."""
    tries: list[ImageRef] = []

    class Deliberate(Loading):
        def submit(self, refs: Sequence[ImageRef], client: Client, since: float | None = None) -> None:
            tries.extend(refs)
            if len(refs) == 1:
                super().submit(refs, client, since)
            elif refs:
                first, copy = refs
                assert list(client.wanted([(first, b"x"), (copy, b"x")])) == [True, False]
                gone = LoadFailure(first.image_id, OutcomeKind.UNREADABLE, "gone since it was read")
                told: list[tuple[ImageRef, LoadFailure | None]] = [(copy, None), (first, gone)]
                for ref, result in told if copy_is_through_first else reversed(told):
                    client.done(ref, result)

    engine = Engine()
    stages = _stages(engine, Deliberate())
    first, copy = ImageRef(1, "a"), ImageRef(2, "a")
    outcomes = {each.image_id: each.kind for some in pipeline.run([first, copy], stages) for each in some}
    engine.close()
    assert outcomes == {1: OutcomeKind.UNREADABLE, 2: OutcomeKind.OK}
    assert tries == [first, copy, copy]
