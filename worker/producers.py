"""Putting messages into the queues; and :func:`enqueue`, for producers that are Python.

Rows come first: what is wanted stands in the database before a message is sent, and a message that
is lost is sent again by the dispatcher.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from redis.exceptions import RedisError

from tagger.errors import masked
from tagger.library import versions
from tagger.library.dispatch import BrokerUnavailable, dispatch
from tagger.library.filling import Ask, Filled, fill
from tagger.settings import Settings, load_settings
from tagger.sources import Roots
from tagger.store import migrate
from tagger.store.dispatch import Chunk
from tagger.store.runs import RunKind
from tagger.store.session import open_database
from worker.app import IMAGES, REQUESTS, TAG_CHUNK, make_app
from worker.messages import arguments_of, run_of_messages


class CeleryQueue:
    """The queue of chunks, as :class:`tagger.library.dispatch.Queue` wants it."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def depth(self, queue: str = IMAGES) -> int:
        """How many messages wait; raises :class:`BrokerUnavailable`."""
        with _translated(self._app), self._app.connection_for_write() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except ChannelError:
                return 0  # an empty queue does not exist

    def depths(self) -> dict[str, int]:
        """How many messages wait in each queue."""
        return {queue: self.depth(queue) for queue in (IMAGES, REQUESTS)}

    def send(self, chunk: Chunk) -> None:
        """Put one at the end; raises :class:`BrokerUnavailable`."""
        with _translated(self._app):
            self._app.send_task(TAG_CHUNK, kwargs=arguments_of(chunk), queue=IMAGES)


def enqueue(
    paths: Iterable[str],
    *,
    run: str | None = None,
    bulk: bool = False,
    model: str | None = None,
    retry_failed: bool = False,
    settings: Settings | None = None,
) -> Filled:
    """Have images tagged by the workers: paths and URIs, of images and folders beneath the roots.

    ``run`` joins the unfinished run of that name (that of messages unless given, so that a call for each
    image makes no run for each); ``bulk`` work goes after all other. The settings are
    those of the environment unless given. Returns what is wanted now; tagging follows.

    Raises:
        OutsideRootsError, SourceError: one of the paths is no place beneath the roots; nothing is
            wanted then.
        BrokerUnavailable: rows are written, and the dispatcher sends them when the broker is back.
        TaggerError: the settings, the model or the database cannot be used.
    """
    settings = settings or load_settings()
    versions.adopt_own(settings.own_models)
    queue = CeleryQueue(make_app(settings))
    database = open_database(settings.database)
    try:
        migrate.check(database)
        items = (paths,) if isinstance(paths, str) else tuple(paths)
        name = run or run_of_messages(bulk=bulk)
        ask = Ask(RunKind.ENQUEUE, model or settings.model, name, bulk, items, retry_failed=retry_failed)
        filled = fill(database, ask, Roots.parse(settings.roots))
        dispatch(database, queue, bulk=False)  # those who work know its hours
        return filled
    finally:
        database.close()


@contextmanager
def _translated(app: Celery) -> Iterator[None]:
    try:
        yield
    except (OperationalError, RedisError, OSError) as fault:
        place = masked(str(app.conf.broker_url))
        raise BrokerUnavailable(f"the broker at {place} does not answer: {fault}") from fault
