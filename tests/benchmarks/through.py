"""Images loaded as fast as can be, with nothing behind: what the loading processes can do by themselves."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue

from tagger.loading import Found
from tagger.values import ImageRef, LoadFailure


class _Client:
    """Wants all, and keeps nothing."""

    def __init__(self) -> None:
        self.through: SimpleQueue[Found | BaseException] = SimpleQueue()

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        return [True] * len(found)

    def done(self, ref: ImageRef, result: Found) -> None:
        self.through.put(result)

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.through.put(fault)


def loaded(
    refs: Iterator[ImageRef], room: int, submit: Callable[[Sequence[ImageRef], _Client], None]
) -> Iterator[Found]:
    """What becomes of the images, in the order of finishing, with up to ``room`` of them under way."""
    client, running = _Client(), 0
    while True:
        if room - running >= room // 2:
            some = list(itertools.islice(refs, room - running))
            submit(some, client)
            running += len(some)
        if not running:
            return
        found = client.through.get()
        if isinstance(found, BaseException):
            raise found
        assert not isinstance(found, LoadFailure), found.reason
        running -= 1
        yield found
