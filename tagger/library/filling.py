"""Wanting images: what a run is asked for becomes its pending rows.

An :class:`Ask` is written into the run's own row in the first transaction and taken out when the run is
filled, so that a process which dies in between leaves it to another. Rows come first, whatever becomes
of the messages; whoever fills has them sent afterwards (:mod:`tagger.library.dispatch`). Wanting the
same twice does nothing twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol

from tagger.errors import ModelError, SettingsError, SourceError, TaggerError
from tagger.library import lookup, versions
from tagger.library.lease import Lease
from tagger.library.survey import Place, gone_away, places_of, shown, survey
from tagger.sources import Found, Refused, Roots, Whereabouts, look, patiently, printable
from tagger.store import jobs, requests, runs, wants
from tagger.store.catalog import Model, Scope, known_images
from tagger.store.census import Census, Seen, Tally, taking
from tagger.store.ledger import PASSING, Role
from tagger.store.requests import Request
from tagger.store.runs import Opening, Priority, RunKind
from tagger.store.session import Database
from tagger.values import OutcomeKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

GROUP = 500
"""Files compared with the store in one transaction."""
REASONS = 5
"""Refusals that a report names."""
NAMED = 20
"""Places that a run names; the others it leaves out."""

ATTEMPTS = 5
"""So often is a request tried whose places do not answer."""
FILLERS = 20
"""So many processes may end while they see to a request, by its fault or not."""
PAUSE = timedelta(seconds=20)
"""How long it waits in between."""

WORTH_RETRYING = (*PASSING, OutcomeKind.TIMEOUT)
"""Failures that another try may cure though the bytes are the same: of the place, or of the hour."""
_ELSEWHERE = (OutcomeKind.MISSING, OutcomeKind.DENIED, OutcomeKind.UNREADABLE)
"""What another machine, or another moment, may see differently."""
FAILURES = tuple(kind for kind in OutcomeKind if not kind.tagged)
"""Everything that a person may want to have tried again."""


class What(StrEnum):
    """What of the known library may be wanted."""

    CHANGED = "changed"
    """The roots are scanned: new, changed, moved and vanished files."""
    MISSING = "missing"
    """Present images that the model was never asked about, or that nobody sees to any more."""
    FAILED = "failed"
    """What failed and may go well now."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted: ``items`` are paths and URIs, each of an image or a folder; ``what`` is of the
    known library; ``outcomes`` are to be tried again. ``name`` joins the unfinished run of that name. Of what
    the model was never asked about, ``where`` leaves only images that have all these tags now, and ``limit``
    so many of them."""

    kind: RunKind
    model: str | None = None
    name: str | None = None
    bulk: bool = False
    items: tuple[str, ...] = ()
    what: tuple[What, ...] = ()
    outcomes: tuple[OutcomeKind, ...] = ()
    retry_failed: bool = False
    where: tuple[str, ...] = ()
    limit: int | None = None
    streamed: bool = False
    """Whether there are more items, which only the process that reads them has."""

    def to_json(self) -> str:
        """As it is kept in the run's row."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Ask:
        """The reverse; raises :class:`ModelError` for what another version of this program wrote."""
        try:
            return cls._of(json.loads(text))
        except (KeyError, TypeError, ValueError) as fault:
            raise ModelError(f"another version of this program asked for it ({fault!r})") from fault

    @classmethod
    def _of(cls, kept: dict[str, Any]) -> Ask:
        return cls(
            kind=RunKind(kept["kind"]),
            model=kept["model"],
            name=kept["name"],
            bulk=kept["bulk"],
            items=tuple(kept["items"]),
            what=tuple(map(What, kept["what"])),
            outcomes=tuple(map(OutcomeKind, kept["outcomes"])),
            retry_failed=kept["retry_failed"],
            where=tuple(kept.get("where", ())),
            limit=kept.get("limit"),
            streamed=kept["streamed"],
        )

    @property
    def places(self) -> tuple[str, ...]:
        """What the run is about, for a person."""
        first = tuple(map(_short, self.items[:NAMED]))
        more = ("...",) if len(self.items) > NAMED else ()
        return (*first, *more, *self.what, *self.outcomes, *self.where)


