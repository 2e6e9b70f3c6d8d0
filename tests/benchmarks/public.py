"""Loading and forward pass with public libraries alone, as a thoughtful user would write them.

Loading: the file's bytes, decoded, the part that the centre crop shows resized to 224 pixels by a bicubic
kernel with antialiasing. Large JPEGs are scaled while they are decoded where the library can, so that the
kernel still has at least twice the pixels that it makes. Nothing is hashed, checked, turned or handed over.

Forward: the same network and weights as the product's, uint8 pixels in, in OpenVINO's asynchronous queue
or in PyTorch; in the arithmetic that each takes by itself. What the product makes of the network for int8
is put into OpenVINO's queue too, and told apart: nobody else would find it there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tagger import models
from tagger.engines import graph, openvino
from tagger.engines.processor import instructions
from tagger.library.convert import key_of, network_of
from tagger.models import ModelSpec
from tests.benchmarks.counting import Count

RESIZE, CROP = 256, 224
_ENOUGH = 2 * RESIZE
"""Pixels of the shorter side that a scaled decode must leave to the kernel."""

Load = Callable[[Path], Any]
"""From a file to uint8 pixels [224, 224, 3], or [3, 224, 224]; in one thread."""


def loaders() -> Mapping[str, Load]:
    """All whose libraries are installed."""
    needs = {
        "Pillow draft": (_pillow, "PIL"),
        "Pillow draft + cykooz.resizer": (_pillow_cykooz, "cykooz_resizer"),
        "simplejpeg + torch": (_simplejpeg_torch, "simplejpeg"),
        "simplejpeg + cykooz.resizer": (_simplejpeg_cykooz, "cykooz_resizer"),
        "torchcodec + torch": (_torchcodec_torch, "torchcodec"),
    }
    return {name: load for name, (load, library) in needs.items() if find_spec(library)}


def pillow_whole(path: Path) -> Any:
    """The way of torchvision's and timm's transforms: all pixels decoded, all of them resized."""
    from PIL import Image

    with Image.open(path) as image:
        whole = image.convert("RGB")
    scale = RESIZE / min(whole.size)
    width, height = (round(scale * side) for side in whole.size)
    resized = whole.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - CROP) // 2, (height - CROP) // 2
    return np.asarray(resized.crop((left, top, left + CROP, top + CROP)))


def _pillow(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        image.draft("RGB", (_ENOUGH, _ENOUGH))
        return np.asarray(image.resize((CROP, CROP), Image.Resampling.BICUBIC, box=_shown(*image.size)))


def _pillow_cykooz(path: Path) -> Any:
    from cykooz_resizer import CropBox, FilterType, ResizeAlg, ResizeOptions
    from PIL import Image

    with Image.open(path) as image:
        image.draft("RGB", (_ENOUGH, _ENOUGH))
        image.load()
        left, top, right, bottom = _shown(*image.size)
        box = CropBox(left, top, right - left, bottom - top)
        small = Image.new("RGB", (CROP, CROP))
        options = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), crop_box=box)
        _resizer().resize_pil(image, small, options)
    return np.asarray(small)


def _simplejpeg_cykooz(path: Path) -> Any:
    import simplejpeg
    from cykooz_resizer import (
        CropBox,
        FilterType,
        ImageData,
        PixelType,
        ResizeAlg,
        ResizeOptions,
    )

    pixels = simplejpeg.decode_jpeg(path.read_bytes(), min_height=_ENOUGH, min_width=_ENOUGH)
    height, width = pixels.shape[:2]
    left, top, right, bottom = _shown(width, height)
    box = CropBox(left, top, right - left, bottom - top)
    source = ImageData(width, height, PixelType.U8x3, pixels.tobytes())
    small = ImageData(CROP, CROP, PixelType.U8x3)
    options = ResizeOptions(ResizeAlg.convolution(FilterType.catmull_rom), crop_box=box)
    _resizer().resize(source, small, options)
    return np.frombuffer(small.get_buffer(), np.uint8).reshape(CROP, CROP, 3)


def _simplejpeg_torch(path: Path) -> Any:
    import simplejpeg
    import torch

    pixels = simplejpeg.decode_jpeg(path.read_bytes(), min_height=_ENOUGH, min_width=_ENOUGH)
    return _torch_resized(torch.from_numpy(pixels).permute(2, 0, 1))


def _torchcodec_torch(path: Path) -> Any:
    from torchcodec.decoders import decode_jpeg

    return _torch_resized(decode_jpeg(path))


def _torch_resized(pixels: Any) -> Any:
    """uint8 [3, height, width] to [3, 224, 224], by PyTorch's own integer kernel."""
    from torch.nn.functional import interpolate

    height, width = pixels.shape[1:]
    left, top, right, bottom = (round(edge) for edge in _shown(width, height))
    shown = pixels[None, :, top:bottom, left:right]
    return interpolate(shown, size=(CROP, CROP), mode="bicubic", antialias=True)[0]


