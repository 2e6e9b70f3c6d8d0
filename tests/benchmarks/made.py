"""A made library of any size, as rows: what a database holds after that many photos.

The scores are those that the product would write: made probabilities go through the product's own
taxonomy and scorer. Each photo shows a few classes: a main one, by a popularity that falls off
slowly (a third of the classes are rare), some that are like it, and some that often stand beside
it. One photo in a hundred is a copy of an earlier one, one has vanished, and one of two hundred failed.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from tagger.library import versions
from tagger.scoring import TagScorer, top_labels
from tagger.store import counts, migrate
from tagger.store.catalog import Model
from tagger.store.session import Database, open_database
from tagger.taxonomy import Taxonomy
from tagger.values import LabelScore, TagScore

BATCH = 2_000
"""Photos whose probabilities are made at one time."""
DISTINCT = 40_000
"""Photos that go through the scorer: it would take longer than all else for a million."""
ANIMALS = 0.45
"""The share of photos whose main class is an animal."""
VERDICTS = 400
RUNS = 20
"""The first has half of the images; the last is of `tagger tag`, which does not mark its images."""
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)
"""When the first image was added; a run is over each hour after it."""

_TABLES = {
    "contents": ("id", "digest", "width", "height", "format", "taken_at"),
    "images": ("id", "uri", "size", "mtime_ns", "content_id", "added_at", "vanished_at"),
    "taggings": (
        "image_id",
        "model_id",
        "attempts",
        "run_id",
        "outcome",
        "reason",
        "content_id",
        "engine",
        "precision",
        "loader",
        "finished_at",
    ),
    "class_scores": ("content_id", "model_id", "rank", "label_index", "confidence"),
    "tag_scores": ("content_id", "model_id", "tag_id", "confidence"),
}


Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Photo:
    """What the model makes of one photo."""

    tags: tuple[TagScore, ...]
    labels: tuple[LabelScore, ...]


class Photos:
    """Photos without end, the same for the same seed."""

    def __init__(self, taxonomy: Taxonomy, floor: float, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        keys = [label.key for label in taxonomy.labels]
        self._floor = floor
        self._scorer = TagScorer(taxonomy, keys, floor, "softmax")
        self._main = _popularity(taxonomy, self._random)
        self._like, self._beside = _company(taxonomy, self._random)
        noise = self._random.exponential(1.0, (500, len(keys)))
        self._made: list[Photo] = []
        self._noise = noise / noise.sum(axis=1, keepdims=True)

    def take(self, number: int) -> Iterator[Photo]:
        """So many more: the first :data:`DISTINCT` each from probabilities of its own, the others as one of
        these is, a little paler."""
        while number > 0:
            if len(self._made) < DISTINCT:
                some = self._make(min(BATCH, number))
                self._made += some
            else:
                some = [self._paler(index, factor) for index, factor in self._picks(min(BATCH, number))]
            yield from some
            number -= len(some)

    def _make(self, number: int) -> list[Photo]:
        probabilities = self._probabilities(number)
        labels = top_labels(probabilities, self._floor)
        return list(map(Photo, self._scorer(probabilities), labels))

    def _picks(self, number: int) -> Iterator[tuple[int, float]]:
        picks = self._random.integers(0, len(self._made), number).tolist()
        return zip(picks, self._random.uniform(0.85, 1.0, number).tolist(), strict=True)

    def _paler(self, index: int, factor: float) -> Photo:
        like = self._made[index]
        tags = [TagScore(tag.tag, tag.confidence * factor) for tag in like.tags]
        return Photo(
            tuple(tag for tag in tags if tag.confidence >= self._floor),
            tuple(LabelScore(label.index, label.confidence * factor) for label in like.labels),
        )

    def _probabilities(self, number: int) -> NDArray[np.float32]:
        """Float32 [number, classes]: a main class, six others, and a little of everything."""
        draw = self._random
        main = draw.choice(len(self._main), number, p=self._main)
        rows = np.arange(number)
        kind = draw.random((number, 6))
        pick = draw.integers(0, self._like.shape[1], (number, 6))
        others = np.where(kind < 0.55, self._like[main[:, None], pick], self._beside[main[:, None], pick % 4])
        others = np.where(kind > 0.9, draw.choice(len(self._main), (number, 6), p=self._main), others)
        first = draw.beta(1.1, 1.5, number)
        rest = draw.dirichlet([5.0] * 6 + [0.3], number) * (1 - first)[:, None]
        found = self._noise[draw.integers(0, len(self._noise), number)] * rest[:, 6:]
        found[rows, main] += first
        for column in range(6):
            np.add.at(found, (rows, others[:, column]), rest[:, column])
        return found.astype(np.float32)


def _popularity(taxonomy: Taxonomy, draw: np.random.Generator) -> NDArray[np.float64]:
    classes = len(taxonomy.labels)
    weights = 1.0 / (np.arange(classes) + 5.0)
    draw.shuffle(weights)
    animals = np.array(
        ["animal" in taxonomy.ancestors[taxonomy.tag_of_label[label.key]] for label in taxonomy.labels]
    )
    weights[animals] *= ANIMALS / weights[animals].sum()
    weights[~animals] *= (1 - ANIMALS) / weights[~animals].sum()
    return weights / weights.sum()


def _company(taxonomy: Taxonomy, draw: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each class eight that are like it (they share a parent), and four that stand beside it."""
    parents = {tag.name: tag.parents for tag in taxonomy.tags}
    groups: dict[str, list[int]] = {}
    of_class = []
    for index, label in enumerate(taxonomy.labels):
        tag = taxonomy.tag_of_label[label.key]
        above = parents[tag][0] if parents[tag] else tag
        groups.setdefault(above, []).append(index)
        of_class.append(above)
    like = np.array([draw.choice(groups[above], 8) for above in of_class])
    return like, draw.integers(0, len(of_class), (len(of_class), 4))


