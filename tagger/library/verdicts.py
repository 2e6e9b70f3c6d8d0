"""What people say of images, one by one or many at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, TextIO

from sqlalchemy import Connection

from tagger.errors import NotFound, SourceError
from tagger.library import lookup, tables
from tagger.sources import Roots, printable
from tagger.store import catalog, pages, queries, verdicts
from tagger.store.queries import Spoken
from tagger.store.schema import VerdictRow
from tagger.store.session import Database
from tagger.store.verdicts import Said, Verdict

IMAGE, TAG, VERDICT = "image", "tag", "verdict"
COLUMNS: Final = {IMAGE: (IMAGE, "uri"), TAG: (TAG,)}
"""Those of a CSV, where the verdict's may be left out; images go by ``uri`` in the views."""
LONGEST = 100
"""Letters of a tag of one's own."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A word on one tag of one image, as it was typed (or by its id); ``verdict`` None takes back what was
    said. ``line`` is where it stands in a table."""

    image: str | int
    tag: str
    verdict: Verdict | None
    line: int | None = None


def say(database: Database, sayings: Iterable[Saying], roots: Roots, *, new_tags: bool = False) -> Said:
    """Note them all in one transaction, or none; of several on one tag of an image the last counts.

    Tags are named as in a search, images as in ``show``; with ``new_tags`` a word that is no tag becomes one.

    Raises :class:`NotFound` for a tag or an image that is not there, naming what may have been meant.
    """
    with database.writing() as connection:
        tags: dict[str, int] = {}
        images: dict[str | int, int] = {}
        said: dict[tuple[int, int], Verdict | None] = {}
        for each in sayings:
            with _at(each.line):
                if each.tag not in tags:
                    tags[each.tag] = _tag(connection, each.tag, new_tags)
                if each.image not in images:
                    images[each.image] = lookup.find_image(connection, each.image, roots)
            pair = tags[each.tag], images[each.image]
            said.pop(pair, None)  # so that the last word on it comes last
            said[pair] = each.verdict
        # In their order, for what is said of one tag may take back what was said of another.
        runs = groupby(said.items(), key=lambda item: (item[0][0], item[1]))
        return _sum(
            _noted(connection, tag, verdict, [image for (_, image), _ in run]) for (tag, verdict), run in runs
        )


def say_of(
    database: Database,
    image_ids: Sequence[int],
    tag: str,
    verdict: Verdict | None,
    *,
    new_tags: bool = False,
) -> Said:
    """The same word on one tag of the images that a search has found; raises as :func:`say`, and
    :class:`NotFound` where it has found none."""
    if not image_ids:
        raise NotFound("the search finds no photo: nothing was said")
    with database.writing() as connection:
        return _noted(connection, _tag(connection, tag, new_tags), verdict, image_ids)


def take_back_all(database: Database, tag: str, verdict: Verdict) -> Said:
    """Have this word taken back wherever it was said of the tag; raises as :func:`say`."""
    with database.writing() as connection:
        tag_id = _tag(connection, tag)
        return _noted(connection, tag_id, None, verdicts.images_with(connection, verdict, tag_id))


def listed(database: Database, tag: str | None, limit: int | None) -> list[Spoken]:
    """What people said, of one tag or of all, the latest first; raises :class:`NotFound` for no tag."""
    with database.reading() as connection:
        where = [] if tag is None else [VerdictRow.tag_id == _tag(connection, tag)]
        return queries.spoken(connection, *where, limit=limit)


def page(
    database: Database, tag: str | None, after: tuple[datetime, int, str] | None, limit: int
) -> list[Spoken]:
    """The same a page at a time, behind what was said at a moment, of an image (by its id) and a tag."""
    with database.reading() as connection:
        tag_id = None if tag is None else _tag(connection, tag)
        return pages.verdicts(connection, tag_id, after, limit)


def read_csv(file: TextIO, verdict: Verdict | None) -> Iterator[Saying]:
    """Words from a table with the columns ``image`` (or ``uri``) and ``tag``, and perhaps ``verdict``, which
    says ``confirm``, ``reject`` or ``none``; else it is ``verdict`` for all. Commas, semicolons or tabs.

    Raises :class:`SourceError`, naming the line, where it is no such table.
    """
    for line, row in tables.rows(file, COLUMNS, (VERDICT,)):
        if not row[IMAGE] or not row[TAG]:
            raise SourceError(f"line {line} of the CSV names no image or no tag")
        yield Saying(row[IMAGE], row[TAG], _verdict(row[VERDICT], verdict, line), line)


def _verdict(word: str, otherwise: Verdict | None, line: int) -> Verdict | None:
    """What a cell says; raises :class:`SourceError`."""
    if not word:
        return otherwise
    if word.lower() == "none":
        return None
    try:
        return Verdict(word.lower())
    except ValueError:
        raise SourceError(
            f"line {line} of the CSV: {word.lower()!r} is neither confirm nor reject nor none"
        ) from None


@contextmanager
def _at(line: int | None) -> Iterator[None]:
    """Name the line of what is not found."""
    try:
        yield
    except NotFound as fault:
        raise (fault if line is None else NotFound(f"line {line} of the CSV: {fault}")) from None


def _tag(connection: Connection, name: str, new_tags: bool | None = None) -> int:
    """The tag that is meant; ``new_tags`` is None where none could be made."""
    try:
        meant = list(lookup.tags_meant(connection, name.split()))
    except NotFound:
        meant = []
    # What the taxonomy of today knows and no model here ever served is no tag of this database.
    found = catalog.tag_id(connection, meant[0]) if len(meant) == 1 else None
    if found is not None:
        return found
    if new_tags:
        return verdicts.make_tag(connection, _own_word(name))
    raise NotFound(lookup.unknown_tag(name) + ("" if new_tags is None else " (a tag of your own: --new)"))


def _own_word(name: str) -> str:
    word = " ".join(name.lower().split())
    if word in ("and", "or", "not"):
        raise NotFound(f"{word} cannot be a tag: it has a meaning in searches")
    if not word or len(word) > LONGEST or not word.isprintable():
        raise NotFound(
            f"{printable(name[:LONGEST].encode(errors='replace').decode())!r} cannot be a tag: "
            f"1 to {LONGEST} letters that can be printed"
        )
    return word


def _noted(connection: Connection, tag_id: int, verdict: Verdict | None, image_ids: Sequence[int]) -> Said:
    groups = (
        image_ids[start : start + verdicts.AT_ONCE] for start in range(0, len(image_ids), verdicts.AT_ONCE)
    )
    if verdict is None:
        return _sum(verdicts.take_back(connection, tag_id, some) for some in groups)
    return _sum(verdicts.say(connection, verdict, tag_id, some) for some in groups)


def _sum(parts: Iterable[Said]) -> Said:
    listed = list(parts)
    return Said(sum(each.new for each in listed), sum(each.taken_back for each in listed))
