"""Weights that fit examples: one loop for a new last layer, for a network from its beginning, and for one
that has learned something else before.

After each epoch the loss over pictures that are not learned from decides: the best weights so far are kept,
the rate falls when it has not for a while, and in the end learning stops. All chance in an epoch comes from
the seed and its number, so that whoever goes on from a checkpoint comes to the same weights.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tagger.errors import TrainingError
from tagger.models.spec import Activation
from tagger.training import augment
from tagger.training.augment import Kind
from tagger.values import Preprocessing

_FALL: Final = 0.3
"""What the rate is multiplied by when the loss does not fall for a third of the patience."""
_WORTH: Final = 0.99
"""A loss that is not lower by a hundredth does not ask for more patience: a last layer's falls for ever."""
_EVALUATED: Final = 128

Pair = tuple[torch.Tensor, torch.Tensor]
"""What goes into a network, and what is true of it: float32 [B, C] of 1, 0 and -1 for unknown."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """``epochs`` at most, and none more when the loss has not fallen for ``patience`` of them. ``rate`` and
    ``decay`` are AdamW's; ``batch`` pictures go into a step."""

    epochs: int
    patience: int
    rate: float
    decay: float
    batch: int
    seed: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """One time through all that is learned from: mean losses, and of the pictures kept from learning the
    share that is named right (0-1). ``best`` if no epoch before had so low a loss."""

    number: int
    rate: float
    loss: float
    held_out_loss: float
    right: float
    best: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the loop needs to know of a task, whatever the network reads.

    ``batches(epoch)`` gives what is learned from, in a new order each time; ``held_out()`` the rest, always
    the same. ``whole`` networks give features beside their logits.
    """

    kind: Activation
    batches: Callable[[int], Iterable[Pair]]
    held_out: Callable[[], Iterable[Pair]]
    whole: bool
    device: torch.device
    half: torch.dtype | None = None
    """What most of the arithmetic is done in, by autocast; None for float32 throughout."""
    still: bool = False
    """Normalisation keeps the means that it has learned from a million pictures."""


def fit(
    network: nn.Module,
    lesson: Lesson,
    schedule: Schedule,
    checkpoint: Path | None,
    told: Callable[[Epoch], None],
) -> tuple[Epoch, ...]:
    """Teach ``network``, which ends with the weights that were best; all epochs.

    With a ``checkpoint`` it is written after each epoch, and an earlier one gone on from.

    Raises:
        TrainingError: the losses are no numbers any more.
    """
    return _Fitting(network, lesson, schedule, checkpoint).run(told)


class _Fitting:
    def __init__(
        self, network: nn.Module, lesson: Lesson, schedule: Schedule, checkpoint: Path | None
    ) -> None:
        self.network = network.to(lesson.device)
        self.lesson = lesson
        self.schedule = schedule
        self.checkpoint = checkpoint
        self.optimiser = torch.optim.AdamW(
            _groups(network, schedule.decay), lr=schedule.rate, weight_decay=schedule.decay
        )
        self.rates = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimiser, factor=_FALL, patience=max(1, schedule.patience // 3), threshold=1e-3
        )
        self.scaler = torch.amp.GradScaler(
            lesson.device.type, enabled=lesson.half is torch.float16 and lesson.device.type == "cuda"
        )
        self.epochs: list[Epoch] = []
        self.best: dict[str, torch.Tensor] = _copied(network)
        self.first = math.inf
        """The loss before anything was learned here: what is no better is not taken."""

    def run(self, told: Callable[[Epoch], None]) -> tuple[Epoch, ...]:
        if self.checkpoint is not None:
            self._go_on(self.checkpoint)
        for epoch in self.epochs:
            told(epoch)
        if not self.epochs:
            self.first, _ = self._measure()
        while len(self.epochs) < self.schedule.epochs and not self._is_through():
            told(self._epoch(len(self.epochs) + 1))
            if self.checkpoint is not None:
                self._save(self.checkpoint)
        self.network.load_state_dict(self.best)
        self.network.eval()
        return tuple(self.epochs)

    def _is_through(self) -> bool:
        """Whether the loss has not fallen for as long as there is patience."""
        mark, last = self.first, 0
        for epoch in self.epochs:
            if epoch.held_out_loss < _WORTH * mark:
                mark, last = epoch.held_out_loss, epoch.number
        return len(self.epochs) - last >= self.schedule.patience

    def _epoch(self, number: int) -> Epoch:
        began = time.monotonic()
        torch.manual_seed(int(augment.source(self.schedule.seed, number).initial_seed()))  # for dropout
        rate = float(self.optimiser.param_groups[0]["lr"])
        loss = self._learn(number)
        held_out, right = self._measure()
        if not (math.isfinite(loss) and math.isfinite(held_out)):
            raise TrainingError(
                f"in epoch {number} the loss was no number any more: try --rate {self.schedule.rate / 10:g}"
            )
        is_best = held_out < min([self.first, *(epoch.held_out_loss for epoch in self.epochs)])
        if is_best:
            self.best = _copied(self.network)
        self.rates.step(held_out)
        self.epochs.append(Epoch(number, rate, loss, held_out, right, is_best, time.monotonic() - began))
        return self.epochs[-1]

    def _learn(self, number: int) -> float:
        self.network.train()
        if self.lesson.still:
            for layer in self.network.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        total = count = 0.0
        for inputs, truth in self.lesson.batches(number):
            self.optimiser.zero_grad(set_to_none=True)
            with self._arithmetic():
                found = self._logits(inputs)
            loss = loss_of(found.float(), truth, self.lesson.kind)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimiser)
            self.scaler.update()
            total, count = total + float(loss.detach()) * len(truth), count + len(truth)
        return total / max(count, 1.0)

    def _measure(self) -> tuple[float, float]:
        """Mean loss over what is not learned from, and the share of it that is named right."""
        self.network.eval()
        total = right = count = 0.0
        with torch.inference_mode(), self._arithmetic():
            for inputs, truth in self.lesson.held_out():
                found = self._logits(inputs).float()
                total += float(loss_of(found, truth, self.lesson.kind)) * len(truth)
                right += float(_right(found, truth, self.lesson.kind)) * len(truth)
                count += len(truth)
        return total / max(count, 1.0), right / max(count, 1.0)

    def _logits(self, inputs: torch.Tensor) -> torch.Tensor:
        found = self.network(inputs)
        logits: torch.Tensor = found[0] if self.lesson.whole else found
        return logits

    def _arithmetic(self) -> torch.autocast:
        half, device = self.lesson.half, self.lesson.device.type
        return torch.autocast(device, half or torch.bfloat16, enabled=half is not None)

    # -- checkpoints ------------------------------------------------------------------------

    def _save(self, path: Path) -> None:
        unfinished = path.with_suffix(".unfinished")
        state = {
            "network": self.network.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "rates": self.rates.state_dict(),
            "scaler": self.scaler.state_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "first": self.first,
        }
        torch.save(state, unfinished)
        os.replace(unfinished, path)  # noqa: PTH105 -- atomically, whatever was there

    def _go_on(self, path: Path) -> None:
        """From a checkpoint, if there is one that can be read."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.lesson.device, weights_only=True)
            epochs, first = [Epoch(**epoch) for epoch in state["epochs"]], float(state["first"])
            best = {name: value.to("cpu") for name, value in state["best"].items()}
            parts = [state[name] for name in ("network", "optimiser", "rates", "scaler")]
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError):
            return
        # What was written whole fits: its folder is named by all that this network is made of.
        network, optimiser, rates, scaler = parts
        self.network.load_state_dict(network)
        self.optimiser.load_state_dict(optimiser)
        self.rates.load_state_dict(rates)
        self.scaler.load_state_dict(scaler)
        self.epochs, self.best, self.first = epochs, best, first


