"""``tagger tag``: the main job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, named_database, open_library, roots_of, settings_of
from tagger.cli.output import (
    common_folder,
    confidence,
    errors,
    escaped,
    name_of,
    out,
    plural,
    print_json,
    short,
    table,
)
from tagger.values import EngineName, Precision

if TYPE_CHECKING:
    from tagger.library import tagging
    from tagger.library.lookup import Photo
    from tagger.library.tagging import Progress as RunProgress
    from tagger.settings import Settings
    from tagger.store.census import Tally
    from tagger.values import OutcomeKind

SHOWN = 100
"""Photos that ``--show`` lists; a library has too many to read."""


def tag(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            # Click would look at the place by itself, and a dead share would hold it for ever.
            parser=Path,
            metavar="PATH...",
            help="Folders or photos to tag.",
            show_default=False,
        ),
    ],
    db: DbOption = None,
    model: Annotated[
        str | None, typer.Option(help="Model to tag with (`tagger models`). Default: the live one.")
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="The runtime. Default: auto.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Arithmetic. Default: auto.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Images loaded at one time, and threads to compute. Default: all cores."
        ),
    ] = None,
    nice: Annotated[bool, typer.Option("--nice", help="Give way to whatever else the machine does.")] = False,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow symbolic links, also out of the folders named.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before, though it is unchanged.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 4 if an image failed in this run.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="List the photos with their tags at the end.")] = False,
    progress: Annotated[bool, typer.Option("--progress/--no-progress", help="Show a progress bar.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Tag photos: scan PATH..., run the model over what is new or changed, write tags to SQL.

    Run it again at any time: unchanged files are not opened, and a run that was cut off goes on.
    """
    settings = settings_of(context, db, model=model, engine=engine, precision=precision, threads=threads)
    if nice:
        os.nice(10)
    from tagger.library import lookup, tagging

    with open_library(settings, create=True) as database:
        request = _request(settings, paths, follow_links, retry_failed)
        with _watching(progress and not as_json) as watch:
            report = tagging.tag(database, request, watch)
        photos = lookup.photos(database, [str(path) for path in paths], request.roots, SHOWN) if show else []
        place = database.path or database.url
    if as_json:
        print_json(_as_json(report) | ({"photos": [_photo_json(photo) for photo in photos]} if show else {}))
    else:
        _print_photos(photos)
        _print_summary(report)
        named = named_database(context, db)
        where = f" --db {named}" if named and "://" not in named else ""  # a URL may hold a password
        out.print(
            f"Database: {place}. Try `tagger tags{where}`, `tagger search dog{where}`.",
            style="dim",
        )
    raise typer.Exit(_exit_code(report, strict))


def _request(
    settings: Settings, paths: list[Path], follow_links: bool, retry_failed: bool
) -> tagging.TagRequest:
    from tagger.library.tagging import TagRequest
    from tagger.library.workshop import Equipment

    return TagRequest(
        paths=tuple(paths),
        roots=roots_of(settings),
        equipment=Equipment(
            threads=settings.cores,
            cache_dir=settings.cache_dir,
            engine=settings.engine,
            precision=settings.precision,
            decoding=settings.decoding,
            device_pixels=settings.device_pixels,
            limits=settings.limits,
            follow_links=follow_links,
        ),
        model=settings.model,
        retry_failed=retry_failed,
    )


def _exit_code(report: tagging.TagReport, strict: bool) -> int:
    if report.interrupted:
        return 130
    if report.left:
        return 5
    return 4 if strict and report.progress.failed else 0


# -- while it runs --------------------------------------------------------------------------


class _Rate(ProgressColumn):
    """Images a second over the last half minute or so, as Rich measures it."""

    def render(self, task: Task) -> Text:
        """The rate, empty until there is one."""
        return Text(f"{task.speed:,.0f} images/s" if task.speed else "", style="cyan")


class _Watch:
    """Draws the progress of a run."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("Scanning", total=None, note="")

    def scanning(self, tally: Tally) -> None:
        """Tell the files so far."""
        self._bars.update(self._task, note=f"{plural(tally.files, 'file')}")

    def quiet(self, place: str) -> None:
        """Tell what is waited for: a disk that wakes up, or a share that is gone."""
        self._bars.update(self._task, note=f"waiting for {escape(escaped(place))}")

    def starting(self, total: int) -> None:
        """The scan is over."""
        if not total:
            self._bars.remove_task(self._task)
            return
        self._bars.reset(self._task, description="Starting", total=total, note="making the engine ready")

    def tagging(self, engine: str) -> None:
        """From here on the rate is the engine's."""
        self._bars.reset(self._task, description="Tagging", note=f"[dim]{engine}[/]")

    def advanced(self, progress: RunProgress) -> None:
        """Some more are in."""
        failed = f"[yellow]{progress.failed:,} failed[/]" if progress.failed else ""
        self._bars.update(self._task, completed=progress.done, note=failed)

    def waiting(self, images: int) -> None:
        """Others still hold some."""
        self._bars.update(self._task, description="Waiting", note=f"{images:,} held by other processes")


@contextmanager
def _watching(visible: bool) -> Iterator[_Watch]:
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=errors,  # standard output is for what a pipe should get
        transient=True,
        disable=not (visible and errors.is_terminal),
    )
    with bars:
        yield _Watch(bars)


# -- at the end -----------------------------------------------------------------------------


def _print_photos(photos: list[Photo]) -> None:
    if not photos:
        return
    start = common_folder(photo.uri for photo in photos)
    listing = table("Photo", "Tags", title=f"Photos in {start}")
    for photo in photos:
        listing.add_row(Text(short(photo.uri, start)), _tags_cell(photo))
    out.print(listing)


