"""The frozen values that flow through Tagger, from a file's name to rows in SQL.

This module sits at the bottom of the house: it imports nothing of Tagger's own, and every room
speaks in these words. Arrays are never changed once they are inside a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # both take long to import, and most commands need neither
    import numpy as np
    import torch
    from numpy.typing import NDArray

EngineName = Literal["auto", "openvino", "eager", "cuda"]
"""A runtime that can be asked for; ``auto`` is the best that the machine has."""

Precision = Literal["auto", "f32", "bf16", "f16", "int8"]
"""What the network is computed in; ``auto`` is the engine's choice for its device and the model."""

Decoding = Literal["auto", "cpu", "device"]
"""Where JPEGs are decoded: in processes on the CPU, or on the engine's device; ``auto`` is the
device where that is a GPU and the decoder for it is installed."""


class Plain:
    """A value that travels between processes as its class and its fields, in their order: pickling a frozen
    dataclass by itself asks for its fields anew each time, on both sides."""

    __slots__: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """See :meth:`object.__reduce__`."""
        return type(self), tuple(getattr(self, name) for name in self.__slots__)


DEATHS = 3
"""So many processes may die with an image alone in hand before it is quarantined."""


class OutcomeKind(StrEnum):
    """What came of a wanted pair of image and model: exactly one of these, with a reason."""

    OK = "ok"
    """Ran, and at least one tag stands above the model's floor."""
    EMPTY = "empty"
    """Ran, and no tag stands above the floor."""

    CORRUPT = "corrupt"
    """The bytes are broken: they claim to be an image and cannot be shown."""
    UNSUPPORTED = "unsupported"
    """Not an image, or one of a kind that no decoder here reads."""
    TOO_LARGE = "too_large"
    """Over the limit on bytes or pixels; never decoded."""
    TIMEOUT = "timeout"
    """Loading took longer than is allowed."""

    MISSING = "missing"
    """No such file any more."""
    DENIED = "denied"
    """No permission to read it."""
    OUTSIDE = "outside"
    """Leads out of the roots that may be read."""
    UNREADABLE = "unreadable"
    """I/O errors to the end of patience."""
    QUARANTINED = "quarantined"
    """Kills the process that loads it, alone, again and again."""

    @property
    def tagged(self) -> bool:
        """Whether the model ran: the image was understood, tags or none."""
        return self in (OutcomeKind.OK, OutcomeKind.EMPTY)


@dataclass(frozen=True, slots=True)
class ImageRef(Plain):
    """One image to be worked on: its row and the file as it was when last scanned.

    ``size`` is in bytes and ``mtime_ns`` in nanoseconds since 1970; both are None for a URI whose
    place does not tell. ``deaths`` tells how many processes died loading it, with it alone, and
    ``attempts`` how often work on it has begun, this time included.
    """

    image_id: int
    uri: str
    size: int | None = None
    mtime_ns: int | None = None
    deaths: int = 0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of one image file, read once: ``digest`` is their SHA-256 (32 bytes).

    ``size`` (bytes) and ``mtime_ns`` are the file's own at the moment of reading.
    """

    image_id: int
    uri: str
    data: bytes
    digest: bytes
    mtime_ns: int | None = None

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class ImageFacts(Plain):
    """What a file says of its picture, as a person sees it (width and height after turning).

    ``format`` is Pillow's name in upper case (``JPEG``, ``HEIF``). ``taken_at`` is ISO 8601
    (``2019-07-20T16:05:09``), with an offset only where the file states one. ``latitude`` and
    ``longitude`` are in degrees (WGS 84), north and east positive.
    """

    width: int | None = None
    height: int | None = None
    format: str | None = None
    taken_at: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a single image may cost. Bytes are the file's; pixels are checked before decoding.

    256 MB and 200 megapixels let through every camera and flatbed scan, stitched panoramas too,
    and stop a decompression bomb before it is decoded. ``max_memory`` (bytes) is what decoding
    may take, all images at one time together: a gigabyte is enough for a PNG of 200 megapixels,
    and with all else that a run holds stays under 2 GB. ``max_seconds`` (wall time, reading and decoding
    together) is a hundred times what a large photo takes on a busy machine.
    """

    max_bytes: int = 256 * 1024 * 1024
    max_pixels: int = 200_000_000
    max_memory: int = 1_000_000_000
    max_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How the weights want their pixels: resize the shorter side, crop the centre, normalise.

    ``resize`` and ``crop`` are in pixels. ``mean`` and ``std`` are per channel RGB on the 0-255
    scale: the network sees ``(pixel - mean) / std``. Loading does size and crop; the engine
    normalises.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def side(self) -> int:
        """The longest side, in pixels, of what is loaded."""
        return self.crop