def fill_anew(places: Sequence[str], images: int) -> None:
    """Migrate the databases at these places, empty as yet, and fill them."""
    with ExitStack() as opened:
        databases = [opened.enter_context(closing(open_database(place))) for place in places]
        for database in databases:
            migrate.ensure(database)
        fill(databases, images)


def fill(databases: Sequence[Database], images: int, seed: int = 0) -> None:
    """Fill databases that are migrated and empty with the same library, tallies and all."""
    choice = versions.choose(databases[0], None)
    photos = Photos(choice.taxonomy, choice.spec.floor, seed)
    with ExitStack() as open_ones:
        several = []
        for database in databases:
            model = versions.register(database, choice)
            open_ones.enter_context(_bulk(database))
            several.append((database, Rows(database, model, images)))
        for entries in Maker(photos, images, seed):
            for database, rows in several:
                with database.writing() as connection:
                    rows.write(connection, entries)
        for database, rows in several:
            with database.writing() as connection:
                rows.finish(connection)
    for database in databases:
        with database.writing() as connection:
            _say(connection, images, seed)


def _say(connection: Connection, images: int, seed: int) -> None:
    """What people say of some photos; and the tallies follow, as they are to."""
    dice = random.Random(seed)
    tags = list(connection.execute(text("SELECT id FROM tags ORDER BY id")).scalars())
    said = {
        (dice.randint(1, images), dice.choice(tags)): dice.choice(("confirm", "reject"))
        for _ in range(VERDICTS)
    }
    with counts.kept_up(connection, sorted({image for image, _ in said})):
        connection.execute(
            text(
                "INSERT INTO verdicts (image_id, tag_id, verdict, decided_at) "
                "VALUES (:image, :tag, :word, :moment)"
            ),
            [
                {"image": image, "tag": tag, "word": word, "moment": _moment(connection)}
                for (image, tag), word in said.items()
            ],
        )
    connection.execute(text("DELETE FROM stale_tags"))  # they were counted


