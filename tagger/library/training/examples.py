"""Where examples to learn from are found: folders by label, a table, or what people have confirmed."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

from tagger.errors import SourceError, TrainingError
from tagger.library import lookup, tables
from tagger.sources import Found, Refused, Roots, Stretch, Unlisted, printable, scan
from tagger.store import catalog, verdicts
from tagger.store.session import Database
from tagger.training.examples import Example, Examples

IMAGE, LABEL, VERDICT = "image", "label", "verdict"
COLUMNS: Final = {IMAGE: (IMAGE, "uri", "path", "file"), LABEL: (LABEL, "tag")}
"""Those of a table; a third one, ``verdict``, says ``confirm`` or ``reject``, as `tagger verdicts` has it."""


@dataclass(frozen=True, slots=True)
class Given:
    """Examples, and the roots under which their images may be read."""

    examples: Examples
    roots: Roots


def from_path(path: Path, roots: Roots) -> Given:
    """Those of a folder of folders, or of a CSV file.

    Raises:
        SourceError: there is neither, or the table is none.
        TrainingError: there is no example in it.
    """
    if path.is_dir():
        given = _from_folder(path, roots.adding([path]))
    elif path.is_file():
        given = _from_csv(path, roots)
    else:
        raise SourceError(f"there is no folder and no file at {path}")
    if not given.examples.items:
        raise TrainingError(_nothing(path, given.examples.remarks))
    return given


def _nothing(path: Path, remarks: Sequence[str]) -> str:
    if path.is_file():
        return f"{path} names no image below its first line"
    said = f"; {remarks[0]}" if remarks else ""
    return (
        f"{path} has no examples: photos are expected in folders named by what they show, such as "
        f"{path}/robin/1.jpg; or name a CSV file with the columns image and label{said}"
    )


def _from_folder(folder: Path, roots: Roots) -> Given:
    base = f"{roots.uri_of(folder.resolve())}/"
    items, loose, remarks = [], list[str](), []
    for event in scan(folder, roots):
        for uri in _uris(event):
            label, inner, _ = uri.removeprefix(base).partition("/")
            if inner:
                items.append(Example(uri, frozenset([label_of(os.fsdecode(unquote_to_bytes(label)))])))
            else:
                loose.append(f"{uri}: lies in no label's folder")
        if isinstance(event, Refused):
            remarks.append(f"{printable(unquote(event.uri))}: {event.reason}")
        elif isinstance(event, Unlisted):
            remarks.append(event.reason)
    return Given(Examples(tuple(items), remarks=(*remarks, *loose)), roots)


def _uris(event: object) -> Iterator[str]:
    if isinstance(event, Stretch):
        yield from event.uris
    elif isinstance(event, Found):
        yield event.uri


def label_of(name: str) -> str:
    """A label as people would say it: ``prairie_falcon`` is two words."""
    return " ".join(name.replace("_", " ").split()) or name


def _from_csv(path: Path, roots: Roots) -> Given:
    """Several lines of one image are several labels; an empty label says that it has none."""
    right: dict[str, set[str]] = {}
    wrong: dict[str, set[str]] = defaultdict(set)
    folders, judged = set[Path](), False
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in tables.rows(file, COLUMNS, (VERDICT,)):
                if not row[IMAGE]:
                    raise SourceError(f"line {line} of {path} names no image")
                place, verdict = _place(path, row[IMAGE]), row[VERDICT].lower()
                if verdict not in ("", "confirm", "reject"):
                    raise SourceError(f"line {line} of {path}: {verdict!r} is neither confirm nor reject")
                judged = judged or bool(verdict)
                right.setdefault(place, set())
                (wrong if verdict == "reject" else right)[place].update(_labels(row[LABEL]))
                if "://" not in place:
                    folders.add(Path(place).parent)
    except UnicodeDecodeError as fault:
        raise SourceError(f"{path} is no text in UTF-8: save it as that") from fault
    except OSError as fault:
        raise SourceError(f"{path} cannot be read: {fault}") from fault
    roots = roots.adding(sorted(folders))
    items = tuple(
        Example(place if "://" in place else roots.uri_of(place), frozenset(names), frozenset(wrong[place]))
        for place, names in right.items()
    )
    return Given(Examples(items, complete=not judged), _reading(roots, items))


def _labels(cell: str) -> Iterator[str]:
    """The labels in a cell, with commas or the like between them."""
    yield from filter(None, (label_of(part) if part.strip() else "" for part in re.split("[,;|]", cell)))


def _place(table: Path, image: str) -> str:
    """A URI as it is; a path from where the table lies."""
    return image if "://" in image else str((table.parent / image).absolute())


def from_verdicts(database: Database, roots: Roots, tags: Sequence[str], *, many: bool) -> Given:
    """What people have confirmed and rejected: of ``tags`` alone, else of all.

    Where a picture may have ``many`` labels, a confirmed tag makes those above it right too, and a rejected
    one those below it wrong; else each picture is what was said of it.

    Raises:
        NotFound: a tag is none.
        TrainingError: nothing was confirmed.
    """
    with database.reading() as connection:
        catalog.require_models(connection)
        meant = {name for tag in tags for name in lookup.tags_meant(connection, tag.split())}
        words = verdicts.words(connection, implied=False)
        wanted = meant or {word.tag for word in words if word.is_right}
        if many:
            words = verdicts.words(connection, implied=True)
    right: dict[str, set[str]] = defaultdict(set)
    wrong: dict[str, set[str]] = defaultdict(set)
    for word in words:
        if word.tag in wanted:
            (right if word.is_right else wrong)[word.uri].add(word.tag)
    if not any(right.values()):
        raise TrainingError(
            "nobody has confirmed any of these tags of a photo that is still there: "
            "`tagger confirm PHOTO TAG` says what is right"
        )
    uris = sorted(right.keys() | (wrong.keys() if many else set()))
    items = tuple(Example(uri, frozenset(right[uri]), frozenset(wrong[uri])) for uri in uris)
    return Given(Examples(items, complete=not many), _reading(roots, items))


def _reading(roots: Roots, items: Sequence[Example]) -> Roots:
    """On a machine with no roots of its own, whatever the database or the table names may be read."""
    is_local = any(item.uri.startswith("file://") for item in items)
    return roots.adding(["/"]) if is_local and not roots.items else roots
