"""PyTorch's own: what runs out of memory, what fails, what waits. All on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, TimeoutError

import numpy as np
import pytest
import torch
from torch import nn

from tagger.engines.eager import EagerEngine
from tagger.errors import EngineError, OutOfMemory
from tests.unit.engines.conftest import PIXELS, Tiny, batch, by_hand


class _Hindered(nn.Module):
    """:class:`Tiny`, but something happens before each pass."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__()
        self.tiny = Tiny()
        self.before = before

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.before(len(pixels))
        out: tuple[torch.Tensor, torch.Tensor] = self.tiny(pixels)
        return out


def _raise_above(rows: int, error: Exception) -> Callable[[int], None]:
    def before(found: int) -> None:
        if found > rows:
            raise error

    return before


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_shorter_batch_may_fit_where_memory_ends(error: Exception) -> None:
    with EagerEngine(_Hindered(_raise_above(2, error)), PIXELS) as engine:
        for _ in range(2 * engine.depth):
            failed = engine.submit(batch(3)).exception()
            assert isinstance(failed, OutOfMemory)
            assert failed.transient
            # Nothing that holds the failed pass's tensors hangs on the error.
            assert failed.__cause__ is None
            assert failed.__context__ is None
        assert engine.submit(batch(2)).result().logits.shape == (2, 5)


def test_any_other_failure_is_told_and_the_engine_goes_on() -> None:
    with EagerEngine(_Hindered(_raise_above(2, RuntimeError("no kernel image"))), PIXELS) as engine:
        for _ in range(2 * engine.depth):
            failed = engine.submit(batch(3)).exception()
            assert isinstance(failed, EngineError)
            assert not isinstance(failed, OutOfMemory)
            assert "no kernel image" in str(failed)
        assert engine.submit(batch(2)).result().logits.shape == (2, 5)


def test_more_batches_than_may_fly_wait_their_turn() -> None:
    gate = threading.Event()

    def wait(_rows: int) -> None:
        gate.wait(30)

    with EagerEngine(_Hindered(wait), PIXELS) as engine, ThreadPoolExecutor(1) as threads:
        flying = [engine.submit(batch(1)) for _ in range(engine.depth)]
        waiting = threads.submit(engine.submit, batch(2))
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.2)
        gate.set()
        assert waiting.result(timeout=30).result(timeout=30).logits.shape == (2, 5)
        assert all(future.result(timeout=30) for future in flying)


def test_half_precision_by_autocast_is_near() -> None:
    with EagerEngine(Tiny(), PIXELS, precision="bf16") as engine:
        assert engine.precision == "bf16"
        logits = engine.submit(batch(4)).result().logits
    exact = by_hand(batch(4).pixels)
    assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()
    assert not np.array_equal(logits, exact)


def test_a_precision_the_cpu_is_not_run_in_is_refused() -> None:
    with pytest.raises(EngineError, match="f16"):
        EagerEngine(Tiny(), PIXELS, precision="f16")


def test_a_network_left_in_training_mode_predicts_all_the_same() -> None:
    class Dropping(_Hindered):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return super().forward(nn.functional.dropout(pixels, 0.9, training=self.training))

    with EagerEngine(Dropping(lambda _rows: None).train(), PIXELS) as engine:
        logits = engine.submit(batch(2)).result().logits
    np.testing.assert_allclose(logits, by_hand(batch(2).pixels), rtol=1e-4, atol=1e-4)
