"""Questions to the store: search, show, tags, status; and forgetting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from tagger.errors import NotFound, SourceError
from tagger.search import completion
from tagger.search.completion import Completion
from tagger.search.expression import All, Expression, ExpressionError, Not, leaves
from tagger.search.facets import Facets, count
from tagger.search.find import find
from tagger.search.meaning import longest, resolved
from tagger.search.query import Found, Place, Query
from tagger.sources import OutsideRootsError, Roots
from tagger.store import albums, catalog, pages, queries
from tagger.store.pages import ListedImage, TagReport, Which
from tagger.store.queries import Hit, ImageReport, LibraryStatus, TagUse
from tagger.store.session import Database
from tagger.taxonomy import load_taxonomy
from tagger.values import ImageRef

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Photo:
    """An image with what came of it under the live model, and the tags that hold for it."""

    uri: str
    outcome: str | None
    tags: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search came to: how it was understood, and the photos, surest first; ``next`` is the place to go
    on behind, if there are more."""

    expression: Expression
    photos: list[Found]
    next: Place | None


def search(
    database: Database,
    typed: str | None,
    without: Sequence[str] = (),
    *,
    within: str | None = None,
    min_confidence: float = 0.0,
    limit: int | None = None,
    offset: int = 0,
    after: Place | None = None,
) -> Answer:
    """Photos of which an expression is true (see :mod:`tagger.search.grammar`) and none of ``without``; only
    those of the album ``within``. None is true of all photos; nothing but blanks is no expression.

    Tags go by their names, or by other words for them; words that together are a tag are taken for that:
    golden retriever. The page begins behind the place ``after`` of an earlier one.

    Raises :class:`ExpressionError` for what is no expression or names no tag, showing the place.
    """
    with database.reading() as connection:
        expression = asked(connection, typed, without, within)
        page = find(connection, Query(expression, min_confidence, limit, offset, after))
        return Answer(expression, page.photos, page.next)


def facets(
    database: Database, typed: str | None, *, within: str | None = None, min_confidence: float = 0.0
) -> Facets:
    """The tags of the photos that a search finds; asked and raising as :func:`search`."""
    with database.reading() as connection:
        return count(connection, asked(connection, typed, (), within), min_confidence)


def complete(database: Database, typed: str, at: int, limit: int = 8) -> list[Completion]:
    """The tags that may be meant by what stands before the ``at``-th letter, the likeliest first."""
    with database.reading() as connection:
        return completion.complete(connection, typed, at, limit)


def asked(
    connection: Connection, typed: str | None, without: Sequence[str], within: str | None
) -> Expression:
    """The expression of a search; asked and raising as :func:`search`."""
    catalog.require_models(connection)
    parts = [] if within is None else [understood(connection, albums.find(connection, within).expression)]
    parts += [] if typed is None else [understood(connection, typed)]
    parts += [Not(understood(connection, one)) for one in without]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def understood(connection: Connection, typed: str) -> Expression:
    """An expression with the tags that its names mean; raises :class:`ExpressionError`."""
    from tagger.search import grammar  # most commands search for nothing

    expression = resolved(grammar.parse(typed), typed, _Words(connection))
    if (number := sum(1 for _ in leaves(expression))) > grammar.MOST:
        raise ExpressionError(
            f"that comes to {number} tags and filters: {grammar.MOST} at most", typed, 0, len(typed)
        )
    return expression


