"""How fast a library of any size is searched and written, on both databases: `make bench-database`.

The library is made rows (:mod:`tests.benchmarks.made`); searched and written is in the product's own way.
First pages of fifty photos are asked for, by kind of query, each several times in a row and each on a
transaction of its own; the first time, which finds less in memory, is told apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from tagger.library import versions
from tagger.library.known import KnownContents
from tagger.library.workshop import GROUP
from tagger.search import bearings, sql
from tagger.search.expression import All, AnyOf, Expression, Fact, Has, Not
from tagger.search.facts import Facts
from tagger.search.find import choose_way, find
from tagger.search.plan import Walk, sources
from tagger.search.query import Query
from tagger.search.sql import Asked
from tagger.store import ledger, migrate, outcomes, queries
from tagger.store.catalog import Scope
from tagger.store.census import Seen, taking
from tagger.store.ledger import Owner
from tagger.store.outcomes import Provenance
from tagger.store.session import Database, open_database
from tagger.supervision.messages import HANDFUL
from tagger.values import ImageFacts, ImageRef, Outcome, OutcomeKind
from tests.benchmarks.made import Photo, Photos, fill
from tests.benchmarks.servers import new_database, postgres_server

PAGE = 50
TRIES = 3
WRITTEN = 6_000
"""Images that are claimed, looked up and written."""
SCAN = "file:///written"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args()
    found = measure(options.images)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def measure(images: int, samples: int = 25) -> dict[str, Any]:
    """By database: milliseconds of each kind of query, ``samples`` of a kind, plans, and the write path."""
    found: dict[str, Any] = {"images": images}
    with postgres_server() as server, tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        databases = {
            "sqlite": open_database(str(Path(folder) / "tagger.db")),
            "postgresql": open_database(new_database(server, "bench")),
        }
        for database in databases.values():
            migrate.upgrade(database)
        fill(list(databases.values()), images)
        for name, database in databases.items():
            found[name] = {
                "searches": searches(database, samples),
                "questions": questions(database),
                "plans": plans(database),
                "write": write(database),
            }
            database.close()
    return found


# -- searching --------------------------------------------------------------------------------


def searches(database: Database, samples: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the first page by kind of query, and over all."""
    with database.reading() as connection:
        names = [use.tag for use in queries.tags(connection)]
    spent = {
        kind: [_tries(database, partial(find, query=query)) for query in some]
        for kind, some in queries_by_kind(names, samples).items()
    }
    spent["all"] = [tries for some in spent.values() for tries in some]
    return {kind: _summary(some) for kind, some in spent.items()}


