"""What a GPU makes of it: decoding, forward passes, the whole, and what holds it back. `make bench-cuda`.

One command, some minutes; JSON at the end and a line for each figure as it comes. With `--device cpu
--images 64` the same runs without a GPU, to show that it works: its figures say nothing then.
ResNet-50 and ConvNeXt-Tiny have random weights, since only their speed is asked for; they are left
out where torchvision is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tagger import models, pipeline
from tagger.engines import Engine, Prediction
from tagger.engines.cuda import CudaEngine
from tagger.loading import PillowLoader, handed_over
from tagger.loading.device import DeviceDecoder, torchcodec_on
from tagger.metering import Silent, Stage
from tagger.models import networks
from tagger.sources import Roots
from tagger.supervision import DeviceLoaders, Loaders, Setup
from tagger.values import (
    Batch,
    EncodedImage,
    FileContent,
    ImageRef,
    Limits,
    Precision,
)
from tests.benchmarks.through import loaded
from tests.photos import distinct_jpegs

PREPROCESSING = models.get("efficientnet-lite0").preprocessing
PIXELS = 200_000_000
SIZES = {"500 x 375": (500, 375), "4000 x 3000": (4000, 3000)}


@dataclass(frozen=True)
class Options:
    """What is measured, and on what."""

    device: str
    images: int
    seconds: float
    batch_sizes: tuple[int, ...]
    precisions: tuple[Precision, ...]
    cores: int

    @property
    def is_cuda(self) -> bool:
        return self.device == "cuda"


def main() -> None:
    """Measure and print."""
    options = _options()
    figures: dict[str, Any] = {"machine": machine(options)}
    _tell(figures["machine"])
    with tempfile.TemporaryDirectory() as folder:
        figures["decoding, images/s"] = decoding(Path(folder), options)
        figures["forward, images/s"] = forward(options)
        photos = distinct_jpegs(Path(folder) / "whole", options.images, SIZES["500 x 375"])
        figures["whole"] = whole(Path(folder), photos, options)
    print(json.dumps(figures, indent=2))


def machine(options: Options) -> dict[str, Any]:
    """What the figures hold for."""
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "torchcodec": version("torchcodec"),
        "processor": platform.processor() or platform.machine(),
        "cores": options.cores,
        "device": "CPU: nothing here speaks of a GPU",
    }
    if options.is_cuda:
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "device": properties.name,
            "compute capability": f"{properties.major}.{properties.minor}",
            "memory, GB": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
        }
    return facts


# -- decoding ---------------------------------------------------------------------------------


def decoding(folder: Path, options: Options) -> dict[str, Any]:
    """By kind of JPEG: Pillow in one thread, TorchCodec alone, and TorchCodec with resampling."""
    figures: dict[str, Any] = {}
    for name, size in SIZES.items():
        for kind, progressive in (("baseline", False), ("progressive", True)):
            files = _files(folder / f"{size[0]}-{kind}", size, progressive, options)
            figures[f"{name}, {kind}"] = found = _decoding_rates(files, options)
            _tell({f"{name}, {kind}": found})
    return figures


def _decoding_rates(files: Sequence[FileContent], options: Options) -> dict[str, Any]:
    loader = PillowLoader(PREPROCESSING)
    given = [handed_over(file, Limits(), PIXELS) for file in files]
    images = [image for image in given if image is not None]
    assert len(images) == len(files)
    few = files[: max(2, len(files) // 8)]
    found: dict[str, Any] = {
        "Pillow, one thread": _rate(len(few), options.seconds, lambda: [loader.load(file) for file in few]),
        "judging and handing over, one thread": _rate(
            len(few), options.seconds, lambda: [handed_over(file, Limits(), PIXELS) for file in few]
        ),
    }
    largest = max(1, min(64, PIXELS // images[0].pixels, len(images)))
    for group in sorted({1, min(8, largest), largest}):
        found[f"decoded, groups of {group}"] = _group_rate(images, group, options, resampled=False)
        found[f"decoded and made small, groups of {group}"] = _group_rate(images, group, options)
    for threads in (2, 4) if options.is_cuda else (2,):
        name = f"decoded and made small, groups of {largest}, {threads} threads"
        found[name] = _group_rate(images, largest, options, threads=threads)
    if options.is_cuda:
        found["most memory, MB"] = round(torch.cuda.max_memory_reserved() / 1e6)
    return found


def _group_rate(
    images: Sequence[EncodedImage], group: int, options: Options, *, resampled: bool = True, threads: int = 1
) -> float:
    """Images a second of ``threads`` threads, each with a decoder and a stream of its own."""
    _forget_peak(options)
    groups = [images[start : start + group] for start in range(0, len(images) - group + 1, group)]
    works = [_decoding_work(options, resampled=resampled) for _ in range(threads)]

    def one(work: Callable[[Sequence[EncodedImage]], object]) -> None:
        for some in groups:
            work(some)

    with ThreadPoolExecutor(threads) as pool:
        done = threads * len(groups) * group
        return _rate(done, options.seconds, lambda: list(pool.map(one, works)))


def _decoding_work(options: Options, *, resampled: bool) -> Callable[[Sequence[EncodedImage]], object]:
    if resampled:
        decoder = DeviceDecoder(PREPROCESSING, options.device)

        def small(images: Sequence[EncodedImage]) -> None:
            assert all(pixels is not None for pixels in decoder.decode(images))

        return small
    decode = torchcodec_on(torch.device(options.device))
    return lambda images: decode([image.data for image in images])


def _files(folder: Path, size: tuple[int, int], progressive: bool, options: Options) -> list[FileContent]:
    from PIL import Image

    small, large = (256, 32) if options.is_cuda else (16, 2)
    number = min(options.images, small if size[0] < 1000 else large)
    paths = distinct_jpegs(folder, number, size)
    if progressive:
        for path in paths:
            with Image.open(path) as image:
                image.save(path, quality=88, progressive=True)
    data = [path.read_bytes() for path in paths]
    return [
        FileContent(index, "file:///x.jpg", each, sha256(each).digest()) for index, each in enumerate(data)
    ]


# -- forward passes ---------------------------------------------------------------------------


class _Headed(nn.Module):
    """A network of torchvision's as the engines want it: logits and what comes before them."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.body(pixels)
        return self.head(features), features


