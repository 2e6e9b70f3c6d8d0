"""The command line: ``tagger``. One file for each group of commands.

Commands parse, call a use case in :mod:`tagger.library`, and print. What is heavy is imported
inside the commands, so that ``tagger --help`` answers at once.

Exit codes: 0 done; 1 nothing found, or the doctor found a fault; 2 wrong usage; 3 it could not be
done, for a reason that the message names; 4 done, but with failures (``tag --strict``); 5 done but
for images that another process holds; 130 interrupted; 141 nobody reads the output any more.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import tagger
from tagger.cli import (
    albums,
    database,
    doctor,
    look,
    models,
    runs,
    serve,
    tag,
    thresholds,
    train,
    verdicts,
    worker,
)
from tagger.cli.interrupts import end_in_order
from tagger.cli.options import DbOption, Globals
from tagger.cli.output import OutputError, errors, escaped, show_any_character, watch_output
from tagger.errors import NotFound, TaggerError
from tagger.garbage import collect_rarely
from tagger.search.expression import ExpressionError

app = typer.Typer(
    name="tagger",
    help="Batch image tagging into SQL: photos in, tags with confidence out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 nothing found, 2 wrong usage, 3 could not be done, "
    "4 done with failures (tag --strict), 5 done but for what another process holds, 130 interrupted.",
)
app.command("tag")(tag.tag)
app.command("search")(look.search)
app.add_typer(albums.app, name="album")
app.command("show")(look.show)
app.command("tags")(look.tags)
app.command("status")(look.status)
app.add_typer(models.app, name="models")
app.command("serve")(serve.serve)
app.command("enqueue")(worker.enqueue)
app.command("worker")(worker.worker)
app.command("beat")(worker.beat)
app.add_typer(runs.app, name="run")
app.command("retry")(runs.retry)
app.command("reindex")(runs.reindex)
app.command("confirm")(verdicts.confirm)
app.command("reject")(verdicts.reject)
app.command("verdicts")(verdicts.verdicts)
app.add_typer(thresholds.app, name="thresholds")
app.command("train")(train.train)
app.command("forget")(look.forget)
app.add_typer(database.app, name="db")
app.command("doctor")(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tagger {tagger.__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    db: DbOption = None,
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Globals(db)


def main() -> None:
    """The console script: run a command, turn what it raises into a message and an exit code."""
    end_in_order()
    collect_rarely()
    show_any_character()
    watch_output()
    try:
        _run()
    except OutputError as fault:
        if fault.unheard:
            sys.exit(141)  # as of one that SIGPIPE ended: `| head -1`
        errors.print(f"error: {fault}", style="red")
        sys.exit(3)
    except NotFound as fault:
        errors.print(escaped(str(fault)))
        sys.exit(1)
    except ExpressionError as fault:
        errors.print(escaped(str(fault)))
        sys.exit(2)
    except TaggerError as fault:
        errors.print(f"error: {escaped(str(fault))}", style="red")
        sys.exit(3)


def _run() -> None:
    try:
        app()
    finally:
        sys.stdout.flush()  # at the end of the process nobody would answer for a fault
