"""One contender, as a process: ``python -m tests.benchmarks.contenders NAME VARIANT PHOTOS --threads N``.

It goes over the photos again and again until it is ended, and keeps in the file ``--count`` how many it
has done (see :mod:`tests.benchmarks.counting`). ``timm`` without such a file goes over them once.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.counting import Count


def main() -> None:
    """Run what was named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RUN)
    parser.add_argument("variant", help="the loader, the configuration or the arithmetic; - for none")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    RUN[options.name](options)


def _public_threads(options: argparse.Namespace) -> None:
    """Public loading in threads of one process."""
    load, count = _public_loader(options.variant), Count(options.count)
    paths = itertools.cycle(_files(options))

    def work() -> None:
        load(next(paths))  # one step of the interpreter, so that the threads need no lock
        count.add()

    _in_threads(options.threads, work)


def _public_processes(options: argparse.Namespace) -> None:
    """Public loading in a process for each core, each with its share of the photos."""
    load, files = _public_loader(options.variant), _files(options)
    load(files[0])  # what it imports is there before the fork, and shared
    fork = multiprocessing.get_context("fork")
    started = [
        fork.Process(target=_load_for_ever, args=(load, files[slot :: options.threads], options.count, slot))
        for slot in range(options.threads)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()


def _load_for_ever(load: Callable[[Path], object], files: list[Path], place: Path, slot: int) -> None:
    count = Count(place, slot)
    for path in itertools.cycle(files):
        load(path)
        count.add()


def _public_loader(name: str) -> Callable[[Path], object]:
    from tests.benchmarks import public

    if "torch" in name:
        import torch

        torch.set_num_threads(1)  # a thread for each picture: there are many of them
    return {**public.loaders(), "Pillow whole": public.pillow_whole}[name]


def _public_forward(options: argparse.Namespace) -> None:
    from tests.benchmarks import public

    public.forward_for_ever(options.variant, options.cache, options.threads, Count(options.count))


def _our_loading(options: argparse.Namespace) -> None:
    """Reading and loading in supervised processes, as the product does it."""
    from tagger import models
    from tagger.sources import Roots
    from tagger.supervision import Loaders, Setup
    from tagger.values import ImageRef, Limits
    from tests.benchmarks.through import loaded

    roots = Roots().adding([options.photos])
    refs = [ImageRef(i, roots.uri_of(p), p.stat().st_size) for i, p in enumerate(_files(options))]
    setup = Setup(roots, Limits(), models.get("efficientnet-lite0").preprocessing)

    with Loaders(setup, options.threads, lambda ref: None) as loaders:
        count = Count(options.count)
        for _ in loaded(itertools.cycle(refs), loaders.room, loaders.submit):
            count.add()


def _our_forward(options: argparse.Namespace) -> None:
    """The product's engine, fed with ready batches, as many in flight as it likes."""
    import numpy as np

    from tagger import models
    from tagger.engines import select_engine
    from tagger.library.convert import key_of, network_of
    from tagger.values import Batch

    spec, count = models.get("efficientnet-lite0"), Count(options.count)
    with select_engine(
        "auto",
        network=lambda: network_of(spec),
        preprocessing=spec.preprocessing,
        key=key_of(spec),
        cache_dir=options.cache,
        threads=options.threads,
        ranges=spec.ranges,
    ) as engine:
        size, crop = engine.batch_sizes[-1], spec.preprocessing.crop
        pixels = np.random.default_rng(0).integers(0, 256, (size, crop, crop, 3), np.uint8)
        batch = Batch(tuple(range(size)), pixels)
        flying = [engine.submit(batch) for _ in range(engine.depth)]
        while True:
            flying.pop(0).result()
            flying.append(engine.submit(batch))
            count.add(size)


def _timm(options: argparse.Namespace) -> None:
    from tests.benchmarks import reference

    done = Count(options.count).add if options.count else lambda images: None
    reference.classify(
        options.photos, options.variant, options.threads, done, for_ever=options.count is not None
    )


def _files(options: argparse.Namespace) -> list[Path]:
    return sorted(options.photos.iterdir())


def _in_threads(threads: int, work: Callable[[], object]) -> None:
    def for_ever() -> None:
        while True:
            work()

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(for_ever) for _ in range(threads)]:
            future.result()


RUN = {
    "public-threads": _public_threads,
    "public-processes": _public_processes,
    "public-forward": _public_forward,
    "our-loading": _our_loading,
    "our-forward": _our_forward,
    "timm": _timm,
}

if __name__ == "__main__":
    main()
