"""What a million wanted images cost, and whether that stays flat: `make bench-wants`.

Real are PostgreSQL, the broker, and the product's own ways: ``fill`` with a stream of paths, the
dispatcher's pass, a worker's claims, look-ups and writing, the question of ``tagger status``. The
library is a tree of empty files in memory, so that each is really looked at and storage is not
measured. Workers are leases of other hosts; this process plays them by turns, without a network:
their scores come from made probabilities, as many rows as photos have. Between the stages most of
what is wanted is completed by plain SQL in the steps of the product (sent, claimed, done, scores),
since a million outcomes one group after the other would take too long.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from tagger.library import lookup, versions
from tagger.library.dispatch import DEPTH, dispatch
from tagger.library.filling import Ask, fill
from tagger.library.known import KnownContents
from tagger.library.workshop import GROUP as WRITTEN
from tagger.scoring import TagScorer, top_labels
from tagger.settings import load_settings
from tagger.sources import Roots
from tagger.store import ledger, migrate, outcomes
from tagger.store.catalog import Model
from tagger.store.ledger import Owner, Report, Role
from tagger.store.outcomes import Provenance
from tagger.store.runs import RunKind
from tagger.store.session import Database, now, open_database
from tagger.supervision.messages import HANDFUL
from tagger.values import ImageFacts, ImageRef, Outcome, OutcomeKind
from tests.benchmarks.servers import broker_server, new_database, postgres_server
from tests.integration.conftest import Broker
from worker.app import IMAGES, make_app
from worker.messages import ChunkMessage, chunk_of
from worker.producers import CeleryQueue
from worker.runtime import CLAIM

WORKERS = (1, 10, 100)
RATE = 100.0
"""Images a second that each made worker says it does: chunks of a thousand."""
STEP = 50_000
"""Images over which a rate of enqueuing is a mean."""
TRIES = 7
"""Passes of one kind, of which the median is told."""
PLAYED = 4
"""Chunks that are tagged in the product's way at each stage."""
TABLES = ("images", "taggings", "contents", "tag_scores", "class_scores")

_bar = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Passes:
    """Seconds of a dispatcher's pass, by what it finds."""

    workers: int
    chunks: int
    images: int
    empty_queue: float
    one_short: float
    full_queue: float


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of the ledger, and what passes and questions took there, in seconds."""

    pending: int
    done: int
    passes: list[Passes]
    status: float
    dead_rows: int
    vacuums: int


@dataclass(frozen=True, slots=True)
class Played:
    """Chunks tagged in the product's way: milliseconds an image, and what they wrote."""

    done_before: int
    images: int
    claim: float
    look_up: float
    write: float
    wal_bytes: float
    tag_scores: float
    deepest: int
    bound: int


@dataclass(slots=True)
class Found:
    """All that was measured."""

    images: int
    tree_seconds: float = 0.0
    enqueued: list[tuple[int, float]] = field(default_factory=list)
    again: float = 0.0
    enqueue_wal_bytes: float = 0.0
    message_bytes: float = 0.0
    marks: list[Mark] = field(default_factory=list)
    played: list[Played] = field(default_factory=list)
    status_command: float = 0.0
    bytes_per_image: dict[str, tuple[float, float]] = field(default_factory=dict)
    rows_per_image: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args()
    began = time.perf_counter()
    with postgres_server() as server, broker_server() as broker, _memory_folder() as folder:
        bench = Bench(new_database(server, "wants"), broker, Path(folder), options.images)
        found = bench.run()
    found.seconds = time.perf_counter() - began
    if options.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        _show(found)