@dataclass(frozen=True, slots=True)
class Entry:
    """An image: its content (its own number, or that of the one it is a copy of), and what it came to."""

    number: int
    content: int
    photo: Photo
    corrupt: bool
    vanished: bool


class Maker:
    """Yields the images of a library, some thousands at a time."""

    def __init__(self, photos: Photos, images: int, seed: int) -> None:
        self._photos = photos
        self._images = images
        self._dice = random.Random(seed)
        self._recent: deque[int] = deque(maxlen=100)  # of these there are copies

    def __iter__(self) -> Iterator[list[Entry]]:
        for first in range(1, self._images + 1, 10 * BATCH):
            number = min(10 * BATCH, self._images + 1 - first)
            yield [self._entry(image, photo) for image, photo in enumerate(self._photos.take(number), first)]

    def _entry(self, number: int, photo: Photo) -> Entry:
        chance = self._dice.random()
        if chance < 0.01 and self._recent:
            return Entry(number, self._dice.choice(self._recent), photo, corrupt=False, vanished=False)
        corrupt = chance > 0.995
        if not corrupt:
            self._recent.append(number)
        return Entry(number, number, photo, corrupt, vanished=0.02 < chance < 0.03)


class Rows:
    """Writes the rows of a library, table by table."""

    def __init__(self, database: Database, model: Model, images: int) -> None:
        self._model = model.id
        self._images = images
        self._tally: Counter[int] = Counter()
        self._done: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._known: dict[int, Photo] = {}
        with database.writing() as connection:
            self._moment = _moment(connection)
            self._ends = {run: _moment(connection, run) for run in range(1, RUNS + 1)}
            self._tags = dict(connection.execute(text("SELECT name, id FROM tags")).all())
            self._rules = counts.rules(connection, model.id, self._tags.values())
            connection.execute(text("DELETE FROM tag_tallies"))
            connection.execute(_NEW_RUN, [self._run(run, connection) for run in self._ends])

    def _run(self, run: int, connection: Connection) -> dict[str, Any]:
        kind, places = ("tag", "root://photos") if run == RUNS else ("enqueue", "photos")
        began = _moment(connection, run - 0.5)
        return {
            "run": run,
            "kind": kind,
            "places": places,
            "model": self._model,
            "began": began,
            "ended": self._ends[run],
        }

    def write(self, connection: Connection, entries: Sequence[Entry]) -> None:
        """The rows of these images."""
        new = [entry for entry in entries if entry.content == entry.number]
        scored = [entry for entry in new if not entry.corrupt]
        for table, rows in (
            ("contents", map(self._content, new)),
            ("images", map(self._image, entries)),
            ("taggings", map(self._tagging, entries)),
            ("class_scores", chain.from_iterable(map(self._labels, scored))),
            ("tag_scores", chain.from_iterable(map(self._scores, scored))),
        ):
            copy(connection, table, _TABLES[table], rows)
        self._count(entries)

    def _count(self, entries: Sequence[Entry]) -> None:
        """Copies come soon after what they are copies of."""
        self._known |= {entry.number: entry.photo for entry in entries}
        self._done.update(run_of(entry.number, self._images) for entry in entries)
        self._failed.update(run_of(entry.number, self._images) for entry in entries if entry.corrupt)
        for entry in entries:
            if not entry.corrupt and not entry.vanished:
                tags = self._known[entry.content].tags
                self._tally.update(
                    self._rules.effective({self._tags[tag.tag]: tag.confidence for tag in tags})
                )
        self._known = {entry.number: entry.photo for entry in entries[-1000:]}

    def finish(self, connection: Connection) -> None:
        """What the runs came to, and the tallies."""
        connection.execute(
            text("UPDATE runs SET total = :done, done = :done, failed = :failed WHERE id = :run"),
            [{"run": run, "done": self._done[run], "failed": self._failed[run]} for run in self._ends],
        )
        if connection.dialect.name == "postgresql":  # the next ids are those after the copied ones
            for table in ("contents", "images", "runs"):
                column = f"pg_get_serial_sequence('{table}', 'id')"
                connection.execute(text(f"SELECT setval({column}, (SELECT MAX(id) FROM {table}))"))
        connection.execute(text("DELETE FROM stale_tags"))
        copy(connection, "tag_tallies", ("tag_id", "images"), self._tally.items())

    def _content(self, entry: Entry) -> Row:
        digest = hashlib.sha256(b"made %d" % entry.number).digest()
        return entry.number, digest, 500, 375, "JPEG", "2019-07-20T16:05:09"

    def _image(self, entry: Entry) -> Row:
        uri = f"root://photos/{entry.number // 1000:04d}/IMG_{entry.number:07d}.jpg"
        content = None if entry.corrupt else entry.content
        return entry.number, uri, 100_000, 1, content, self._moment, self._moment if entry.vanished else None

    def _tagging(self, entry: Entry) -> Row:
        if entry.corrupt:
            came = ("corrupt", "truncated", None, None, None, None)
        else:
            came = ("ok" if entry.photo.tags else "empty", None, entry.content, "openvino", "f32", "pillow")
        run = run_of(entry.number, self._images)
        return entry.number, self._model, 1, None if run == RUNS else run, *came, self._ends[run]

    def _labels(self, entry: Entry) -> Iterator[Row]:
        for rank, label in enumerate(entry.photo.labels, 1):
            yield entry.number, self._model, rank, label.index, label.confidence

    def _scores(self, entry: Entry) -> list[Row]:
        """In the order of the key, so that SQLite appends."""
        return sorted(
            (entry.number, self._model, self._tags[tag.tag], tag.confidence) for tag in entry.photo.tags
        )


