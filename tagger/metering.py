"""What the work tells of itself as it goes: seconds by stage, fill of batches, what went wrong.

On the ground floor, since rooms that know nothing of each other speak to the same :class:`Meter`.
Nothing here keeps a number: who wants to see some brings a meter, and everybody else has the silent
one.
"""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """Where an image spends its time. No image is at two stages at once."""

    WAIT = "wait"
    """From the moment the pipeline took the reference until a loading process begins with it."""
    READ = "read"
    """Until its bytes are hashed, or known not to be had."""
    LOAD = "load"
    """From the word that it is wanted until there are pixels, or none to be had."""
    DEVICE = "device"
    """Instead of that, for what the engine's device decodes: from the line until there are pixels."""
    PREDICT = "predict"
    """From handing the batch to the engine until it is back: the image's share of that."""
    WRITE = "write"
    """The transaction that writes a group of outcomes: the image's share of that."""


class Meter(Protocol):
    """Told of the work while it is done, from any thread, some thousand times a second.

    A method must not wait and must not raise: it is called from where images are waiting.
    """

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        """A stage is over for so many images, which took so many seconds together."""

    def batch(self, images: int, size: int) -> None:
        """A forward pass was made with so many images, padded to a batch of ``size``."""

    def halved(self) -> None:
        """The device had no memory for a batch; its images go on in smaller ones."""

    def died(self) -> None:
        """A loading process died: of an image, while it was idle, or as it came up."""

    def timed_out(self) -> None:
        """A loading process was ended, since its image took longer than is allowed."""


class Silent:
    """A meter that keeps nothing: the default."""

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        """See :meth:`Meter.spent`."""

    def batch(self, images: int, size: int) -> None:
        """See :meth:`Meter.batch`."""

    def halved(self) -> None:
        """See :meth:`Meter.halved`."""

    def died(self) -> None:
        """See :meth:`Meter.died`."""

    def timed_out(self) -> None:
        """See :meth:`Meter.timed_out`."""


SILENT = Silent()
"""The one that is enough for everybody."""


class Stopwatch:
    """One image on its way through the stages, each told to the meter once, when it is over.

    ``since``, by :func:`time.monotonic`, is when the image began to wait; now if None.
    """

    __slots__ = ("_meter", "_since", "stage")

    def __init__(self, meter: Meter, since: float | None = None) -> None:
        self._meter = meter
        self._since = time.monotonic() if since is None else since
        self.stage: Stage | None = Stage.WAIT
        """Where the image is; None when it is at none, or through."""

    def turn(self, stage: Stage | None, at: float | None = None) -> None:
        """One stage is over, if the image was at any, and this one begins: ``at`` that time, or now."""
        now = time.monotonic() if at is None else at
        if self.stage is not None:
            self._meter.spent(self.stage, now - self._since)
        self.stage, self._since = stage, now