def _short(item: str) -> str:
    """The beginning of an item, as a line that any database takes: a name may be any bytes."""
    return printable(item[:200].encode(errors="backslashreplace").decode())


@dataclass(frozen=True, slots=True)
class Bad:
    """An item that is not wanted, and why: it names no place beneath the roots."""

    item: str
    reason: str


@dataclass(slots=True)
class Filled:
    """What came of it; it counts as it goes. ``wanted`` images more are the run's to do."""

    run_id: int
    model: str
    wanted: int = 0
    tally: Tally = field(default_factory=Tally)
    skipped: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    bad_items: int = 0
    warnings: list[str] = field(default_factory=list)


def _unwatched(filled: Filled) -> None:
    pass


def check(ask: Ask, roots: Roots) -> None:
    """Raise unless all of the ask can be had.

    Raises:
        OutsideRootsError, SourceError: an item leads out of the roots, or is no place.
        SettingsError: the library is meant, and no roots are set.
        ModelError: there is no such model.
    """
    for item in ask.items:
        roots.canonical(item)
    if ask.what or ask.outcomes:
        _scope(roots)
    if ask.model is not None:
        versions.require(ask.model)


def _require_expression(database: Database, ask: Ask) -> None:
    """Raise :class:`ExpressionError` where it is none, before there is a run that nobody could fill."""
    if ask.where:
        with database.reading() as connection:
            lookup.understood(connection, " ".join(ask.where))


def ask_for(database: Database, ask: Ask) -> int:
    """Open a run, and leave it to be filled by :func:`fill_next`, here or elsewhere; its id.

    Raises :class:`ExpressionError` for photos that are described by no expression.
    """
    _require_expression(database, ask)
    model = versions.register(database, versions.choose(database, ask.model))
    return database.write(lambda connection: _ask_for(connection, ask, model))


def ask_once(database: Database, ask: Ask, job: str, due_at: datetime) -> int | None:
    """As :func:`ask_for`, for a job at its due time; None if somebody has begun it, or while the one
    before is still looking through the library: scans that take longer than the time between them must
    not pile up.

    In one transaction, so that no job is begun for which nothing is asked.
    """
    model = versions.register(database, versions.choose(database, ask.model))

    def work(connection: Connection) -> int | None:
        if not jobs.begin(connection, job, due_at) or requests.is_unfilled(connection, ask.kind):
            return None
        return _ask_for(connection, ask, model)

    return database.write(work)


def _ask_for(connection: Connection, ask: Ask, model: Model) -> int:
    run_id = runs.open_run(connection, _opening(ask, model))
    requests.add(connection, run_id, ask.to_json())
    return run_id


def fill(
    database: Database,
    ask: Ask,
    roots: Roots,
    *,
    stream: Iterable[str] = (),
    watch: Callable[[Filled], None] = _unwatched,
) -> Filled:
    """Open a run and fill it; ``watch`` is told how far it is.

    ``stream`` are items more, of which those that cannot be had are counted and left out; of the ask's
    own, one that cannot be had refuses all.

    Raises as :func:`check`, before anything is written; :class:`SourceError` when a place does not answer
    (the ask is kept then, and tried again by :func:`fill_next`); and :class:`SettingsError` when the run is
    cancelled meanwhile.
    """
    check(ask, roots)
    _require_expression(database, ask)
    model = versions.register(database, versions.choose(database, ask.model))
    stream = iter(stream)
    first = list(islice(stream, NAMED))
    with Lease(database, Role.FILL) as lease:

        def work(connection: Connection) -> Request:
            opening = _opening(ask, model, list(map(_short, first)))
            run_id, body = runs.open_run(connection, opening), replace(ask, streamed=bool(first)).to_json()
            return Request(requests.add(connection, run_id, body, lease.id), run_id, body, 1)

        request = database.write(work)
        try:
            return _answer(database, request, ask, model, roots, chain(first, stream), watch)
        except SourceError:
            database.write(partial(requests.put_off, request_id=request.id, delay=PAUSE))
            raise


class _ToldToStopError(Exception):
    """The process is to end."""


