"""What a loading process and the one that watches it say to each other.

The watcher sends a :class:`Setup`, once, and then one :class:`Job` at a time. The process answers
with any number of :class:`Need`, each of which waits for a yes, and at most one :class:`Known`, which
waits for a yes or no to each image, and then with a :class:`Done`. An image for a device to decode comes
without :class:`Known`: nothing is spared by asking, and the question would cost as much as the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tagger.sources import Roots
from tagger.values import (
    EncodedImage,
    ImageRef,
    Limits,
    LoadedImage,
    LoadFailure,
    Plain,
    Preprocessing,
    Whole,
)


@dataclass(frozen=True, slots=True)
class Setup:
    """How images are read and loaded; the same for all of a run."""

    roots: Roots
    limits: Limits
    preprocessing: Preprocessing | Whole
    follow_links: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The process has its libraries and waits for work."""


@dataclass(frozen=True, slots=True)
class Job(Plain):
    """Images to be read and loaded, one after the other: one alone, or a handful of small files.

    What is alone may ask for memory; of a handful, what would need to is declined. If it is alone, a JPEG
    of up to ``device_pixels`` that a device can decode is not decoded, and comes back as it is stored.
    """

    refs: tuple[ImageRef, ...]
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
    """The files are read, and these are their SHA-256, None for what could not be; which of them are to be
    loaded? To be answered by a tuple of bools."""

    digests: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Declined(Plain):
    """This image is not one for a handful: it must be alone. Nothing else is known of it."""


Times = tuple[float, float, float, float]
"""When reading an image began and ended, and loading it, by :func:`time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Done(Plain):
    """What came of each image of the job: a picture, its pixels left in the slot at the image's place;
    why there is none; None after a no.

    ``times`` tell of each image of a handful. ``fit`` is false when the process is not as it was before (a
    decoder kept memory or files), and another is to take its place."""

    results: tuple[LoadedImage | EncodedImage | LoadFailure | Declined | None, ...]
    times: tuple[Times, ...]
    fit: bool

    def fits(self, job: Job) -> bool:
        """Whether it speaks of the images of this job."""
        return len(self.results) == len(job.refs) and len(self.times) in (0, len(job.refs))


Answer = Ready | Need | Known | Done
"""All that a process says."""

FREE = 8_000_000
"""Bytes that are needed without asking: nearly all photos, decoded at a fraction of their size."""

HANDFUL = 16
"""Images of one job, at most. With one in each, beside a busy engine, talking about a small photo took as
long as loading it; with eight it takes a fifth of that. Sixteen are loaded no faster, but the store is asked
half as often what it knows of them."""

SMALL = 1_000_000
"""Bytes of a file that may be one of a handful. What is larger takes so long that it may as well be alone."""
