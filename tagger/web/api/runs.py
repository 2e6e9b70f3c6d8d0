"""Runs: what workers are asked to do, how far it is, and why some of it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, TypeAdapter, field_validator

from tagger.library import control
from tagger.library.filling import FAILURES, Ask
from tagger.store.queries import RunReport
from tagger.store.runs import RunKind
from tagger.values import OutcomeKind
from tagger.web.api.filling import Filled, fill
from tagger.web.api.parameters import USUAL, After, Answer, Body, Cursor, Id, IdInPath, Limit, Name
from tagger.web.site import SiteHere

router = APIRouter(tags=["runs"])


class Run(Answer):
    """A run, as it stands."""

    id: int
    kind: str
    """`tag`, `enqueue`, `scan`, `reindex` or `retry`."""
    name: str | None
    state: str
    """`running`, `paused`, `cancelled`, `ended` or `cut off`."""
    bulk: bool
    model: str | None
    places: list[str]
    """What it is of."""
    started_at: datetime
    finished_at: datetime | None
    total: int
    """So many images it wants,"""
    done: int
    """of which so many have an outcome,"""
    failed: int
    """of which so many failed."""
    reused: int
    """So many were known by their bytes."""
    seconds: float | None
    rate: float
    """Images a second, of late."""
    eta_seconds: float | None
    filling: bool
    """Whether images are still being added."""
    progressed_at: datetime | None
    note: str | None
    """What of the wish could not be had."""

    @field_validator("places", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        return [line for line in value.split("\n") if line] if isinstance(value, str) else value


class RunPage(Answer):
    """A page of runs, the newest first."""

    runs: list[Run]
    next: str | None


class Failure(Answer):
    """An image that could not be tagged, and why."""

    image_id: int
    uri: str
    outcome: str
    reason: str
    finished_at: datetime


class FailurePage(Answer):
    """A page of failures, the latest first."""

    failures: list[Failure]
    next: str | None


class WholeRun(Answer):
    """A run, what its images came to, and the last of those that failed."""

    run: Run
    outcomes: dict[str, int]
    """Images by what they came to; `tagged` are `ok` and `empty` together."""
    failures: list[Failure]

    @field_validator("outcomes", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return dict(value)


class Tick(Answer):
    """What a run did in so many `seconds` from a moment on; nothing, while it was paused."""

    at: datetime
    seconds: float
    done: int
    failed: int


class Throughput(Answer):
    """What a run did when, from its first step to its last."""

    ticks: list[Tick]


class Cancelled(Answer):
    """What is wanted no more."""

    images: int


class Retry(Body):
    """What is to be tried again."""

    outcomes: tuple[OutcomeKind, ...] = FAILURES
    """Only what ended so; every failure, if nothing is said."""
    model: Name | None = None
    """Of which model; the live one, if nothing is said."""

    @field_validator("outcomes")
    @classmethod
    def _are_failures(cls, value: tuple[OutcomeKind, ...]) -> tuple[OutcomeKind, ...]:
        if not value or any(kind.tagged for kind in value):
            raise ValueError("name failures: ok and empty are none")
        return value


_RUNS: Cursor[int] = Cursor(TypeAdapter(Id))
_FAILURES: Cursor[tuple[datetime, int]] = Cursor(TypeAdapter(tuple[AwareDatetime, Id]))


@router.get("/runs", summary="Runs, the newest first")
def list_runs(site: SiteHere, limit: Limit = USUAL, after: After = None) -> RunPage:
    """Those that go on and those that are over."""
    found = control.page(site.database, _RUNS.read(after), limit + 1)
    page, following = _RUNS.page(found, limit, lambda run: run.id)
    return RunPage(runs=[Run.model_validate(run) for run in page], next=following)


@router.get("/runs/{run_id}", summary="One run, and what its images came to", response_model=WholeRun)
def get_run(
    site: SiteHere,
    run_id: IdInPath,
    failures: Annotated[int, Query(ge=0, le=500, description="So many of its last failures.")] = 20,
) -> RunReport:
    """With its last failures; all of them are in a list of their own."""
    return control.show_run(site.database, run_id, failures)


@router.get("/runs/{run_id}/failures", summary="What failed in a run, and why")
def list_failures(
    site: SiteHere,
    run_id: IdInPath,
    outcome: Annotated[OutcomeKind | None, Query(description="Only of this outcome.")] = None,
    limit: Limit = USUAL,
    after: After = None,
) -> FailurePage:
    """The latest first."""
    found = control.failures(site.database, run_id, outcome, _FAILURES.read(after), limit + 1)
    page, following = _FAILURES.page(found, limit, lambda failure: (failure.finished_at, failure.image_id))
    return FailurePage(failures=[Failure.model_validate(each) for each in page], next=following)


@router.get("/runs/{run_id}/throughput", summary="How fast a run was, over time")
def get_throughput(
    site: SiteHere,
    run_id: IdInPath,
    points: Annotated[int, Query(ge=1, le=1000, description="In at most so many steps.")] = 120,
) -> Throughput:
    """In steps of one width; those in which nothing was done are among them."""
    found = control.throughput(site.database, run_id, points)
    return Throughput(ticks=[Tick.model_validate(each) for each in found])


@router.post("/runs/{run_id}/pause", summary="Begin nothing more of a run", status_code=204)
def pause_run(site: SiteHere, run_id: IdInPath) -> None:
    """What is in hand is finished."""
    control.pause(site.database, run_id)


@router.post("/runs/{run_id}/resume", summary="Go on with a run that was paused", status_code=204)
def resume_run(site: SiteHere, run_id: IdInPath) -> None:
    """Where it was."""
    control.resume(site.database, run_id)


@router.post("/runs/{run_id}/cancel", summary="Want no more what is left of a run")
def cancel_run(site: SiteHere, run_id: IdInPath) -> Cancelled:
    """A later scan or enqueuing wants it again."""
    return Cancelled(images=control.cancel(site.database, run_id))


@router.post("/retry", summary="Have failures tried again by the workers", status_code=202)
def retry_failures(site: SiteHere, retry: Retry) -> Filled:
    """As bulk work, in the whole library."""
    ask = Ask(RunKind.RETRY, retry.model or site.settings.model, bulk=True, outcomes=retry.outcomes)
    return Filled.of(fill(site, ask))
