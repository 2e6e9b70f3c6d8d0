"""Thresholds by tag: looked at, set, and fitted to what people said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagger.errors import ModelError
from tagger.library import lookup, versions
from tagger.store import catalog, thresholds
from tagger.store.catalog import Model
from tagger.store.session import Database
from tagger.store.thresholds import Case, Threshold


@dataclass(frozen=True, slots=True)
class Fitted:
    """A tag's threshold before and after, and what it stands on: so many ``cases``, of which ``above`` are at
    least as sure as the new one and have this ``precision`` (0-1). ``after`` is None where no threshold has
    the wanted precision over enough cases: the old one stays."""

    tag: str
    before: float
    after: float | None
    cases: int
    above: int
    precision: float


def listed(database: Database, model: str | None) -> list[Threshold]:
    """All thresholds of a version, the live one if None. Raises :class:`ModelError`."""
    with database.reading() as connection:
        return thresholds.listed(connection, _model(database, model))


def named(database: Database, words: Sequence[str]) -> set[str]:
    """The tags that words mean, each word one or more; raises :class:`NotFound`."""
    with database.reading() as connection:
        return {tag for word in words for tag in lookup.tags_meant(connection, word.split())}


def change(database: Database, model: str | None, tag: str, threshold: float) -> str:
    """Set one; the tag's own name. Raises :class:`NotFound` or :class:`ModelError`."""
    chosen = _model(database, model)
    with database.writing() as connection:
        (name, *more) = lookup.tags_meant(connection, tag.split())
        if more:
            raise ModelError(f"{tag} is several tags: {', '.join((name, *more))}")
        thresholds.change(connection, chosen, {name: threshold})
    return name


def fit(
    database: Database, model: str | None, precision: float, least_cases: int, *, dry_run: bool = False
) -> list[Fitted]:
    """Give each tag with enough verdicts the lowest threshold at which its precision is the wanted one.

    The precision is that over the images which people spoke of: it is as good as their choice of these.
    """
    chosen = _model(database, model)
    with database.writing() as connection:
        before = {each.tag: each.threshold for each in thresholds.listed(connection, chosen)}
        found = [
            _fitted(tag, before[tag], cases, precision, least_cases)
            for tag, cases in sorted(thresholds.cases(connection, chosen).items())
            if tag in before and len(cases) >= least_cases
        ]
        if not dry_run:
            new: Mapping[str, float] = {each.tag: each.after for each in found if each.after is not None}
            thresholds.change(connection, chosen, new)
    return found


def _fitted(tag: str, before: float, cases: Sequence[Case], precision: float, least_cases: int) -> Fitted:
    surest = sorted(cases, key=lambda case: -case.confidence)
    best: tuple[float, int, float] | None = None
    right = 0
    for above, case in enumerate(surest, start=1):
        right += case.right
        is_step = above == len(surest) or surest[above].confidence < case.confidence
        if is_step and above >= least_cases // 2 and right / above >= precision:
            best = _between(surest, above), above, right / above
    if best is None:
        return Fitted(tag, before, None, len(cases), len(cases), right / len(cases))
    threshold, above, reached = best
    return Fitted(tag, before, threshold, len(cases), above, reached)


def _between(surest: Sequence[Case], above: int) -> float:
    """Half way to the next case, so that what lies between is not decided by a hair. Below the last one
    nobody has said anything: no further than that."""
    here = surest[above - 1].confidence
    if above == len(surest):
        return here
    below = surest[above].confidence
    rounded = round((here + below) / 2, 3)
    return rounded if below < rounded <= here else here


def _model(database: Database, name: str | None) -> Model:
    known = versions.registered(database)
    if name is None:
        live = [model for model in known if model.live]
        if len(live) == 1:
            return live[0]
        raise ModelError(
            "say which version with --model: " + ", ".join(model.name for model in live)
            if live
            else "nothing is tagged in this database yet: run `tagger tag PATH` first"
        )
    with database.reading() as connection:
        return catalog.find_model(connection, name)
