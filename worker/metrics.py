"""Numbers for Prometheus: what the work tells of itself, counted, and what the dispatcher sees.

Each process has its own :class:`Metrics` with a registry of its own and serves it on a port of its
own. What is counted stands in the worker that did it; what is seen of the whole (queues, runs,
wanted images, workers) stands only in the process that looked, and with the time when it did.
"""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from socket import AF_INET, AF_INET6
from typing import Final, Literal
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tagger.engines import gpu_memory
from tagger.errors import SettingsError
from tagger.metering import Meter, Stage
from tagger.values import OutcomeKind

# From an image's share of a forward pass on a GPU to one that is given up after a minute.
_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
_CHUNK_SECONDS: Final = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_FILL: Final = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
_REQUEST_SECONDS: Final = 10
"""One who asks for numbers and then says nothing is not waited for longer."""


class ChunkResult(StrEnum):
    """What became of a chunk that a worker took."""

    DONE = "done"
    """All its images have an outcome, or are somebody else's by now."""
    HANDED_BACK = "handed_back"
    """The worker was told to end, and gave back what was not done."""
    FAILED = "failed"
    """It came to an error, and what was not done is sent again later."""


@dataclass(frozen=True, slots=True)
class RunSample:
    """How far an unfinished run is.

    ``active`` is false while no image of it is to be sent: it is paused, or waits for its hours.
    ``last_progress``, in seconds since 1970, is when its last outcome was written; when it was
    begun or last resumed, if that was later.
    """

    run: int
    kind: str
    active: bool
    pending: int
    done: int
    failed: int
    last_progress: float


class Metrics(Meter):
    """All that one process has to tell. Every method may be called from any thread.

    ``tasks`` are the names of the tasks whose messages it may refuse: shown from the start, at 0,
    since a rate does not see the first of a kind if its number was not there before.
    """

    def __init__(self, role: Literal["worker", "beat"], tasks: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace="tagger", registry=self.registry)
        self.registry.register(_Memory())
        self._board = _Board()
        self.registry.register(self._board)
        self._gauge("role", "What this process is", ["role"]).labels(role).set(1)
        self._work()
        self._trouble()
        for task in tasks:
            self._refused.labels(task)

    def _work(self) -> None:
        self._images = self._counter("images", "Outcomes written", ["outcome", "model"])
        stages = self._histogram("stage_seconds", "Time of an image at a stage", _SECONDS, ["stage"])
        self._stages = {stage: stages.labels(stage.value) for stage in Stage}
        self._batches = self._counter("batches", "Forward passes")
        self._fill = self._histogram("batch_fill_ratio", "Images in a batch, of its padded size", _FILL)
        chunks = self._counter("chunks", "Chunks taken, by what became of them", ["result"])
        self._chunks = {result: chunks.labels(result.value) for result in ChunkResult}
        self._chunk_seconds = self._histogram("chunk_seconds", "Time of a chunk", _CHUNK_SECONDS)
        self._engine = self._gauge(
            "engine", "What this worker computes with", ["model", "engine", "device", "precision"]
        )

    def _trouble(self) -> None:
        self._halved = self._counter("batches_halved", "Batches for which the device had no memory")
        self._deaths = self._counter("loading_deaths", "Loading processes that died")
        self._timeouts = self._counter("loading_timeouts", "Images whose loading took too long")
        self._refused = self._counter("messages_refused", "Messages refused as they stood", ["task"])
        self._leases_lost = self._counter("leases_lost", "Leases that ran out while work was done on them")
        self._write_failures = self._counter("write_failures", "Groups of outcomes that were not written")

    def _counter(self, name: str, what: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"tagger_{name}", f"{what}.", labels, registry=self.registry)

    def _gauge(self, name: str, what: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"tagger_{name}", f"{what}.", labels, registry=self.registry)

    def _histogram(
        self, name: str, what: str, buckets: Sequence[float], labels: Iterable[str] = ()
    ) -> Histogram:
        return Histogram(f"tagger_{name}", f"{what}.", labels, registry=self.registry, buckets=buckets)

    # -- what the pipeline and the loaders tell -------------------------------------------

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        """See :meth:`tagger.metering.Meter.spent`. Each image counts with its share."""
        histogram = self._stages[stage]
        for _ in range(images):
            histogram.observe(seconds / images)

    def batch(self, images: int, size: int) -> None:
        """See :meth:`tagger.metering.Meter.batch`."""
        self._batches.inc()
        self._fill.observe(images / size)

    def halved(self) -> None:
        """See :meth:`tagger.metering.Meter.halved`."""
        self._halved.inc()

    def died(self) -> None:
        """See :meth:`tagger.metering.Meter.died`."""
        self._deaths.inc()

    def timed_out(self) -> None:
        """See :meth:`tagger.metering.Meter.timed_out`."""
        self._timeouts.inc()

    # -- what the worker tells ------------------------------------------------------------

    def ready(self, model: str, engine: str, device: str, precision: str) -> None:
        """A model is there to be run. From now on each outcome of it is shown, be it 0, for the same
        reason as the tasks are."""
        self._engine.labels(model, engine, device, precision).set(1)
        for kind in OutcomeKind:
            self._images.labels(kind.value, model)

    def written(self, outcomes: Mapping[OutcomeKind, int], model: str) -> None:
        """So many outcomes of each kind were written and committed."""
        for kind, images in outcomes.items():
            self._images.labels(kind.value, model).inc(images)

    def write_failed(self) -> None:
        """A group of outcomes was not written: the database was away or refused."""
        self._write_failures.inc()

    def chunk(self, result: ChunkResult, seconds: float) -> None:
        """A chunk is through, after so many seconds."""
        self._chunks[result].inc()
        self._chunk_seconds.observe(seconds)

    def refused(self, task: str) -> None:
        """A message could not be taken as it stood. ``task`` is a name of ours, never the message's:
        each name is a series for ever."""
        self._refused.labels(task).inc()

    def lease_lost(self) -> None:
        """A lease was not this worker's any more when it was to be renewed or written under."""
        self._leases_lost.inc()

    # -- what the dispatcher sees ---------------------------------------------------------

    def observe_queue(self, depths: Mapping[str, int]) -> None:
        """Messages waiting in each queue, by its name."""
        depth = _family("queue_messages", "Messages waiting in a queue", ["queue"])
        for queue, messages in depths.items():
            depth.add_metric([queue], messages)
        self._board.post("queue", depth)

    def observe_wanted(self, images: Mapping[str, int]) -> None:
        """Images without an outcome, by what they wait for (``free``, ``held``, ``later``)."""
        wanted = _family("wanted_images", "Images without an outcome", ["state"])
        for state, number in images.items():
            wanted.add_metric([state], number)
        self._board.post("wanted", wanted)

    def observe_workers(self, workers: int) -> None:
        """Workers that hold a lease that has not run out."""
        family = _family("workers", "Workers alive, by their leases")
        family.add_metric([], workers)
        self._board.post("workers", family)

    def observe_runs(self, runs: Iterable[RunSample]) -> None:
        """The unfinished runs, all of them; one that is not named is shown no more."""
        images = _family("run_images", "Images of an unfinished run", ["run", "kind", "state"])
        active = _family("run_active", "Whether images of a run are to be sent", ["run"])
        progress = _family("run_last_progress_timestamp_seconds", "When a run last came on", ["run"])
        for each in runs:
            run = str(each.run)
            for state in ("pending", "done", "failed"):
                images.add_metric([run, each.kind, state], getattr(each, state))
            active.add_metric([run], each.active)
            progress.add_metric([run], each.last_progress)
        self._board.post("runs", images, active, progress)


