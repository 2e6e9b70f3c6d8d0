"""What people say of images, one by one or many at once."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from sqlalchemy import Connection

from tagger.errors import NotFound, SourceError
from tagger.library import lookup
from tagger.sources import Roots
from tagger.store import catalog, verdicts
from tagger.store.session import Database
from tagger.store.verdicts import Said, Verdict

IMAGE, TAG, VERDICT = "image", "tag", "verdict"
"""The columns of a CSV; the verdict's may be left out, the image's be called ``uri`` as in the views."""


@dataclass(frozen=True, slots=True)
class Saying:
    """A word on one tag of one image, as it was typed; ``verdict`` None takes back what was said."""

    image: str
    tag: str
    verdict: Verdict | None


def say(database: Database, sayings: Iterable[Saying], roots: Roots, *, new_tags: bool = False) -> Said:
    """Note them all in one transaction, or none; of several on one tag of an image the last counts.

    Tags are named as in a search, images as in ``show``; with ``new_tags`` a word that is no tag becomes one.

    Raises :class:`NotFound` for a tag or an image that is not there, naming what may have been meant.
    """
    last = {(saying.image, saying.tag): saying for saying in sayings}.values()
    with database.writing() as connection:
        tags = {name: _tag(connection, name, new_tags) for name in dict.fromkeys(each.tag for each in last)}
        images = {
            name: lookup.find_image(connection, name, roots)
            for name in dict.fromkeys(each.image for each in last)
        }
        said: dict[tuple[int, Verdict | None], list[int]] = defaultdict(list)
        for each in last:
            said[tags[each.tag], each.verdict].append(images[each.image])
        return _sum(_noted(connection, *what, ids) for what, ids in said.items())


def say_of(
    database: Database,
    image_ids: Sequence[int],
    tag: str,
    verdict: Verdict | None,
    *,
    new_tags: bool = False,
) -> Said:
    """The same word on one tag of many images; raises as :func:`say`."""
    with database.writing() as connection:
        return _noted(connection, _tag(connection, tag, new_tags), verdict, image_ids)


def read_csv(file: TextIO, verdict: Verdict | None) -> Iterator[Saying]:
    """Words from a table with the columns ``image`` (or ``uri``) and ``tag``, and perhaps ``verdict``, which
    says ``confirm``, ``reject`` or ``none``; else it is ``verdict`` for all.

    Raises :class:`SourceError`, naming the line, where it is no such table.
    """
    rows = csv.DictReader(file)
    columns = rows.fieldnames or ()
    image = next((name for name in (IMAGE, "uri") if name in columns), None)
    if image is None or TAG not in columns:
        raise SourceError(f"the CSV needs the columns image (or uri) and tag; it has: {', '.join(columns)}")
    for row in rows:
        if not row[image] or not row[TAG]:
            raise SourceError(f"line {rows.line_num} of the CSV names no image or no tag")
        yield Saying(row[image], row[TAG], _verdict(row, verdict, rows.line_num))


def _verdict(row: dict[str, str], otherwise: Verdict | None, line: int) -> Verdict | None:
    word = (row.get(VERDICT) or "").strip().lower()
    if not word:
        return otherwise
    if word == "none":
        return None
    try:
        return Verdict(word)
    except ValueError:
        raise SourceError(
            f"line {line} of the CSV: {word!r} is neither confirm nor reject nor none"
        ) from None


def _tag(connection: Connection, name: str, new_tags: bool) -> int:
    try:
        meant = list(lookup.tags_meant(connection, name.split()))
    except NotFound:
        meant = []
    # What the taxonomy of today knows and no model here ever served is no tag of this database.
    found = catalog.tag_id(connection, meant[0]) if len(meant) == 1 else None
    if found is not None:
        return found
    if new_tags:
        return verdicts.make_tag(connection, " ".join(name.lower().split()))
    raise NotFound(f"{lookup.unknown_tag(name)}; --new makes it one")


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
