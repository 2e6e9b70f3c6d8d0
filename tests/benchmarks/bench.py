"""What each stage can do alone, and what the whole does with them: `make bench`.

Everything runs in one go on the same made photos (500 x 375 JPEGs, each with bytes of its own), so
that figures can be compared although the machine may be busy. The limit of the whole on shared
cores is 1 / (1 / loading + 1 / forward).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from tagger import models
from tagger.cli.tag import _cores
from tagger.engines import select_engine
from tagger.loading import PillowLoader
from tagger.settings import load_settings
from tagger.sources import Roots, read
from tagger.supervision import Loaders, Setup
from tagger.values import Batch, ImageRef, Limits, LoadedImage
from tests.memory import peak_memory
from tests.photos import distinct_jpegs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=_cores())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = distinct_jpegs(Path(folder) / "photos", options.images, (500, 375))
        first, again = whole(Path(folder), photos[0].parent, options.threads)
        loading = loading_rate(photos, options.threads)
        supervised = supervised_rate(photos, options.threads)
        forward = forward_rate(options.threads)
    limit = 1 / (1 / loading + 1 / forward)
    figures = {
        "images": options.images,
        "threads": options.threads,
        "loading alone, in threads, images/s": round(loading, 1),
        "loading alone, in supervised processes, images/s": round(supervised, 1),
        "forward alone, images/s": round(forward, 1),
        "limit of both on shared cores, images/s": round(limit, 1),
        "tagger tag, images/s (scan and start-up left out)": first["images_per_second"],
        "tagger tag, ratio to the limit": round(first["images_per_second"] / limit, 3),
        "tagger tag, whole process, s": round(first["wall"], 2),
        "second run over unchanged photos, whole process, s": round(again["wall"], 2),
        "peak memory of tagger tag, all processes together, MB": round(first["peak"] / 1e6),
    }
    print(json.dumps(figures, indent=2))


def loading_rate(photos: list[Path], threads: int) -> float:
    """Images a second from files to pixels, with all threads and nothing else."""
    roots = Roots().adding([photos[0].parent])
    loader = PillowLoader(models.get("efficientnet-lite0").preprocessing, Limits())

    def load(job: tuple[int, Path]) -> bool:
        file = read(ImageRef(job[0], roots.uri_of(job[1])), roots, Limits())
        return isinstance(loader.load(file), LoadedImage)  # type: ignore[arg-type]

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(load, enumerate(photos)))
    return len(photos) / (time.perf_counter() - began)


def supervised_rate(photos: list[Path], threads: int) -> float:
    """The same in processes of their own, as the product does it."""
    roots = Roots().adding([photos[0].parent])
    preprocessing = models.get("efficientnet-lite0").preprocessing

    def load(job: tuple[int, Path]) -> bool:
        ref = ImageRef(job[0], roots.uri_of(job[1]))
        return isinstance(loaders.load(ref, lambda digest: True), LoadedImage)

    with (
        Loaders(Setup(roots, Limits(), preprocessing), threads, lambda ref: None) as loaders,
        ThreadPoolExecutor(loaders.threads) as pool,
    ):
        assert all(pool.map(load, enumerate(photos[:100])))  # until all processes are up
        began = time.perf_counter()
        assert all(pool.map(load, enumerate(photos)))
        return len(photos) / (time.perf_counter() - began)


def forward_rate(threads: int, seconds: float = 8.0) -> float:
    """Images a second through the engine, fed with ready batches."""
    from tagger.models import networks  # torch: here, so that the child's peak is its own

    spec = models.get("efficientnet-lite0")
    with select_engine(
        "auto",
        network=lambda: networks.build(spec),
        preprocessing=spec.preprocessing,
        key=f"{spec.name}-{spec.weights.sha256[:16]}",
        cache_dir=load_settings().cache_dir,
        threads=threads,
        precision="auto",
    ) as engine:
        size, crop = engine.batch_sizes[-1], spec.preprocessing.crop
        pixels = np.random.default_rng(0).integers(0, 256, (size, crop, crop, 3), np.uint8)
        batch = Batch(tuple(range(size)), pixels)
        engine.submit(batch).result()
        done, began = 0, time.perf_counter()
        for futures in _in_flight(engine.submit(batch) for _ in iter(int, 1)):
            done += size
            futures.result()
            if time.perf_counter() - began > seconds:
                break
        return done / (time.perf_counter() - began)


def _in_flight(futures: Iterable, depth: int = 2) -> Iterator:  # type: ignore[type-arg]
    """Keep two batches in flight."""
    source = iter(futures)
    window = list(islice(source, depth))
    while True:
        yield window.pop(0)
        window.append(next(source))


def whole(folder: Path, photos: Path, threads: int) -> tuple[dict[str, float], dict[str, float]]:
    """The command, as a process of its own: once, and again over what is unchanged."""
    command = [sys.executable, "-m", "tagger", "tag", str(photos), "--json"]
    command += ["--db", str(folder / "bench.db"), "--threads", str(threads)]
    reports = []
    for _ in range(2):
        began = time.perf_counter()
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(command, stdout=out)
            peak = peak_memory(process, every=1.0)  # looking costs the cores something
            out.seek(0)
            report = json.load(out)
        assert process.returncode == 0
        reports.append(report | {"wall": time.perf_counter() - began, "peak": peak})
    return reports[0], reports[1]


if __name__ == "__main__":
    main()