class _Words:
    """A :class:`Dictionary`: what is written in the database comes first; the taxonomy knows plurals and
    spellings."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tag(self, name: str) -> str | None:
        return catalog.resolve_tag(self._connection, name) or load_taxonomy().resolve(name)

    def alike(self, pattern: str, *, topmost: bool) -> list[str]:
        names = [name for name in catalog.tag_names(self._connection) if _fits(pattern.lower(), name)]
        return catalog.topmost(self._connection, names) if topmost else names

    def unknown(self, name: str) -> str:
        return unknown_tag(name)


def _fits(pattern: str, name: str) -> bool:
    """Whether a name is as ``*`` and ``?`` say; in time that grows with their lengths, whatever they are."""
    at = place = 0
    star, back = -1, 0
    while place < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, back = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[place]):
            at, place = at + 1, place + 1
        elif star >= 0:  # let the last star have one letter more
            back += 1
            at, place = star + 1, back
        else:
            return False
    return not pattern[at:].strip("*")


def tags_meant(connection: Connection, words: Sequence[str]) -> Iterator[str]:
    """The tags that words mean, the longest runs of them first; raises :class:`NotFound`."""
    rest = list(words)
    while rest:
        found = longest(rest, _Words(connection))
        if found is None:
            raise NotFound(unknown_tag(" ".join(rest)))
        length, tag = found
        yield tag
        del rest[:length]


def tags(database: Database) -> list[TagUse]:
    """Every tag in use with the number of its images, the commonest first."""
    with database.reading() as connection:
        return queries.tags(connection)


def tags_page(database: Database, prefix: str, after: tuple[int, str] | None, limit: int) -> list[TagUse]:
    """Those that begin with ``prefix`` a page at a time, behind one with so many images and such a name."""
    with database.reading() as connection:
        return pages.tags(connection, prefix.lower(), after, limit)


def tag(database: Database, name: str) -> TagReport:
    """All that is known of the tag that a word means; raises :class:`NotFound`."""
    with database.reading() as connection:
        report = pages.tag(connection, name)
    if report is None:
        raise NotFound(unknown_tag(name))
    return report


def images_page(database: Database, which: Which, after: int, limit: int) -> list[ListedImage]:
    """Images a page at a time, with ids after one."""
    with database.reading() as connection:
        return pages.images(connection, which, after, limit)


def photos(database: Database, paths: Sequence[str], roots: Roots, limit: int) -> list[Photo]:
    """The first images at or beneath ``paths`` with their tags, the most telling tag first."""
    prefixes = [prefix for path in paths for prefix in prefixes_of(path, roots)]
    with database.reading() as connection:
        images = queries.images_under(connection, prefixes, limit)
        above = queries.specificity(connection)
        held = queries.effective_tags(connection, [image_id for image_id, _, _ in images])
    return [
        Photo(uri, outcome, tuple(sorted(held[image_id], key=lambda hit: -above.get(hit.tag, 0))))
        for image_id, uri, outcome in images
    ]


def status(database: Database, *, failures: int = 10, runs: int = 5) -> LibraryStatus:
    """The library at a glance."""
    with database.reading() as connection:
        return queries.library_status(connection, failures, runs)


def require_answer(database: Database) -> None:
    """Raise :class:`DatabaseError` unless the database answers."""
    with database.reading() as connection:
        connection.scalar(select(1))


def show(database: Database, image: str | int, roots: Roots) -> ImageReport:
    """All that is known of one image, named by its id, its path, its URI, or the end of its path.

    Raises :class:`NotFound` when there is none, or several, naming them.
    """
    with database.reading() as connection:
        return queries.image_report(connection, find_image(connection, image, roots))


def parents(database: Database, tags: Sequence[str]) -> dict[str, str]:
    """For each of some tags that stands below others of them the nearest of these."""
    with database.reading() as connection:
        return queries.parents(connection, tags)


def reference(database: Database, image_id: int) -> tuple[ImageRef, bytes | None]:
    """Where an image is, and the SHA-256 of what it last held if that was read; raises :class:`NotFound`."""
    with database.reading() as connection:
        found = queries.reference(connection, image_id)
    if found is None:
        raise NotFound(f"there is no image {image_id} in this database")
    return found


def ids_of(database: Database, uris: Sequence[str]) -> dict[str, int]:
    """The ids of the images at these URIs, of those that are known."""
    with database.reading() as connection:
        return {uri: known.id for uri, known in catalog.known_images(connection, uris).items()}


def tagged_places(database: Database) -> list[Path]:
    """The folders and files of this machine's disks that `tagger tag` was run over."""
    with database.reading() as connection:
        prefixes = queries.places_of_tag_runs(connection)
    everywhere = Roots().adding(["/"])
    return [everywhere.path_of(prefix) for prefix in prefixes if prefix.startswith("file:///")]


