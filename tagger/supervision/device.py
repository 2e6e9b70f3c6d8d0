"""Loading for an engine whose device decodes: JPEGs in groups there, all else as everywhere.

The loading processes read, hash and judge, and hand plain JPEGs on. Those wait here until a decoding
thread is free, which takes as many at once as there are and as the device may hold: groups grow by
themselves when the device is what is waited for, and none is waited for when it is not. What the
device refuses is loaded by a process after all, and only that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tagger.loading import Budget
from tagger.metering import SILENT, Meter, Stage
from tagger.supervision.loaders import AbandonedError, Loaders, Wanted
from tagger.values import EncodedImage, ImageRef, LoadedImage, LoadFailure, OutcomeKind

if TYPE_CHECKING:
    import torch

GROUP = 64
"""Images decoded in one call: nvJPEG gains little by more."""


class Decoder(Protocol):
    """See :class:`tagger.loading.device.DeviceDecoder`; used by one thread."""

    @property
    def name(self) -> str:
        """What is recorded with a tagging."""

    def decode(self, images: Sequence[EncodedImage]) -> list[torch.Tensor | None]:
        """Pixels on the device, row by row; None for what is refused."""


class DeviceLoaders:
    """:class:`Loaders`, with JPEGs decoded by ``decoders``, each in a thread of its own.

    Args:
        loaders: read, hash, and load what the device does not; still the caller's to close.
        pixels: how many decoded pixels may lie on the device at one time, three bytes each. An
            image with more is not sent there.
        meter: told of the images' time on the device.
    """

    def __init__(
        self, loaders: Loaders, decoders: Sequence[Decoder], pixels: int, *, meter: Meter = SILENT
    ) -> None:
        # So many images wait for the device while the processes are busy too.
        self.threads = loaders.threads + GROUP * len(decoders)
        self._loaders = loaders
        self._name = decoders[0].name
        self._pixels = pixels
        self._meter = meter
        self._line = _Line(pixels)
        self._serving = [
            threading.Thread(target=self._serve, args=(decoder,), name=f"tagger-decode-{number}", daemon=True)
            for number, decoder in enumerate(decoders)
        ]
        for thread in self._serving:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many images wait for the device at the moment."""
        return self._line.waiting

    def load(
        self, ref: ImageRef, wanted: Wanted, since: float | None = None
    ) -> LoadedImage | LoadFailure | None:
        """See :meth:`Loaders.load`. The pixels of what the device decoded lie on it."""
        result = self._loaders.hand_over(ref, wanted, since, device_pixels=self._pixels)
        if not isinstance(result, EncodedImage):
            return result
        began = time.monotonic()
        pixels = self._line.join(result).result()
        self._meter.spent(Stage.DEVICE, time.monotonic() - began)
        if pixels is None:
            return self._loaded_after_all(ref, result.digest)
        return LoadedImage(
            result.image_id, result.digest, result.facts, pixels, result.note, loader=self._name
        )

    def abandon(self) -> None:
        """End what is being loaded; each :meth:`load` under way raises an exception."""
        self._line.close(AbandonedError())
        self._loaders.abandon()

    def close(self) -> None:
        """End the threads, when they are through with what they have in hand."""
        self._line.close(AbandonedError())
        for thread in self._serving:
            thread.join()

    def __enter__(self) -> DeviceLoaders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded_after_all(self, ref: ImageRef, digest: bytes) -> LoadedImage | LoadFailure:
        """What the device refused; the file is read again, since nobody keeps it for that."""
        loaded = self._loaders.load(ref, lambda found: found == digest)
        if loaded is not None:
            return loaded
        reason = "the file changed while it was tried again; is something writing it?"
        return LoadFailure(ref.image_id, OutcomeKind.UNREADABLE, reason)

    def _serve(self, decoder: Decoder) -> None:
        while group := self._line.take():
            with self._line.room.taking(min(self._pixels, sum(each.image.pixels for each in group))):
                _decode(decoder, group)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An image in the line, and what will come of it."""

    image: EncodedImage
    pixels: Future[torch.Tensor | None] = field(default_factory=Future)


def _decode(decoder: Decoder, group: Sequence[_Waiting]) -> None:
    try:
        found = list(zip(group, decoder.decode([each.image for each in group]), strict=True))
    except BaseException as fault:  # carried to the threads that wait
        for each in group:
            each.pixels.set_exception(fault)
        return
    for each, pixels in found:
        each.pixels.set_result(pixels)


class _Line:
    """Images that wait for the device, first come first served, in groups of bounded size."""

    def __init__(self, pixels: int) -> None:
        self.room = Budget(pixels)
        """What lies on the device, of all groups together."""
        self._pixels = pixels
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._closed: BaseException | None = None

    @property
    def waiting(self) -> int:
        """How many images wait at the moment."""
        return len(self._waiting)

    def join(self, image: EncodedImage) -> Future[torch.Tensor | None]:
        """Wait in line. Raises what it was closed with."""
        waiting = _Waiting(image)
        with self._changed:
            if self._closed is not None:
                raise self._closed
            self._waiting.append(waiting)
            self._changed.notify()
        return waiting.pixels

    def take(self) -> list[_Waiting]:
        """The next group, once there is one; none when the line is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed is not None)
            group: list[_Waiting] = []
            pixels = 0
            while self._waiting and len(group) < GROUP:
                pixels += self._waiting[0].image.pixels
                if group and pixels > self._pixels:
                    break
                group.append(self._waiting.popleft())
            return group

    def close(self, fault: BaseException) -> None:
        """Nobody joins any more, and who waits is told so."""
        with self._changed:
            self._closed = self._closed or fault
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for each in waiting:
            each.pixels.set_exception(fault)
