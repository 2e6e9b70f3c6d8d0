"""What a loading process and the one that watches it say to each other.

The watcher sends a :class:`Setup`, once, and then one :class:`Job` at a time. The process answers
with any number of :class:`Need` and at most one :class:`Known`, each of which waits for a yes or no,
and then with a :class:`Done`. An image for a device to decode comes without :class:`Known`: nothing
is spared by asking, and the question would cost as much as the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tagger.sources import Roots
from tagger.values import EncodedImage, ImageRef, Limits, LoadedImage, LoadFailure, Plain, Preprocessing


@dataclass(frozen=True, slots=True)
class Setup:
    """How images are read and loaded; the same for all of a run."""

    roots: Roots
    limits: Limits
    preprocessing: Preprocessing
    follow_links: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has its libraries and waits for work."""


@dataclass(frozen=True, slots=True)
class Job(Plain):
    """An image to be read and loaded; a JPEG of up to ``device_pixels`` that a device can decode is
    not decoded, and comes back as it is stored."""

    ref: ImageRef
    device_pixels: int = 0


class Purpose(StrEnum):
    """What memory is needed for."""

    FILE = "file"
    """The file's own bytes."""
    DECODING = "decoding"
    """Decoding them."""


@dataclass(frozen=True, slots=True)
class Need(Plain):
    """Memory is needed, in bytes, instead of what was needed for this before; the process goes on
    when it is told that it may."""

    purpose: Purpose
    amount: int


@dataclass(frozen=True, slots=True)
class Known(Plain):
    """The file is read, and this is its SHA-256; is it to be loaded?"""

    digest: bytes


@dataclass(frozen=True, slots=True)
class Done(Plain):
    """The image, its pixels left in the slot, or why there is none; None after a no.

    ``fit`` is false when the process is not as it was before (a decoder kept memory or files), and
    another is to take its place."""

    result: LoadedImage | EncodedImage | LoadFailure | None
    fit: bool


Answer = Ready | Need | Known | Done
"""All that a process says."""

FREE = 8_000_000
"""Bytes that are needed without asking: nearly all photos, decoded at a fraction of their size."""
