"""Photos to measure with: made from the example photos, each with pixels of its own, kept for the next run.

A photo is a random crop of an example (seeded by its number, so that every machine makes the same),
some mirrored, a little brighter or darker, resized and saved as cameras and web sites do: JPEG of
quality 88 to 92, colours at half resolution (4:2:0). The large ones are enlarged from the same crops and
get some grain, without which they would be a tenth as many bytes as a camera writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageOps

from tests.photos import EXAMPLES

_VERSION = 1
"""Raised when other photos are made from the same numbers."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Photos of one size in pixels; ``grain`` is the noise added, as a standard deviation of 0-255."""

    name: str
    size: tuple[int, int]
    grain: float


SMALL = Kind("small", (500, 375), 0.0)
LARGE = Kind("large", (4000, 3000), 5.0)


def made(cache_folder: Path, kind: Kind, number: int) -> Path:
    """A folder of ``number`` photos; those that an earlier run made are kept."""
    folder = cache_folder / f"{kind.name}-{number}-v{_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    lacking = [index for index in range(number) if not _path(folder, index).exists()]
    if lacking:
        with ProcessPoolExecutor() as pool:
            list(pool.map(partial(_make, folder, kind), lacking, chunksize=8))
    return folder


def linked(folder: Path, photos: Iterable[Path]) -> Path:
    """A folder with the same files under it, named by number: the place takes no more room if it can."""
    folder.mkdir(parents=True)
    for index, photo in enumerate(photos):
        target = _path(folder, index)
        try:
            os.link(photo, target)
        except OSError:  # another disk
            target.write_bytes(photo.read_bytes())
    return folder


def jpegs(folder: Path) -> list[Path]:
    """All JPEGs in RGB under a folder, in order: what every contender can load."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    return sorted(path for path in found if _is_plain(path))


def _is_plain(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.format in ("JPEG", "MPO") and image.mode == "RGB"
    except OSError:
        return False


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.jpg"


def _make(folder: Path, kind: Kind, index: int) -> None:
    random = np.random.default_rng([_VERSION, index])
    picture = _varied(_sources()[index % len(_sources())], kind.size, random)
    if kind.grain:
        picture = _grainy(picture, kind.grain, random)
    unfinished = folder / f".{index}.part"
    picture.save(unfinished, "JPEG", quality=int(random.integers(88, 93)), subsampling="4:2:0")
    unfinished.rename(_path(folder, index))


def _varied(source: Image.Image, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Half of the picture's width or more, of the shape wanted."""
    widest = min(source.width, source.height * size[0] / size[1])
    width = widest * random.uniform(0.5, 1.0)
    height = width * size[1] / size[0]
    left, top = random.uniform(0, source.width - width), random.uniform(0, source.height - height)
    picture = source.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    factor = random.uniform(0.85, 1.1)
    return picture.point([min(255, round(factor * level)) for level in range(256)] * 3)


def _grainy(picture: Image.Image, grain: float, random: np.random.Generator) -> Image.Image:
    """The same noise in all three colours, laid in turned tiles of 1,000 pixels."""
    noise = np.clip(random.normal(128, grain, (1000, 1000)), 0, 255).astype(np.uint8)
    layer = Image.new("L", picture.size)
    for index, left in enumerate(range(0, picture.width, 1000)):
        for top in range(0, picture.height, 1000):
            layer.paste(Image.fromarray(np.rot90(noise, index + top // 1000)), (left, top))
    return ImageChops.add(picture, Image.merge("RGB", [layer] * 3), offset=-128)


@cache
def _sources() -> list[Image.Image]:
    """The example photos that are large enough and whole."""
    found = []
    for path in sorted(EXAMPLES.glob("*.jpg")):
        with Image.open(path) as image:
            if "truncated" not in path.name and min(image.size) >= 375 and image.mode == "RGB":
                found.append(image.convert("RGB"))
    return found
