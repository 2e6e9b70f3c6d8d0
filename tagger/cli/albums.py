"""``tagger album``: searches under a name."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, settings_of
from tagger.cli.output import out, print_json, table

app = typer.Typer(help="Albums: searches under a name, each with an SQL view.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="The album's name.")]


@app.command()
def save(
    context: typer.Context,
    name: NameArgument,
    expression: Annotated[list[str], typer.Argument(metavar="EXPRESSION...", help="As in `tagger search`.")],
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a search under a name: `tagger album save 'at the lake' 'dog AND lake'`.

    `tagger search --album 'at the lake'` finds what it finds then, and so does the view in SQL.
    """
    from tagger.library import albums

    with open_library(settings_of(context, db)) as database:
        album = albums.save(database, name, " ".join(expression))
    if as_json:
        print_json(asdict(album))
    else:
        out.print(f"{album.name}: {album.expression}. In SQL: SELECT * FROM {album.view}")


@app.command("list")
def list_albums(context: typer.Context, db: DbOption = None, as_json: JsonOption = False) -> None:
    """List the albums, what each searches for, and its view."""
    from tagger.library import albums

    with open_library(settings_of(context, db)) as database:
        found = albums.listed(database)
    if as_json:
        print_json([asdict(album) for album in found])
        return
    listing = table("Album", "Expression", "View")
    for album in found:
        listing.add_row(Text(album.name), Text(album.expression), album.view)
    out.print(listing)
    if not found:
        raise typer.Exit(1)


@app.command()
def remove(context: typer.Context, name: NameArgument, db: DbOption = None) -> None:
    """Remove an album and its view; no photo, and no tag."""
    from tagger.library import albums

    with open_library(settings_of(context, db)) as database:
        albums.remove(database, name)
    out.print(f"{name} is gone.")