def loss_of(logits: torch.Tensor, truth: torch.Tensor, kind: Activation) -> torch.Tensor:
    """Mean cross-entropy of float32 [B, C]; of sigmoid heads over what somebody has said."""
    if kind == "softmax":
        return functional.cross_entropy(logits, truth.argmax(dim=1))
    said = truth >= 0
    each = functional.binary_cross_entropy_with_logits(logits, truth.clamp(min=0), reduction="none")
    return (each * said).sum() / said.sum().clamp(min=1)


def _right(logits: torch.Tensor, truth: torch.Tensor, kind: Activation) -> torch.Tensor:
    if kind == "softmax":
        return (logits.argmax(dim=1) == truth.argmax(dim=1)).float().mean()
    said = truth >= 0
    return (((logits > 0) == (truth > 0)) & said).sum() / said.sum().clamp(min=1)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Weights shrink, biases and normalisation do not."""
    many = [value for value in network.parameters() if value.ndim > 1]
    few = [value for value in network.parameters() if value.ndim <= 1]
    return [{"params": many, "weight_decay": decay}, {"params": few, "weight_decay": 0.0}]


def _copied(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


# -- what is learned from -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """N ``rows`` of ``pixels``, uint8 [M, S, S, 3], what is true of them, int8 [N, C], and which are held out
    of learning, bool [N]."""

    pixels: NDArray[np.uint8]
    rows: NDArray[np.intp]
    truth: NDArray[np.int8]
    held_out: NDArray[np.bool_]

    def taken(self, places: NDArray[np.intp], device: torch.device) -> torch.Tensor:
        """Some of them on a device: uint8 [B, S, S, 3]."""
        return torch.from_numpy(self.pixels[self.rows[places]]).to(device)


def of_pixels(
    pictures: Pictures,
    preprocessing: Preprocessing,
    kind: Activation,
    vary: Kind,
    schedule: Schedule,
    device: torch.device,
    half: torch.dtype | None,
    *,
    still: bool,
    stepped: Callable[[int, int], None],
) -> Lesson:
    """Pictures, varied anew in each epoch. ``stepped`` is told, batch by batch, how many of how many an epoch
    has seen."""
    crop = preprocessing.crop
    mean = torch.tensor(preprocessing.mean, device=device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=device).view(1, 3, 1, 1)
    learned, kept = np.flatnonzero(~pictures.held_out), np.flatnonzero(pictures.held_out)

    def pair(shown: torch.Tensor, places: NDArray[np.intp]) -> Pair:
        planes = (shown.permute(0, 3, 1, 2).float() - mean) / std
        said = torch.from_numpy(pictures.truth[places]).float()
        return planes.contiguous(memory_format=torch.channels_last), said.to(device)

    def batches(epoch: int) -> Iterator[Pair]:
        random = augment.source(schedule.seed, epoch)
        order = learned[torch.randperm(len(learned), generator=random).numpy()]
        for start, places in _pieces(order, schedule.batch):
            yield pair(augment.varied(pictures.taken(places, device), crop, vary, random), places)
            stepped(start + len(places), len(order))

    def rest() -> Iterator[Pair]:
        for _, places in _pieces(kept, _EVALUATED):
            yield pair(augment.middle(pictures.taken(places, device), crop), places)

    return Lesson(kind, batches, rest, True, device, half, still)


def of_features(
    features: NDArray[np.float16],
    truth: NDArray[np.int8],
    held_out: NDArray[np.bool_],
    kind: Activation,
    schedule: Schedule,
) -> Lesson:
    """Features float16 [V, N, D], of which each epoch takes one view of each picture."""
    learned, kept = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    said = torch.from_numpy(truth).float()

    def batches(epoch: int) -> Iterator[Pair]:
        random = augment.source(schedule.seed, epoch)
        order = learned[torch.randperm(len(learned), generator=random).numpy()]
        view = torch.randint(len(features), (len(order),), generator=random).numpy()
        for start, rows in _pieces(order, schedule.batch):
            some = features[view[start : start + len(rows)], rows]
            yield torch.from_numpy(some).float(), said[rows]

    def rest() -> Iterator[Pair]:
        for _, rows in _pieces(kept, 8 * _EVALUATED):
            yield torch.from_numpy(features[0, rows]).float(), said[rows]

    return Lesson(kind, batches, rest, False, torch.device("cpu"))


def _pieces(rows: NDArray[np.intp], length: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    for start in range(0, len(rows), length):
        yield start, rows[start : start + length]


class Head(nn.Linear):
    """A last layer that learns from features brought to one scale; :meth:`plain` is the same without."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor, classes: int) -> None:
        super().__init__(len(mean), classes)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Features [B, D] to logits [B, C]."""
        return super().forward((input - self.mean) / self.std)

    def plain(self) -> Pair:
        """Weight [C, D] and bias [C] for features as they are."""
        with torch.no_grad():
            weight = self.weight / self.std
            return weight, self.bias - weight @ self.mean


def head_for(features: NDArray[np.float16], learned: NDArray[np.intp], classes: int) -> Head:
    """A head that knows nothing yet, for features float16 [V, N, D] of which some are learned from."""
    # The first view has the scale of all: means over the views of 20,000 pictures would not fit in memory.
    seen = torch.from_numpy(features[0, learned]).float()
    return Head(seen.mean(dim=0), seen.std(dim=0, correction=0) + 0.05, classes)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """PyTorch's, for as long as it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
