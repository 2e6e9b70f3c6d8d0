"""PyTorch on a GPU: copies beside the computing, and every pass replayed as one CUDA graph.

Three things happen at the same time: one batch is on its way to the device, one is computed, the
results of one are read. Each lane has pinned memory of its own, copies go by a stream of their own,
and all passes go by one other, in turn.

A pass of a small network is a few hundred kernels, each begun from Python more slowly than it runs.
So each size of the ladder is captured once, at the start, and then begun by one call.
``torch.compile`` was turned down: it needs a compiler on every worker and a minute or more for each
size, and its own graphs belong to the thread that made them. What cannot be captured runs kernel by
kernel.

Everything but the graphs and streams runs on the device ``cpu`` too, which is how it is tested where
there is no GPU. Importing this module imports torch.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tagger.engines.eager import ran_out_of_memory
from tagger.engines.lanes import LaneEngine
from tagger.engines.protocol import ladder
from tagger.errors import EngineError
from tagger.values import Batch, Precision, Preprocessing

_LOG = logging.getLogger(__name__)

_RUNGS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LARGEST: Final = 128
_LANES: Final = 3
_WARM_UPS: Final = 3
"""Passes before one is captured: cuDNN tries its algorithms in the first."""
_DTYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}

Pass = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""uint8 [B, S, S, 3] on the device to logits and features; the next pass may overwrite them."""


@dataclass(frozen=True, slots=True)
class _Lane:
    """One batch in flight: ``pixels`` and ``results`` are pinned, ``arrived`` lies on the device."""

    pixels: torch.Tensor
    arrived: torch.Tensor
    logits: torch.Tensor
    features: torch.Tensor