def fill_next(
    database: Database, roots: Roots, stopping: Callable[[], bool] = lambda: False
) -> Filled | None:
    """Add to its run what was asked for the longest ago and nobody sees to; None if there is nothing.

    What cannot be had is left out, and said in the result and in the run. A place that does not answer
    is asked again later, so often and no more: what is asked for may also be what ended others. Once
    ``stopping`` says so, the rest is left to others, and None returned.
    """

    def watch(filled: Filled) -> None:
        if stopping():
            raise _ToldToStopError

    if not database.read(requests.are_waiting):
        return None
    with Lease(database, Role.FILL) as lease:
        request = database.write(partial(requests.take, lease_id=lease.id))
        if request is None:
            return None
        try:
            ask = Ask.from_json(request.body)
            model = versions.register(database, versions.choose(database, ask.model))
            return _answer(database, request, ask, model, roots, (), watch)
        except _ToldToStopError:
            database.write(partial(requests.give_back, request_id=request.id))
            return None
        except SettingsError as fault:  # cancelled meanwhile
            return Filled(request.run_id, "", warnings=[str(fault)])
        except (SourceError, ModelError) as fault:  # or what only another version of this program knows
            return _given_up_or_put_off(database, request, Filled(request.run_id, ""), fault)


def _opening(ask: Ask, model: Model, more: Sequence[str] = ()) -> Opening:
    priority = Priority.BULK if ask.bulk else Priority.NEW
    return Opening(ask.kind, model.id, (*ask.places, *more), ask.name, priority)


def _given_up_or_put_off(database: Database, request: Request, filled: Filled, fault: TaggerError) -> Filled:
    filled.warnings.append(str(fault))
    if request.attempts < ATTEMPTS:
        database.write(partial(requests.put_off, request_id=request.id, delay=PAUSE))
    else:
        _close(database, request, filled)
    return filled


def _answer(
    database: Database,
    request: Request,
    ask: Ask,
    model: Model,
    roots: Roots,
    stream: Iterable[str],
    watch: Callable[[Filled], None],
) -> Filled:
    """Fill, and note that it is done; raises :class:`SourceError` when a place does not answer."""
    filled = Filled(request.run_id, model.name)
    before = database.read(partial(runs.find_run, run_id=request.run_id)).total
    if request.attempts > FILLERS:
        filled.warnings.append(f"given up: {request.attempts - 1} processes ended while they saw to it")
    else:
        _Filling(database, ask, model, roots, filled, watch).fill(stream)
    if ask.streamed:
        filled.warnings.append("who enqueued it ended before the list was read to its end: enqueue it again")
    filled.wanted = database.read(partial(runs.find_run, run_id=request.run_id)).total - before
    _close(database, request, filled)
    return filled


def _close(database: Database, request: Request, filled: Filled) -> None:
    said = [f"{bad.item}: {bad.reason}" for bad in filled.bad] + filled.warnings
    if filled.bad_items > len(filled.bad):
        said.append(f"{filled.bad_items} were left out in all")
    note = "; ".join(said)[:2000] or None
    database.write(partial(requests.answered, request_id=request.id, run_id=request.run_id, note=note))


def _scope(roots: Roots) -> Scope:
    prefixes = [root.uri for root in roots.items] + [root.uri for root in roots.remote]
    if not prefixes:
        raise SettingsError("no roots are set: name the folders of the library in TAGGER_ROOTS")
    return Scope(tuple(f"{prefix}/" for prefix in prefixes))


class _Find(Protocol):
    """Finds images with ids after one, some hundreds of them, in the order of ids."""

    def __call__(self, connection: Connection, after: int) -> list[int]: ...


