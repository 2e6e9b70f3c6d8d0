"""Each image's time is told once for each stage that it came to, and what went wrong is told too."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tagger import pipeline
from tagger.engines import Prediction
from tagger.errors import OutOfMemory
from tagger.metering import SILENT, Meter, Stage, Stopwatch
from tagger.pipeline import Loading, Stages
from tagger.sources import Roots
from tagger.supervision import AbandonedError, Loaders, Setup
from tagger.values import Batch, ImageRef, Limits, Outcome, OutcomeKind, Preprocessing
from tests.photos import commented_jpeg, distinct_jpegs

BAD_DECODERS = Path(__file__).parents[1] / "bad_decoders"
PREPROCESSING = Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3)


@dataclass
class Notes:
    """A meter that remembers all that it is told."""

    images: Counter[Stage] = field(default_factory=Counter)
    seconds: defaultdict[Stage, float] = field(default_factory=lambda: defaultdict(float))
    batches: list[tuple[int, int]] = field(default_factory=list)
    mishaps: Counter[str] = field(default_factory=Counter)

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        self.images[stage] += images
        self.seconds[stage] += seconds

    def batch(self, images: int, size: int) -> None:
        self.batches.append((images, size))

    def halved(self) -> None:
        self.mishaps["halved"] += 1

    def died(self) -> None:
        self.mishaps["died"] += 1

    def timed_out(self) -> None:
        self.mishaps["timed out"] += 1


class Engine:
    """Takes a hundredth of a second for a batch, and has room for ``fits`` images."""

    batch_sizes = (1, 4, 8)
    depth = 2
    name, device, precision = "test", "here", "f32"

    def __init__(self, fits: int = 8) -> None:
        self.fits = fits
        self._pool = ThreadPoolExecutor(2)

    def submit(self, batch: Batch) -> Future[Prediction]:
        return self._pool.submit(self._predict, batch)

    def _predict(self, batch: Batch) -> Prediction:
        if len(batch) > self.fits:
            raise OutOfMemory("no memory")
        time.sleep(0.01)
        return Prediction(np.zeros((len(batch), 3), np.float32), np.zeros((len(batch), 1), np.float16))

    def close(self) -> None:
        self._pool.shutdown()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()


@pytest.fixture(autouse=True)
def bad_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import what this process would."""
    monkeypatch.syspath_prepend(BAD_DECODERS)


@contextmanager
def _loaders(folder: Path, meter: Meter, limits: Limits | None = None):  # type: ignore[no-untyped-def]
    setup = Setup(Roots().adding([folder]), limits or Limits(), PREPROCESSING)
    with Loaders(setup, 1, lambda ref: None, meter=meter) as loaders:
        yield loaders


def _refs(folder: Path, paths: Iterable[Path]) -> list[ImageRef]:
    roots = Roots().adding([folder])
    return [ImageRef(number, roots.uri_of(path)) for number, path in enumerate(paths)]


def _tag(
    refs: list[ImageRef],
    loading: Loading,
    meter: Meter,
    *,
    fits: int = 8,
    known: OutcomeKind | None = None,
) -> list[Outcome]:
    with Engine(fits) as engine:
        stages = Stages(
            loading=loading,
            engine=engine,
            activation="softmax",
            temperature=1.0,
            tags=lambda scores: [()] * len(scores.ids),
            labels=lambda scores: [()] * len(scores.ids),
            known=lambda digests: [known] * len(digests),
            meter=meter,
        )
        return [outcome for some in pipeline.run(refs, stages) for outcome in some]


def test_each_image_is_told_once_by_stage(tmp_path: Path) -> None:
    """A copy is read and goes no further; a broken file is loaded in vain; a missing one is not there."""
    photos = distinct_jpegs(tmp_path, 9, (300, 200))
    copy, note = tmp_path / "copy.jpg", tmp_path / "note.jpg"
    copy.write_bytes(photos[0].read_bytes())
    note.write_text("this is no picture at all")
    refs = _refs(tmp_path, [*photos, copy, note, tmp_path / "missing.jpg"])
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        outcomes = _tag(refs, loaders, notes)
    assert Counter(outcome.reused for outcome in outcomes) == {False: 11, True: 1}
    assert notes.images == {Stage.WAIT: 12, Stage.READ: 12, Stage.LOAD: 10, Stage.PREDICT: 9}
    assert all(seconds > 0 for seconds in notes.seconds.values())
    assert not notes.mishaps


def test_what_the_store_knows_is_read_and_no_more(tmp_path: Path) -> None:
    refs = _refs(tmp_path, distinct_jpegs(tmp_path, 5, (300, 200)))
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        outcomes = _tag(refs, loaders, notes, known=OutcomeKind.EMPTY)
    assert all(outcome.reused for outcome in outcomes)
    assert notes.images == {Stage.WAIT: 5, Stage.READ: 5} and notes.batches == []


