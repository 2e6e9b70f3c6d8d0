"""Which contents a model knows already: asked from many threads, answered in groups.

Every image is asked about once its bytes are hashed, so the question must cost next to nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from tagger.store import outcomes
from tagger.store.session import Database
from tagger.values import OutcomeKind

_Answer = Future[Sequence[OutcomeKind | None]]


class KnownContents:
    """What contents already came to under a model, by their digests.

    Whoever asks while a question is under way waits for the next one, which asks for all who wait:
    the more threads there are, the more answers come with each round trip.
    """

    def __init__(self, database: Database, model_id: int) -> None:
        self._inquiry = database.inquiry()
        self._model_id = model_id
        self._waiting: deque[tuple[Sequence[bytes], _Answer]] = deque()
        self._asking = threading.Lock()

    def __call__(self, digests: Sequence[bytes]) -> Sequence[OutcomeKind | None]:
        """The outcome of each of these bytes, or None; raises :class:`DatabaseUnavailable`."""
        answer: _Answer = Future()
        self._waiting.append((digests, answer))
        with self._asking:
            if not answer.done():
                self._ask([self._waiting.popleft() for _ in range(len(self._waiting))])
        return answer.result()

    @property
    def waiting(self) -> int:
        """How many wait for the next question."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the connection go; nobody may ask any more."""
        self._inquiry.close()

    def _ask(self, waiting: list[tuple[Sequence[bytes], _Answer]]) -> None:
        asked = [digest for digests, _ in waiting for digest in digests]
        try:
            known = outcomes.known_contents(self._inquiry, self._model_id, asked)
        except BaseException as fault:
            for _, answer in waiting:
                answer.set_exception(fault)
            return
        for digests, answer in waiting:
            answer.set_result([known.get(digest) for digest in digests])
