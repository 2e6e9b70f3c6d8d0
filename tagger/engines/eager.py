"""PyTorch as it is, on the CPU: the reference that other engines are held against.

Importing this module imports torch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tagger.engines.lanes import LaneEngine
from tagger.engines.protocol import ladder
from tagger.errors import EngineError
from tagger.values import Batch, Precision, Preprocessing

_RUNGS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LARGEST: Final = 16
_DTYPES: Final = {"f32": torch.float32, "bf16": torch.bfloat16}
_MEMORY_WORDS: Final = ("allocate memory", "not enough memory", "out of memory", "alloc_failed")


class EagerEngine(LaneEngine[torch.Tensor]):
    """A network run by PyTorch on the CPU, one batch at a time, since a pass takes all its threads.

    A lane is where pixels wait for their pass: uint8 [largest, S, S, 3]. The network keeps being
    used: hand over one of your own. ``threads`` is PyTorch's for the whole process. The precision
    ``auto`` is f32; bf16 is PyTorch's autocast.
    """

    takes_tensors = True

    def __init__(
        self,
        network: nn.Module,
        preprocessing: Preprocessing,
        *,
        precision: Precision = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        batch_sizes = ladder(_LARGEST if batch_size is None else batch_size, _RUNGS)
        if threads is not None:
            torch.set_num_threads(threads)
        self.name = "eager"
        self.device = "CPU"
        self.precision = _resolved(precision)
        self._mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocessing.std).view(1, 3, 1, 1)
        self._network = network.eval().to(memory_format=torch.channels_last)
        side = preprocessing.crop
        lane = torch.zeros(batch_sizes[-1], side, side, 3, dtype=torch.uint8)
        super().__init__([lane], batch_sizes, side)

    def _forward(
        self, lane: torch.Tensor, size: int, batch: Batch
    ) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        rows, here = len(batch), len(batch.pixels)
        # Rows beyond these keep what an earlier batch left there; their results are cut off.
        lane.numpy()[:here] = batch.pixels
        for row, tensor in zip(lane[here:rows], batch.on_device, strict=True):
            row.copy_(tensor)
        lower = torch.autocast("cpu", _DTYPES[self.precision], enabled=self.precision != "f32")
        with torch.inference_mode(), lower:
            logits, features = self._network(self._normalised(lane[:size]))
            return logits[:rows].float().numpy(), features[:rows].half().numpy()

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 [B, 3, S, S]. A view of [B, S, S, 3] is channels-last as it stands."""
        return (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std

    def _is_out_of_memory(self, error: Exception) -> bool:
        return ran_out_of_memory(error)

    def _release(self) -> None:
        pass


def ran_out_of_memory(error: Exception) -> bool:
    """Whether PyTorch says by this that a smaller batch may fit."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _MEMORY_WORDS)


def _resolved(precision: Precision) -> str:
    if precision in ("f16", "int8"):
        raise EngineError(f"PyTorch on the CPU computes in f32 or bf16 here, not in {precision}.")
    return "f32" if precision == "auto" else precision