@dataclass(frozen=True, slots=True)
class Whole:
    """How people want their pixels: all of the picture, fitted into a square of ``side`` pixels.

    Its shape is kept, and it is never enlarged.
    """

    side: int


@dataclass(frozen=True, slots=True, eq=False)
class LoadedImage(Plain):
    """An upright picture ready to be batched.

    ``pixels`` is uint8 RGB of shape [crop, crop, 3]: an array, or a tensor that lies on the
    engine's device already. Of a picture that was wanted :class:`Whole` it is [h, w, 3], neither more
    than its ``side``. ``note`` says what a person should know of it (``damaged: the file
    ends early``), None when all is well. ``loader`` names what decoded it, None for the loader
    that loads everything.
    """

    image_id: int
    digest: bytes
    facts: ImageFacts
    pixels: NDArray[np.uint8] | torch.Tensor
    note: str | None = None
    loader: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage(Plain):
    """A sound JPEG for a device to decode, judged and not yet decoded.

    ``data`` is the picture alone, without EXIF; ``size`` is (width, height) as stored, and
    ``orientation`` is EXIF's, 1 to 8, by which the decoded picture is to be turned. The rest is as
    in :class:`LoadedImage`.
    """

    image_id: int
    digest: bytes
    facts: ImageFacts
    data: bytes
    size: tuple[int, int]
    orientation: int
    note: str | None = None

    @property
    def pixels(self) -> int:
        """How many will be decoded."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True, slots=True)
class LoadFailure(Plain):
    """Why there is no picture: an outcome and a reason that a person understands."""

    image_id: int
    kind: OutcomeKind
    reason: str
    digest: bytes | None = None
    facts: ImageFacts | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One forward pass: ``pixels`` is uint8 [P, H, W, 3]; row i belongs to ``ids[i]``.

    The other ids belong to ``on_device``, in its order: tensors uint8 [H, W, 3], finished, which lie
    on the device of the engine that the batch is for.
    """

    ids: tuple[int, ...]
    pixels: NDArray[np.uint8]
    on_device: tuple[torch.Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What the network says of a batch; row i belongs to ``ids[i]``.

    ``probabilities`` is float32 [B, C]; ``features``, the pooled vector before the classifier, is
    float16 [B, D].
    """

    ids: tuple[int, ...]
    probabilities: NDArray[np.float32]
    features: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Label:
    """A class of a model. ``key`` is stable across models (for ImageNet the WordNet id)."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The classifier's own word: the class at ``index`` of the model's labels; 0-1."""

    index: int
    confidence: float


@dataclass(frozen=True, slots=True)
class TagScore:
    """A tag that people search for, with the model's confidence in it; 0-1."""

    tag: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one image; every reference that goes in gives exactly one.

    ``tags`` stand above the floor, highest first; ``labels`` are the top classes, highest first.
    ``reused`` is true when the same bytes were tagged before, so that no inference was needed and
    both are empty: the store has them already. ``loader`` is that of the :class:`LoadedImage`.
    """

    image_id: int
    kind: OutcomeKind
    reason: str | None = None
    digest: bytes | None = None
    facts: ImageFacts | None = None
    tags: tuple[TagScore, ...] = ()
    labels: tuple[LabelScore, ...] = ()
    reused: bool = False
    loader: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """An image of which somebody has said whether a tag is right, and how sure the model was of it (0-1)."""

    confidence: float
    right: bool
