"""The tasks: what a message of each name does. Their options stand in one place.

A message is acknowledged when its work is done. One that says nothing that can be done is dropped
with a word in the log; one that met a database that is away goes back into the queue.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, NoReturn

from celery import Celery, Task
from celery.exceptions import Reject

from tagger.errors import DatabaseUnavailable, TaggerError
from tagger.library.filling import ask_for, check
from tagger.sources import Roots
from tagger.store.session import Database
from worker.app import ENQUEUE, TAG_CHUNK
from worker.logs import context
from worker.messages import RefusedMessage, chunk_of, request_of
from worker.metrics import Metrics
from worker.runtime import Runtime

log = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0
"""How long a request waits for a database that is away before it goes back into the queue."""
UNFIT = 70
"""The exit code of a process that cannot be trusted any more (EX_SOFTWARE of sysexits.h)."""


def register_enqueue(
    app: Celery, database: Database, roots: Roots, metrics: Metrics, asked: Callable[[], None]
) -> None:
    """The task of producers: a run is opened, and filled by whoever is free; ``asked`` is told."""

    def enqueue(self: Task, *args: Any, **kwargs: Any) -> None:
        with context(request=self.request.id):
            try:
                ask = request_of(_named(args, kwargs)).ask()
                check(ask, roots)
                run_id = ask_for(database, ask)
            except DatabaseUnavailable as fault:
                log.error("a request is put back in %.0f s: %s", PAUSE_SECONDS, fault)
                time.sleep(PAUSE_SECONDS)  # or it would come round at once, again and again
                raise Reject(str(fault), requeue=True) from None
            except TaggerError as fault:
                _refuse(metrics, ENQUEUE, fault)
            log.info("asked for: %d paths", len(ask.items), extra={"run": run_id})
            asked()

    app.task(name=ENQUEUE, bind=True)(enqueue)


def register_tag_chunk(app: Celery, runtime: Runtime, metrics: Metrics, done: Callable[[], None]) -> None:
    """The task of the dispatcher; ``done`` is called after each, so that the queue is topped up."""

    def tag_chunk(self: Task, *args: Any, **kwargs: Any) -> None:
        try:
            runtime.tag_chunk(chunk_of(_named(args, kwargs)), str(self.request.id))
            done()
        except RefusedMessage as fault:
            _refuse(metrics, TAG_CHUNK, fault)
        except Exception:
            # What is in hand is not given back: it may be what did this, and is halved. See runtime.
            log.critical("this process ends, and another takes its place", exc_info=True)
            logging.shutdown()
            os._exit(UNFIT)

    app.task(name=TAG_CHUNK, bind=True)(tag_chunk)


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if args:
        raise RefusedMessage("arguments are given by name (kwargs), and this message has some without")
    return kwargs


def _refuse(metrics: Metrics, task: str, fault: TaggerError) -> NoReturn:
    metrics.refused(task)
    log.error("message refused: %s", fault)
    raise Reject(str(fault), requeue=False) from None
