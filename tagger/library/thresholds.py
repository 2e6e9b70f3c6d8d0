"""Thresholds by tag: looked at, set, and fitted to what people said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from tagger import models
from tagger.errors import ModelError
from tagger.library import lookup, versions
from tagger.models import own
from tagger.store import catalog, thresholds
from tagger.store.catalog import Model
from tagger.store.session import Database
from tagger.training.calibration import lowest_threshold
from tagger.values import Case

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """A tag's threshold before and after, and what it stands on: of so many ``cases``, ``above`` are at least
    as sure as the new one, with this ``precision`` (0-1). ``after`` is None where no threshold has the
    wanted precision over enough cases, and the old one stays: then these are of the old one."""

    model: str
    tag: str
    before: float
    after: float | None
    cases: int
    above: int
    precision: float | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A tag's threshold under a model version."""

    model: str
    tag: str
    threshold: float


def listed(database: Database, model: str | None) -> list[Listed]:
    """All thresholds of a version, of the live ones if None. Raises :class:`ModelError`."""
    with database.reading() as connection:
        return [
            Listed(chosen.name, each.tag, each.threshold)
            for chosen in _models(connection, model)
            for each in thresholds.listed(connection, chosen)
        ]


def named(database: Database, words: Sequence[str]) -> set[str]:
    """The tags that words mean, each word one or more; raises :class:`NotFound`."""
    with database.reading() as connection:
        return {tag for word in words for tag in lookup.tags_meant(connection, word.split())}


def change(database: Database, model: str | None, tag: str, threshold: float) -> list[Listed]:
    """Set one under a version, or under the live ones that know the tag; what was set.

    Raises :class:`NotFound` or :class:`ModelError`.
    """
    with database.writing() as connection:
        (name, *more) = lookup.tags_meant(connection, tag.split())
        if more:
            raise ModelError(f"{tag} is several tags: {', '.join((name, *more))}")
        chosen = _models(connection, model)
        knowing = [
            each for each in chosen if name in {one.tag for one in thresholds.listed(connection, each)}
        ]
        if not knowing:
            raise ModelError(f"{' and '.join(each.name for each in chosen)} has no tag {name}")
        for each in knowing:
            thresholds.change(connection, each, {name: threshold})
    return [Listed(each.name, name, threshold) for each in knowing]


def fit(
    database: Database,
    model: str | None,
    precision: float,
    least_cases: int,
    *,
    held_out: bool = False,
    dry_run: bool = False,
) -> list[Fitted]:
    """Give each tag with enough cases the lowest threshold at which its precision is the wanted one, under a
    version or under all live ones.

    Cases are the images that people spoke of; or, if ``held_out``, those that a trained model was measured
    with. The precision is that over these: it is as good as their choice.

    Raises :class:`ModelError` when the model has no images that it was measured with.
    """
    found = []
    with database.writing() as connection:
        chosen = _models(connection, model)
        if held_out and model is None:
            chosen = [each for each in chosen if _measured(each) is not None] or chosen
        for each in chosen:
            before = {one.tag: one.threshold for one in thresholds.listed(connection, each)}
            cases = _held_out(each) if held_out else thresholds.cases(connection, each)
            fitted = [
                _fitted(each.name, tag, before[tag], some, precision, least_cases, judged_all=held_out)
                for tag, some in sorted(cases.items())
                if tag in before and len(some) >= least_cases
            ]
            found += fitted
            if not dry_run:
                floor = catalog.floor(connection, each)
                new = {one.tag: max(one.after, floor) for one in fitted if one.after is not None}
                thresholds.change(connection, each, new)
    return found


def _measured(model: Model) -> tuple[NDArray[np.float32], NDArray[np.int8]] | None:
    return own.held_out(models.get(model.spec)) if model.spec in models.names() else None


def _held_out(model: Model) -> dict[str, list[Case]]:
    """By tag, all images that a model was measured with when it was trained."""
    versions.require_same(model)
    measured = _measured(model)
    if measured is None:
        raise ModelError(
            f"{model.name} was not trained here, so there are no photos that it was measured with: "
            "confirm and reject some, and fit to these"
        )
    confidences, truth = measured
    tags = [tag.name for tag in versions.choose_spec(models.get(model.spec)).taxonomy.tags]
    return {
        tag: [Case(float(sure), said == 1) for sure, said in zip(row, told, strict=True) if said >= 0]
        for tag, row, told in zip(tags, confidences.T, truth.T, strict=True)
    }


def _fitted(
    model: str,
    tag: str,
    before: float,
    cases: Sequence[Case],
    precision: float,
    least_cases: int,
    *,
    judged_all: bool,
) -> Fitted:
    """``judged_all``: the cases are all images of a choice, and not those that somebody cared to speak of."""
    is_told = not judged_all or not all(case.right for case in cases)
    best = lowest_threshold(cases, precision, least_cases // 2) if is_told else None
    held = [case.right for case in cases if case.confidence >= before]
    if best is None:
        return Fitted(
            model, tag, before, None, len(cases), len(held), sum(held) / len(held) if held else None
        )
    # All that people spoke of is above: of what is less sure nobody said that it is wrong.
    after = best.threshold if judged_all or best.above < len(cases) else min(best.threshold, before)
    return Fitted(model, tag, before, after, len(cases), best.above, best.precision)


def _models(connection: Connection, name: str | None) -> list[Model]:
    """The version of that name; all live ones if None."""
    if name is not None:
        return [catalog.find_model(connection, name)]
    live = [model for model in catalog.models(connection) if model.live]
    if not live:
        raise ModelError("nothing is tagged in this database yet: run `tagger tag PATH` first")
    return live