def _memory_folder() -> tempfile.TemporaryDirectory[str]:
    """Where a million empty files cost no disk; a plain temporary folder where there is none."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="tagger-wants-")


class Bench:
    """One database, from nothing to a million images done."""

    def __init__(self, url: str, broker: Broker, folder: Path, images: int) -> None:
        self.url, self.broker, self.images = url, broker, images
        self.library = folder / "library"
        self.roots = Roots.parse([f"photos={self.library}"])
        self.settings = load_settings(
            database_url=url, broker_url=broker.url, roots=(f"photos={self.library}",)
        )
        self.database = open_database(url)
        self.queue = CeleryQueue(make_app(self.settings))
        self.found = Found(images)
        migrate.upgrade(self.database)
        choice = versions.choose(self.database, None)
        self.model = versions.register(self.database, choice)
        self.player = Player(self.database, self.model, choice)
        self.leases: list[int] = []

    def run(self) -> Found:
        """Enqueue, tag, look."""
        self._plant()
        self._enqueue()
        for share in (0.0, 0.1, 0.3, 0.6, 0.9):
            self._complete(round(share * self.images))
            self._play()
            self._mark()
        self._sizes()
        self._status_command()
        self.database.close()
        return self.found

    # -- the library --------------------------------------------------------------------------

    def _path(self, number: int) -> str:
        return f"{self.library}/{number // 1000:04d}/IMG_{number:07d}.jpg"

    def _plant(self) -> None:
        began = time.perf_counter()
        for number in range(self.images):
            if number % 1000 == 0:
                Path(self._path(number)).parent.mkdir(parents=True)
            os.mknod(self._path(number), 0o644)
        self.found.tree_seconds = time.perf_counter() - began

    # -- wanting ------------------------------------------------------------------------------

    def _enqueue(self) -> None:
        before = self._wal()
        self._fill(self._paths())
        self.found.enqueue_wal_bytes = (self._wal() - before) / self.images
        some = min(STEP, self.images)
        began = time.perf_counter()
        self._fill(map(self._path, range(some)))
        self.found.again = some / (time.perf_counter() - began)

    def _fill(self, paths: Iterator[str]) -> None:
        filled = fill(self.database, Ask(RunKind.ENQUEUE, name="wants"), self.roots, stream=paths)
        assert not filled.bad_items and not filled.warnings, filled

    def _paths(self) -> Iterator[str]:
        """All paths. Between two of them no transaction is open: passes are measured there."""
        marks = [share for share in (10_000, 100_000, 300_000) if share < self.images]
        began = time.perf_counter()
        for number in range(self.images):
            yield self._path(number)
            reached = number + 1
            if reached % STEP == 0:
                rate = STEP / (time.perf_counter() - began)
                self.found.enqueued.append((reached, rate))
                _bar.print(f"enqueued {reached:,}: {rate:,.0f} images/s")
                began = time.perf_counter()
            if reached in marks:
                paused = time.perf_counter()
                self._mark()
                began += time.perf_counter() - paused

    # -- passes -------------------------------------------------------------------------------

    def _mark(self) -> None:
        self._sql("ANALYZE taggings, images")  # as autovacuum would, sooner or later
        passes = [self._passes(workers) for workers in WORKERS]
        pending, done = self._counts()
        dead, vacuums = self._one(
            "SELECT n_dead_tup, autovacuum_count FROM pg_stat_user_tables WHERE relname = 'taggings'"
        )
        status = _median(lambda: lookup.status(self.database), 3)
        self.found.marks.append(Mark(pending, done, passes, status, dead, vacuums))
        _bar.print(self.found.marks[-1])

    def _passes(self, workers: int) -> Passes:
        """On an empty queue, on a full one, and on one that a worker took one chunk from."""
        self._employ(workers)
        self.broker.client.delete(IMAGES)
        began = time.perf_counter()
        sent = dispatch(self.database, self.queue)
        empty = time.perf_counter() - began
        full = _median(self._pass)
        one_short = _median(self._pass, before=lambda: self.broker.client.rpop(IMAGES))
        assert self.queue.depth() <= DEPTH * workers
        self._unsend()
        return Passes(workers, sent.chunks, sent.images, empty, one_short, full)

    def _pass(self) -> None:
        dispatch(self.database, self.queue)

    def _employ(self, workers: int) -> None:
        """So many workers on other hosts, which nobody here can know to be dead."""

        def work(connection: Connection) -> list[int]:
            connection.execute(text("DELETE FROM leases"))
            leases = []
            for number in range(workers):
                owner = Owner(f"host-{number:03d}", 1, 0.0)
                leases.append(ledger.open_lease(connection, owner, Role.WORKER, f"worker-{number}"))
                ledger.renew_lease(connection, leases[-1], Report("made", 1, RATE))
            until = now(connection) + timedelta(hours=2)
            connection.execute(text("UPDATE leases SET expires_at = :until"), {"until": until})
            return leases

        self.leases = self.database.write(work)

    def _unsend(self) -> None:
        """As if nothing had been sent, so that each measurement finds the same."""
        self.broker.client.delete(IMAGES)
        self._sql("UPDATE taggings SET not_before = NULL WHERE outcome IS NULL AND not_before IS NOT NULL")

    # -- tagging ------------------------------------------------------------------------------

    def _play(self) -> None:
        """Ten workers take chunks from the broker by turns; a pass after each, as workers do."""
        self._employ(10)
        _, done = self._counts()
        depths, costs, images, wal = [], Costs(), 0, self._wal()
        dispatch(self.database, self.queue)
        for turn in range(PLAYED):
            depths.append(self.queue.depth())
            message = self._next_message()
            if message is None:
                break
            images += self.player.play(message, self.leases[turn % len(self.leases)], costs)
            dispatch(self.database, self.queue)
        wal = self._wal() - wal
        scores = self._one("SELECT COUNT(*) / COUNT(DISTINCT content_id)::float8 FROM tag_scores")[0]
        self.found.played.append(
            Played(
                done,
                images,
                *(1000 * seconds / images for seconds in (costs.claim, costs.look_up, costs.write)),
                wal / images,
                scores,
                max(depths),
                DEPTH * 10,
            )
        )
        _bar.print(self.found.played[-1])
        self._unsend()

    def _next_message(self) -> ChunkMessage | None:
        raw = self.broker.client.rpop(IMAGES)
        if raw is None:
            return None
        assert isinstance(raw, bytes)
        _, arguments, _ = json.loads(base64.b64decode(json.loads(raw)["body"]))
        message = chunk_of(arguments)
        self.found.message_bytes = len(raw) / len(message.images)
        return message

    def _complete(self, until: int) -> None:
        """Have so many done, by plain SQL: the steps of the product, each over all at once."""
        _, done = self._counts()
        if until <= done:
            return
        began = time.perf_counter()
        values = {"model": self.model.id, "images": until - done, "lease": self.leases[0]}
        with self.database.writing() as connection:
            # Foreign keys are not looked up for these rows, since they are as they should be.
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            connection.execute(text("SET LOCAL work_mem = '256MB'"))
            for statement in _COMPLETE:
                connection.execute(text(statement), values)
        _bar.print(f"completed {until - done:,} by SQL in {time.perf_counter() - began:.0f} s")

    # -- looking ------------------------------------------------------------------------------

    def _sizes(self) -> None:
        """Heap (with what is kept apart from it) and indexes, in bytes for each image that is done."""
        _, done = self._counts()
        for table in TABLES:
            per = done if table not in ("images", "taggings") else self.images
            heap, indexes = self._one(
                "SELECT SUM(pg_table_size(relid)), SUM(pg_indexes_size(relid)) "
                f"FROM pg_partition_tree('{table}')"
                if table in ("tag_scores", "class_scores")
                else f"SELECT pg_table_size('{table}'), pg_indexes_size('{table}')"
            )
            self.found.bytes_per_image[table] = (float(heap) / per, float(indexes) / per)
            self.found.rows_per_image[table] = self._one(f"SELECT COUNT(*) FROM {table}")[0] / per

    def _status_command(self) -> None:
        environment = os.environ | {"TAGGER_BROKER_URL": self.broker.url}
        command = [sys.executable, "-m", "tagger", "status", "--db", self.url]
        began = time.perf_counter()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        self.found.status_command = time.perf_counter() - began

    def _counts(self) -> tuple[int, int]:
        pending, done = self._one(
            "SELECT COUNT(*) FILTER (WHERE outcome IS NULL), COUNT(outcome) FROM taggings"
        )
        return pending, done

    def _wal(self) -> int:
        return int(self._one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")[0])

    def _one(self, query: str) -> Any:
        with self.database.reading() as connection:
            return connection.execute(text(query)).one()

    def _sql(self, statement: str) -> None:
        with self.database.writing() as connection:
            connection.execute(text(statement))


_COMPLETE = (
    "CREATE TEMPORARY TABLE batch ON COMMIT DROP AS "
    "SELECT image_id, row_number() OVER (ORDER BY image_id) AS n FROM taggings "
    "WHERE model_id = :model AND outcome IS NULL ORDER BY image_id LIMIT :images",
    "CREATE TEMPORARY TABLE shape ON COMMIT DROP AS "
    "SELECT content_id, row_number() OVER (ORDER BY content_id) AS n FROM class_scores "
    "WHERE model_id = :model AND rank = 1 ORDER BY content_id LIMIT 1000",
    "UPDATE taggings t SET not_before = now() + interval '30 s' FROM batch b "
    "WHERE t.image_id = b.image_id AND t.model_id = :model",
    "UPDATE taggings t SET lease_id = :lease, attempts = 1 FROM batch b "
    "WHERE t.image_id = b.image_id AND t.model_id = :model",
    "INSERT INTO contents (digest, width, height, format) "
    "SELECT sha256(convert_to(image_id || ' made', 'UTF8')), 500, 375, 'JPEG' FROM batch",
    "CREATE TEMPORARY TABLE made ON COMMIT DROP AS "
    "SELECT b.image_id, c.id AS content_id, s.content_id AS like_id "
    "FROM batch b JOIN contents c ON c.digest = sha256(convert_to(b.image_id || ' made', 'UTF8')) "
    "JOIN shape s ON s.n = 1 + b.n % (SELECT COUNT(*) FROM shape)",
    "INSERT INTO class_scores SELECT m.content_id, s.model_id, s.rank, s.label_index, s.confidence "
    "FROM made m JOIN class_scores s ON s.content_id = m.like_id AND s.model_id = :model",
    "INSERT INTO tag_scores SELECT m.content_id, s.model_id, s.tag_id, s.confidence "
    "FROM made m JOIN tag_scores s ON s.content_id = m.like_id AND s.model_id = :model",
    "UPDATE images i SET content_id = m.content_id FROM made m WHERE i.id = m.image_id",
    "UPDATE taggings t SET outcome = 'ok', content_id = m.content_id, engine = 'openvino', "
    "precision = 'f32', loader = 'pillow', finished_at = clock_timestamp(), lease_id = NULL FROM made m "
    "WHERE t.image_id = m.image_id AND t.model_id = :model",
    "UPDATE runs SET done = done + :images WHERE finished_at IS NULL",
)


@dataclass(slots=True)
class Costs:
    """Seconds."""

    claim: float = 0.0
    look_up: float = 0.0
    write: float = 0.0


class Player:
    """Plays a worker's part in a chunk, without files and without a network."""

    def __init__(self, database: Database, model: Model, choice: versions.Choice) -> None:
        self._database, self._model = database, model
        self._known = KnownContents(database, model.id)
        keys = [label.key for label in choice.taxonomy.labels]
        probabilities = _probabilities(len(keys))
        self._tags = TagScorer(choice.taxonomy, keys, choice.spec.floor, "softmax")(probabilities)
        self._labels = top_labels(probabilities, choice.spec.floor)

    def play(self, message: ChunkMessage, lease_id: int, costs: Costs) -> int:
        """Claim, look up and write as a worker does; how many images that were."""
        refs: list[ImageRef] = []
        with _timed(costs, "claim"):
            for start in range(0, len(message.images), CLAIM):
                piece = message.images[start : start + CLAIM]
                refs += self._database.write(
                    partial(ledger.claim_these, model_id=self._model.id, lease_id=lease_id, image_ids=piece)
                )
        for start in range(0, len(refs), WRITTEN):
            group = [self._outcome(ref) for ref in refs[start : start + WRITTEN]]
            with _timed(costs, "look_up"):
                for at in range(0, len(group), HANDFUL):
                    self._known([outcome.digest or b"" for outcome in group[at : at + HANDFUL]])
            with _timed(costs, "write"):
                self._database.write(partial(self._record, lease_id, group))
        return len(refs)

    def _record(self, lease_id: int, group: Sequence[Outcome], connection: Connection) -> None:
        provenance = Provenance("openvino", "f32", "pillow")
        recorded = outcomes.record(connection, self._model.id, lease_id, group, provenance)
        assert len(recorded.image_ids) == len(group)

    def _outcome(self, ref: ImageRef) -> Outcome:
        like = ref.image_id % len(self._tags)
        return Outcome(
            ref.image_id,
            OutcomeKind.OK if self._tags[like] else OutcomeKind.EMPTY,
            digest=hashlib.sha256(ref.uri.encode()).digest(),
            facts=ImageFacts(500, 375, "JPEG", "2019-07-20T16:05:09"),
            tags=self._tags[like],
            labels=self._labels[like],
        )