def find_image(connection: Connection, image: str | int, roots: Roots) -> int:
    """The id of one image, named as in :func:`show`; raises as that."""
    if isinstance(image, int):
        if not catalog.is_known(connection, image):
            raise NotFound(f"there is no image {image} in this database")
        return image
    found = queries.find_images(connection, place(image, roots), _quoted(image), limit=6)
    if not found:
        raise NotFound(f"{image} is not in this database: `tagger tag` it first")
    if len(found) > 1:
        several = "\n  ".join(uri for _, uri in found)
        raise NotFound(f"several images are called {image}; give more of the path:\n  {several}")
    return found[0][0]


@dataclass(frozen=True, slots=True)
class Known:
    """How many images there are somewhere, and how many verdicts of people on them."""

    images: int
    verdicts: int


def known(database: Database, paths: Sequence[str], roots: Roots) -> Known:
    """What `forget` would remove."""
    prefixes = [prefix for path in paths for prefix in prefixes_of(path, roots)]
    with database.reading() as connection:
        return Known(*queries.known(connection, prefixes))


def forget(database: Database, paths: Sequence[str], roots: Roots) -> int:
    """Delete every trace of the images at or beneath ``paths`` (or URIs); how many there were.

    Raises :class:`NotFound` when nothing is known at any of them.
    """
    prefixes = [prefix for path in paths for prefix in prefixes_of(path, roots)]
    with database.writing() as connection:
        gone = catalog.forget(connection, prefixes)
    if not gone:
        raise NotFound(f"nothing is known at {', '.join(paths)}: `tagger status` shows the library")
    return gone


def forget_image(database: Database, image_id: int) -> None:
    """The same for one image by its id; raises :class:`NotFound`."""
    with database.writing() as connection:
        catalog.forget_images(connection, [find_image(connection, image_id, Roots())])


def place(path: str, roots: Roots) -> str:
    """The URI that a path stands for; a URI stands for itself. The file need not exist."""
    return _canonical(path, roots) if "://" in path else _rooted(path, roots).uri_of(path)


def _canonical(uri: str, roots: Roots) -> str:
    """The URI as the database has it; as it is written where it lies beneath no root of today."""
    try:
        return roots.canonical(uri)
    except SourceError:
        return uri


def prefixes_of(path: str, roots: Roots) -> tuple[str, ...]:
    """The URIs beneath which is what a path or URI stands for."""
    if not path.strip():
        raise NotFound("an empty path stands for nothing: use . for this folder")
    if "://" in path:
        return (_canonical(path, roots),)
    widened = _rooted(path, roots)
    return widened.prefixes(Path(path).absolute())


def _rooted(path: str, roots: Roots) -> Roots:
    """Roots that hold the path, so that it has a URI even where it may not be read.

    A link to a file, or to nothing, is an image of its own; one to a folder is where its photos are.
    """
    try:
        roots.uri_of(path)
    except OutsideRootsError:
        place = Path(path).absolute()
        is_image = place.is_symlink() and not place.is_dir()
        return roots.adding([place.parent if is_image else path])
    return roots


def _quoted(image: str) -> str:
    return Roots().adding(["/"]).uri_of(Path("/") / image).removeprefix("file:///")


def unknown_tag(word: str) -> str:
    """That there is no such tag, and what may have been meant."""
    near = " or ".join(load_taxonomy().suggest(word, at_most=3))
    return f"there is no tag {word!r}" + (f": did you mean {near}?" if near else "; `tagger tags` lists them")
