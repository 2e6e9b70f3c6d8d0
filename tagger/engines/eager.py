"""PyTorch as it is: the reference on the CPU, and the engine on CUDA.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tagger.engines.lanes import LaneEngine
from tagger.engines.protocol import ladder
from tagger.errors import EngineError
from tagger.values import Precision, Preprocessing

_RUNGS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LARGEST: Final = {"cpu": 16, "cuda": 64}
_DTYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# One lane on the CPU, since a pass takes all its threads; two on CUDA, so that one batch is
# copied while the other is computed.
_LANES: Final = {"cpu": 1, "cuda": 2}
_MEMORY_WORDS: Final = ("allocate memory", "not enough memory", "out of memory", "alloc_failed")


@dataclass(slots=True)
class _Buffer:
    """One lane: pixels on their way to the device, and on CUDA a stream for them to take.

    ``pixels`` is uint8 [largest, S, S, 3], in pinned memory for CUDA.
    """

    pixels: torch.Tensor
    stream: torch.cuda.Stream | None


class EagerEngine(LaneEngine[_Buffer]):
    """A network run by PyTorch on ``device``: ``cpu`` or ``cuda`` (the first GPU that it sees).

    The network is moved to the device and keeps being used: hand over one of your own.
    ``threads`` counts CPU threads and is PyTorch's for the whole process. The precision ``auto``
    is f32 on the CPU and f16 on CUDA; lower precisions are PyTorch's autocast.
    """

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        device: str = "cpu",
        precision: Precision = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        batch_sizes = ladder(_LARGEST[device] if batch_size is None else batch_size, _RUNGS)
        if threads is not None:
            torch.set_num_threads(threads)
        self.name = "cuda" if device == "cuda" else "eager"
        self.device = _device_name(device)
        self.precision = _resolved(precision, device)
        self._device = torch.device(device)
        self._mean = torch.tensor(preprocessing.mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=self._device).view(1, 3, 1, 1)
        self._network = _placed(network, self._device)
        lanes = [_buffer(self._device, batch_sizes[-1], preprocessing.crop) for _ in range(_LANES[device])]
        super().__init__(lanes, batch_sizes, preprocessing.crop)

    def _forward(
        self, lane: _Buffer, size: int, pixels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        rows = len(pixels)
        # Rows beyond these keep what an earlier batch left there; their results are cut off.
        lane.pixels.numpy()[:rows] = pixels
        with self._context(lane):
            on_device = lane.pixels[:size].to(self._device, non_blocking=True)
            logits, features = self._network(self._normalised(on_device))
            # Copying to the host waits for this stream, so the buffer is free again after it.
            return (
                logits[:rows].to("cpu", torch.float32).numpy(),
                features[:rows].to("cpu", torch.float16).numpy(),
            )

    @contextmanager
    def _context(self, lane: _Buffer) -> Iterator[None]:
        """Inference without gradients, in the precision, on the lane's stream; by thread."""
        autocast = torch.autocast(self._device.type, _DTYPES[self.precision], enabled=self.precision != "f32")
        with torch.inference_mode(), autocast, torch.cuda.stream(lane.stream):
            yield

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [B, 3, S, S]. A view of [B, S, S, 3] is channels-last as it stands."""
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std

    def _is_out_of_memory(self, error: Exception) -> bool:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        text = str(error).lower()
        return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)

    def _release(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _resolved(precision: Precision, device: str) -> str:
    if precision == "auto":
        return "f16" if device == "cuda" else "f32"
    if precision == "f16" and device == "cpu":
        raise EngineError("PyTorch on the CPU computes in f32 or bf16 here, not in f16.")
    return precision


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


def _placed(network: nn.Module, device: torch.device) -> nn.Module:
    try:
        return network.eval().to(device).to(memory_format=torch.channels_last)
    except torch.OutOfMemoryError as error:
        raise EngineError(f"The device has no memory for the model itself: {error}") from None


def _buffer(device: torch.device, rows: int, side: int) -> _Buffer:
    is_cuda = device.type == "cuda"
    pixels = torch.zeros(rows, side, side, 3, dtype=torch.uint8, pin_memory=is_cuda)
    stream = torch.cuda.Stream(device) if is_cuda else None  # type: ignore[no-untyped-call]
    return _Buffer(pixels, stream)
