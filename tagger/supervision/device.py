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
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tagger.loading import Budget, Client, Found
from tagger.metering import SILENT, Meter, Stage
from tagger.supervision.client import AbandonedError, Submitting
from tagger.supervision.loaders import Loaders
from tagger.values import EncodedImage, ImageRef, LoadedImage, LoadFailure, OutcomeKind

if TYPE_CHECKING:
    import torch

GROUP = 64
"""Images decoded in one call: nvJPEG gains little by more."""
WAITING_BYTES = 256 * 2**20
"""Files that wait for the device are held in memory; with so many bytes the loading processes wait too."""


class Decoder(Protocol):
    """See :class:`tagger.loading.device.DeviceDecoder`; used by one thread."""

    @property
    def name(self) -> str:
        """What is recorded with a tagging."""

    def decode(self, images: Sequence[EncodedImage]) -> list[torch.Tensor | None]:
        """Pixels on the device, row by row; None for what is refused."""


class DeviceLoaders(Submitting):
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
        self.room = loaders.room + GROUP * len(decoders)
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

    def submit(self, refs: Sequence[ImageRef], client: Client, since: float | None = None) -> None:
        """See :meth:`Loaders.submit`. The pixels of what the device decoded lie on it."""
        onward = _Onward(client, self._line)
        self._loaders.submit(refs, onward, since, device_pixels=self._pixels)

    def abandon(self) -> None:
        """See :meth:`Submitting.abandon`."""
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

    def _serve(self, decoder: Decoder) -> None:
        while group := self._line.take():
            with self._line.room.taking(min(self._pixels, sum(each.image.pixels for each in group))):
                self._decode(decoder, group)

    def _decode(self, decoder: Decoder, group: Sequence[_Waiting]) -> None:
        try:
            found = list(zip(group, decoder.decode([each.image for each in group]), strict=True))
        except BaseException as fault:  # carried to the clients
            for each in group:
                each.failed(fault)
            return
        now = time.monotonic()
        for each, pixels in found:
            self._meter.spent(Stage.DEVICE, now - each.since)
            self._tell(each, pixels)

    def _tell(self, waiting: _Waiting, pixels: torch.Tensor | None) -> None:
        image, ref = waiting.image, waiting.ref
        if pixels is not None:
            loaded = LoadedImage(
                image.image_id, image.digest, image.facts, pixels, image.note, loader=self._name
            )
            waiting.client.done(ref, loaded)
            return
        try:  # what was refused is read again, since nobody keeps it for that
            self._loaders.submit([ref], _AfterAll(waiting.client, image.digest))
        except AbandonedError as fault:
            waiting.failed(fault)


@dataclass(frozen=True, slots=True)
class _Onward:
    """Between the loading processes and who wants the image: what is for the device joins its line."""

    client: Client
    line: _Line

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        return self.client.wanted(found)

    def done(self, ref: ImageRef, result: Found) -> None:
        if isinstance(result, EncodedImage):
            self.line.join(_Waiting(ref, result, self.client))
        else:
            self.client.done(ref, result)

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.client.failed(ref, fault)


@dataclass(frozen=True, slots=True)
class _AfterAll:
    """For an image that the device has refused: nobody is asked again whether its content is wanted."""

    client: Client
    digest: bytes

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        return [digest == self.digest for _, digest in found]

    def done(self, ref: ImageRef, result: Found) -> None:
        reason = "the file changed while it was tried again; is something writing it?"
        changed = LoadFailure(ref.image_id, OutcomeKind.UNREADABLE, reason)
        self.client.done(ref, changed if result is None else result)

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.client.failed(ref, fault)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An image in the line, and who wants it."""

    ref: ImageRef
    image: EncodedImage
    client: Client
    since: float = field(default_factory=time.monotonic)

    def failed(self, fault: BaseException) -> None:
        """Nothing comes of it."""
        self.client.failed(self.ref, fault)


class _Line:
    """Images that wait for the device, first come first served, in groups of bounded size."""

    def __init__(self, pixels: int) -> None:
        self.room = Budget(pixels)
        """What lies on the device, of all groups together."""
        self._pixels = pixels
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._closed: BaseException | None = None

    @property
    def waiting(self) -> int:
        """How many images wait at the moment."""
        return len(self._waiting)

    def join(self, waiting: _Waiting) -> None:
        """Wait in line, and for a place in it; fails at once if it is closed."""
        size = len(waiting.image.data)
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed is not None or not self._waiting or self._bytes + size <= WAITING_BYTES
            )
            if self._closed is None:
                self._waiting.append(waiting)
                self._bytes += size
                self._changed.notify_all()
                return
        waiting.failed(self._closed)

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
            self._bytes -= sum(len(each.image.data) for each in group)
            self._changed.notify_all()
            return group

    def close(self, fault: BaseException) -> None:
        """Nobody joins any more, and who waits is told so."""
        with self._changed:
            self._closed = self._closed or fault
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for each in waiting:
            each.failed(fault)