class CudaEngine(LaneEngine[_Lane]):
    """A network run by PyTorch on the first GPU that it sees (``device`` is for tests).

    The network is moved there, into the precision, and keeps being used: hand over one of your own.
    The precision ``auto`` is f16. Normalisation, and the batch norms' own numbers, stay in f32.

    Raises:
        EngineError: the device has no memory for the network.
    """

    takes_tensors = True

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        device: str = "cuda",
        precision: Precision = "auto",
        batch_size: int | None = None,
    ) -> None:
        batch_sizes = ladder(_LARGEST if batch_size is None else batch_size, _RUNGS)
        self.name = "cuda"
        self.precision = "f16" if precision == "auto" else precision
        if self.precision not in _DTYPES:
            raise EngineError(f"The engine cuda computes in {', '.join(_DTYPES)}, not in {precision}.")
        self._device = torch.device(device)
        self.device = torch.cuda.get_device_name() if self._is_cuda else "CPU"
        self._dtype = _DTYPES[self.precision]
        self._mean, self._std = (
            torch.tensor(each, device=self._device).view(1, 3, 1, 1)
            for each in (preprocessing.mean, preprocessing.std)
        )
        self._network = self._placed(network)
        self._copying, self._computing = self._stream(), self._stream()
        self._turn = threading.Lock()
        self._passes = self._make_passes(batch_sizes, preprocessing.crop)
        lanes = [self._make_lane(batch_sizes[-1], preprocessing.crop) for _ in range(_LANES)]
        if self._is_cuda:
            torch.cuda.synchronize()  # the lanes are filled with zeros by another stream than copies take
        super().__init__(lanes, batch_sizes, preprocessing.crop)

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    def _forward(
        self, lane: _Lane, size: int, batch: Batch
    ) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        rows = len(batch)
        with torch.inference_mode():
            brought = self._bring(lane, batch)
            # Passes share memory, and so run one after the other: in turn by this lock and, on the
            # device, by their stream.
            with self._turn, torch.cuda.stream(self._computing):
                if self._computing is not None and brought is not None:
                    self._computing.wait_event(brought)
                logits, features = self._passes[size](lane.arrived[:size])
                lane.logits[:size].copy_(logits, non_blocking=True)
                lane.features[:size].copy_(features, non_blocking=True)
                done = self._mark(self._computing)
            if done is not None:
                done.synchronize()  # without the interpreter's lock
        return lane.logits[:rows].numpy().copy(), lane.features[:rows].numpy().copy()

    def _bring(self, lane: _Lane, batch: Batch) -> torch.cuda.Event | None:
        """Begin to copy a batch to its lane on the device; what is to be waited for.

        Rows beyond the batch keep what an earlier one left there; their results are cut off.
        """
        here, rows = len(batch.pixels), len(batch)
        with torch.cuda.stream(self._copying):
            if here:
                lane.pixels.numpy()[:here] = batch.pixels
                lane.arrived[:here].copy_(lane.pixels[:here], non_blocking=True)
            if batch.on_device:
                torch.stack(batch.on_device, out=lane.arrived[here:rows])
            return self._mark(self._copying)

    def _predicted(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A view of [B, S, S, 3] is channels-last as it stands.
        normalised = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
        logits, features = self._network(normalised.to(self._dtype))
        return logits.float(), features.half()

    def _is_out_of_memory(self, error: Exception) -> bool:
        return ran_out_of_memory(error)

    def _release(self) -> None:
        if self._is_cuda:
            torch.cuda.empty_cache()

    # -- what it is made of -----------------------------------------------------------------

    def _placed(self, network: nn.Module) -> nn.Module:
        if self._is_cuda:
            # Sizes are few and fixed, so that it pays to try which algorithm is quickest.
            torch.backends.cudnn.benchmark = True
        _lower(network, self._dtype)
        try:
            return network.eval().to(self._device).to(memory_format=torch.channels_last)
        except torch.OutOfMemoryError as error:
            raise EngineError(f"The device has no memory for the model itself: {error}") from None

    def _make_passes(self, batch_sizes: tuple[int, ...], side: int) -> dict[int, Pass]:
        """A pass for each size, the largest first: what it takes, the smaller ones share."""
        pool = torch.cuda.graph_pool_handle() if self._is_cuda else None
        return {size: self._make_pass(size, side, pool) for size in reversed(batch_sizes)}

    def _make_pass(self, size: int, side: int, pool: Any) -> Pass:
        if not self._is_cuda:
            return self._predicted
        try:
            return self._captured(size, side, pool)
        except RuntimeError as fault:  # out of memory too: then a pass will say so, and be halved
            _LOG.info("passes of %d images go without a CUDA graph: %s", size, fault)
            self._release()
            return self._predicted

    def _captured(self, size: int, side: int, pool: Any) -> Pass:
        """Graphs of one pool share memory for what lies between, which each writes anew; input and
        results are each one's own."""
        given = torch.zeros(size, side, side, 3, dtype=torch.uint8, device=self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.stream(self._computing):
                for _ in range(_WARM_UPS):
                    self._predicted(given)
            torch.cuda.synchronize()
            # By thread: another may be using the device for something else meanwhile.
            with torch.cuda.graph(graph, pool, self._computing, capture_error_mode="thread_local"):
                results = self._predicted(given)

        def replay(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            given.copy_(pixels)
            graph.replay()
            return results

        return replay

    def _make_lane(self, rows: int, side: int) -> _Lane:
        with torch.inference_mode(), torch.cuda.stream(self._computing):
            one = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=self._device)
            logits, features = self._predicted(one)
            return _Lane(
                pixels=self._pinned(rows, side, side, 3, dtype=torch.uint8),
                arrived=torch.zeros(rows, side, side, 3, dtype=torch.uint8, device=self._device),
                logits=self._pinned(rows, logits.shape[1], dtype=torch.float32),
                features=self._pinned(rows, features.shape[1], dtype=torch.float16),
            )

    def _pinned(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(*shape, dtype=dtype, pin_memory=self._is_cuda)

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.Stream(self._device) if self._is_cuda else None  # type: ignore[no-untyped-call]

    @staticmethod
    def _mark(stream: torch.cuda.Stream | None) -> torch.cuda.Event | None:
        return stream.record_event() if stream is not None else None


def _lower(network: nn.Module, dtype: torch.dtype) -> None:
    """Bring all numbers into the precision but those of batch norms, whose variances may be too
    small for it; PyTorch takes them as they are."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)