def queries_by_kind(names: Sequence[str], samples: int) -> dict[str, list[Query]]:
    """By kind; tags in use come commonest first."""
    dice = random.Random(0)
    common, middling = names[:25], names[len(names) // 10 : len(names) // 3]
    rare = names[len(names) * 2 // 3 :]
    pairs = {
        "two common": lambda: dice.sample(common, 2),
        "common and middling": lambda: [dice.choice(common), dice.choice(middling)],
        "common and rare": lambda: [dice.choice(common), dice.choice(rare)],
        "two of all": lambda: dice.sample(names, 2),
    }
    found: dict[str, list[Expression]] = {
        "common": [Has(tag) for tag in common],
        "middling": [Has(tag) for tag in dice.sample(middling, min(samples, len(middling)))],
        "rare": [Has(tag) for tag in dice.sample(rare, min(samples, len(rare)))],
    }
    for kind, pick in pairs.items():
        found[kind] = [All(tuple(map(Has, pick()))) for _ in range(samples)]
    two = [[Has(name) for name in dice.sample(names[:60], 2)] for _ in range(samples)]
    found["one without another"] = [All((tag, Not(other))) for tag, other in two]
    found["either of two"] = [AnyOf(tuple(pair)) for pair in two]
    found["one and either of two"] = [
        All((tag, AnyOf((other, Has(dice.choice(middling)))))) for tag, other in two
    ]
    found["not one"] = [Not(tag) for tag, _ in two]
    found["one and a year"] = [
        All((tag, Fact("taken", "=", f"{dice.randrange(2010, 2026)}"))) for tag, _ in two
    ]
    return {kind: [Query(each, limit=PAGE) for each in some] for kind, some in found.items()}


def _tries(database: Database, question: Callable[[Connection], object], tries: int = TRIES) -> list[float]:
    spent = []
    for _ in range(tries):
        with database.reading() as connection:
            began = time.perf_counter()
            question(connection)
            spent.append(1000 * (time.perf_counter() - began))
    return spent


def _summary(spent: Sequence[Sequence[float]]) -> dict[str, float]:
    usual = sorted(median(tries) for tries in spent)
    return {
        "p50": usual[len(usual) // 2],
        "p95": usual[int(len(usual) * 0.95)],
        "max": usual[-1],
        "first p95": sorted(tries[0] for tries in spent)[int(len(spent) * 0.95)],
    }


def questions(database: Database) -> dict[str, float]:
    """Milliseconds of other questions, the median of some."""
    asked: dict[str, Callable[[Connection], object]] = {
        "counts": queries.tags,
        "one image": partial(queries.image_report, image_id=10),
        "a run": partial(queries.run_report, run_id=1, failures=10),
        "status": partial(queries.library_status, failures=10, runs=5),
        "view, a tag": partial(_view, tag="dog"),
    }
    return {name: median(_tries(database, question)) for name, question in asked.items()}


def _view(connection: Connection, tag: str) -> object:
    """What people type."""
    query = text(
        "SELECT uri, confidence FROM effective_tags WHERE tag = :tag ORDER BY confidence DESC LIMIT 50"
    )
    return connection.execute(query, {"tag": tag}).all()


def plans(database: Database) -> dict[str, list[str]]:
    """How the database walks, for a common tag and for two that hardly meet."""
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN (COSTS OFF) "
    found = {}
    for names in (("animal",), ("dog", "vehicle")):
        expression = All(tuple(map(Has, names)))
        with database.reading() as connection:
            known = bearings.take(connection, expression)
            (source,) = sources(known, expression)
            assert isinstance(source, Walk)
            choose_way(connection, known, source)
            tags = tuple(known.tags.values())
            step = sql.walk(known, Asked(tags, tags, (), Facts()), source, known.models[0], Query(expression))
            found[" ".join(names)] = [str(row[-1]) for row in connection.execute(text(f"{explain}{step}"))]
    return found


# -- writing ----------------------------------------------------------------------------------


def write(database: Database, images: int = WRITTEN) -> dict[str, float]:
    """Milliseconds an image of claiming, looking up and writing, and rows a second of the latter."""
    choice = versions.choose(database, None)
    model = versions.register(database, choice)
    photos = list(Photos(choice.taxonomy, choice.spec.floor, seed=1).take(2_000))
    files = [Seen(f"{SCAN}/{number:07d}.jpg", 1_000, 1) for number in range(images)]
    with taking(database, model.id) as census:
        for start in range(0, images, 500):
            census.observe(files[start : start + 500])
        census.close(Scope((SCAN,)))
    with database.writing() as connection:
        lease = ledger.open_lease(connection, Owner("bench", 1, 0.0))
    known, spent, rows = KnownContents(database, model.id), Counter[str](), 0
    claim = partial(ledger.claim, model_id=model.id, lease_id=lease, scope=Scope((SCAN,)), limit=2 * GROUP)
    while True:
        with _timed(spent, "claim"):
            refs = database.write(claim)
        if not refs:
            break
        for start in range(0, len(refs), GROUP):
            group = [_outcome(ref, photos[ref.image_id % len(photos)]) for ref in refs[start : start + GROUP]]
            rows += sum(len(outcome.tags) + len(outcome.labels) + 3 for outcome in group)
            with _timed(spent, "look up"):
                for at in range(0, len(group), HANDFUL):
                    known([outcome.digest or b"" for outcome in group[at : at + HANDFUL]])
            with _timed(spent, "write"):
                database.write(partial(_record, model_id=model.id, lease_id=lease, group=group))
    known.close()
    each = {part: 1000 * seconds / images for part, seconds in spent.items()}
    return each | {"together": sum(each.values()), "rows a second": rows / spent["write"]}


def _record(connection: Connection, model_id: int, lease_id: int, group: Sequence[Outcome]) -> None:
    outcomes.record(connection, model_id, lease_id, group, Provenance("openvino", "f32", "pillow"))


def _outcome(ref: ImageRef, photo: Photo) -> Outcome:
    return Outcome(
        ref.image_id,
        OutcomeKind.OK if photo.tags else OutcomeKind.EMPTY,
        digest=hashlib.sha256(ref.uri.encode()).digest(),
        facts=ImageFacts(500, 375, "JPEG", "2019-07-20T16:05:09"),
        tags=photo.tags,
        labels=photo.labels,
    )


@contextmanager
def _timed(spent: Counter[str], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    spent[part] += time.perf_counter() - began  # type: ignore[assignment]


# -- telling ----------------------------------------------------------------------------------


def _show(found: dict[str, Any]) -> None:
    out = Console(width=110)
    for name in ("sqlite", "postgresql"):
        table = Table(
            title=f"{name}, {found['images']:,} images: milliseconds of the first {PAGE}",
            title_justify="left",
        )
        for column in ("query", "p50", "p95", "max", "first p95"):
            table.add_column(column, justify="left" if column == "query" else "right")
        for kind, spent in found[name]["searches"].items():
            table.add_row(kind, *(f"{spent[column]:.1f}" for column in ("p50", "p95", "max", "first p95")))
        for kind, milliseconds in found[name]["questions"].items():
            table.add_row(kind, f"{milliseconds:.1f}")
        out.print(table)
        parts = ", ".join(f"{part} {value:,.2f}" for part, value in found[name]["write"].items())
        out.print(f"Writing, milliseconds an image: {parts}")
        for tags, plan in found[name]["plans"].items():
            out.print(f"{tags}:", *plan, sep="\n  ")


if __name__ == "__main__":
    main()