class _NoGraphs(CudaEngine):
    """Kernel by kernel, to see what graphs are worth."""

    def _captured(self, size: int, side: int, pool: Any) -> Any:
        raise RuntimeError("left out on purpose")


def _lite0() -> nn.Module:
    return networks.build(models.get("efficientnet-lite0"))


def _resnet50() -> nn.Module:
    from torchvision.models import resnet50

    body = resnet50()
    head, body.fc = body.fc, nn.Identity()
    return _Headed(body, head)


def _convnext_tiny() -> nn.Module:
    from torchvision.models import convnext_tiny

    body = convnext_tiny()
    head, body.classifier[2] = body.classifier[2], nn.Identity()
    return _Headed(body, head)


def forward(options: Options) -> dict[str, Any]:
    """By network, precision and batch size: from the CPU's memory, and from the device's."""
    builders = {"EfficientNet-Lite0": _lite0}
    if find_spec("torchvision") is not None:
        builders |= {"ResNet-50": _resnet50, "ConvNeXt-Tiny": _convnext_tiny}
    figures: dict[str, Any] = {}
    for name, build in builders.items():
        for precision in options.precisions:
            for size in options.batch_sizes:
                key = f"{name}, {precision}, batches of {size}"
                figures[key] = found = _forward_rates(build, precision, size, options)
                _tell({key: found})
    return figures