def test_batches_are_told_with_what_they_were_padded_to(tmp_path: Path) -> None:
    refs = _refs(tmp_path, distinct_jpegs(tmp_path, 10, (300, 200)))
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        _tag(refs, loaders, notes)
    assert sum(images for images, _ in notes.batches) == 10
    assert all(size in Engine.batch_sizes and images <= size for images, size in notes.batches)
    assert notes.seconds[Stage.PREDICT] >= 0.01 * len(notes.batches)


def test_what_did_not_fit_is_told_once_it_did(tmp_path: Path) -> None:
    refs = _refs(tmp_path, distinct_jpegs(tmp_path, 10, (300, 200)))
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        _tag(refs, loaders, notes, fits=2)
    assert notes.images[Stage.PREDICT] == 10 and notes.mishaps["halved"] >= 2
    assert {size for _, size in notes.batches} <= {1, 4}


def test_an_image_that_kills_is_told_once_and_each_death_too(tmp_path: Path) -> None:
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        (ref,) = _refs(tmp_path, [commented_jpeg(tmp_path / "bad.jpg", "abort")])
        loaders.load(ref, lambda digest: True)
    assert notes.mishaps == {"died": 3}
    assert notes.images == {Stage.WAIT: 1, Stage.READ: 1, Stage.LOAD: 1}


def test_one_that_was_condemned_before_only_waited(tmp_path: Path) -> None:
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        loaders.load(ImageRef(1, "file:///x", deaths=3), lambda digest: True)
    assert notes.images == {Stage.WAIT: 1} and not notes.mishaps


def test_one_that_hangs_is_told_with_its_time(tmp_path: Path) -> None:
    notes = Notes()
    with _loaders(tmp_path, notes, Limits(max_seconds=1.0)) as loaders:
        (ref,) = _refs(tmp_path, [commented_jpeg(tmp_path / "bad.jpg", "sleep")])
        loaders.load(ref, lambda digest: True)
    assert notes.mishaps == {"timed out": 1}
    assert notes.images[Stage.LOAD] == 1 and notes.seconds[Stage.LOAD] >= 1.0


def test_ending_a_run_is_no_death(tmp_path: Path) -> None:
    notes, asked = Notes(), threading.Event()
    with _loaders(tmp_path, notes) as loaders, ThreadPoolExecutor(1) as pool:
        (ref,) = _refs(tmp_path, [commented_jpeg(tmp_path / "bad.jpg", "sleep")])
        loading = pool.submit(loaders.load, ref, lambda digest: asked.set() or True)
        assert asked.wait(60)
        loaders.abandon()
        with pytest.raises(AbandonedError):
            loading.result()
    assert not notes.mishaps and notes.images[Stage.LOAD] == 0


def test_waiting_begins_where_the_caller_says(tmp_path: Path) -> None:
    (ref,) = _refs(tmp_path, distinct_jpegs(tmp_path, 1, (300, 200)))
    notes = Notes()
    with _loaders(tmp_path, notes) as loaders:
        loaders.load(ref, lambda digest: True, time.monotonic() - 1000)
    assert 1000 <= notes.seconds[Stage.WAIT] < 1100 and notes.seconds[Stage.READ] < 100


def test_the_stages_of_an_image_do_not_overlap() -> None:
    notes, began = Notes(), time.monotonic()
    watch = Stopwatch(notes, began)
    for stage in (Stage.READ, None, Stage.LOAD, None):
        time.sleep(0.01)
        watch.turn(stage)
    spent, passed = sum(notes.seconds.values()), time.monotonic() - began
    assert list(notes.images) == [Stage.WAIT, Stage.READ, Stage.LOAD]
    assert spent <= passed - 0.01, "what passed between two stages is nobody's"


def test_loading_sees_the_context_of_the_caller(tmp_path: Path) -> None:
    """So that what is logged of an image says of which run it is."""
    run: ContextVar[int] = ContextVar("run", default=0)
    seen: list[int] = []

    class Looking:
        def wanted(self, found: object) -> list[bool]:
            seen.append(run.get())
            raise LookupError

        def done(self, ref: ImageRef, result: object) -> None:
            pytest.fail("it was not wanted")

        def failed(self, ref: ImageRef, fault: BaseException) -> None:
            through.set()

    through = threading.Event()
    with _loaders(tmp_path, SILENT) as loaders:
        for number in (12, 13):
            run.set(number)
            through.clear()
            (ref,) = _refs(tmp_path, distinct_jpegs(tmp_path, 1, (300, 200)))
            loaders.submit([ref], Looking())
            assert through.wait(60)
    assert seen == [12, 13]
