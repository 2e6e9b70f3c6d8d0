"""Runs: how far each is and how fast, what came of its photos, and a hand on it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.exceptions import HTTPException

from tagger.library import control, lookup
from tagger.library.filling import FAILURES, Ask
from tagger.store.runs import Run, RunKind, RunState
from tagger.values import OutcomeKind
from tagger.web.api.filling import fill
from tagger.web.api.parameters import IdInPath
from tagger.web.pages.plot import plot
from tagger.web.pages.render import back, page
from tagger.web.site import SiteHere

router = APIRouter(include_in_schema=False)

LISTED: Final = 50
"""Runs that are over and still listed."""
FAILED: Final = 200
"""Failures of a run that are shown: the latest."""
GOING: Final = (RunState.RUNNING, RunState.PAUSED)


@router.get("/runs")
def runs(request: Request, site: SiteHere) -> Response:
    """All that goes on, the last that is over, and the library at a glance."""
    found = control.list_runs(site.database, LISTED)
    status = lookup.status(site.database, failures=20, runs=0)
    return page(
        request,
        "runs.html",
        runs=found,
        status=status,
        outcomes=_by_model(status.outcomes),
        is_going=any(is_going(run) for run in found),
    )


def _by_model(outcomes: tuple[tuple[str, bool, str, int], ...]) -> dict[str, list[tuple[str, int]]]:
    """What each live model came to, the commonest first."""
    found: dict[str, list[tuple[str, int]]] = {}
    for model, live, outcome, images in outcomes:
        if live:
            found.setdefault(model, []).append((outcome, images))
    return found


@router.get("/runs/{run_id}")
def run(
    request: Request,
    site: SiteHere,
    run_id: IdInPath,
    state: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """One run. ``state`` is what a page that asks again shows: if it is another by now, all is shown anew."""
    report = control.show_run(site.database, run_id, FAILED)
    answer = page(
        request,
        "run.html",
        run=report.run,
        report=report,
        plot=plot(control.throughput(site.database, run_id)),
        is_going=is_going(report.run),
        failures=[kind.value for kind in FAILURES],
    )
    if state and state != report.run.state:
        answer.headers["HX-Refresh"] = "true"
    return answer


def is_going(run: Run) -> bool:
    """Whether it may come further by itself."""
    return run.finished_at is None and run.state in GOING


@router.post("/runs/{run_id}/{deed}")
def change(
    request: Request, site: SiteHere, run_id: IdInPath, deed: Literal["pause", "resume", "cancel"]
) -> Response:
    """Pause, resume or cancel a run."""
    {"pause": control.pause, "resume": control.resume, "cancel": control.cancel}[deed](site.database, run_id)
    return back(f"/runs/{run_id}")


@router.post("/retry")
def retry(
    request: Request, site: SiteHere, outcome: Annotated[OutcomeKind | Literal[""], Form()] = ""
) -> Response:
    """Have the workers try again what failed, in one way or in any, and say what becomes of it."""
    chosen = tuple(kind for kind in FAILURES if outcome in ("", kind))
    if not chosen:
        raise HTTPException(422, f"{outcome} is no failure")
    filled = fill(site, Ask(RunKind.RETRY, site.settings.model, bulk=True, outcomes=chosen))
    said = "\n".join([*filled.warnings, site.send(True)])
    return back(f"/runs/{filled.run_id}", said)