def _forward_rates(
    build: Callable[[], nn.Module], precision: Precision, size: int, options: Options
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kinds: dict[str, type[CudaEngine]] = {"": CudaEngine}
    if options.is_cuda:
        kinds["without graphs, "] = _NoGraphs
    for kind, make in kinds.items():
        _forget_peak(options)
        began = time.perf_counter()
        with make(
            build(), PREPROCESSING, device=options.device, precision=precision, batch_size=size
        ) as engine:
            found[f"{kind}start, s"] = round(time.perf_counter() - began, 2)
            found[f"{kind}pixels from the CPU"] = _engine_rate(engine, size, options, on_device=False)
            found[f"{kind}pixels on the device"] = _engine_rate(engine, size, options, on_device=True)
        if options.is_cuda:
            found[f"{kind}most memory, MB"] = round(torch.cuda.max_memory_reserved() / 1e6)
    return found


def _engine_rate(engine: Engine, size: int, options: Options, *, on_device: bool) -> float:
    """Images a second with as many batches in flight as the engine wants."""
    crop = PREPROCESSING.crop
    pixels = np.random.default_rng(0).integers(0, 256, (size, crop, crop, 3), np.uint8)
    batch = Batch(tuple(range(size)), pixels)
    if on_device:
        rows = tuple(torch.from_numpy(pixels).to(options.device))
        batch = Batch(batch.ids, np.empty((0, crop, crop, 3), np.uint8), rows)
    flying: deque[Future[Prediction]] = deque()

    def some() -> None:
        for _ in range(engine.depth):
            flying.append(engine.submit(batch))
            if len(flying) > engine.depth:
                flying.popleft().result()

    found = _rate(engine.depth * size, options.seconds, some)
    for future in flying:
        future.result()
    return found


# -- the whole --------------------------------------------------------------------------------


@dataclass
class _Sums(Silent):
    """Seconds by stage, and how full the batches were."""

    seconds: Counter[Stage] = field(default_factory=Counter)
    images: Counter[Stage] = field(default_factory=Counter)
    batches: list[tuple[int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        with self.lock:
            self.seconds[stage] += seconds  # type: ignore[assignment]
            self.images[stage] += images

    def batch(self, images: int, size: int) -> None:
        self.batches.append((images, size))


def whole(folder: Path, photos: Sequence[Path], options: Options) -> dict[str, Any]:
    """The pipeline without a database, its parts alone, and the command; with either decoding."""
    figures: dict[str, Any] = {}
    largest = None if options.is_cuda else options.batch_sizes[-1]
    with CudaEngine(
        _lite0(), PREPROCESSING, device=options.device, precision=_best(options), batch_size=largest
    ) as engine:
        for decoding_ in ("cpu", "device"):
            figures[f"pipeline, decoding: {decoding_}"] = found = _pipeline(
                photos, engine, decoding_, options
            )
            _tell({f"pipeline, decoding: {decoding_}": found})
        parts = {
            "reading and handing over, all processes": _handing_over_rate(photos, options),
            "forward, largest batch": _engine_rate(engine, engine.batch_sizes[-1], options, on_device=True),
        }
    figures["parts alone, images/s"] = parts
    figures["what holds it back"] = _verdict(figures["pipeline, decoding: device"], parts)
    for decoding_ in ("cpu", "device"):
        figures[f"tagger tag, decoding: {decoding_}"] = found = _command(folder, photos, decoding_, options)
        _tell({f"tagger tag, decoding: {decoding_}": found})
    return figures


def _best(options: Options) -> Precision:
    return "f16" if options.is_cuda else "f32"


def _pipeline(photos: Sequence[Path], engine: CudaEngine, decoding_: str, options: Options) -> dict[str, Any]:
    _forget_peak(options)
    sums, roots = _Sums(), Roots().adding([photos[0].parent])
    refs = [
        ImageRef(number, roots.uri_of(photo), photo.stat().st_size) for number, photo in enumerate(photos)
    ]
    with Loaders(Setup(roots, Limits(), PREPROCESSING), options.cores, _ignore, meter=sums) as loaders:
        decoders = [DeviceDecoder(PREPROCESSING, options.device) for _ in range(2)]
        with DeviceLoaders(loaders, decoders, PIXELS, meter=sums) as device:
            loading = device if decoding_ == "device" else loaders
            stages = pipeline.Stages(loading, engine, "softmax", 1.0, _no_tags, _no_tags, _none_known, sums)
            _drain(pipeline.run(refs[: max(1, len(refs) // 8)], stages))  # until all processes are up
            sums.seconds.clear(), sums.images.clear(), sums.batches.clear()
            began, worked = time.perf_counter(), time.process_time()
            assert _drain(pipeline.run(refs, stages)) == len(refs)
            seconds, worked = time.perf_counter() - began, time.process_time() - worked
    return {
        "images/s": round(len(refs) / seconds, 1),
        "processor time of this process, ms an image": round(1000 * worked / len(refs), 3),
        "an image at a stage, ms": {
            stage.value: round(1000 * sums.seconds[stage] / sums.images[stage], 2) for stage in sums.images
        },
        "batches filled": round(sum(n for n, _ in sums.batches) / sum(size for _, size in sums.batches), 3),
        "most memory, MB": round(torch.cuda.max_memory_reserved() / 1e6) if options.is_cuda else None,
    }


def _handing_over_rate(photos: Sequence[Path], options: Options) -> float:
    """What the loading processes can feed to a device that is never busy."""
    roots = Roots().adding([photos[0].parent])
    refs = [
        ImageRef(number, roots.uri_of(photo), photo.stat().st_size) for number, photo in enumerate(photos)
    ]
    with Loaders(Setup(roots, Limits(), PREPROCESSING), options.cores, _ignore) as loaders:
        submit = partial(loaders.submit, device_pixels=PIXELS)

        def hand_over(some: Sequence[ImageRef]) -> bool:
            return all(isinstance(each, EncodedImage) for each in loaded(iter(some), loaders.room, submit))

        assert hand_over(refs[: options.cores * 4])
        return _rate(len(refs), options.seconds, lambda: hand_over(refs))


def _verdict(run: dict[str, Any], parts: dict[str, float]) -> str:
    """The part whose own limit is the nearest."""
    python = 1000 / run["processor time of this process, ms an image"]
    limits = parts | {"this process's own work on one core": python}
    slowest = min(limits, key=limits.__getitem__)
    return f"{slowest}: {limits[slowest]:.0f} images/s at most; the pipeline came to {run['images/s']}"


def _command(folder: Path, photos: Sequence[Path], decoding_: str, options: Options) -> dict[str, Any]:
    """The command itself, database and all; on the CPU with the engine eager."""
    command = [sys.executable, "-m", "tagger", "tag", str(photos[0].parent), "--json"]
    command += ["--db", str(folder / f"{decoding_}.db")]
    engine = "cuda" if options.is_cuda else "eager"
    env = os.environ | {"TAGGER_DECODING": decoding_, "TAGGER_ENGINE": engine}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tagged"] == len(photos)
    return {"engine": report["engine"], "images/s, scan and start-up left out": report["images_per_second"]}


# -- what all of it needs ---------------------------------------------------------------------


def _rate(images: int, seconds: float, work: Callable[[], object]) -> float:
    """Images a second, of ``work`` done once to warm up and then over and over for some seconds."""
    work()
    done, began = 0, time.perf_counter()
    while not done or time.perf_counter() - began < seconds:
        work()
        done += images
    return round(done / (time.perf_counter() - began), 1)


def _drain(results: Iterator[Sequence[object]]) -> int:
    return sum(len(some) for some in results)


def _none_known(digests: Sequence[bytes]) -> list[None]:
    return [None] * len(digests)


def _no_tags(scores: Any) -> list[tuple[()]]:
    return [() for _ in scores.ids]


def _ignore(ref: ImageRef) -> None:
    pass


def _forget_peak(options: Options) -> None:
    if options.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _tell(found: dict[str, Any]) -> None:
    """Progress, for a person; the whole comes on standard output at the end."""
    print(json.dumps(found), file=sys.stderr, flush=True)


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--images", type=int, default=20_000, help="for the whole")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each figure")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256])
    parser.add_argument("--precisions", nargs="+", choices=("f32", "bf16", "f16"), default=None)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU (`tagger doctor` says why). --device cpu shows that this works.")
    if given.device == "cpu":  # a smoke test
        given.batch_sizes, given.seconds = [4], 0.0
        torch.set_num_threads(1)  # they wait for each other by spinning
    precisions = given.precisions or (["f16", "bf16"] if given.device == "cuda" else ["f32"])
    return Options(
        given.device, given.images, given.seconds, tuple(given.batch_sizes), tuple(precisions), given.cores
    )


if __name__ == "__main__":
    main()
