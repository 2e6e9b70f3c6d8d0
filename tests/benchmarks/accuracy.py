"""Does the fast way cost accuracy? `make bench-accuracy PHOTOS=folder`, with a folder for each class in it.

Classes are named by their WordNet ids (``n02084071``), as in ImageNet's validation set. Each photo is
prepared in two ways: exactly (Pillow decodes all pixels, resizes them by its own kernel, and the middle is
cut out; colour profiles are passed over), and by the product's loader. Both are classified in f32 by
PyTorch, and the second by the product's engine in its own arithmetic. With ``--enlarge PIXELS`` photos are
first stored anew with so many on their shorter side, so that JPEGs are scaled while they are decoded.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from tagger import models
from tagger.engines import Engine, select_engine
from tagger.library.convert import key_of, network_of
from tagger.loading import PillowLoader
from tagger.models import ModelSpec
from tagger.settings import load_settings
from tagger.taxonomy import load_taxonomy
from tagger.values import Batch, EngineName, FileContent, LoadedImage, Preprocessing

BATCH = 4
Pixels = NDArray[np.uint8]


def main() -> None:
    """Print top-1 of each way, and how often two differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--enlarge", type=int, metavar="PIXELS")
    options = parser.parse_args()
    spec = models.get(options.model)
    photos, labels = labelled(options.folder)
    if not photos:
        parser.error(f"{options.folder} has no folders named by the WordNet ids of ImageNet's classes")
    loader = PillowLoader(spec.preprocessing)

    def files() -> Iterator[bytes]:
        return (_stored(path, options.enlarge) for path in photos)

    exact = classified((_exactly(file, spec.preprocessing) for file in files()), "eager", spec)
    by_loader = classified((loaded(loader, file) for file in files()), "eager", spec)
    whole = classified((loaded(loader, file) for file in files()), "auto", spec)
    _show(labels, {"exact, f32": exact, "the product's loader, f32": by_loader, "the product": whole})


def labelled(folder: Path) -> tuple[list[Path], NDArray[np.intp]]:
    """The photos in folders named by WordNet ids, and the class of each."""
    keys = {label.key: index for index, label in enumerate(load_taxonomy().labels)}
    photos = [path for path in sorted(folder.glob("*/*")) if path.parent.name in keys]
    return photos, np.array([keys[path.parent.name] for path in photos], np.intp)


def _stored(path: Path, side: int | None) -> bytes:
    """The file, or a JPEG of it with ``side`` pixels on the shorter side."""
    if side is None:
        return path.read_bytes()
    with Image.open(path) as image:
        scale = side / min(image.size)
        size = round(image.width * scale), round(image.height * scale)
        file = BytesIO()
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=92)
    return file.getvalue()


def _exactly(file: bytes, preprocessing: Preprocessing) -> Pixels:
    with Image.open(BytesIO(file)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    scale, crop = preprocessing.resize / min(upright.size), preprocessing.crop
    size = round(upright.width * scale), round(upright.height * scale)
    resized = upright.resize(size, Image.Resampling[preprocessing.interpolation.upper()])
    left, top = (size[0] - crop) // 2, (size[1] - crop) // 2
    return np.asarray(resized.crop((left, top, left + crop, top + crop)))


def loaded(loader: PillowLoader, file: bytes) -> Pixels:
    """Pixels as the product's loader makes them of a file that is well: uint8 [S, S, 3]."""
    image = loader.load(FileContent(0, "file:///photo", file, hashlib.sha256(file).digest()))
    assert isinstance(image, LoadedImage) and isinstance(image.pixels, np.ndarray), image
    return image.pixels


def classified(pictures: Iterable[Pixels], engine: EngineName, spec: ModelSpec) -> NDArray[np.float32]:
    """Logits of each picture, float32 [N, C]."""
    settings = load_settings()
    with select_engine(
        engine,
        network=lambda: network_of(spec),
        preprocessing=spec.preprocessing,
        key=key_of(spec),
        cache_dir=settings.cache_dir,
        threads=settings.cores,
        precision=settings.precision,
        ranges=spec.ranges,
    ) as running:
        return np.concatenate(list(_logits(iter(pictures), running)))


def _logits(pictures: Iterator[Pixels], engine: Engine) -> Iterator[NDArray[np.float32]]:
    while some := list(islice(pictures, min(BATCH, engine.batch_sizes[-1]))):
        yield engine.submit(Batch(tuple(range(len(some))), np.stack(some))).result().logits


def _show(labels: NDArray[np.intp], ways: dict[str, NDArray[np.float32]]) -> None:
    table = Table(
        "way", "top-1, %", "log-loss", "other class than exact, photos", title=f"{len(labels)} photos"
    )
    first: Sequence[int] = next(iter(ways.values())).argmax(axis=1).tolist()
    for name, logits in ways.items():
        found = logits.argmax(axis=1)
        table.add_row(
            name,
            f"{100 * (found == labels).mean():.2f}",
            f"{_log_loss(logits, labels):.4f}",
            str(int((found != np.array(first)).sum())),
        )
    Console().print(table)


def _log_loss(logits: NDArray[np.float32], labels: NDArray[np.intp]) -> float:
    scaled = logits.astype(np.float64)
    scaled -= scaled.max(axis=1, keepdims=True)
    of_label = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
    return float(-of_label.mean())


if __name__ == "__main__":
    main()