class _Board(Collector):
    """The last look at the whole, by what was looked at; nothing where nobody looked.

    Put up in one piece, so that no scrape sees half of a look, and none a run that is over.
    """

    def __init__(self) -> None:
        self._posted: dict[str, tuple[float, tuple[Metric, ...]]] = {}

    def post(self, what: str, *families: Metric) -> None:
        self._posted[what] = (time.time(), families)

    def collect(self) -> Iterator[Metric]:
        looks = dict(self._posted)
        for _, families in looks.values():
            yield from families
        observed = _family("observed_timestamp_seconds", "When this was last looked at", ["what"])
        for what, (when, _) in looks.items():
            observed.add_metric([what], when)
        yield observed


class _Memory(Collector):
    """What the process and its loading processes hold, asked when somebody wants to know."""

    def collect(self) -> Iterator[Metric]:
        family = _family("device_memory_bytes", "Memory of the devices in use", ["device", "kind"])
        family.add_metric(["cpu", "resident"], _resident_bytes())
        family.add_metric(["cpu", "total"], psutil.virtual_memory().total)
        gpu = gpu_memory()
        if gpu is not None:
            for kind in ("allocated", "reserved", "used", "total"):
                family.add_metric([gpu.device, kind], getattr(gpu, kind))
        yield family


def _family(name: str, what: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tagger_{name}", f"{what}.", labels=labels)


def _resident_bytes() -> int:
    """Of this process and all below it; pages that they share count for each."""
    here = psutil.Process()
    return sum(_resident(process) for process in (here, *here.children(recursive=True)))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # gone since it was listed


class Endpoint:
    """A server that answers on ``port`` until it is closed; see :func:`serve`."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self.port: int = server.server_port
        self._thread = threading.Thread(target=server.serve_forever, name="tagger-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(port: int, metrics: Metrics, alive: Callable[[], bool], address: str = "0.0.0.0") -> Endpoint:
    """Answer ``/metrics`` and ``/healthz`` (200, or 503 when not ``alive``) in a thread of its own.

    ``alive`` is called from other threads and should answer at once. Port 0 takes any that is free.

    Raises :class:`SettingsError` when the port cannot be had.
    """
    server_class = _Server6 if ":" in address else _Server
    try:
        server = server_class((address, port), _Handler)
    except (OSError, OverflowError) as fault:
        raise SettingsError(
            f"metrics cannot be served on {address}, port {port} (TAGGER_METRICS_PORT): {fault}"
        ) from fault
    server.set_app(_pages(metrics, alive))
    return Endpoint(server)


def _pages(metrics: Metrics, alive: Callable[[], bool]) -> WSGIApplication:
    numbers: WSGIApplication = make_wsgi_app(metrics.registry)

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return numbers(environ, start_response)
            case "/healthz":
                status, text = ("200 OK", "alive") if alive() else ("503 Service Unavailable", "not alive")
            case _:
                status, text = "404 Not Found", "there are /metrics and /healthz"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return page


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each who asks, none of which holds up the end of the process."""

    address_family = AF_INET
    daemon_threads = True
    allow_reuse_port = False  # so that a second worker on this port is told, and not half the scrapes

    def server_bind(self) -> None:
        """Without asking DNS for this machine's name, as the parent does: that may take seconds."""
        socketserver.TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_SECONDS

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a scrape every few seconds is no news."""
