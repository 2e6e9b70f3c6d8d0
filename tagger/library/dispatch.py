"""Sending wanted images to workers: a short queue, kept topped up from the database.

The database says what is wanted; a message is a hint to a worker. So the queue is only a few chunks
deep for each worker, and a pass over the database sends what is wanted, not done, and not sent of
late. Passes may overlap, in one process or in many: what one is sending the others leave alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Protocol

from tagger.errors import TaggerError
from tagger.library.lease import free_dead
from tagger.store import dispatch as sending
from tagger.store import ledger
from tagger.store.dispatch import Chunk
from tagger.store.ledger import Worker
from tagger.store.session import Database, only_one

if TYPE_CHECKING:
    from sqlalchemy import Connection

CHUNK_SECONDS = 10.0
"""The work in one message: so much that filling and draining the pipeline does not matter, and so
little that pausing, stopping and new images need not wait for long."""
DEPTH = 2
"""Chunks that wait in the queue for each worker, beside the one that it works on."""
SMALLEST, USUAL, LARGEST = 64, 512, 10_000
"""Images in a chunk: at least, while no worker's speed is known, and at most."""

_PASSES = 7_461_679
"""Guards the passes: of two at one time the later has nothing to add."""


class BrokerUnavailable(TaggerError):
    """The queue cannot be reached; what is wanted stays wanted, and is sent when it is back."""

    transient = True


class Queue(Protocol):
    """Where workers get their messages from; both raise :class:`BrokerUnavailable`."""

    def depth(self) -> int:
        """How many messages wait."""

    def send(self, chunk: Chunk) -> None:
        """Put one more at the end."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a pass came to."""

    depth: int
    workers: int
    chunks: int
    images: int


def dispatch(database: Database, queue: Queue, *, bulk: bool = True) -> Sent:
    """One pass: free what the dead held, end runs that are done, top up the queue.

    ``bulk`` is false outside of the hours for heavy work. Raises :class:`BrokerUnavailable`; what was
    not sent is due at once; what has died before, after its half minute.
    """
    free_dead(database)
    workers = database.read(ledger.workers)
    depth = queue.depth()
    room = DEPTH * max(1, len(workers)) - depth
    chunks = database.write(lambda connection: _take(connection, workers, room, bulk)) if room > 0 else []
    for position, chunk in enumerate(chunks):
        try:
            queue.send(chunk)
        except BrokerUnavailable:
            _take_back(database, chunks[position:])
            raise
    return Sent(depth, len(workers), len(chunks), sum(len(chunk.image_ids) for chunk in chunks))


def _take(connection: Connection, workers: Sequence[Worker], room: int, bulk: bool) -> list[Chunk]:
    if not only_one(connection, _PASSES):
        return []
    chunks: list[Chunk] = []
    for run in sending.sendable(connection, bulk=bulk):
        if len(chunks) < room:
            size = chunk_size(workers, run.left)
            chunks += sending.take(connection, run.id, size, room - len(chunks))
    return chunks


def _take_back(database: Database, chunks: Sequence[Chunk]) -> None:
    def work(connection: Connection) -> None:
        for chunk in chunks:
            sending.unsend(connection, chunk)

    database.write(work)


def chunk_size(workers: Sequence[Worker], left: int) -> int:
    """Images for one message, by the speed of the workers; few ones are shared out among all."""
    rates = [worker.rate for worker in workers if worker.rate]
    usual = round(median(rates) * CHUNK_SECONDS) if rates else USUAL
    share = -(-left // max(1, len(workers)))
    return max(SMALLEST, min(usual, share, LARGEST))
