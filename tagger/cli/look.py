"""``search``, ``show``, ``tags``, ``status``: questions; and ``forget``."""

from __future__ import annotations

import csv
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import (
    bar,
    confidence,
    errors,
    escaped,
    name_of,
    out,
    path_of,
    plural,
    print_json,
    table,
)
from tagger.cli.runs import as_data, failures_table, runs_table
from tagger.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from tagger.library.lookup import Known
    from tagger.search.query import Found
    from tagger.settings import Settings
    from tagger.sources import Roots
    from tagger.store.queries import ImageReport, LibraryStatus
    from tagger.store.session import Database

WATCH_SECONDS = 2.0
"""How often ``status --watch`` looks."""


def search(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPRESSION...",
            help="Tags, or other words for them; of several a photo has all. Words that together are a tag "
            "are one: golden retriever.",
        ),
    ] = None,
    album: Annotated[
        str | None, typer.Option(help="What an album finds; of these, what the expression finds.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--not", metavar="TAG", help="Only photos without this tag; may be given several times."
        ),
    ] = None,
    least: Annotated[
        float, typer.Option("--min", min=0.0, max=1.0, help="Only confidences from this on.")
    ] = 0.0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many photos.")] = None,
    offset: Annotated[int, typer.Option(min=0, help="Leave out so many of the first: another page.")] = 0,
    paths: Annotated[bool, typer.Option("--paths", help="Print the paths alone, one a line.")] = False,
    null: Annotated[bool, typer.Option("--null", "-0", help="Print the paths alone, for xargs -0.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find photos by their tags, surest first. Other words do too: puppy.

    `tagger search 'dog AND (lake OR seashore) NOT wolf'`, with `dog>=0.8`, `*fox`, `"golden retriever"`,
    `path:holiday/*`, `taken:2018..2020`, `size>5MB`. Of several tags a photo is as sure as of the least sure
    one.
    """
    from tagger.library import lookup
    from tagger.search.expression import spelled

    if not words and album is None:
        raise typer.BadParameter("say what to search for, such as dog", param_hint="EXPRESSION")
    settings = settings_of(context, db)
    with open_library(settings) as database:
        answer = lookup.search(
            database,
            " ".join(words) if words else None,
            without or (),
            within=album,
            min_confidence=least,
            limit=limit,
            offset=offset,
        )
    hits = answer.photos
    if as_json:
        print_json([asdict(hit) for hit in hits])
    elif as_csv:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(["uri", "tag", "confidence", "source", "model"])
        rows.writerows([hit.uri, hit.tag, hit.confidence, hit.source, hit.model] for hit in hits)
    elif paths or null:
        _print_paths(hits, roots_of(settings), b"\0" if null else b"\n")
    else:
        for hit in hits:
            out.print(confidence(hit.confidence), Text(name_of(hit.uri)), soft_wrap=True)
        floor = f" from {least} on" if least else ""
        which = "the next " if offset else "the first " if limit == len(hits) else ""
        said = f"{which}{plural(len(hits), 'photo')} with {spelled(answer.expression)}{floor}."
        out.print(said[:1].upper() + said[1:], style="dim")
    if not hits:
        raise typer.Exit(1)


def show(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A path, a URI, or the end of a path.")],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of one photo: its tags, what the classifier said, its facts."""
    from tagger.library import lookup

    settings = settings_of(context, db)
    with open_library(settings) as database:
        report = lookup.show(database, image, roots_of(settings))
    if as_json:
        print_json(asdict(report))
    else:
        _print_image(report)


def tags(context: typer.Context, db: DbOption = None, as_json: JsonOption = False) -> None:
    """List the tags in use, with the number of photos of each."""
    from tagger.library import lookup

    with open_library(settings_of(context, db)) as database:
        used = lookup.tags(database)
    if as_json:
        print_json([asdict(tag) for tag in used])
        return
    listing = table("Tag", "Photos", numbers=["Photos"])
    for tag in used:
        listing.add_row(tag.tag, f"{tag.images:,}")
    out.print(listing)


def status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every two seconds, until Ctrl-C.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the library at a glance: outcomes, runs, workers, queues, the last failures."""
    from tagger.library import lookup

    settings = settings_of(context, db)
    if watch and as_json:
        raise typer.BadParameter("a program asks again by itself: --watch or --json")
    with open_library(settings) as database:
        if watch:
            with suppress(KeyboardInterrupt), Live(console=out, auto_refresh=False, screen=True) as live:
                while True:
                    live.update(_view(database, settings), refresh=True)
                    time.sleep(WATCH_SECONDS)
        report, queues, url = lookup.status(database), queues_of(settings), database.url
    if as_json:
        runs = [as_data(run) for run in report.runs]
        print_json(asdict(report) | {"runs": runs, "queues": queues})
    else:
        out.print(_status(report, queues, url))


def _view(database: Database, settings: Settings) -> RenderableType:
    """The status, or why there is none just now: a database that restarts is there again soon."""
    from tagger.library import lookup

    try:
        # So much as a terminal of 24 lines has room for.
        return _status(lookup.status(database, failures=3, runs=1), queues_of(settings), database.url)
    except DatabaseUnavailable as fault:
        return Text(escaped(str(fault)), style="yellow")


def queues_of(settings: Settings) -> dict[str, int] | str | None:
    """Messages that wait in each queue; why that is not known; None where there is no broker."""
    if settings.broker_url is None:
        return None
    from tagger.cli.worker import queue_depths
    from tagger.library.dispatch import BrokerUnavailable

    try:
        return queue_depths(settings)
    except BrokerUnavailable as fault:
        return str(fault)


def forget(
    context: typer.Context,
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Photos or folders (or URIs) to forget.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask; needed where nobody can be asked.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove photos from the database: tags, verdicts, every trace. The files are not touched."""
    from tagger.library import lookup

    settings = settings_of(context, db)
    with open_library(settings) as database:
        roots = roots_of(settings)
        _ask(lookup.known(database, paths, roots), yes)
        gone = lookup.forget(database, paths, roots)
    if as_json:
        print_json({"forgotten": gone})
    else:
        out.print(f"Forgot {plural(gone, 'photo')}; the files are where they were.")


def _ask(found: Known, yes: bool) -> None:
    """Tagging again may take days, and what people said is gone for good: it must be meant."""
    if yes or not found.images:
        return
    said = plural(found.images, "photo")
    said += f" and {plural(found.verdicts, 'verdict')} of people" if found.verdicts else ""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{said} would be forgotten: say --yes")
    typer.confirm(f"Forget {said}?", abort=True)


def _print_paths(hits: list[Found], roots: Roots, end: bytes) -> None:
    """Byte for byte, so that other programs can open them; but a terminal would obey some bytes."""
    from tagger.sources import printable

    seen = sys.stdout.isatty()
    for hit in hits:
        path = path_of(hit.uri, roots)
        if path is None:
            errors.print(f"warning: {hit.uri}: its root is not known here (TAGGER_ROOTS)", style="yellow")
        else:
            sys.stdout.buffer.write((printable(os.fsdecode(path)).encode() if seen else path) + end)
    sys.stdout.buffer.flush()


def _print_image(report: ImageReport) -> None:
    out.print(Text(name_of(report.uri), style="bold"), soft_wrap=True)
    facts = [
        f"{report.width} x {report.height}" if report.width else None,
        report.format,
        f"{report.size:,} bytes" if report.size is not None else None,
        f"taken {report.taken_at}" if report.taken_at else None,
        f"at {report.latitude:.5f}, {report.longitude:.5f}" if report.latitude is not None else None,
        "vanished" if report.vanished else None,
    ]
    out.print("  " + ", ".join(fact for fact in facts if fact))
    for status in report.statuses:
        reason = Text(f": {status.reason}" if status.reason else "")
        live = "" if status.live else " (not live)"
        out.print(Text(f"  {status.outcome}") + reason + Text(f"  {status.model}{live}", style="dim"))
    rejected = [said.tag for said in report.verdicts if said.verdict == "reject"]
    if rejected:
        out.print(Text(f"  rejected by a person: {', '.join(rejected)}", style="dim"))
    _print_scores("Tags", [(hit.tag, hit.confidence, hit.source) for hit in report.tags])
    for model, words in groupby(report.labels, key=lambda word: word.model):
        rows = [(word.label, word.confidence, word.key if word.key != word.label else "") for word in words]
        _print_scores(f"The own words of {model}", rows)


def _print_scores(title: str, rows: list[tuple[str, float, str]]) -> None:
    if not rows:
        return
    scores = Table(box=None, title=title, title_justify="left", show_header=False, padding=(0, 2, 0, 2))
    for name, score, note in rows:
        scores.add_row(name, bar(score), confidence(score), Text(note, style="dim"))
    out.print(scores)


def _status(report: LibraryStatus, queues: dict[str, int] | str | None, url: str) -> Group:
    gone = f", {report.vanished:,} vanished" if report.vanished else ""
    parts: list[RenderableType] = [Text(f"{plural(report.present, 'photo')}{gone} in {url}")]
    outcomes = table("Model", "Outcome", "Photos", numbers=["Photos"])
    for model, live, outcome, images in report.outcomes:
        outcomes.add_row(model + (" (live)" if live else ""), outcome, f"{images:,}")
    parts.append(outcomes)
    if report.workers:
        parts.append(_workers_table(report))
    elif queues is not None and any(outcome == "pending" for _, _, outcome, _ in report.outcomes):
        parts.append(Text("No worker is alive: `tagger worker` starts one", style="yellow"))
    if queues is not None:
        parts.append(_beat(report))
    if isinstance(queues, str):
        parts.append(Text(queues, style="yellow"))
    elif queues is not None:
        parts.append(
            Text("Waiting messages: " + ", ".join(f"{name} {depth}" for name, depth in queues.items()))
        )
    if report.runs:
        parts.append(runs_table(report.runs))
    if report.failures:
        parts.append(failures_table(report.failures))
    return Group(*parts)


def _beat(report: LibraryStatus) -> Text:
    """Who keeps the schedule; that nobody does is easily overlooked, since workers go on without."""
    if report.beats:
        return Text("Beat: " + ", ".join(report.beats))
    return Text(
        "No beat is alive: nothing begins at its time, and work is handed out more slowly "
        "(`tagger beat` starts one)",
        style="yellow",
    )


def _workers_table(report: LibraryStatus) -> Table:
    workers = table(
        "Worker", "Device", "Images", "Images/s", "In hand", "", numbers=["Images", "Images/s", "In hand"]
    )
    for worker in report.workers:
        rate = f"{worker.rate:,.0f}" if worker.rate else ""
        note = Text(worker.note or "", style="yellow")
        workers.add_row(
            worker.name, worker.device or "no model yet", f"{worker.images:,}", rate, f"{worker.held:,}", note
        )
    return workers