def _tags_cell(photo: Photo) -> Text:
    if not photo.tags:
        said = "nothing it is sure of" if photo.outcome in ("ok", "empty") else f"({photo.outcome})"
        return Text(said, style="dim")
    return Text(", ").join(Text(f"{hit.tag} ") + confidence(hit.confidence) for hit in photo.tags)


def _print_summary(report: tagging.TagReport) -> None:
    for warning in report.survey.warnings:
        errors.print(f"warning: {warning}", style="yellow")
    _print_scan(report)
    if report.progress.done:
        _print_outcomes(report)
    elif not report.left:
        out.print(_nothing_done(report))
    _print_left(report)
    if not report.model.live:
        out.print(
            f"{report.model.name} is not the live model, so its tags do not hold yet: "
            f"`tagger models promote {report.model.name}` makes them hold.",
        )


def _nothing_done(report: tagging.TagReport) -> str:
    if report.failed_before:
        return (
            f"Nothing to do: no file is new or changed. {report.failed_before:,} could not be tagged before "
            "(`tagger status` tells why); --retry-failed tries them again."
        )
    rest = "the rest" if report.survey.tally.refused else "all"
    return f"Nothing to do: {rest} is tagged, and no file was opened."


def _print_scan(report: tagging.TagReport) -> None:
    tally = report.survey.tally
    parts = [f"{tally.new:,} new", f"{tally.changed:,} changed", f"{tally.unchanged:,} unchanged"]
    parts += [f"{tally.vanished:,} vanished"] if tally.vanished else []
    parts += [f"{tally.returned:,} back again"] if tally.returned else []
    parts += [f"{tally.refused:,} refused"] if tally.refused else []
    skipped = report.survey.skipped
    parts += [f"{skipped.total():,} skipped ({_skipped(skipped)})"] if skipped else []
    out.print(f"Found {plural(tally.files, 'file')}: {', '.join(parts)}.")
    for refusal in report.survey.refused:
        said = f"  refused: {name_of(refusal.uri)}: {refusal.reason}"
        out.print(Text(said, style="yellow"), soft_wrap=True)
    if tally.refused > len(report.survey.refused) > 0:
        out.print("  and others (the view image_status has all)", style="yellow")


def _skipped(skipped: dict[str, int]) -> str:
    ordered = sorted(skipped.items(), key=lambda item: -item[1])
    return ", ".join(f"{number:,} {reason}" for reason, number in ordered)


def _print_outcomes(report: tagging.TagReport) -> None:
    progress = report.progress
    rate = progress.done / report.seconds if report.seconds else 0.0
    reused = f", {progress.reused:,} known by their bytes" if progress.reused else ""
    reused += f", {progress.moved:,} of them moved here" if progress.moved else ""
    tagged = f"{progress.done - progress.failed:,} of " if progress.failed else ""
    out.print(
        f"Tagged {tagged}{plural(progress.done, 'image')} in {report.seconds:.1f} s ({rate:,.0f} images/s) "
        f"with {report.model.name}, {report.engine}{reused}.",
    )
    outcomes = table("Outcome", "Images", "First reasons", numbers=["Images"])
    for kind, number in progress.outcomes.most_common():
        outcomes.add_row(_styled(kind.value, kind.tagged), f"{number:,}", _reasons(report, kind))
    out.print(outcomes)


def _styled(outcome: str, good: bool) -> Text:
    return Text(outcome, style="green" if good else "yellow")


def _reasons(report: tagging.TagReport, kind: OutcomeKind) -> Text:
    remarks = report.progress.remarks.get(kind, [])
    return Text("\n").join(Text(f"{name_of(remark.uri)}: {remark.reason}") for remark in remarks)


def _print_left(report: tagging.TagReport) -> None:
    if report.interrupted:
        out.print(
            f"Interrupted: {plural(report.left, 'image')} left. The same command goes on from here.",
            style="yellow",
        )
    elif report.left:
        out.print(
            f"{plural(report.left, 'image')} still pending: another process holds them. "
            "Run the same command again later.",
            style="yellow",
        )


def _as_json(report: tagging.TagReport) -> dict[str, object]:
    tally, progress = report.survey.tally, report.progress
    return {
        "model": report.model.name,
        "live": report.model.live,
        "engine": report.engine,
        "scan": {
            "files": tally.files,
            "new": tally.new,
            "changed": tally.changed,
            "unchanged": tally.unchanged,
            "refused": tally.refused,
            "returned": tally.returned,
            "vanished": tally.vanished,
            "skipped": dict(report.survey.skipped),
        },
        "refused": [
            {"uri": refusal.uri, "outcome": refusal.kind.value, "reason": refusal.reason}
            for refusal in report.survey.refused
        ],
        "tagged": progress.done,
        "failed": progress.failed,
        "failed_before": report.failed_before,
        "reused": progress.reused,
        "moved": progress.moved,
        "outcomes": {kind.value: number for kind, number in progress.outcomes.items()},
        "failures": _remarks(report, tagged=False),
        "damaged": _remarks(report, tagged=True),
        "left": report.left,
        "seconds": round(report.seconds, 3),
        "images_per_second": round(progress.done / report.seconds, 1) if report.seconds else None,
        "interrupted": report.interrupted,
        "warnings": list(report.survey.warnings),
    }


def _remarks(report: tagging.TagReport, *, tagged: bool) -> list[dict[str, str]]:
    return [
        {"uri": remark.uri, "outcome": remark.kind.value, "reason": remark.reason}
        for kind, remarks in report.progress.remarks.items()
        if kind.tagged is tagged
        for remark in remarks
    ]


def _photo_json(photo: Photo) -> dict[str, object]:
    tags = [{"tag": hit.tag, "confidence": hit.confidence} for hit in photo.tags]
    return {"uri": photo.uri, "outcome": photo.outcome, "tags": tags}
