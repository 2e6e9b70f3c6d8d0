"""The engine for CUDA: pixels that lie on the device, memory that ends, and what only a GPU can show.

Where there is no GPU the first part runs on the CPU, by the same code.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from tagger import models
from tagger.engines import Engine, select_engine
from tagger.engines.cuda import CudaEngine
from tagger.engines.eager import EagerEngine
from tagger.errors import EngineError, OutOfMemory
from tagger.models import networks
from tagger.values import Batch
from tests.unit.engines.conftest import CUDA_DEVICE, PIXELS, Tiny, batch, by_hand

OpenEngine = Callable[..., Engine]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def _split(given: Batch, here: int, device: str) -> Batch:
    """The same batch with all rows but the first ``here`` on the device."""
    there = tuple(torch.tensor(row, device=device) for row in given.pixels[here:])
    return Batch(given.ids, given.pixels[:here], there)


@pytest.mark.parametrize("here", [0, 1, 3, 5])
@pytest.mark.parametrize("name", ["eager", "cuda"])
def test_pixels_on_the_device_are_rows_like_any_other(name: str, here: int) -> None:
    device = CUDA_DEVICE if name == "cuda" else "cpu"
    engine: Engine
    if name == "cuda":
        engine = CudaEngine(Tiny(), PIXELS, device=device, precision="f32", batch_size=8)
    else:
        engine = EagerEngine(Tiny(), PIXELS, batch_size=8)
    given = batch(5)
    with engine:
        engine.submit(batch(8, seed=3)).result()  # something lies in the buffers
        logits = engine.submit(_split(given, here, device)).result().logits
    np.testing.assert_allclose(logits, by_hand(given.pixels), rtol=1e-4, atol=1e-4)


def test_an_engine_that_takes_arrays_alone_says_so(open_engine: OpenEngine) -> None:
    engine = open_engine(precision="f32")
    given = _split(batch(2), 1, CUDA_DEVICE if engine.name == "cuda" else "cpu")
    if engine.name == "openvino":
        with pytest.raises(EngineError, match="takes no pixels that lie on a device"):
            engine.submit(given)
    else:
        assert engine.submit(given).result().logits.shape == (2, 5)


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_lower_precision_is_near(precision: str) -> None:
    with CudaEngine(Tiny(), PIXELS, device=CUDA_DEVICE, precision=precision) as engine:  # type: ignore[arg-type]
        assert engine.precision == precision
        logits = engine.submit(batch(4)).result().logits
    exact = by_hand(batch(4).pixels)
    assert np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()
    assert not np.array_equal(logits, exact)


class _Norm(nn.Module):
    """A batch norm whose variances half precision does not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, eps=1e-12)
        self.norm.running_var.fill_(1e-8)  # type: ignore[union-attr,operator]

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = self.norm(pixels * 1e-4).mean(dim=(2, 3))
        return means, means


def test_variances_stay_as_they_are_in_half_precision() -> None:
    with CudaEngine(_Norm(), PIXELS, device=CUDA_DEVICE, precision="f16") as engine:
        low = engine.submit(batch(2)).result().logits
    with CudaEngine(_Norm(), PIXELS, device=CUDA_DEVICE, precision="f32") as engine:
        np.testing.assert_allclose(low, engine.submit(batch(2)).result().logits, rtol=0.02, atol=0.02)


class _Small(nn.Module):
    """:class:`Tiny` on a device that holds two images."""

    def __init__(self) -> None:
        super().__init__()
        self.tiny = Tiny()

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        out: tuple[torch.Tensor, torch.Tensor] = self.tiny(pixels)
        return out


def test_memory_that_ends_costs_a_batch_and_no_more() -> None:
    """Sizes that do not fit at the start, when passes are captured, are tried again when asked for."""
    with CudaEngine(_Small(), PIXELS, device=CUDA_DEVICE, precision="f32", batch_size=4) as engine:
        for _ in range(2 * engine.depth):
            failed = engine.submit(batch(4)).exception()
            assert isinstance(failed, OutOfMemory) and failed.__cause__ is None
        assert engine.submit(batch(2)).result().logits.shape == (2, 5)


# -- on a GPU alone ---------------------------------------------------------------------------


def _photo_batch(rows: int) -> Batch:
    crop = models.get("efficientnet-lite0").preprocessing.crop
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, crop, crop, 3), np.uint8)
    return Batch(tuple(range(rows)), pixels)


def _lite0(device: str, **arguments: object) -> Engine:
    spec = models.get("efficientnet-lite0")
    if device == "cpu":
        return EagerEngine(networks.build(spec), spec.preprocessing)
    return CudaEngine(networks.build(spec), spec.preprocessing, **arguments)  # type: ignore[arg-type]


@needs_gpu
@pytest.mark.parametrize(("precision", "by"), [("f32", 0.02), ("f16", 0.1)])
def test_a_gpu_says_what_the_cpu_says(precision: str, by: float) -> None:
    given = _photo_batch(8)
    with _lite0("cpu") as reference, _lite0("cuda", precision=precision, batch_size=8) as engine:
        exact = reference.submit(given).result().logits
        for rows in (8, 3, 1, 8):  # every size has its own graph
            part = Batch(given.ids[:rows], given.pixels[:rows])
            assert np.abs(engine.submit(part).result().logits - exact[:rows]).max() < by


@needs_gpu
def test_passes_are_captured(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "tagger.engines.cuda"), _lite0("cuda", batch_size=8):
        assert "without a CUDA graph" not in caplog.text


@needs_gpu
def test_many_batches_leave_no_memory_behind() -> None:
    with _lite0("cuda", batch_size=16) as engine:
        held = set()
        for number in range(200):
            given = _photo_batch(1 + number % 16)
            engine.submit(_split(given, number % (len(given) + 1), "cuda")).result()
            if number >= 50:
                torch.cuda.synchronize()
                del given
                held.add(torch.cuda.memory_reserved())
        assert len(held) == 1


@needs_gpu
def test_a_device_without_memory_for_large_batches_goes_on_with_small_ones() -> None:
    spec = models.get("efficientnet-lite0")
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.2e9 / total))
    try:
        with CudaEngine(networks.build(spec), spec.preprocessing, precision="f32", batch_size=512) as engine:
            assert isinstance(engine.submit(_photo_batch(512)).exception(), OutOfMemory)
            assert engine.submit(_photo_batch(4)).result().logits.shape[0] == 4
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@needs_gpu
def test_it_is_what_is_chosen_where_there_is_a_gpu(tmp_path: object) -> None:
    engine = select_engine("auto", Tiny, PIXELS, "tiny", tmp_path)  # type: ignore[arg-type]
    with engine:
        assert engine.name == "cuda" and engine.submit(batch(1)).result().logits.shape == (1, 5)
