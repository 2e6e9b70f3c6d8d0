"""``run``, ``retry``, ``reindex``: what workers are asked to do, and how far it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import errors, escaped, name_of, out, plural, print_json, sparkline, table
from tagger.values import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tagger.library.filling import Ask, Filled
    from tagger.settings import Settings
    from tagger.store.queries import Failure
    from tagger.store.runs import Run, Tick

app = typer.Typer(help="List, show, pause, resume and cancel runs.", no_args_is_help=True)

WIDE = 100
"""Columns of a terminal that has room for everything."""

PLOT = 48
"""Steps in which a person sees how fast a run was: with the words beside them they fit into any terminal."""
STEPS = 120
"""Those for programs, at most."""

RunId = Annotated[int, typer.Argument(metavar="RUN", help="Its number, as `tagger run list` shows it.")]


@app.command("list")
def list_runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many of those that are over.")] = 20,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs that go on, and the last of those that are over."""
    from tagger.library import control

    with open_library(settings_of(context, db)) as database:
        found = control.list_runs(database, limit)
    if as_json:
        print_json([as_data(run) for run in found])
    else:
        out.print(runs_table(found))


@app.command()
def show(
    context: typer.Context,
    run: RunId,
    failures: Annotated[int, typer.Option(min=0, help="So many of its failures, the last first.")] = 20,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one run: what its images came to, how fast, and why some could not be tagged."""
    from tagger.library import control

    with open_library(settings_of(context, db)) as database:
        report = control.show_run(database, run, failures)
        ticks = control.throughput(database, run, STEPS if as_json else PLOT)
    if as_json:
        print_json(
            as_data(report.run)
            | {"outcomes": dict(report.outcomes)}
            | {"failures": [asdict(failure) for failure in report.failures]}
            | {"throughput": [asdict(tick) for tick in ticks]}
        )
        return
    out.print(runs_table([report.run]))
    if ticks:
        out.print(_speed(ticks))
    outcomes = table("Outcome", "Photos", numbers=["Photos"])
    for outcome, images in report.outcomes:
        outcomes.add_row(outcome, f"{images:,}")
    out.print(outcomes)
    if report.failures:
        out.print(failures_table(report.failures))


@app.command()
def pause(context: typer.Context, run: RunId, db: DbOption = None) -> None:
    """Begin nothing more of a run; what is in hand is finished."""
    from tagger.library import control

    with open_library(settings_of(context, db)) as database:
        control.pause(database, run)
    out.print(f"Run {run} is paused: `tagger run resume {run}` goes on with it.")


@app.command()
def resume(context: typer.Context, run: RunId, db: DbOption = None) -> None:
    """Go on with a run that was paused."""
    from tagger.library import control

    settings = settings_of(context, db)
    with open_library(settings) as database:
        control.resume(database, run)
        out.print(f"Run {run} goes on.")


@app.command()
def cancel(context: typer.Context, run: RunId, db: DbOption = None) -> None:
    """Want no more what is left of a run. A later scan or enqueuing wants it again."""
    from tagger.library import control

    with open_library(settings_of(context, db)) as database:
        gone = control.cancel(database, run)
    out.print(
        f"Run {run} is cancelled: {plural(gone, 'image')} {'is' if gone == 1 else 'are'} wanted no more."
    )


def retry(
    context: typer.Context,
    outcome: Annotated[
        list[OutcomeKind] | None,
        typer.Option(help="Only what ended so; may be given several times. Default: every failure."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Of which model. Default: the live one.")] = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have tried again, by the workers, what could not be tagged."""
    from tagger.library.filling import FAILURES, Ask
    from tagger.store.runs import RunKind

    if any(kind.tagged for kind in outcome or ()):
        raise typer.BadParameter("ok and empty are no failures", param_hint="--outcome")
    settings = settings_of(context, db, model=model)
    ask = Ask(RunKind.RETRY, settings.model, bulk=True, outcomes=tuple(outcome or FAILURES))
    _fill(settings, ask, as_json)


def reindex(
    context: typer.Context,
    changed: Annotated[
        bool, typer.Option("--changed", help="Scan the roots: new, changed, moved, vanished.")
    ] = False,
    missing: Annotated[
        bool, typer.Option("--missing", help="What the model was never asked about, or was left pending.")
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="What failed for its place's sake, or took too long.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="For which model. Default: the live one.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="EXPRESSION",
            help="Of what is missing only photos that a search finds: 'dog AND NOT wolf'.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of what is missing only so many photos.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much it would be and how long it would take.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for work in the whole library, as bulk work. Without options: all three.

    A new model beside the live one: `tagger reindex --model efficientnet-lite2 --missing`, then
    `tagger models diff` and `tagger models promote`.
    """
    from tagger.library.filling import Ask, What
    from tagger.store.runs import RunKind

    chosen = [(What.CHANGED, changed), (What.MISSING, missing), (What.FAILED, failed)]
    narrowed = bool(where) or limit is not None
    if narrowed and (changed or failed):
        raise typer.BadParameter(
            "--where and --limit are of what is missing: leave out --changed and --failed"
        )
    what = tuple(each for each, wanted in chosen if wanted) or ((What.MISSING,) if narrowed else tuple(What))
    settings = settings_of(context, db, model=model)
    ask = Ask(RunKind.REINDEX, settings.model, bulk=True, what=what, where=tuple(where or ()), limit=limit)
    if dry_run:
        _plan(settings, ask, as_json)
    else:
        _fill(settings, ask, as_json)


def _plan(settings: Settings, ask: Ask, as_json: bool) -> None:
    from tagger.library import filling

    with open_library(settings) as database:
        plan = filling.plan(database, ask, roots_of(settings))
    if as_json:
        print_json(asdict(plan) | {"hours": plan.hours})
        return
    out.print(
        f"{plan.model} would be asked about {plural(plan.wanted, 'photo')}; {plan.there:,} it has seen."
    )
    if filling.What.CHANGED in ask.what:
        out.print("What is new on the disk is found by the scan alone, and not counted here.", style="dim")
    if plan.hours is None:
        out.print("How long that takes is not known: no run was long enough to tell.", style="dim")
    else:
        took = _left(plan.hours * 3600)
        out.print(f"At {plan.rate:,.0f} images a second, as of late, that takes {took}.", style="dim")


def _fill(settings: Settings, ask: Ask, as_json: bool) -> None:
    from tagger.library.filling import fill

    with open_library(settings) as database:
        filled = fill(database, ask, roots_of(settings))
    if as_json:
        print_json({"run": filled.run_id, "wanted": filled.wanted, "warnings": filled.warnings})
    else:
        _print_filled(filled)


def _print_filled(filled: Filled) -> None:
    for warning in filled.warnings:
        errors.print(f"warning: {escaped(warning)}", style="yellow")
    wanted = plural(filled.wanted, "image") if filled.wanted else "nothing"
    out.print(f"Run {filled.run_id} wants {wanted} from {filled.model}.")
    if filled.wanted:
        spec = filled.model.partition("@")[0]
        out.print(
            f"Workers see to it (`tagger status --watch`); so does `tagger tag PATH --model {spec}`.",
            style="dim",
        )


def _speed(ticks: Sequence[Tick]) -> Text:
    """How fast a run was from its first image to its last, in one line."""
    rates = [tick.done / tick.seconds for tick in ticks]
    peak = max(rates)
    return Text(f"Throughput {sparkline(rates, 0.0, peak)} peak {peak:,.{0 if peak >= 10 else 1}f} images/s")


def failures_table(failures: Sequence[Failure]) -> Table:
    """Images that could not be tagged, and why."""
    failed = table("Last failures", "Outcome", "Reason")
    for failure in failures:
        failed.add_row(Text(name_of(failure.uri)), failure.outcome, Text(failure.reason))
    return failed


def runs_table(found: Sequence[Run]) -> Table:
    """Runs as a person reads them; on a narrow terminal without the time when they began."""
    numbers = ["Done", "Failed", "Images/s", "Left"]
    whole = out.width >= WIDE
    runs = table("Run", "State", *numbers, *(["Began"] if whole else []), numbers=numbers)
    for column in runs.columns[1:]:
        column.no_wrap = True  # the first one has what is long, and gives way
    for run in found:
        began = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
        runs.add_row(
            _what(run),
            Text(_state(run), style="green" if run.finished_at is None else ""),
            f"{run.done:,}/{run.total:,}",
            f"{run.failed:,}",
            f"{run.rate:,.0f}" if run.rate >= 0.5 else "",
            _left(run.eta_seconds),
            *([began] if whole else []),
        )
    return runs


def _what(run: Run) -> Text:
    """A run's number and name, and below what it is of."""
    name = f"{run.id} {run.kind}" + (f" {run.name}" if run.name else "") + (", bulk" if run.bulk else "")
    places = [name_of(place) for place in run.places.split("\n") if place]
    shown = places[:3] + ([f"and {len(places) - 3} more"] if places[3:] else [])
    below = "".join(f"\n  {place}" for place in shown)
    return Text(name) + Text(below, style="dim") + Text(f"\n  {run.note}" if run.note else "", style="yellow")


def _state(run: Run) -> str:
    return "being filled" if run.filling and run.state == "running" else run.state


def _left(seconds: float | None) -> str:
    """A duration for a person, roughly: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def as_data(run: Run) -> dict[str, object]:
    """A run for programs."""
    return asdict(run) | {"eta_seconds": run.eta_seconds, "places": run.places.split("\n")}
