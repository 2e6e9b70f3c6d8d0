"""A network small enough to be converted and run in no time, and both engines of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import nn

from tagger.engines import Engine, select_engine
from tagger.engines.cuda import CudaEngine
from tagger.values import Batch, Preprocessing
from tests.photos import EXAMPLES
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here

SIDE = 8
CUDA_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PIXELS = Preprocessing(
    resize=10, crop=SIDE, interpolation="bilinear", mean=(127.0, 120.0, 110.0), std=(128.0, 60.0, 50.0)
)


class Tiny(nn.Module):
    """Two convolutions: pixels [B, 3, 8, 8] to five logits and four features."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 4, 3, stride=2)
        self.classes = nn.Linear(4, 5)
        for parameter in self.parameters():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.second(self.first(pixels).relu()).relu().mean(dim=(2, 3))
        return self.classes(features), features


def batch(rows: int, seed: int = 0) -> Batch:
    """Noise; its ids tell nothing of the order."""
    random = np.random.default_rng([seed, rows])
    pixels = random.integers(0, 256, (rows, SIDE, SIDE, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    return Batch(tuple(range(100 + rows, 100, -1)), pixels)


def by_hand(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits of :class:`Tiny` without any engine, one image at a time."""
    normalised = (pixels.astype(np.float32) - PIXELS.mean) / PIXELS.std
    rows = torch.from_numpy(normalised.astype(np.float32).transpose(0, 3, 1, 2))
    network = Tiny()
    with torch.inference_mode():
        logits: NDArray[np.float32] = torch.cat([network(row[None])[0] for row in rows]).numpy()
    return logits


OpenEngine = Callable[..., Engine]


@pytest.fixture(params=["openvino", "eager", "cuda"])
def open_engine(request: pytest.FixtureRequest, engine_cache: Path) -> Iterator[OpenEngine]:
    """Opens one engine of each kind on :class:`Tiny`, with any further arguments, and closes it.

    The one for CUDA runs on the CPU where there is no GPU: all of it but graphs and streams.
    """
    opened: list[Engine] = []

    def opening(**arguments: object) -> Engine:
        engine: Engine
        if request.param == "cuda":
            engine = CudaEngine(Tiny(), PIXELS, device=CUDA_DEVICE, **arguments)  # type: ignore[arg-type]
        else:
            engine = select_engine(request.param, Tiny, PIXELS, "tiny", engine_cache, **arguments)  # type: ignore[arg-type]
        opened.append(engine)
        return engine

    yield opening
    for engine in opened:
        engine.close()


def square_photos(side: int) -> NDArray[np.uint8]:
    """Four of the example photos: uint8 [4, side, side, 3]."""
    files = [path for path in sorted(EXAMPLES.rglob("*.jpg")) if "truncated" not in path.name][:4]
    assert len(files) == 4
    return np.stack([_square(file, side) for file in files])


def _square(file: Path, side: int) -> NDArray[np.uint8]:
    with Image.open(file) as photo:
        return np.asarray(ImageOps.fit(photo.convert("RGB"), (side, side)))