@dataclass(slots=True)
class _Filling:
    """One run being filled: files in groups, folders by a scan, known images by their ids."""

    database: Database
    ask: Ask
    model: Model
    roots: Roots
    filled: Filled
    watch: Callable[[Filled], None]

    def fill(self, stream: Iterable[str]) -> None:
        self._add_items(chain(self.ask.items, stream))
        if What.CHANGED in self.ask.what:
            self._scan()
        if What.MISSING in self.ask.what:
            self._want_missing()
        if What.FAILED in self.ask.what:
            self._want_again(WORTH_RETRYING)
        if self.ask.outcomes:
            self._want_again(self.ask.outcomes)
            self._tell_of_vanished(self.ask.outcomes)

    # -- items ------------------------------------------------------------------------------

    def _add_items(self, items: Iterator[str]) -> None:
        with taking(
            self.database,
            self.model.id,
            retry_failed=self.ask.retry_failed,
            run_id=self.filled.run_id,
        ) as census:
            while group := list(islice(items, GROUP)):
                uris = dict.fromkeys(uri for item in group if (uri := self._canonical(item)) is not None)
                self._survey_each(map(self.roots.place_of, self._add_files(census, list(uris))))
                self.watch(self.filled)

    def _canonical(self, item: str) -> str | None:
        try:
            return self.roots.canonical(item)
        except SourceError as fault:
            self.filled.bad_items += 1
            if len(self.filled.bad) < REASONS:
                self.filled.bad.append(Bad(_short(item), str(fault)))
            return None

    def _add_files(self, census: Census, uris: Sequence[str]) -> list[str]:
        """Want those that are files; the others, which are folders perhaps, come back."""
        if not uris:
            return []
        asked = (look(uri, self.roots) for uri in uris)
        whereabouts = Whereabouts(uris[0])
        looked = [one for some in patiently(asked, whereabouts, size=GROUP) for one in some]
        folders = {
            one.uri for one in looked if isinstance(one, Refused) and one.kind is OutcomeKind.UNSUPPORTED
        }
        lacking = [one.uri for one in looked if isinstance(one, Refused) and one.kind in _ELSEWHERE]
        known = set(self.database.read(partial(known_images, uris=lacking)))
        left_alone = folders | self._away([uri for uri in lacking if uri in known])
        self._tell_of_absent([one.uri for one in looked if _is_absent(one) and one.uri not in known])
        files = [one for one in looked if one.uri not in left_alone]
        before = replace(census.tally)
        census.observe([_seen(one, known) for one in files])
        self.filled.tally += census.tally - before
        refused = [one for one in files if isinstance(one, Refused)]
        self._name([one for one in refused if one.kind not in _ELSEWHERE or one.uri in known])
        return sorted(folders)

    def _tell_of_absent(self, uris: Sequence[str]) -> None:
        """They are wanted all the same: a worker may see what is not seen from here."""
        if uris and len(self.filled.warnings) < REASONS:
            more = f" and {len(uris) - 1} more are" if uris[1:] else " is"
            self.filled.warnings.append(f"{_short(uris[0])}{more} not there, as seen from here")

    def _away(self, known: Sequence[str]) -> set[str]:
        """Of known images those that are no more missing than all else at their root, which is not there."""
        away = gone_away(places_of(self.roots), self.roots, known) if known else {}
        for place in dict.fromkeys(map(shown, away.values())):
            self.filled.warnings.append(f"{place} is not there: what is known beneath it was not touched")
        return set(away)

    def _survey(self, place: Place) -> None:
        before = self.filled.tally

        def watch(tally: Tally) -> None:
            self.filled.tally = before + tally
            self.watch(self.filled)

        found = survey(
            self.database,
            self.model,
            [place],
            self.roots,
            follow_links=False,
            retry_failed=self.ask.retry_failed,
            watch=watch,
            run_id=self.filled.run_id,
        )
        self.filled.tally = before + found.tally
        self.filled.skipped += found.skipped
        self.filled.warnings += found.warnings
        self._name(found.refused)

    def _name(self, refused: Sequence[Refused]) -> None:
        self.filled.refused += refused[: REASONS - len(self.filled.refused)]

    # -- the known library ------------------------------------------------------------------

    def _scan(self) -> None:
        """Scan the roots that can be listed."""
        places: list[Place] = [root.path for root in self.roots.items]
        self._survey_each([*places, *(root.address for root in self.roots.remote if root.listable)])

    def _survey_each(self, places: Iterable[Place]) -> None:
        """One that cannot be had now keeps none of the others back."""
        for place in places:
            try:
                self._survey(place)
            except SourceError as fault:
                self.filled.warnings.append(str(fault))

    def _want_missing(self) -> None:
        model_id, run_id = self.model.id, self.filled.run_id
        for group in _missing(self.database, self.ask, self.model.id, self.roots):
            self.database.write(partial(wants.want_for, model_id=model_id, image_ids=group, run_id=run_id))
            self.watch(self.filled)

    def _want_again(self, outcomes: Sequence[OutcomeKind]) -> None:
        model_id, scope, run_id = self.model.id, _scope(self.roots), self.filled.run_id
        find = partial(wants.ended_so, model_id=model_id, scope=scope, outcomes=outcomes)
        for group in self._groups(find):
            self.database.write(
                partial(
                    wants.want_again_for,
                    model_id=model_id,
                    image_ids=group,
                    outcomes=outcomes,
                    run_id=run_id,
                )
            )

    def _tell_of_vanished(self, outcomes: Sequence[OutcomeKind]) -> None:
        """What is not there cannot be tried again, and whoever asked for it should know why."""
        gone = self.database.read(partial(wants.vanished_so, model_id=self.model.id, outcomes=outcomes))
        if gone:
            what = "has vanished and is" if gone == 1 else "have vanished and are"
            self.filled.warnings.append(
                f"{gone:,} with such an outcome {what} left out "
                "(`tagger reindex --changed` finds what is back)"
            )

    def _groups(self, find: _Find) -> Iterator[list[int]]:
        for group in _groups(self.database, find):
            yield group
            self.watch(self.filled)


