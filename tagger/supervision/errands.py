"""Images on their way to being loaded, and the line that they wait in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context

from tagger.loading import Client, Found
from tagger.metering import Stage, Stopwatch
from tagger.supervision.client import AbandonedError
from tagger.supervision.messages import HANDFUL, SMALL
from tagger.values import DEATHS, EncodedImage, ImageRef, LoadFailure, OutcomeKind


class Errand:
    """An image on its way, until its client is told what came of it.

    Its client is asked about its content once, however often it is tried; and so with what the meter
    is told: what an image costs that is tried again is all there, in the stage that it was at.
    """

    __slots__ = (
        "alone", "asked", "changed", "client", "context", "deaths", "device_pixels", "digest",
        "is_told", "is_wanted", "overdrawn", "ref", "watch",
    )  # fmt: skip

    def __init__(self, ref: ImageRef, client: Client, watch: Stopwatch, device_pixels: int) -> None:
        self.ref = ref
        self.client = client
        self.watch = watch
        self.device_pixels = device_pixels
        self.context = copy_context()
        self.deaths = ref.deaths
        self.alone = bool(ref.deaths or device_pixels or ref.size is None or ref.size > SMALL)
        self.overdrawn = False
        self.digest: bytes | None = None
        self.is_wanted = True
        self.is_told = False
        self.asked = False
        """Whether this attempt got as far as having read the file."""
        self.changed = False
        """Whether this attempt read other bytes than the first, about which nobody was asked."""

    def done(self, result: Found) -> None:
        """The end of it."""
        if not self.is_told:
            self.is_told = True
            self.watch.turn(None)
            try:
                self.client.done(self.ref, result)
            except BaseException as fault:  # or the client would wait for ever
                self.client.failed(self.ref, fault)

    def failed(self, fault: BaseException) -> None:
        """Another end."""
        if not self.is_told:
            self.is_told = True
            self.client.failed(self.ref, fault)

    def note(self, read: float, was_read: float, load: float, loaded: float) -> None:
        """When its process did what, by the process's own account."""
        self.watch.turn(Stage.READ, read)
        self.watch.turn(None, was_read)
        if self.asked and self.is_wanted:
            self.watch.turn(Stage.LOAD, load)
            self.watch.turn(None, loaded)

    def take_in(self, result: Found) -> None:
        """What a process has made of it."""
        if isinstance(result, EncodedImage):
            self.watch.turn(None)  # it is loaded by the device, and told of from there
            result = result if ask([(self, result.digest)])[0] else None
        if self.changed:
            reason = "the file changed while it was tried again; is something writing it?"
            result = self.failure(OutcomeKind.UNREADABLE, reason)
        self.done(result)

    def failure(self, kind: OutcomeKind, reason: str) -> LoadFailure:
        """Why there is no picture; of the content, unless it is the place that is at fault."""
        digest = None if kind is OutcomeKind.UNREADABLE else self.digest
        return LoadFailure(self.ref.image_id, kind, reason, digest)


def ask(found: Sequence[tuple[Errand, bytes]]) -> list[bool]:
    """Whether these contents are to be loaded, all of one client; asked of those that were not before."""
    fresh = [(errand, digest) for errand, digest in found if errand.digest is None]
    for errand, digest in found:
        errand.asked = True
        errand.changed = errand.digest not in (None, digest)
    if fresh:
        for errand, digest in fresh:
            errand.digest = digest
        answers = fresh[0][0].client.wanted([(errand.ref, digest) for errand, digest in fresh])
        for (errand, _), answer in zip(fresh, answers, strict=True):
            errand.is_wanted = answer
    return [errand.is_wanted and not errand.changed for errand, _ in found]


class Line:
    """Images that wait for a process, first come first served; those that were tried come first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle = 0
        self._waiting: deque[Errand] = deque()
        self._closed = False

    def join(self, errands: Sequence[Errand]) -> None:
        """Wait at the end of the line; raises :class:`AbandonedError` if it is closed."""
        with self._changed:
            if self._closed:
                raise AbandonedError
            self._waiting.extend(errands)
            self._changed.notify(len(errands))

    def rejoin(self, errand: Errand) -> None:
        """Be the next, alone; fails the errand if the line is closed."""
        errand.alone = True
        with self._changed:
            if not self._closed:
                self._waiting.appendleft(errand)
                self._changed.notify()
                return
        errand.failed(AbandonedError())

    def take(self) -> list[Errand]:
        """One image or a handful, once there is one; none when the line is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            taken = [self._waiting.popleft()]
            if not taken[0].alone:
                # An equal share for each who waits for work.
                most = min(HANDFUL, -(-(len(self._waiting) + 1) // (self._idle + 1)))
                while len(taken) < most and self._waiting and _go_together(taken[0], self._waiting[0]):
                    taken.append(self._waiting.popleft())
            return taken

    def close(self) -> Sequence[Errand]:
        """Nobody joins any more; those that waited."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        return waiting


def _go_together(one: Errand, other: Errand) -> bool:
    return not other.alone and one.client is other.client


def quarantined(errand: Errand, cause: str) -> LoadFailure:
    """It has done enough harm."""
    reason = f"loading it killed the process that did, {DEATHS} times; the last by {cause}"
    return errand.failure(OutcomeKind.QUARANTINED, reason)


def overdue(errand: Errand, limit: float) -> LoadFailure:
    """It took longer than ``limit`` seconds, to read or to decode."""
    within = f"within {limit:g} seconds (TAGGER_MAX_SECONDS)"
    if errand.asked:
        return errand.failure(OutcomeKind.TIMEOUT, f"decoding it was not done {within}")
    return errand.failure(OutcomeKind.UNREADABLE, f"the disk or network share did not deliver it {within}")