def _shown(width: int, height: int) -> tuple[float, float, float, float]:
    """What the centre crop shows of a picture: left, top, right, bottom."""
    side = min(width, height) * CROP / RESIZE
    return (width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2


_own = threading.local()


def _resizer() -> Any:
    """cykooz.resizer's, one for each thread: it keeps buffers."""
    from cykooz_resizer import Resizer

    if not hasattr(_own, "resizer"):
        _own.resizer = Resizer()
    return _own.resizer


# -- the forward pass -----------------------------------------------------------------------


def forwards() -> Iterator[str]:
    """Configurations that are tried: runtime, hint or arithmetic, batch."""
    for hint in ("throughput", "latency"):
        for batch in (1, 4, 8, 16, 32):
            yield f"openvino {hint} {batch}"
    yield "torch float32 32"
    if computes_bf16():
        yield "torch bfloat16 32"


def int8_forwards() -> Iterator[str]:
    """The same of the product's int8, where the product takes it by itself."""
    if openvino.prefers_int8():
        for batch in (4, 8, 16):
            yield f"openvino-int8 throughput {batch}"


def computes_bf16() -> bool:
    """Whether the processor has instructions for bf16; emulated, PyTorch's is slower than f32 by far."""
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(instructions())


def forward_for_ever(configuration: str, cache_dir: Path, threads: int, count: Count) -> None:
    """Count the images of one pass after the other."""
    runtime, manner, batch = configuration.split()
    spec = models.get("efficientnet-lite0")
    if runtime == "torch":
        _torch(spec, manner, int(batch), threads, count)
        return
    ranges = spec.ranges if runtime == "openvino-int8" else ()
    model = graph.obtain(
        openvino.runtime(),
        lambda: network_of(spec),
        spec.preprocessing,
        key_of(spec),
        cache_dir,
        ranges,
    )
    model.reshape([int(batch), CROP, CROP, 3])
    _openvino(model, manner, int(batch), threads, count)


def _openvino(model: Any, hint: str, batch: int, threads: int, count: Count) -> None:
    runtime = openvino.runtime()
    # The arithmetic of what is not int8 is what OpenVINO takes by itself: bf16 where the processor has it.
    config = {"PERFORMANCE_HINT": hint.upper(), "INFERENCE_NUM_THREADS": threads}
    queue = runtime.AsyncInferQueue(runtime.Core().compile_model(model, "CPU", config))
    queue.set_callback(lambda request, data: count.add(batch))
    pixels = _noise((batch, CROP, CROP, 3))
    while True:
        queue.start_async([pixels])


def _torch(spec: ModelSpec, dtype: str, batch: int, threads: int, count: Count) -> None:
    import torch

    torch.set_num_threads(threads)
    network = network_of(spec).eval().to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(_noise((batch, CROP, CROP, 3))).permute(0, 3, 1, 2)
    narrow = dtype == "bfloat16"
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        while True:
            network((pixels.float() - 127) / 128)
            count.add(batch)


def _noise(shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
