"""What all runtimes share: the ladder, a bounded number of batches in flight, errors in one form.

A *lane* is what one batch in flight needs for itself (an inference request, a pinned buffer). A
batch holds its lane from :meth:`LaneEngine.submit` until its results are copied out, so that no
lane is ever written to while it is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tagger.engines.protocol import Prediction
from tagger.errors import EngineError, OutOfMemory
from tagger.values import Batch

Lane = TypeVar("Lane")


class LaneEngine(ABC, Generic[Lane]):
    """An :class:`~tagger.engines.protocol.Engine` but for the runtime's own work.

    A runtime gives its lanes and says how to run one; a thread for each lane waits on the device
    with the interpreter's lock released.
    """

    name: str
    device: str
    precision: str
    takes_tensors: ClassVar[bool] = False
    """Whether a batch may have pixels on the device."""

    def __init__(self, lanes: Sequence[Lane], batch_sizes: tuple[int, ...], side: int) -> None:
        self.batch_sizes = batch_sizes
        self.depth = len(lanes)
        self._side = side
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(self.depth, thread_name_prefix="engine")

    @abstractmethod
    def _forward(
        self, lane: Lane, size: int, batch: Batch
    ) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        """Run B images padded to ``size`` rows; B rows of logits and of features, owned."""

    @abstractmethod
    def _is_out_of_memory(self, error: Exception) -> bool:
        """Whether the device refused because of the batch's size."""

    @abstractmethod
    def _release(self) -> None:
        """Give back what the device holds in reserve, after it ran out of memory."""

    def submit(self, batch: Batch) -> Future[Prediction]:
        """See :meth:`tagger.engines.protocol.Engine.submit`."""
        self._check(batch)
        lane = self._free.get()
        try:
            return self._threads.submit(self._run, lane, batch)
        except RuntimeError as error:
            self._free.put(lane)
            raise EngineError("The engine is closed.") from error

    def close(self) -> None:
        """See :meth:`tagger.engines.protocol.Engine.close`."""
        self._threads.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, batch: Batch) -> None:
        rows, side = len(batch), self._side
        if not 1 <= rows <= self.batch_sizes[-1]:
            raise EngineError(f"A batch holds 1 to {self.batch_sizes[-1]} images, not {rows}.")
        if batch.on_device and not self.takes_tensors:
            raise EngineError(f"The engine {self.name} takes no pixels that lie on a device.")
        expected = (rows - len(batch.on_device), side, side, 3)
        if batch.pixels.shape != expected or batch.pixels.dtype != np.uint8:
            found = f"{batch.pixels.dtype} {batch.pixels.shape}"
            raise EngineError(f"The pixels of this batch should be uint8 {expected} and are {found}.")

    def _run(self, lane: Lane, batch: Batch) -> Prediction:
        try:
            size = next(size for size in self.batch_sizes if size >= len(batch))
            logits, features = self._forward(lane, size, batch)
            return Prediction(logits, features)
        except Exception as error:
            if not self._is_out_of_memory(error):
                raise EngineError(f"{self.name} failed on a batch: {error}") from error
        finally:
            self._free.put(lane)
        # Raised out here, without its cause: a traceback would keep the failed pass's tensors
        # alive for as long as somebody holds the future, just when memory is short.
        self._release()
        raise OutOfMemory(f"{self.device} has no memory for a batch of {len(batch)} images.")