_NEW_RUN = text(
    "INSERT INTO runs (id, kind, name, state, model_id, places, started_at, finished_at, done, failed, "
    "reused, seconds) VALUES (:run, :kind, 'made', 'ended', :model, :places, :began, :ended, 0, 0, 0, 1800)"
)


def run_of(image: int, images: int) -> int:
    """The run that an image of so many was done by."""
    half = images // 2
    return 1 if image <= half else 2 + (image - half - 1) * (RUNS - 1) // (images - half)


def copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Many rows into a table, the fastest way there is."""
    names = ", ".join(columns)
    raw: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        raw.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        return
    with raw.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)


def _moment(connection: Connection, hours: float = 0) -> Any:
    """So many hours after the first, as the driver takes it."""
    moment = MOMENT + timedelta(hours=hours)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f") if connection.dialect.name == "sqlite" else moment


@contextmanager
def _bulk(database: Database) -> Iterator[None]:
    """Without indexes and references while it is filled; they are as they were afterwards."""
    sqlite = database.is_sqlite
    with database.writing() as connection:
        indexes = _indexes(connection)
        for name, _ in indexes:
            connection.execute(text(f"DROP INDEX {name}"))
        if not sqlite:
            connection.execute(text("ALTER ROLE CURRENT_USER SET session_replication_role = replica"))
            connection.execute(text("ALTER ROLE CURRENT_USER SET maintenance_work_mem = '1GB'"))
    database.close()
    try:
        yield
    finally:
        with database.writing() as connection:
            for _, statement in indexes:
                connection.execute(text(statement))
            if not sqlite:
                connection.execute(text("ALTER ROLE CURRENT_USER RESET ALL"))
        database.close()
        with database.engine.connect() as connection:
            if not sqlite:
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                connection.exec_driver_sql("VACUUM ANALYZE")  # as autovacuum would, sooner or later
            else:
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("ANALYZE")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()


def _indexes(connection: Connection) -> list[tuple[str, str]]:
    """The indexes of the great tables, but for those of keys."""
    names = ", ".join(f"'{table}'" for table in _TABLES)
    query = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
        f"AND tbl_name IN ({names})"
        if connection.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_%' "
        f"AND tablename IN ({names})"
    )
    rows = connection.execute(text(query)).all()
    return [(row[0], row[1].replace(" ON ONLY ", " ON ")) for row in rows]
