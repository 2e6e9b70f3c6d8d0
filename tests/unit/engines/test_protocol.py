"""What every engine promises, held against each: OpenVINO, PyTorch on the CPU, and that for CUDA."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tagger.engines import Engine
from tagger.engines.protocol import ladder
from tagger.errors import EngineError
from tagger.values import Batch
from tests.unit.engines.conftest import SIDE, batch, by_hand

OpenEngine = Callable[..., Engine]


def test_it_says_what_it_is(open_engine: OpenEngine) -> None:
    engine = open_engine(precision="f32")
    assert engine.name in ("openvino", "eager", "cuda")
    assert engine.device
    assert engine.precision == "f32"
    assert engine.depth >= 1
    assert list(engine.batch_sizes) == sorted(set(engine.batch_sizes))


def test_a_batch_of_any_length_comes_back_row_by_row(open_engine: OpenEngine) -> None:
    engine = open_engine(precision="f32", batch_size=7)
    for rows in (7, 1, 3, 6, 2, 5, 4, 7):
        given = batch(rows)
        prediction = engine.submit(given).result()
        np.testing.assert_allclose(prediction.logits, by_hand(given.pixels), rtol=1e-4, atol=1e-4)
        assert prediction.logits.dtype == np.float32
        assert prediction.features.dtype == np.float16
        assert prediction.features.shape == (rows, 4)


def test_what_lies_in_a_buffer_from_before_does_not_show(open_engine: OpenEngine) -> None:
    engine = open_engine(precision="f32", batch_size=8)
    alone = engine.submit(batch(5)).result().logits
    for _ in range(engine.depth):
        engine.submit(Batch(tuple(range(8)), np.full((8, SIDE, SIDE, 3), 255, np.uint8))).result()
    np.testing.assert_array_equal(engine.submit(batch(5)).result().logits, alone)


def test_results_stay_as_they_are_while_later_batches_run(open_engine: OpenEngine) -> None:
    engine = open_engine(precision="f32")
    kept = engine.submit(batch(4)).result()
    before = kept.logits.copy()
    for seed in range(1, 6):
        engine.submit(batch(4, seed)).result()
    np.testing.assert_array_equal(kept.logits, before)


def test_many_batches_from_many_threads_do_not_mix(open_engine: OpenEngine) -> None:
    """Sizes change all the time, which is what corrupted the heap with a dynamic shape."""
    engine = open_engine(precision="f32", batch_size=8)
    given = [batch(1 + index % 8, seed=index) for index in range(240)]
    with ThreadPoolExecutor(4) as threads:
        predictions = list(threads.map(lambda each: engine.submit(each).result(), given))
    for each, prediction in zip(given, predictions, strict=True):
        np.testing.assert_allclose(prediction.logits, by_hand(each.pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        batch(0),
        batch(5),
        Batch((1, 2), batch(1).pixels),
        Batch((1,), batch(1).pixels.astype(np.float32)),
        Batch((1,), batch(1).pixels[:, 1:]),
        Batch((1,), batch(1).pixels.transpose(0, 3, 1, 2)),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_at_once(open_engine: OpenEngine, wrong: Batch) -> None:
    with pytest.raises(EngineError):
        open_engine(batch_size=4).submit(wrong)


def test_closing_finishes_what_is_in_flight(open_engine: OpenEngine) -> None:
    engine = open_engine()
    with engine:
        flying = [engine.submit(batch(3)) for _ in range(engine.depth)]
    assert all(future.done() and future.exception() is None for future in flying)
    with pytest.raises(EngineError, match="closed"):
        engine.submit(batch(3))
    engine.close()


def test_a_ladder_can_be_stepped_down_by_halves() -> None:
    assert ladder(16, (1, 2, 4, 8, 16, 32)) == (1, 2, 4, 8, 16)
    assert ladder(5, (1, 2, 4, 8)) == (1, 2, 4, 5)
    assert ladder(1, (1, 2)) == (1,)
    with pytest.raises(EngineError, match="at least one"):
        ladder(0, (1, 2))


def test_a_batch_size_of_nothing_is_refused(open_engine: OpenEngine) -> None:
    with pytest.raises(EngineError, match="at least one"):
        open_engine(batch_size=0)
