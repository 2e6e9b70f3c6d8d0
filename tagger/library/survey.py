"""Comparing folders with the store: what is new, changed, back, gone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources import (
    Address,
    Found,
    Refused,
    Root,
    Roots,
    RootState,
    ScanEvent,
    ScanOptions,
    Skipped,
    Stretch,
    Unlisted,
    Whereabouts,
    answer,
    make_contact,
    patiently,
    printable,
    resolved,
    root_state,
    scan,
)
from tagger.store.catalog import Model, Scope
from tagger.store.census import Census, Seen, Standing, Tally, taking
from tagger.store.session import Database

GROUP = 500
"""Files compared with the store in one transaction, one by one."""
AT_ONCE = 2000
"""Files that are passed over by one question, if they are unchanged."""
_FEW = 50
"""So many files compared one by one cost as much as a question whether a whole stretch is unchanged."""
REASONS = 5
"""Refusals that a report names."""
LOOK_S = 5.0
"""Seconds for a look at where an image was before, which is worth no longer wait."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found. ``places`` are there, and are to stay; ``scope`` is what they hold."""

    roots: Roots
    places: tuple[Place, ...]
    scope: Scope
    tally: Tally
    skipped: Counter[str]
    refused: tuple[Refused, ...]
    """The first that can never be read, and why."""
    warnings: tuple[str, ...]


def survey(
    database: Database,
    model: Model,
    paths: Sequence[Place],
    roots: Roots,
    *,
    follow_links: bool,
    retry_failed: bool,
    watch: Callable[[Tally], None],
    quiet: Callable[[str], None] = lambda place: None,
    run_id: int | None = None,
) -> Survey:
    """Scan ``paths`` and want what is there from the model; ``watch`` is told how far it is.

    With ``run_id`` what is to be done is that run's.

    ``quiet`` is told, again and again, the folder that the scan waits for and that does not answer.

    What was known beneath a path and is no longer there is marked as vanished; but a path, or a
    configured root beneath it, that is absent or empty (a disk that is not mounted) marks nothing,
    and gives a warning.

    Raises :class:`SourceError` when none of the paths can be used, or one of them has not answered
    for a minute; what was found up to then is written down.
    """
    named = [_contacted(path) for path in paths]
    within = [_contacted(place) for place in places_of(roots) if any(_holds(path, place) for path in named)]
    roots = roots.adding(path for path in paths if isinstance(path, Path))
    present, warnings = _present([*named, *within])
    tops = _outermost([place for place in named if place in present])
    absent = [place for place in {*named, *within} if place not in present]
    scope = Scope(_prefixes(roots, tops), _every_prefix(roots, absent))
    skipped: Counter[str] = Counter()
    refused: list[Refused] = []
    unlisted: list[Unlisted] = []
    with taking(database, model.id, retry_failed=retry_failed, run_id=run_id) as census:
        for place in tops:
            whereabouts = Whereabouts(shown(place))
            events = scan(place, roots, ScanOptions(follow_links=follow_links), whereabouts)
            seen = _seen(events, whereabouts, skipped, refused, unlisted)
            for group in patiently(seen, whereabouts, size=AT_ONCE, weight=_files, quiet=quiet):
                _compare(census, group)
                watch(census.tally)
        unknown = tuple(place.uri_prefix for place in unlisted)
        census.close(Scope(scope.prefixes, scope.without + unknown))
    warnings += [warning.reason for warning in unlisted]
    return Survey(roots, tuple(present), scope, census.tally, skipped, tuple(refused), tuple(warnings))


Place = Path | Address
"""A folder or file of this machine, or on a server."""


def _contacted(place: Place) -> Place:
    if isinstance(place, Address):
        return place
    make_contact(place)
    return resolved(place)


def places_of(roots: Roots) -> list[Place]:
    """Where the roots are."""
    return [*(root.path for root in roots.items), *(root.address for root in roots.remote)]


def _holds(outer: Place, inner: Place) -> bool:
    """Whether ``inner`` lies beneath ``outer``, and is not the same place."""
    if isinstance(outer, Address) or isinstance(inner, Address):
        both = isinstance(outer, Address) and isinstance(inner, Address)
        return both and inner != outer and outer.contains(inner)  # type: ignore[union-attr, arg-type]
    return outer in inner.parents


def shown(place: Place) -> str:
    """A place for a message."""
    return place.uri if isinstance(place, Address) else printable(str(place))


def _prefixes(roots: Roots, places: Iterable[Place]) -> tuple[str, ...]:
    return tuple(prefix for place in places for prefix in roots.prefixes(place))


