"""JPEGs decoded on the engine's device, cut, resampled and turned there: bytes in, small tensors out.

TorchCodec decodes, by nvJPEG on a GPU and by libjpeg on the CPU, where all this can be tried without
a GPU. (torchvision's decoders are deprecated in its favour; nvImageCodec decodes more formats and
partly faster, but is bound to one CUDA version and has no CPU side with the same call.)

Resampling is two products of matrices: the picture's columns, then its rows, by weights that hold
the crop, with its fractions of pixels, and the kernel, widened by the scale as Pillow's is. A
ready-made resize takes whole pixels only, and knows no crop. A large photo needs no cheaper step
before it: on the device this reads each pixel once, and is exact where the CPU's shrinking while
decoding is an approximation.

Importing this module imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tagger.loading.geometry import crop_box, swaps_sides
from tagger.values import EncodedImage, Preprocessing

Decode = Callable[[list[bytes]], list[torch.Tensor]]
"""Files to pictures as stored, uint8 [1 or 3, H, W]; raises for all if it does not take one."""

# How far a kernel reaches, in pixels of the coarser grid.
_REACH: Final = {"bilinear": 1.0, "bicubic": 2.0}
# What is mirrored, of [H, W, 3], after sides were swapped, for each EXIF orientation.
_MIRRORED: Final = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}
# Pairs of size and place whose weights are kept: on a GPU up to 3 MB each for 12 megapixels.
_KEPT: Final = 64


class DeviceDecoder:
    """Decodes for one preprocessing on ``device``. Used by one thread at a time.

    On a GPU it has a stream of its own and computes in half precision, else in float32: on the
    example photos that changes no level by more than one of 255 (half precision tried on the CPU).
    """

    def __init__(self, preprocessing: Preprocessing, device: str, decode: Decode | None = None) -> None:
        """Raises :class:`ImportError` or :class:`OSError` when TorchCodec is not to be had."""
        self._want = preprocessing
        self._device = torch.device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._decode = decode or torchcodec_on(self._device)
        self._stream = _stream(self._device)
        self._weights = lru_cache(_KEPT)(self._make_weights)

    @property
    def name(self) -> str:
        """What is recorded with a tagging."""
        return f"torchcodec-{self._device.type}"

    def probe(self) -> None:
        """Decode a picture made for that. Raises :class:`RuntimeError` when it cannot be done here."""
        made = BytesIO()
        Image.new("RGB", (64, 64)).save(made, "JPEG")
        with torch.cuda.stream(self._stream):
            self._decode([made.getvalue()])

    def decode(self, images: Sequence[EncodedImage]) -> list[torch.Tensor | None]:
        """Each picture as the network wants it, uint8 RGB [crop, crop, 3] on the device, upright and
        finished; None for one that the decoder refuses, or has no memory for, and for that alone."""
        try:
            return list(self._decoded(images))
        except Exception:  # whatever it is, it may be one image's own
            if len(images) == 1:
                return [None]
        # Out here, so that nothing of the failed attempt is kept while memory may be short.
        half = len(images) // 2
        return self.decode(images[:half]) + self.decode(images[half:])

    def _decoded(self, images: Sequence[EncodedImage]) -> torch.Tensor:
        side = self._want.crop
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            pictures = self._decode([image.data for image in images])
            small = torch.empty(len(images), side, side, 3, dtype=torch.uint8, device=self._device)
            for row, image, picture in zip(small, images, pictures, strict=True):
                row.copy_(self._upright(picture, image))
            if self._stream is not None:
                self._stream.synchronize()
        return small

    def _upright(self, picture: torch.Tensor, image: EncodedImage) -> torch.Tensor:
        """uint8 [crop, crop, 1 or 3] of a picture as stored, [1 or 3, H, W]."""
        width, height = image.size
        if picture.shape[1:] != (height, width):
            raise ValueError("the decoder sees another size than the header states")
        box = crop_box(image.size, image.orientation, self._want.resize, self._want.crop)
        left, right, columns = self._weights(width, box[0], box[2])
        upper, lower, rows = self._weights(height, box[1], box[3])
        part = picture[:, upper:lower, left:right].to(self._dtype)
        levels = (rows @ (part @ columns.T)).round().clamp(0, 255).to(torch.uint8)
        return turned(levels.permute(1, 2, 0), image.orientation)

    def _make_weights(self, length: int, start: float, end: float) -> tuple[int, int, torch.Tensor]:
        first, last, weights = resampling(length, start, end, self._want.crop, self._want.interpolation)
        return first, last, torch.from_numpy(weights).to(self._device, self._dtype)


def torchcodec_on(device: torch.device) -> Decode:
    """TorchCodec's decoder. Grey stays grey.

    Raises :class:`ImportError` or :class:`OSError` when it is not installed, or for another torch.
    """
    from torchcodec.decoders import decode_jpeg

    def decode(files: list[bytes]) -> list[torch.Tensor]:
        # Tensors, and of bytes that may be written: with others TorchCodec silences a warning, for
        # the whole process and all its threads.
        data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        pictures: list[torch.Tensor] = decode_jpeg(data, mode="UNCHANGED", device=device)
        return pictures

    return decode


def turned(pixels: torch.Tensor, orientation: int) -> torch.Tensor:
    """[H, W, C] as stored to upright, for an EXIF orientation of 1 to 8."""
    if swaps_sides(orientation):
        pixels = pixels.transpose(0, 1)
    return pixels.flip(_MIRRORED[orientation]) if orientation in _MIRRORED else pixels


def resampling(
    length: int, start: float, end: float, size: int, kernel: str
) -> tuple[int, int, NDArray[np.float32]]:
    """Weights that make ``size`` pixels of those from ``start`` to ``end`` (fractions of pixels) of
    an axis of ``length``.

    The kernel is stretched by the scale when that makes it smaller, what lies outside of the picture
    counts for nothing, and the weights of each pixel add up to one: as Pillow has it.

    Returns:
        The first pixel that counts, the one behind the last, and float32 [size, last - first].
    """
    scale = (end - start) / size
    stretch = max(scale, 1.0)
    reach = _REACH[kernel] * stretch
    centres = start + (np.arange(size) + 0.5) * scale
    first, last = max(0, int(centres[0] - reach)), min(length, int(centres[-1] + reach) + 1)
    positions = np.arange(first, last) + 0.5
    weights = _KERNELS[kernel]((positions - centres[:, None]) / stretch)
    return first, last, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    falling: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(distance))
    return falling


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), a = -1/2."""
    x = np.abs(distance)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    curve: NDArray[np.float64] = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return curve


_KERNELS: Final = {"bilinear": _triangle, "bicubic": _cubic}


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
