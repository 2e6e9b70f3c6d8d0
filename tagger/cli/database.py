"""``tagger db``: the database itself."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tagger.cli.options import DbOption, open_library, settings_of
from tagger.cli.output import out

app = typer.Typer(help="The database: where it is, its version, a copy of it.", no_args_is_help=True)


@app.command()
def path(context: typer.Context, db: DbOption = None) -> None:
    """Print where the database is (a file, or a URL without its password)."""
    from tagger.store.session import open_database

    database = open_database(settings_of(context, db).database)
    print(database.path or database.url)


@app.command()
def upgrade(context: typer.Context, db: DbOption = None) -> None:
    """Bring the database to this program's version; a new one is created."""
    from tagger.store import migrate
    from tagger.store.session import open_database

    database = open_database(settings_of(context, db).database)
    try:
        before, after = migrate.current(database), migrate.upgrade(database)
    finally:
        database.close()
    said = "is at" if before == after else f"went from {before or 'nothing'} to"
    out.print(f"The database at {database.url} {said} version {after}.", soft_wrap=True)


@app.command()
def backup(
    context: typer.Context,
    target: Annotated[
        Path | None, typer.Argument(help="The copy. Default: beside the database, with date and time.")
    ] = None,
    db: DbOption = None,
) -> None:
    """Copy an SQLite database, whole and consistent even while something is being tagged."""
    from tagger.store import migrate

    with open_library(settings_of(context, db)) as database:
        beside = database.path or Path("tagger.db")
        chosen = target or beside.with_name(f"{beside.stem}-{datetime.now():%Y%m%d-%H%M%S}{beside.suffix}")
        print(migrate.backup(database, chosen))
