"""Comparing folders with the store: what is new, changed, back, gone."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources import (
    Found,
    Refused,
    Root,
    Roots,
    RootState,
    ScanEvent,
    ScanOptions,
    Skipped,
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
from tagger.store.census import Seen, Tally, taking
from tagger.store.session import Database

GROUP = 500
"""Files compared with the store in one transaction."""
REASONS = 5
"""Refusals that a report names."""
LOOK_S = 5.0
"""Seconds for a look at where an image was before, which is worth no longer wait."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found. ``places`` are there, and are to stay; ``scope`` is what they hold."""

    roots: Roots
    places: tuple[Path, ...]
    scope: Scope
    tally: Tally
    skipped: Counter[str]
    refused: tuple[Refused, ...]
    """The first that can never be read, and why."""
    warnings: tuple[str, ...]


def survey(
    database: Database,
    model: Model,
    paths: Sequence[Path],
    roots: Roots,
    *,
    follow_links: bool,
    retry_failed: bool,
    watch: Callable[[Tally], None],
    quiet: Callable[[str], None] = lambda place: None,
) -> Survey:
    """Scan ``paths`` and want what is there from the model; ``watch`` is told how far it is.

    ``quiet`` is told, again and again, the folder that the scan waits for and that does not answer.

    What was known beneath a path and is no longer there is marked as vanished; but a path, or a
    configured root beneath it, that is absent or empty (a disk that is not mounted) marks nothing,
    and gives a warning.

    Raises :class:`SourceError` when none of the paths can be used, or one of them has not answered
    for a minute; what was found up to then is written down.
    """
    named = [_contacted(path) for path in paths]
    within = [
        _contacted(root.path) for root in roots.items if any(path in root.path.parents for path in named)
    ]
    roots = roots.adding(paths)
    present, warnings = _present([*named, *within])
    tops = _outermost([place for place in named if place in present])
    absent = [place for place in {*named, *within} if place not in present]
    scope = Scope(_prefixes(roots, tops), _every_prefix(roots, absent))
    skipped: Counter[str] = Counter()
    refused: list[Refused] = []
    unlisted: list[Unlisted] = []
    with taking(database, model.id, retry_failed=retry_failed) as census:
        for place in tops:
            whereabouts = Whereabouts(str(place))
            events = scan(place, roots, ScanOptions(follow_links=follow_links), whereabouts)
            seen = _seen(events, whereabouts, skipped, refused, unlisted)
            for group in patiently(seen, whereabouts, size=GROUP, quiet=quiet):
                census.observe(group)
                watch(census.tally)
        unknown = tuple(place.uri_prefix for place in unlisted)
        census.close(Scope(scope.prefixes, scope.without + unknown))
    warnings += [warning.reason for warning in unlisted]
    return Survey(roots, tuple(present), scope, census.tally, skipped, tuple(refused), tuple(warnings))


def _contacted(path: Path) -> Path:
    make_contact(path)
    return resolved(path)


def _prefixes(roots: Roots, places: Iterable[Path]) -> tuple[str, ...]:
    return tuple(prefix for place in places for prefix in roots.prefixes(place))


def _every_prefix(roots: Roots, places: Iterable[Path]) -> tuple[str, ...]:
    """What images there begin with, and what they may be called from other days.

    A place may have been tagged under an outer root, or as ``file://``, before it was named.
    """
    found: list[str] = []
    for place in places:
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


def still_there(places: Iterable[Path]) -> None:
    """Raise :class:`SourceError` when a place has gone away since it was scanned."""
    for place in places:
        if root_state(place) is not RootState.PRESENT:
            raise SourceError(
                f"{printable(str(place))} went away while its images were read; those that are left stay "
                "pending: mount it again and run the same command"
            )


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """The paths without those that lie beneath another."""
    every = sorted(set(paths))
    return [path for path in every if not any(parent in every for parent in path.parents)]


def _present(places: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The places that can be believed, and a warning for each that cannot."""
    present: list[Path] = []
    warnings: list[str] = []
    for place in dict.fromkeys(places):
        state = root_state(place)
        if state is RootState.PRESENT:
            present.append(place)
        else:
            warnings.append(_warning(printable(str(place)), state))
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


def _seen(
    events: Iterable[ScanEvent],
    whereabouts: Whereabouts,
    skipped: Counter[str],
    refused: list[Refused],
    unlisted: list[Unlisted],
) -> Iterator[Seen]:
    """The events that deserve a row; the others are counted on the way, and all are signs of life."""
    for event in events:
        whereabouts.signs += 1
        match event:
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
