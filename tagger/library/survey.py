"""Comparing folders with the store: what is new, changed, back, gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources import (
    Found,
    Refused,
    Roots,
    RootState,
    ScanEvent,
    ScanOptions,
    Skipped,
    Unlisted,
    root_state,
    scan,
)
from tagger.store.catalog import Model
from tagger.store.census import Seen, Tally, taking
from tagger.store.session import Database

GROUP = 500
"""Files compared with the store in one transaction."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found. ``prefixes`` begin the URIs of the places that are there."""

    roots: Roots
    places: tuple[Path, ...]
    prefixes: tuple[str, ...]
    tally: Tally
    skipped: Counter[str]
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
) -> Survey:
    """Scan ``paths`` and want what is there from the model; ``watch`` is told how far it is.

    What was known beneath a path and is no longer there is marked as vanished; but a path that is
    itself absent or empty (a disk that is not mounted) marks nothing, and gives a warning.

    Raises :class:`SourceError` when none of the paths can be used.
    """
    roots = roots.adding(paths)
    places, warnings = _present(_outermost(paths))
    prefixes = tuple(prefix for place in places for prefix in roots.prefixes(place))
    skipped: Counter[str] = Counter()
    unlisted: list[Unlisted] = []
    with taking(database, model.id, retry_failed=retry_failed) as census:
        for place in places:
            events = scan(place, roots, ScanOptions(follow_links=follow_links))
            for group in _groups(_seen(events, skipped, unlisted), GROUP):
                census.observe(group)
                watch(census.tally)
        census.close(prefixes, [place.uri_prefix for place in unlisted])
    warnings += [warning.reason for warning in unlisted]
    return Survey(roots, tuple(places), prefixes, census.tally, skipped, tuple(warnings))


def still_there(places: Iterable[Path]) -> None:
    """Raise :class:`SourceError` when a place has gone away since it was scanned."""
    for place in places:
        if root_state(place) is not RootState.PRESENT:
            raise SourceError(
                f"{place} went away while its images were read; those that are left stay pending: "
                "mount it again and run the same command"
            )


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """The paths, resolved, without those that lie beneath another."""
    resolved = sorted({path.resolve() for path in paths})
    return [path for path in resolved if not any(parent in resolved for parent in path.parents)]


def _present(places: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The places that can be believed, and a warning for each that cannot."""
    present: list[Path] = []
    warnings: list[str] = []
    for place in places:
        state = root_state(place)
        if state is RootState.PRESENT:
            present.append(place)
        else:
            warnings.append(_warning(place, state))
    if warnings and not present:
        raise SourceError("; ".join(warnings))
    return present, warnings


def _warning(place: Path, state: RootState) -> str:
    if state is RootState.ABSENT:
        return f"{place} is not there, or cannot be read: nothing beneath it was touched"
    return (
        f"{place} is empty (a disk that is not mounted?): nothing beneath it was touched; "
        "if its photos are gone for good, `tagger forget` removes them"
    )


def _seen(events: Iterable[ScanEvent], skipped: Counter[str], unlisted: list[Unlisted]) -> Iterator[Seen]:
    """The events that deserve a row; the others are counted on the way."""
    for event in events:
        match event:
            case Found(uri, size, mtime_ns):
                yield Seen(uri, size, mtime_ns)
            case Refused(uri, kind, reason):
                yield Seen(uri, refusal=(kind, reason))
            case Skipped(reason):
                skipped[reason.value] += 1
            case Unlisted():
                unlisted.append(event)


def _groups(items: Iterator[Seen], size: int) -> Iterator[list[Seen]]:
    while group := list(islice(items, size)):
        yield group