def _probabilities(classes: int, images: int = 1000) -> Any:
    """As sharp as those of photos: with these, about as many tags are over the floor."""
    logits = np.random.default_rng(0).normal(0, 3.9, (images, classes)).astype(np.float32)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


class _timed:  # noqa: N801 -- reads as a function
    """Adds the seconds of the block to one of the costs."""

    def __init__(self, costs: Costs, which: str) -> None:
        self._costs, self._which = costs, which

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *fault: object) -> None:
        spent = time.perf_counter() - self._began
        setattr(self._costs, self._which, getattr(self._costs, self._which) + spent)


def _median(deed: Callable[[], object], tries: int = TRIES, before: Callable[[], object] = int) -> float:
    spent = []
    for _ in range(tries):
        before()
        began = time.perf_counter()
        deed()
        spent.append(time.perf_counter() - began)
    return median(spent)


def _show(found: Found) -> None:
    """The curves, for people."""
    out = Console(width=110)
    out.print(_table("Enqueued", ["images", "images/s"], [(n, f"{r:,.0f}") for n, r in found.enqueued]))
    out.print(
        _table(
            "The dispatcher's pass, in milliseconds: on an empty queue, one chunk short, on a full queue",
            ["pending", "done", *(f"{workers} workers" for workers in WORKERS), "status", "dead rows"],
            [
                (
                    mark.pending,
                    mark.done,
                    *(_pass_words(one) for one in mark.passes),
                    f"{1000 * mark.status:,.0f}",
                    mark.dead_rows,
                )
                for mark in found.marks
            ],
        )
    )
    out.print(
        _table(
            "Chunks done in the product's way, in milliseconds an image",
            ["done before", "images", "claim", "look up", "write", "WAL bytes", "deepest queue", "bound"],
            [
                (
                    played.done_before,
                    played.images,
                    *(f"{cost:.2f}" for cost in (played.claim, played.look_up, played.write)),
                    round(played.wal_bytes),
                    played.deepest,
                    played.bound,
                )
                for played in found.played
            ],
        )
    )
    out.print(
        _table(
            "On disk, for each image",
            ["table", "rows", "heap, bytes", "indexes, bytes"],
            [
                (table, f"{found.rows_per_image[table]:.1f}", round(heap), round(indexes))
                for table, (heap, indexes) in found.bytes_per_image.items()
            ],
        )
    )
    out.print(
        f"Enqueued again, unchanged: {found.again:,.0f} images/s. "
        f"WAL of enqueuing: {found.enqueue_wal_bytes:,.0f} bytes an image. "
        f"A message: {found.message_bytes:.1f} bytes an image. "
        f"`tagger status` as a process: {found.status_command:.1f} s. In all {found.seconds:,.0f} s."
    )


def _pass_words(one: Passes) -> str:
    spent = " / ".join(f"{1000 * part:,.0f}" for part in (one.empty_queue, one.one_short, one.full_queue))
    return f"{spent} ({one.chunks} chunks)"


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return table


if __name__ == "__main__":
    main()
