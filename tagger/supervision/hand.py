"""What one process has in hand: whose doing it is when something goes wrong, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence

from tagger.metering import Stage
from tagger.supervision.errands import Errand, Line, ask
from tagger.supervision.messages import Declined, Done, Job
from tagger.supervision.process import LoadingProcess, OverdueError
from tagger.supervision.share import Place
from tagger.values import DEATHS


class Hand:
    """What a process has in hand together, and what of that its thread still has to see to."""

    def __init__(self, errands: Sequence[Errand], place: Place, line: Line) -> None:
        self.place = place
        self.job = Job(tuple(errand.ref for errand in errands), errands[0].device_pixels)
        self._errands: list[Errand | None] = list(errands)  # None for those that are the line's again
        self._line = line
        self._process: LoadingProcess | None = None
        self._last: int | None = None

    @property
    def condemned(self) -> Errand | None:
        """An image that did so much harm before that it is not begun."""
        return next((errand for errand in self._left() if errand.deaths >= DEATHS), None)

    @property
    def needs_all_memory(self) -> bool:
        """Whether nothing else may be loaded meanwhile: the last time, so that it was not the others
        who used it up; and so with what needs more than its header says."""
        return any(errand.overdrawn or errand.deaths + 1 == DEATHS for errand in self._left())

    @property
    def culprit(self) -> Errand | None:
        """Whose doing it is what has become of the process; None if that cannot be told, or if the image
        is another thread's by now, which will find out."""
        if self._is_alone:
            return self._errands[0]
        return self._at(self._last)

    def begin(self) -> None:
        """Another attempt."""
        for errand in self._left():
            errand.asked = errand.changed = False

    def begun(self, process: LoadingProcess) -> None:
        """A process has begun. When it does with each image of a handful, it tells in the end."""
        self._process = process
        if self._is_alone:
            self._turn(Stage.WAIT, Stage.READ)

    def slow(self) -> None:
        """It takes long: another may load meanwhile, and all but the one that the process is at."""
        self.place.leave()
        at = self._process.in_hand if self._process is not None else None
        if self._process is None or self._is_alone or self._at(at) is None:
            return
        self._process.cut()
        for place in range(len(self._errands)):
            if place != at:
                self._rejoin(place)

    def answers(self, digests: Sequence[bytes | None]) -> tuple[bool, ...]:
        """Which are to be loaded; not what is the line's again."""
        self._turn(Stage.READ, None)
        found = {
            place: (errand, digest)
            for place, (errand, digest) in enumerate(zip(self._errands, digests, strict=True))
            if errand is not None and digest is not None
        }
        answers = dict(zip(found, ask(list(found.values())), strict=True))
        if any(answers.values()):
            self._turn(None, Stage.LOAD)
        return tuple(answers.get(place, False) for place in range(len(digests)))

    def settle(self, done: Done) -> None:
        """All that the process could make something of."""
        for place, result in enumerate(done.results):
            errand = self._errands[place]
            if errand is None or isinstance(result, Declined):
                continue
            if done.times:
                errand.note(*done.times[place])
            errand.take_in(result)

    def ended(self, fault: BaseException) -> None:
        """The process is about to be ended; what it was at is known for the last time."""
        if isinstance(fault, OverdueError):
            self._last = fault.in_hand
        elif self._process is not None:
            self._last = self._process.in_hand

    def rejoin(self) -> None:
        """What is not done is the line's again, in the same order."""
        for place in reversed(range(len(self._errands))):
            self._rejoin(place)

    def fail(self, fault: BaseException) -> None:
        """Nothing comes of what is not done."""
        for errand in self._left():
            errand.failed(fault)

    @property
    def _is_alone(self) -> bool:
        return len(self._errands) == 1

    def _at(self, place: int | None) -> Errand | None:
        """Whose place it is; a process that writes where it should not may name any."""
        return None if place is None or place >= len(self._errands) else self._errands[place]

    def _left(self) -> list[Errand]:
        return [errand for errand in self._errands if errand is not None]

    def _rejoin(self, place: int) -> None:
        errand, self._errands[place] = self._errands[place], None
        if errand is not None and not errand.is_told:
            self._line.rejoin(errand)

    def _turn(self, here: Stage | None, on: Stage | None) -> None:
        """With one image alone, how far it is."""
        errand = self._errands[0]
        if self._is_alone and errand is not None and errand.watch.stage is here:
            errand.watch.turn(on)
