"""What `tagger train` learns, and in what time: `make bench-training DATA=folder`.

Three tasks, each by three seeds, by the command as people run it, and measured on pictures that nothing was
learned from:

- *transfer*: a new last layer for ``DATA/caltech-sample`` (a folder of 50 photos for each of ten labels), 25
  photos a label to learn from, drawn by the seed;
- *CIFAR-10*: the small network from its beginning on ``DATA/cifar10-sample/train`` (1,000 of each label),
  measured on ``test``;
- *digits*: LeNet from its beginning on four in five of scikit-learn's 1,797 handwritten digits, 8 x 8 pixels.

What ``DATA`` does not hold is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Task:
    """What is learned from and measured with, how, and what should be named right at least (0-1)."""

    name: str
    learn: Path
    test: Path
    options: tuple[str, ...]
    at_least: float
    seed: int


def main() -> None:
    """Print a row for each task and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", default=Path())
    parser.add_argument("--only", choices=("transfer", "CIFAR-10", "digits"))
    options = parser.parse_args()
    columns = ("task", "seed", "learned from", "right", "wanted", "off by, before", "after", "seconds")
    table = Table(*columns)
    with tempfile.TemporaryDirectory() as folder:
        for task in _tasks(options.data, Path(folder)):
            if options.only in (None, task.name):
                table.add_row(*_row(task, _trained(task, Path(folder))))
    Console().print(table)


def _tasks(data: Path, folder: Path) -> Iterator[Task]:
    for seed in SEEDS:
        if (photos := data / "caltech-sample").is_dir():
            learn, test = _drawn(photos, folder / f"caltech-{seed}", seed, 25)
            yield Task("transfer", learn, test, (), 0.98, seed)
    for seed in SEEDS:
        learn, test = _digits(folder / f"digits-{seed}", seed)
        yield Task("digits", learn, test, ("--scratch", "lenet", "--vary", "text"), 0.97, seed)
    for seed in SEEDS:
        if (photos := data / "cifar10-sample").is_dir():
            yield Task(
                "CIFAR-10", photos / "train", photos / "test", ("--scratch", "cifar10-cnn"), 0.66, seed
            )


def _drawn(photos: Path, folder: Path, seed: int, number: int) -> tuple[Path, Path]:
    """``number`` photos of each label to learn from, the others to measure with."""
    chance = random.Random(seed)
    for label in sorted(photos.iterdir()):
        some = sorted(label.iterdir())
        chance.shuffle(some)
        for part, chosen in (("learn", some[:number]), ("test", some[number:])):
            place = folder / part / label.name
            place.mkdir(parents=True)
            for photo in chosen:
                shutil.copy(photo, place)
    return folder / "learn", folder / "test"


def _digits(folder: Path, seed: int) -> tuple[Path, Path]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for position, row in enumerate(np.random.default_rng(seed).permutation(len(labels))):
        part = "learn" if position < 0.8 * len(labels) else "test"
        place = folder / part / str(labels[row])
        place.mkdir(parents=True, exist_ok=True)
        pixels = (images[row].reshape(8, 8) * 255 / 16).round().astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{row}.png")
    return folder / "learn", folder / "test"


def _trained(task: Task, folder: Path) -> dict[str, Any]:
    env = os.environ | {"TAGGER_DATA_DIR": str(folder / "data")}
    name = f"{task.name}-{task.seed}"
    command = [sys.executable, "-m", "tagger", "train", str(task.learn), "--test", str(task.test)]
    command += ["--name", name, "--seed", str(task.seed), "--json", *task.options]
    print(" ".join(command[1:]), file=sys.stderr)
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _row(task: Task, found: dict[str, Any]) -> tuple[str, ...]:
    right, off = found["right"], found["calibration"]
    return (
        task.name,
        str(task.seed),
        f"{found['learned']:,}",
        f"{right['value']:.4f} of {right['of']:,}",
        f"{task.at_least}",
        f"{off['before']['error']:.4f}",
        f"{off['after']['error']:.4f}",
        f"{found['seconds']:.0f}",
    )


if __name__ == "__main__":
    main()
