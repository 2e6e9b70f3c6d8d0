"""``confirm`` and ``reject``: a person's word, which outlives every model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import out, plural, print_json
from tagger.errors import SourceError

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
    typer.Option("--where", metavar="TAG", help="All photos that have this tag; of several, that have all."),
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
New = Annotated[bool, typer.Option("--new", help="Make the word a tag if it is none: your own.")]


def confirm(
    context: typer.Context,
    words: Words = None,
    where: Where = None,
    without: Without = None,
    least: Least = 0.0,
    limit: Limit = None,
    csv: Table = None,
    undo: Undo = False,
    new: New = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a tag is right: it holds with confidence 1, and so does all that it implies.

    `tagger confirm rex.jpg dog`, `tagger confirm dog --where dog --min 0.9`, `tagger confirm --csv said.csv`.
    """
    which = _Which(tuple(words or ()), tuple(where or ()), tuple(without or ()), least, limit, csv, undo, new)
    _say(settings_of(context, db), which, "confirm", as_json)


def reject(
    context: typer.Context,
    words: Words = None,
    where: Where = None,
    without: Without = None,
    least: Least = 0.0,
    limit: Limit = None,
    csv: Table = None,
    undo: Undo = False,
    new: New = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a tag is wrong: neither it nor anything below it holds, whatever models say.

    `tagger reject rex.jpg wolf`, `tagger reject wolf --where wolf --not dog`, `tagger reject --csv said.csv`.
    """
    which = _Which(tuple(words or ()), tuple(where or ()), tuple(without or ()), least, limit, csv, undo, new)
    _say(settings_of(context, db), which, "reject", as_json)


@dataclass(frozen=True, slots=True)
class _Which:
    """What was typed."""

    words: tuple[str, ...]
    where: tuple[str, ...]
    without: tuple[str, ...]
    least: float
    limit: int | None
    csv: Path | None
    undo: bool
    new: bool

    def check(self) -> None:
        """Just one way to name photos, and no word too few or too many."""
        if self.csv is not None:
            if self.words or self.where:
                raise typer.BadParameter("a CSV names photos and tags: nothing else beside it")
        elif self.where:
            if len(self.words) != 1:
                raise typer.BadParameter("with --where say just the tag", param_hint="TAG")
        elif len(self.words) < 2:
            raise typer.BadParameter("name photos and, last, the tag; or --where, or --csv")


def _say(settings: Settings, which: _Which, verdict: str, as_json: bool) -> None:
    from tagger.store.verdicts import Verdict

    which.check()
    word = None if which.undo else Verdict(verdict)
    with open_library(settings) as database:
        said = _said(database, settings, which, word)
    if as_json:
        print_json(asdict(said))
        return
    out.print(_words(said, word))


def _said(database: Database, settings: Settings, which: _Which, verdict: Verdict | None) -> Said:
    from tagger.library import lookup, verdicts

    roots = roots_of(settings)
    if which.csv is not None:
        with _opened(which.csv) as file:
            sayings = list(verdicts.read_csv(file, verdict))
    elif which.where:
        found = lookup.search(
            database, which.where, which.without, min_confidence=which.least, limit=which.limit
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


def _words(said: Said, verdict: Verdict | None) -> str:
    if verdict is None:
        return f"Took back {plural(said.taken_back, 'verdict')}."
    if not said.new:
        return "Nothing new: that was said before."
    instead = f", {said.taken_back:,} instead of another" if said.taken_back else ""
    return f"{verdict.value.capitalize()}ed: {plural(said.new, 'verdict')}{instead}."