def _groups(database: Database, find: _Find) -> Iterator[list[int]]:
    last = 0
    while group := database.read(partial(find, after=last)):
        yield group
        last = group[-1]


def _missing(database: Database, ask: Ask, model_id: int, roots: Roots) -> Iterator[list[int]]:
    """What the model was never asked about, as far as the ask is about it, in groups."""
    left = ask.limit
    chosen = (
        {photo.image_id for photo in lookup.search(database, " ".join(ask.where)).photos}
        if ask.where
        else None
    )
    for group in _groups(database, partial(wants.missing, model_id=model_id, scope=_scope(roots))):
        some = [image_id for image_id in group if chosen is None or image_id in chosen][:left]
        if some:
            yield some
        if left is not None:
            left -= len(some)
            if not left:
                return


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reindex would want: ``wanted`` images, beside those of which ``there`` is an outcome already.

    ``rate`` is what was measured of late, in images a second; None if nothing was. What is new on the disk
    is not known before it is scanned.
    """

    model: str
    wanted: int
    there: int
    rate: float | None

    @property
    def hours(self) -> float | None:
        """How long that takes at the measured rate."""
        return self.wanted / self.rate / 3600 if self.rate else None


def plan(database: Database, ask: Ask, roots: Roots) -> Plan:
    """What of the known library the ask would want; nothing is written.

    Raises as :func:`check`, and :class:`NotFound` for a tag that is none.
    """
    check(ask, roots)
    choice = versions.choose(database, ask.model)
    model = versions.find(database, choice)
    model_id = model.id if model else _NOBODY
    wanted = sum(map(len, _missing(database, ask, model_id, roots))) if What.MISSING in ask.what else 0
    if What.FAILED in ask.what:
        find = partial(wants.ended_so, model_id=model_id, scope=_scope(roots), outcomes=WORTH_RETRYING)
        wanted += sum(map(len, _groups(database, find)))
    with database.reading() as connection:
        there = wants.finished(connection, model_id)
        rate = runs.late_rate(connection, model_id)
    return Plan(choice.entry.name, wanted, there, rate)


_NOBODY = -1
"""The id of no model: it has seen nothing yet."""


def _is_absent(one: Found | Refused) -> bool:
    return isinstance(one, Refused) and one.kind is OutcomeKind.MISSING


def _seen(one: Found | Refused, known: Collection[str]) -> Seen:
    if isinstance(one, Found):
        return Seen(one.uri, one.size, one.mtime_ns)
    if one.kind in _ELSEWHERE and one.uri not in known:
        return Seen(one.uri)  # not seen from here, or not yet: a worker's word counts
    return Seen(one.uri, refusal=(one.kind, one.reason))
