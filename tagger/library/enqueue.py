"""Wanting images from anywhere: paths, folders and URIs become the pending rows of a run.

Rows come first, whatever becomes of the messages; whoever calls this has them sent afterwards
(:mod:`tagger.library.dispatch`). Wanting the same twice does nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from tagger.errors import SourceError
from tagger.library import versions
from tagger.library.lease import Lease
from tagger.library.survey import survey
from tagger.sources import Found, Refused, Roots, look
from tagger.store import runs
from tagger.store.catalog import Model
from tagger.store.census import Census, Seen, Tally, taking
from tagger.store.ledger import Role
from tagger.store.runs import Opening, Priority, RunKind
from tagger.store.session import Database
from tagger.values import OutcomeKind

GROUP = 500
"""Files compared with the store in one transaction."""
REASONS = 5
"""Refusals that a report names."""
NAMED = 20
"""Places that a run names; the others it counts."""


@dataclass(frozen=True, slots=True)
class EnqueueRequest:
    """What is wanted: ``items`` are paths and URIs, each of an image or a folder, beneath the roots.

    ``name`` joins the unfinished run of that name, if there is one. ``strict`` refuses all if one
    item cannot be had; else those that cannot are counted and the rest is wanted.
    """

    items: Iterable[str]
    roots: Roots
    model: str | None = None
    name: str | None = None
    kind: RunKind = RunKind.ENQUEUE
    bulk: bool = False
    retry_failed: bool = False
    follow_links: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Bad:
    """An item that is not wanted, and why: it names no place beneath the roots."""

    item: str
    reason: str


@dataclass(slots=True)
class Enqueued:
    """What came of it; it counts as it goes. ``wanted`` images are the run's, and still to be done."""

    run_id: int = 0
    model: str = ""
    wanted: int = 0
    tally: Tally = field(default_factory=Tally)
    skipped: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    bad_items: int = 0
    warnings: list[str] = field(default_factory=list)


def enqueue(
    database: Database, request: EnqueueRequest, watch: Callable[[Enqueued], None] = lambda done: None
) -> Enqueued:
    """Make a run of all that is wanted; ``watch`` is told how far it is.

    Raises:
        OutsideRootsError, SourceError: with ``strict``, an item leads out of the roots or is no place;
            nothing is written then. Also when a folder cannot be scanned.
        ModelError: there is no such model.
    """
    items: Iterable[str] = request.items
    if request.strict:
        items = list(items)
        for item in items:
            request.roots.canonical(item)
    choice = versions.choose(database, request.model)
    model = versions.register(database, choice)
    first = list(islice(items := iter(items), NAMED))
    with Lease(database, Role.FILL) as lease:
        opening = Opening(
            request.kind,
            model.id,
            _places(first),
            lease.id,
            request.name,
            Priority.BULK if request.bulk else Priority.NEW,
        )
        run_id = database.write(lambda connection: runs.open_run(connection, opening))
        before = database.read(lambda connection: runs.find_run(connection, run_id)).total
        filling = _Filling(database, request, model, Enqueued(run_id, model.name), watch)
        filling.add(chain(first, items))
        run = database.read(lambda connection: runs.find_run(connection, run_id))
        database.write(lambda connection: runs.filled(connection, run_id, lease.id))
    filling.done.wanted = run.total - before
    return filling.done


def _places(first: Sequence[str]) -> tuple[str, ...]:
    shown = tuple(item[:200] for item in first)
    return (*shown, "...") if len(first) == NAMED else shown


@dataclass(slots=True)
class _Filling:
    """One run being filled: files in groups, each folder by a scan."""

    database: Database
    request: EnqueueRequest
    model: Model
    done: Enqueued
    watch: Callable[[Enqueued], None]

    def add(self, items: Iterator[str]) -> None:
        retry, run_id = self.request.retry_failed, self.done.run_id
        with taking(self.database, self.model.id, retry_failed=retry, run_id=run_id) as census:
            while group := list(islice(items, GROUP)):
                uris = dict.fromkeys(uri for item in group if (uri := self._canonical(item)) is not None)
                for folder in self._add_files(census, list(uris)):
                    self._add_folder(folder)
                self.watch(self.done)

    def _canonical(self, item: str) -> str | None:
        try:
            return self.request.roots.canonical(item)
        except SourceError as fault:
            self.done.bad_items += 1
            if len(self.done.bad) < REASONS:
                self.done.bad.append(Bad(item[:200], str(fault)))
            return None

    def _add_files(self, census: Census, uris: Sequence[str]) -> list[str]:
        """Want those that are files; the others, which are folders perhaps, come back."""
        looked = [look(uri, self.request.roots, follow_links=self.request.follow_links) for uri in uris]
        folders = [
            one.uri for one in looked if isinstance(one, Refused) and one.kind is OutcomeKind.UNSUPPORTED
        ]
        files = [one for one in looked if one.uri not in folders]
        before = replace(census.tally)
        census.observe([_seen(one) for one in files])
        self.done.tally += census.tally - before
        self._name([one for one in files if isinstance(one, Refused)])
        return folders

    def _add_folder(self, uri: str) -> None:
        before = self.done.tally

        def watch(tally: Tally) -> None:
            self.done.tally = before + tally
            self.watch(self.done)

        found = survey(
            self.database,
            self.model,
            [self.request.roots.place_of(uri)],
            self.request.roots,
            follow_links=self.request.follow_links,
            retry_failed=self.request.retry_failed,
            watch=watch,
            run_id=self.done.run_id,
        )
        self.done.tally = before + found.tally
        self.done.skipped += found.skipped
        self.done.warnings += found.warnings
        self._name(found.refused)

    def _name(self, refused: Sequence[Refused]) -> None:
        self.done.refused += refused[: REASONS - len(self.done.refused)]


def _seen(one: Found | Refused) -> Seen:
    if isinstance(one, Refused):
        return Seen(one.uri, refusal=(one.kind, one.reason))
    return Seen(one.uri, one.size, one.mtime_ns)
