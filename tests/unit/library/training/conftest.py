"""Drawn shapes to learn, and a training that needs no network but LeNet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tagger import models
from tagger.library.training import examples
from tagger.library.training.order import Equipment, Manner, Order
from tagger.library.training.train import Trained, train
from tagger.sources import Roots
from tagger.store.session import Database
from tagger.training.fitting import Epoch
from tagger.values import Limits
from tests.torch_threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Models that a test has made known are not there for the next."""
    yield
    models.adopt([])


def draw(path: Path, shape: str, seed: int) -> Path:
    """A bright shape on a dark ground, at a place and of a size of its own."""
    chance = random.Random(f"{shape}{seed}")
    picture = Image.new("RGB", (64, 64), tuple(chance.randrange(60) for _ in range(3)))
    size, left, top = chance.randrange(24, 34), chance.randrange(4, 26), chance.randrange(4, 26)
    box = (left, top, left + size, top + size)
    pen, colour = ImageDraw.Draw(picture), tuple(chance.randrange(150, 256) for _ in range(3))
    if shape == "disc":
        pen.ellipse(box, fill=colour)
    elif shape == "bar":
        pen.rectangle((left, top + size // 2 - 4, left + size, top + size // 2 + 4), fill=colour)
    else:
        pen.rectangle(box, fill=colour)
        pen.rectangle((left + 7, top + 7, left + size - 7, top + size - 7), fill=(0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


SHAPES = ("bar", "disc", "frame")


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder with twenty pictures of each of three shapes."""
    for shape in SHAPES:
        for seed in range(20):
            draw(tmp_path / "shapes" / shape / f"{seed}.png", shape, seed)
    return tmp_path / "shapes"


@dataclass
class Watched:
    """What was told; ``cut_at`` names an epoch after which the work is cut off."""

    cut_at: int | None = None
    stages: list[tuple[str, int]] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def stage(self, words: str, total: int) -> None:
        self.stages.append((words, total))

    def advanced(self, done: int) -> None:
        assert 0 < done <= self.stages[-1][1]

    def epoch(self, epoch: Epoch, most: int) -> None:
        self.epochs.append(epoch)
        if self.cut_at is not None and epoch.number > self.cut_at:
            raise KeyboardInterrupt


Run = Callable[..., Trained]
LENET = Manner(scratch="lenet", vary="text", epochs=12, patience=12)


@pytest.fixture
def run(sqlite: Database, tmp_path: Path, shapes: Path) -> Run:
    """Train on a folder or table (the shapes, if none is given), LeNet if nothing else is said."""

    def call(
        source: Path = shapes,
        watch: Watched | None = None,
        test: Path | None = None,
        name: str = "mine",
        vocabulary: str | None = None,
        manner: Manner = LENET,
        **changes: object,
    ) -> Trained:
        order = Order(
            name,
            examples.from_path(source, Roots()),
            replace(manner, **changes),  # type: ignore[arg-type]
            Equipment(tmp_path / "models", tmp_path / "cache", 1, "eager", Limits()),
            examples.from_path(test, Roots()) if test else None,
            vocabulary,
        )
        return train(sqlite, order, watch or Watched())

    return call