def _every_prefix(roots: Roots, places: Iterable[Place]) -> tuple[str, ...]:
    """What images there begin with, and what they may be called from other days.

    A place may have been tagged under an outer root, or as ``file://``, before it was named.
    """
    found: list[str] = []
    for place in places:
        if isinstance(place, Address):
            found += [*roots.prefixes(place), f"{place.uri}/"]
            continue
        holding = [root for root in roots.items if root.contains(place)]
        readings = [roots, *(Roots((root,)) for root in [*holding, Root(Path(place.anchor))])]
        found += [prefix for reading in readings for prefix in reading.prefixes(place)]
    return tuple(dict.fromkeys(found))


def moved_away(roots: Roots, old: str, new: str) -> bool:
    """Whether the file at URI ``old`` is certainly gone from there, since ``new`` appeared nearby.

    Certain is only what can be seen: the nearest folder above the old place that still exists must
    hold the new place too. Of a disk that is not mounted, or does not answer, nothing is known.
    """
    try:
        before, after = (Roots(roots.items).adding(["/"]).path_of(uri) for uri in (old, new))
        return answer(partial(_has_left, before, after), before, limit_s=LOOK_S)
    except SourceError:
        return False


def _has_left(before: Path, after: Path) -> bool:
    if os.path.lexists(before):
        return False
    nearest = next(folder for folder in before.parents if folder.is_dir())
    return nearest in after.parents and nearest != Path(nearest.anchor)


def gone_away(places: Iterable[Place], roots: Roots, uris: Iterable[str]) -> dict[str, Place]:
    """Those of ``uris`` whose place, one of ``places``, is not there (any more): nothing is known of them."""
    holding: dict[Place, list[str]] = {}
    for uri in uris:
        with suppress(SourceError):
            there = roots.place_of(uri)
            for place in places:
                if place == there or _holds(place, there):
                    holding.setdefault(place, []).append(uri)
    away = [place for place in holding if root_state(place) is not RootState.PRESENT]
    return {uri: place for place in away for uri in holding[place]}


def _outermost(places: Sequence[Place]) -> list[Place]:
    """The places without those that lie beneath another."""
    every = sorted(set(places), key=shown)
    return [place for place in every if not any(_holds(other, place) for other in every)]


def _present(places: Iterable[Place]) -> tuple[list[Place], list[str]]:
    """The places that can be believed, and a warning for each that cannot."""
    present: list[Place] = []
    warnings: list[str] = []
    for place in dict.fromkeys(places):
        state = root_state(place)
        if state is RootState.PRESENT:
            present.append(place)
        else:
            warnings.append(_warning(shown(place), state))
    if warnings and not present:
        raise SourceError("; ".join(warnings))
    return present, warnings


def _warning(place: str, state: RootState) -> str:
    if state is RootState.ABSENT:
        return f"{place} is not there, or cannot be read: nothing beneath it was touched"
    return (
        f"{place} is empty (a disk that is not mounted?): nothing beneath it was touched; "
        "if its photos are gone for good, `tagger forget` removes them"
    )


def _files(one: Seen | Stretch) -> int:
    return len(one) if isinstance(one, Stretch) else 1


def _compare(census: Census, group: Sequence[Seen | Stretch]) -> None:
    """Pass over what is unchanged: all of it at once, else stretch by stretch; the rest one by one."""
    stretches = [one for one in group if isinstance(one, Stretch)]
    others = [one for one in group if isinstance(one, Seen)]
    standing = _standing(census, stretches) if stretches else Standing.UNCHANGED
    for stretch in stretches if standing is not Standing.UNCHANGED else ():
        worth = standing is Standing.MIXED and len(stretches) > 1 and len(stretch) > _FEW
        if not worth or _standing(census, [stretch]) is not Standing.UNCHANGED:
            others += [Seen(one.uri, one.size, one.mtime_ns) for one in stretch]
    for start in range(0, len(others), GROUP):
        census.observe(others[start : start + GROUP])


def _standing(census: Census, stretches: Sequence[Stretch]) -> Standing:
    return census.passes_over(
        [uri for stretch in stretches for uri in stretch.uris],
        [size for stretch in stretches for size in stretch.sizes],
        [mtime_ns for stretch in stretches for mtime_ns in stretch.mtimes_ns],
    )


def _seen(
    events: Iterable[ScanEvent],
    whereabouts: Whereabouts,
    skipped: Counter[str],
    refused: list[Refused],
    unlisted: list[Unlisted],
) -> Iterator[Seen | Stretch]:
    """The events that deserve a row; the others are counted on the way, and all are signs of life."""
    for event in events:
        whereabouts.signs += 1
        match event:
            case Stretch():
                yield event
            case Found(uri, size, mtime_ns):
                yield Seen(uri, size, mtime_ns)
            case Refused(uri, kind, reason):
                if len(refused) < REASONS:
                    refused.append(event)
                yield Seen(uri, refusal=(kind, reason))
            case Skipped(reason):
                skipped[reason.value] += 1
            case Unlisted():
                unlisted.append(event)
