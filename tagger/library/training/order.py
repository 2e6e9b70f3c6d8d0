"""What is asked of a training, and who is told how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from tagger.library.training.examples import Given
from tagger.models import Activation, Architecture, ModelSpec
from tagger.values import EngineName, Limits, Preprocessing

if TYPE_CHECKING:
    from tagger.training.augment import Kind
    from tagger.training.fitting import Epoch

Half = Literal["auto", "f32", "bf16", "f16"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How to learn; None is what suits the way.

    A new last layer for ``base``, or ``scratch``: a network from its beginning. With ``fine_tune`` all
    of ``base`` goes on learning. ``share`` of the pictures is kept from learning (0-1); labels with fewer
    than ``least`` are left out.
    """

    base: str | None = None
    scratch: str | None = None
    fine_tune: bool = False
    many: bool = False
    vary: Kind = "photo"
    share: float = 0.2
    least: int = 5
    seed: int = 0
    epochs: int | None = None
    patience: int | None = None
    rate: float | None = None
    batch: int | None = None
    half: Half = "auto"

    @property
    def kind(self) -> Activation:
        """How logits become confidences."""
        return "sigmoid" if self.many else "softmax"


@dataclass(frozen=True, slots=True)
class Course:
    """The network that learns, and the model whose weights it begins with, if any."""

    network: Architecture
    base: ModelSpec | None

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are shown to it."""
        return (self.base or self.network).preprocessing


@dataclass(frozen=True, slots=True)
class Equipment:
    """Where and with what: folders, the processes that load, the engine that finds features."""

    models_dir: Path
    cache_dir: Path
    threads: int
    engine: EngineName
    limits: Limits


@dataclass(frozen=True, slots=True)
class Order:
    """A model to be trained: its name, what from, and pictures to measure with in place of those kept from
    learning."""

    name: str
    given: Given
    manner: Manner
    equipment: Equipment
    test: Given | None = None
    vocabulary: str | None = None
    fresh: bool = False


class Watch(Protocol):
    """Told how far the work is."""

    def stage(self, words: str, total: int) -> None:
        """A step begins, of so many parts."""

    def advanced(self, done: int) -> None:
        """So many parts of the step are done."""

    def epoch(self, epoch: Epoch, most: int) -> None:
        """One more time through, of so many at most."""
