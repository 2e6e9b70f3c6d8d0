"""The ranges that models need to be computed in int8, for the catalogue: ``make ranges``.

They are measured over photos made of the examples (see :mod:`tests.benchmarks.photos`), or those of a
folder, prepared as the product does it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagger import models
from tagger.engines import graph, openvino, quantise
from tagger.library.convert import key_of, network_of
from tagger.loading import PillowLoader
from tagger.models import ModelSpec
from tagger.settings import load_settings
from tests.benchmarks import photos
from tests.benchmarks.accuracy import loaded

BATCH = 10


def main() -> None:
    """Print each model's ranges, to be copied into the catalogue."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="default: photos made of the examples")
    place = Path(tempfile.gettempdir()) / "tagger-bench-photos"
    parser.add_argument("--photos", type=Path, default=place, help="where made photos are kept for next time")
    usual = [spec.name for spec in models.all_specs() if spec.ranges]
    parser.add_argument("--models", nargs="+", default=usual, help="default: those that have ranges")
    parser.add_argument("--number", type=int, default=1000)
    options = parser.parse_args()
    folder = options.folder or photos.made(options.photos, photos.SMALL, options.number)
    files = list(islice(photos.jpegs(folder), options.number))
    for spec in map(models.get, options.models):
        print(spec.name, tuple(round(each, 1) for each in _ranges(spec, files)))


def _ranges(spec: ModelSpec, files: list[Path]) -> tuple[float, ...]:
    runtime, cache = openvino.runtime(), load_settings().cache_dir
    model = graph.obtain(runtime, lambda: network_of(spec), spec.preprocessing, key_of(spec), cache)
    return quantise.measured(runtime, model, _batches(spec, files))


def _batches(spec: ModelSpec, files: list[Path]) -> Iterator[NDArray[np.uint8]]:
    loader = PillowLoader(spec.preprocessing)
    for first in range(0, len(files) - BATCH + 1, BATCH):
        some = files[first : first + BATCH]
        yield np.stack([loaded(loader, file.read_bytes()) for file in some])


if __name__ == "__main__":
    main()
