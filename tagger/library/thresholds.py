"""Thresholds by tag: looked at, set, and fitted to what people said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tagger import models
from tagger.errors import ModelError
from tagger.library import lookup, versions
from tagger.models import own
from tagger.store import catalog, thresholds
from tagger.store.catalog import Model
from tagger.store.session import Database
from tagger.store.thresholds import Threshold
from tagger.training.calibration import lowest_threshold
from tagger.values import Case


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
    database: Database,
    model: str | None,
    precision: float,
    least_cases: int,
    *,
    held_out: bool = False,
    dry_run: bool = False,
) -> list[Fitted]:
    """Give each tag with enough cases the lowest threshold at which its precision is the wanted one.

    Cases are the images that people spoke of; or, if ``held_out``, those that a trained model was measured
    with. The precision is that over these: it is as good as their choice.

    Raises :class:`ModelError` when the model has no images that it was measured with.
    """
    chosen = _model(database, model)
    with database.writing() as connection:
        before = {each.tag: each.threshold for each in thresholds.listed(connection, chosen)}
        cases = _held_out(chosen) if held_out else thresholds.cases(connection, chosen)
        found = [
            _fitted(tag, before[tag], some, precision, least_cases)
            for tag, some in sorted(cases.items())
            if tag in before and len(some) >= least_cases
        ]
        if not dry_run:
            floor = catalog.floor(connection, chosen)
            new: Mapping[str, float] = {
                each.tag: max(each.after, floor) for each in found if each.after is not None
            }
            thresholds.change(connection, chosen, new)
    return found


def _held_out(model: Model) -> dict[str, list[Case]]:
    """By tag, the images that a model was measured with when it was trained, and that it gives a score."""
    spec = models.get(model.spec)
    versions.require_same(model)
    measured = own.held_out(spec)
    if measured is None:
        raise ModelError(
            f"{model.name} was not trained here, so there are no photos that it was measured with: "
            "confirm and reject some, and fit to these"
        )
    confidences, truth = measured
    tags = [tag.name for tag in versions.choose_spec(spec).taxonomy.tags]
    return {
        tag: [
            Case(float(sure), said == 1)
            for sure, said in zip(row, told, strict=True)
            if said >= 0 and sure >= spec.floor
        ]
        for tag, row, told in zip(tags, confidences.T, truth.T, strict=True)
    }


def _fitted(tag: str, before: float, cases: Sequence[Case], precision: float, least_cases: int) -> Fitted:
    best = lowest_threshold(cases, precision, least_cases // 2)
    if best is None:
        right = sum(case.right for case in cases)
        return Fitted(tag, before, None, len(cases), len(cases), right / len(cases))
    return Fitted(tag, before, best.threshold, len(cases), best.above, best.precision)


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
