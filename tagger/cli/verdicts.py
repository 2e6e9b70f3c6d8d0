"""``confirm`` and ``reject``: a person's word, which outlives every model."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import name_of, out, plural, print_json, table
from tagger.errors import NotFound, SourceError

if TYPE_CHECKING:
    from tagger.settings import Settings
    from tagger.store.session import Database
    from tagger.store.verdicts import Said, Verdict

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[IMAGE...] TAG", help="Photos, as `tagger show` finds them; the tag comes last."),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="EXPRESSION", help="All photos that a search finds: 'dog AND NOT wolf'."),
]
Without = Annotated[
    list[str] | None, typer.Option("--not", metavar="TAG", help="With --where: only photos without this tag.")
]
Least = Annotated[
    float, typer.Option("--min", min=0.0, max=1.0, help="With --where: only confidences from this on.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="With --where: the surest so many.")]
Table = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        help="A table with the columns image (or uri) and tag, and perhaps verdict (confirm, reject, none); "
        "- is standard input.",
    ),
]
Undo = Annotated[bool, typer.Option("--undo", help="Take back what was said of the tag.")]
All = Annotated[
    bool,
    typer.Option("--all", help="With --undo: wherever this was said of the tag, no photo need be named."),
]
New = Annotated[bool, typer.Option("--new", help="Make the word a tag if it is none: your own.")]


def confirm(
    context: typer.Context,
    words: Words = None,
    where: Where = None,
    without: Without = None,
    least: Least = 0.0,
    limit: Limit = None,
    table_file: Table = None,
    undo: Undo = False,
    everywhere: All = False,
    new: New = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a tag is right: it holds with confidence 1, and so does all that it implies.

    `tagger confirm rex.jpg dog`, `tagger confirm dog --where dog --min 0.9`, `tagger confirm --csv said.csv`.
    """
    which = _Which(
        tuple(words or ()),
        tuple(where or ()),
        tuple(without or ()),
        least,
        limit,
        table_file,
        undo,
        everywhere,
        new,
    )
    _say(settings_of(context, db), which, "confirm", as_json)


def reject(
    context: typer.Context,
    words: Words = None,
    where: Where = None,
    without: Without = None,
    least: Least = 0.0,
    limit: Limit = None,
    table_file: Table = None,
    undo: Undo = False,
    everywhere: All = False,
    new: New = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a tag is wrong: neither it nor anything below it holds, whatever models say.

    `tagger reject rex.jpg wolf`, `tagger reject wolf --where wolf --not dog`, `tagger reject --csv said.csv`.
    """
    which = _Which(
        tuple(words or ()),
        tuple(where or ()),
        tuple(without or ()),
        least,
        limit,
        table_file,
        undo,
        everywhere,
        new,
    )
    _say(settings_of(context, db), which, "reject", as_json)


@dataclass(frozen=True, slots=True)
class _Which:
    """What was typed."""

    words: tuple[str, ...]
    where: tuple[str, ...]
    without: tuple[str, ...]
    least: float
    limit: int | None
    table: Path | None
    undo: bool
    everywhere: bool
    new: bool

    def check(self) -> None:
        """Just one way to name photos, and no word too few or too many."""
        if not self.where and (self.without or self.least or self.limit is not None):
            raise typer.BadParameter("--not, --min and --limit say which photos of --where are meant")
        if self.everywhere:
            if not self.undo or len(self.words) != 1 or self.where or self.table:
                raise typer.BadParameter("--all goes with --undo and just the tag", param_hint="--all")
        elif self.undo and self.where:
            raise typer.BadParameter(
                "a search does not find what was rejected: --undo --all takes it back everywhere, and "
                "`tagger verdicts TAG --csv` is a table for --undo --csv",
                param_hint="--where",
            )
        elif self.table is not None:
            if self.words or self.where:
                raise typer.BadParameter("a CSV names photos and tags: nothing else beside it")
        elif self.where:
            if len(self.words) != 1:
                raise typer.BadParameter("with --where say just the tag", param_hint="TAG")
        elif len(self.words) < 2:
            raise typer.BadParameter("name photos and, last, the tag; or --where, or --csv")
        elif Path(self.words[-1]).is_file():
            raise typer.BadParameter(f"the tag comes last, and {self.words[-1]} is a file")


def _say(settings: Settings, which: _Which, verdict: str, as_json: bool) -> None:
    from tagger.store.verdicts import Verdict

    which.check()
    word = Verdict(verdict)
    with open_library(settings) as database:
        said = _said(database, settings, which, word)
    if as_json:
        print_json(asdict(said))
    else:
        out.print(_words(said, which))
    if which.undo and not said.taken_back:
        raise typer.Exit(1)


def _said(database: Database, settings: Settings, which: _Which, said: Verdict) -> Said:
    from tagger.library import lookup, verdicts

    roots, verdict = roots_of(settings), None if which.undo else said
    if which.everywhere:
        return verdicts.take_back_all(database, which.words[0], said)
    if which.table is not None:
        with _opened(which.table) as file:
            sayings = list(verdicts.read_csv(file, verdict))
        if which.undo:
            sayings = [replace(saying, verdict=None) for saying in sayings]
        if not sayings:
            raise NotFound(f"{which.table} has no line below its first")
    elif which.where:
        found = lookup.search(
            database, " ".join(which.where), which.without, min_confidence=which.least, limit=which.limit
        )
        ids = [photo.image_id for photo in found.photos]
        return verdicts.say_of(database, ids, which.words[0], verdict, new_tags=which.new)
    else:
        *images, tag = which.words
        sayings = [verdicts.Saying(image, tag, verdict) for image in images]
    return verdicts.say(database, sayings, roots, new_tags=which.new)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdin
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except (OSError, UnicodeDecodeError) as fault:
        raise SourceError(f"{path} cannot be read: {fault}") from fault


def _words(said: Said, which: _Which) -> str:
    if which.undo:
        return f"Took back {plural(said.taken_back, 'verdict')}."
    if not said.new and not said.taken_back:
        return "Nothing new: that was said before."
    before = f", and took back {said.taken_back:,} that said otherwise" if said.taken_back else ""
    return f"Noted {plural(said.new, 'verdict')}{before}."


def verdicts(
    context: typer.Context,
    tag: Annotated[str | None, typer.Argument(help="Only those on this tag.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the latest so many.")] = None,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A table that `confirm --csv` and `reject --csv` read again.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people said, the latest first."""
    from tagger.library import verdicts as use

    with open_library(settings_of(context, db)) as database:
        found = use.listed(database, tag, limit)
    if as_json:
        print_json([asdict(each) for each in found])
    elif as_csv:
        rows = csv.writer(sys.stdout, lineterminator="\n")
        rows.writerow(["uri", "tag", "verdict"])
        rows.writerows([each.uri, each.tag, each.verdict] for each in found)
    else:
        listing = table("Photo", "Tag", "Verdict", "Said")
        for each in found:
            said = f"{each.decided_at.astimezone():%Y-%m-%d %H:%M}"
            listing.add_row(Text(name_of(each.uri)), Text(each.tag), each.verdict, said)
        out.print(listing)
    if not found:
        raise typer.Exit(1)
