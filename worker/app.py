"""The Celery application: how messages are carried, in one place."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery, signals
from kombu import Queue

from tagger.errors import SettingsError
from tagger.settings import Settings
from worker import logs, transport

IMAGES = "tagger.images"
"""Chunks of images to be tagged; kept short by the dispatcher."""
REQUESTS = "tagger.requests"
"""What producers ask for, in any language."""

TAG_CHUNK = "tagger.tag_chunk"
ENQUEUE = "tagger.enqueue"
NO_TASK = "none"
"""Stands for the task's name where what was in a queue was no message."""

signals.setup_logging.connect(logs.already_configured)


def make_app(settings: Settings, refused: Callable[[], None] | None = None) -> Celery:
    """The application for these settings; nothing is connected yet.

    ``refused`` is called for each thing in a queue that is no message at all.

    Raises :class:`SettingsError` when no broker is set, or messages would come back too early.
    """
    if settings.broker_url is None:
        raise SettingsError(
            "no broker is set: TAGGER_BROKER_URL=redis://host:6379/0, the same on all machines"
        )
    _require_visibility(settings)
    app = Celery("tagger", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        broker_transport=transport.NAME,
        task_queues=[Queue(IMAGES), Queue(REQUESTS)],
        task_default_queue=REQUESTS,
        task_create_missing_queues=False,
        # JSON and nothing else: a pickle would run whatever its sender likes.
        task_serializer="json",
        accept_content=["json"],
        # What came of an image stands in the database.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # A message is gone when its work is done, and a worker has no more of them than it works on.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        # What killed one worker is not to be handed to the next as it is: the database halves it.
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # A worker waits for its broker as long as it takes.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=4,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout,
            "socket_keepalive": True,
            "socket_connect_timeout": 4,
            "socket_timeout": 10,  # a broker that stands still is one that is away
            "health_check_interval": 10,
            transport.REFUSED: refused or _nothing,
        },
        # Signs of life, speeds and queues are in the database, where one statement shows them all.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return app


def _nothing() -> None:
    pass


def _require_visibility(settings: Settings) -> None:
    """It counts from delivery, so that a chunk in which images hang must end long before."""
    least = 10 * settings.max_seconds
    if not least <= settings.visibility_timeout < float("inf"):
        raise SettingsError(
            f"TAGGER_VISIBILITY_TIMEOUT={settings.visibility_timeout:g}: {least:g} seconds at least, ten "
            "times TAGGER_MAX_SECONDS, so that it is longer than a chunk takes"
        )
