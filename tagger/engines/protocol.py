"""What every runtime promises: uint8 pixels go in, logits and features come out.

An engine knows nothing of labels, tags or files. It normalises the pixels itself, and it runs
batches of a few fixed sizes only, the ladder: a shorter batch is padded to the next rung and the
result is cut back.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from tagger.errors import EngineError
from tagger.values import Batch, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the network says of a batch, row by row in the batch's order.

    ``logits`` is float32 [B, C]; ``features``, the pooled vector before the classifier, is
    float16 [B, D].
    """

    logits: NDArray[np.float32]
    features: NDArray[np.float16]


class Engine(Protocol):
    """A network on a device. Made, used and closed in one process; never carried over a fork.

    All methods may be called from any thread, several at once. Do not call them from inside a
    future's callback: that runs on the engine's own thread.
    """

    @property
    def name(self) -> str:
        """The runtime: ``openvino``, ``eager`` or ``cuda``."""

    @property
    def device(self) -> str:
        """The device in a person's words."""

    @property
    def precision(self) -> str:
        """What it computes in: ``f32``, ``bf16`` or ``f16``; never ``auto``."""

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The ladder, ascending; the last is the longest batch that :meth:`submit` takes."""

    @property
    def depth(self) -> int:
        """How many batches should be in flight to keep the device busy; more than these wait."""

    def submit(self, batch: Batch) -> Future[Prediction]:
        """Begin a forward pass; ``batch.pixels`` is uint8 [P, S, S, 3] with S the network's side.

        PyTorch's engines take ``batch.on_device`` too: uint8 [S, S, 3] each, on their device.

        Blocks while ``depth`` batches are in flight. The pixels must not change until the future
        is done. Futures may be done in another order than they were submitted in.

        Raises:
            EngineError: the batch is empty, too long or of another shape, or the engine is
                closed. What goes wrong later is raised by the future: ``OutOfMemory`` where a
                shorter batch may fit (one rung down), else ``EngineError``.
        """

    def close(self) -> None:
        """Finish what is in flight and free the device. Closing again does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def ladder(largest: int, rungs: Sequence[int]) -> tuple[int, ...]:
    """The rungs below ``largest``, then ``largest`` itself.

    Raises:
        EngineError: ``largest`` is under one.
    """
    if largest < 1:
        raise EngineError(f"A batch holds at least one image, not {largest}.")
    return (*sorted(rung for rung in rungs if rung < largest), largest)


def activate(
    ids: tuple[int, ...], prediction: Prediction, kind: Literal["softmax", "sigmoid"], temperature: float
) -> Scores:
    """Logits to confidences: divided by ``temperature``, then softmax over classes or sigmoid each.

    Computed in float64, so that a row of a thousand probabilities sums to one within float32.

    Raises:
        EngineError: a logit is not a finite number; such scores would read as *nothing found*.
    """
    if not np.isfinite(prediction.logits).all():
        raise EngineError("The network gave numbers that are not finite; try the precision f32.")
    found = confidences(prediction.logits, kind, temperature)
    return Scores(ids, found.astype(np.float32), prediction.features)


def confidences(
    logits: NDArray[np.float32], kind: Literal["softmax", "sigmoid"], temperature: float
) -> NDArray[np.float64]:
    """What logits come to, before they are rounded: float32 [B, C] to float64 [B, C]."""
    scaled = logits.astype(np.float64) / temperature
    return _softmax(scaled) if kind == "softmax" else _sigmoid(scaled)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    # By tanh, since exp(-x) overflows for very negative x.
    scores: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return scores
