"""Labels to tags: the words that people search for, over the classes that a model knows.

A classifier speaks in labels (``n02099601``, golden retriever); people search for tags (dog). A
taxonomy holds the tags, what each implies (a golden retriever is a retriever is a dog is an
animal: a graph, since a thing may be two at once), which tag each label means, and the other words
by which people call them. :mod:`tagger.scoring` turns a batch of probabilities into tags by it.

The data stands in ``tagger/data``, a folder for each taxonomy; ``tagger/data/derive.py`` made it.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from importlib import resources
from itertools import product
from typing import Any

from tagger.errors import TaxonomyError
from tagger.values import Label

_IRREGULAR = {"mice": "mouse", "geese": "goose", "oxen": "ox", "fungi": "fungus", "calves": "calf"}


@dataclass(frozen=True, slots=True)
class Tag:
    """A word that people search for.

    ``aliases`` are other words for the same, ``parents`` the tags that it implies directly, and
    ``threshold`` the confidence (0-1) from which it counts unless a person decides otherwise.
    """

    name: str
    aliases: tuple[str, ...]
    parents: tuple[str, ...]
    threshold: float


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """A vocabulary: tags, the labels under them, and the graph between.

    ``labels`` are in class order and ``tag_of_label`` maps each one's key to a tag's name.
    ``hints`` are words that are no tag's own, because they mean several things or something near
    (*crane*, *mouse*), with the tags to offer instead.

    Raises :class:`TaxonomyError` when the parts do not fit: names or aliases that two tags share,
    unknown parents, circles, labels without a tag, thresholds that are no confidence.
    """

    name: str
    labels: tuple[Label, ...]
    tags: tuple[Tag, ...]
    tag_of_label: Mapping[str, str]
    hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_words(self.tags, self.hints)
        _check_graph(self.tags)
        _check_labels(self.labels, self.tag_of_label, {tag.name for tag in self.tags})

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that changes a score or its meaning: tags, parents, label map.

        Thresholds and words for people stay out: they are rows that may change under a model.
        """
        parts = {
            "tags": sorted((tag.name, sorted(tag.parents)) for tag in self.tags),
            "labels": sorted(self.tag_of_label.items()),
        }
        return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def ancestors(self) -> Mapping[str, Mapping[str, int]]:
        """For each tag all that it implies, with the fewest steps up to it; itself at 0."""
        above: dict[str, dict[str, int]] = {}
        graph = {tag.name: tag.parents for tag in self.tags}
        for name in TopologicalSorter(graph).static_order():
            depths = {name: 0}
            for parent in graph[name]:
                for ancestor, depth in above[parent].items():
                    depths[ancestor] = min(depth + 1, depths.get(ancestor, depth + 1))
            above[name] = depths
        return above

    def closure(self) -> tuple[tuple[str, str, int], ...]:
        """Every (ancestor, descendant, depth), each pair once; depth 0 for a tag with itself."""
        return tuple(
            sorted(
                (ancestor, descendant, depth)
                for descendant, depths in self.ancestors.items()
                for ancestor, depth in depths.items()
            )
        )

    def columns(self, label_keys: Sequence[str] | None = None) -> list[list[int]]:
        """For each label the places of the tags that it lies under, among the tags; in the order of both.

        ``label_keys`` are a model's own classes in its own order; left out, the taxonomy's.
        Raises :class:`TaxonomyError` for a class that no tag stands for, or that comes twice.
        """
        keys = [label.key for label in self.labels] if label_keys is None else list(label_keys)
        self._check_coverage(keys)
        column = {tag.name: i for i, tag in enumerate(self.tags)}
        return [[column[name] for name in self.ancestors[self.tag_of_label[key]]] for key in keys]

    def resolve(self, text: str) -> str | None:
        """The tag that a person means by ``text``, or None when that is none or not just one.

        Case, accents, hyphens and plurals do not matter; a tag's name comes before another's
        alias, and what is written before what is only alike.
        """
        written = normal(text)
        if exact := self._names.get(written) or self._aliases.get(written):
            return exact
        sought = forms(text)
        if not sought.isdisjoint(self._hints_by_form):
            return None
        for index in (self._names_by_form, self._aliases_by_form):
            found = {name for form in sought for name in index.get(form, ())}
            if found:
                return found.pop() if len(found) == 1 else None
        return None

    def suggest(self, text: str, at_most: int = 5) -> list[str]:
        """Tags to offer for a ``text`` that resolves to none, the likeliest first."""
        words = set(normal(text).split())
        terms = self._names | self._aliases
        hinted = [name for form in forms(text) for name in self._hints_by_form.get(form, ())]
        holding = [name for term, name in self._names.items() if words and words <= set(term.split())]
        swapped = [terms[term] for term in _swapped(normal(text)) if term in terms]
        alike = [terms[term] for term in get_close_matches(normal(text), terms, n=at_most, cutoff=0.7)]
        return list(dict.fromkeys(hinted + swapped + sorted(holding, key=len) + alike))[:at_most]

    def _check_coverage(self, keys: Sequence[str]) -> None:
        missing = [key for key in keys if key not in self.tag_of_label]
        twice = [key for key, times in Counter(keys).items() if times > 1]
        if missing or twice:
            wrong, said = (missing, "has no tag for") if missing else (twice, "cannot count twice")
            raise TaxonomyError(f"The taxonomy {self.name!r} {said} the labels {_some(wrong)}.")

    @cached_property
    def _names(self) -> dict[str, str]:
        return {normal(tag.name): tag.name for tag in self.tags}

    @cached_property
    def _aliases(self) -> dict[str, str]:
        return {normal(alias): tag.name for tag in self.tags for alias in tag.aliases}

    @cached_property
    def _names_by_form(self) -> Mapping[str, set[str]]:
        return _index((tag.name, tag.name) for tag in self.tags)

    @cached_property
    def _aliases_by_form(self) -> Mapping[str, set[str]]:
        return _index((alias, tag.name) for tag in self.tags for alias in tag.aliases)

    @cached_property
    def _hints_by_form(self) -> Mapping[str, tuple[str, ...]]:
        return {form: names for word, names in self.hints.items() for form in forms(word)}


@cache
def load_taxonomy(name: str = "imagenet") -> Taxonomy:
    """The taxonomy that ships under this name; read once a process.

    Raises :class:`TaxonomyError` when there is none, or its files are not whole.
    """
    folder = resources.files("tagger") / "data" / name
    try:
        labels = (folder / "labels.tsv").read_text(encoding="utf-8")
        derived = (folder / "taxonomy.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TaxonomyError(f"There is no taxonomy {name!r} in this installation of Tagger.") from error
    return read_taxonomy(name, labels, derived)


def flat_taxonomy(name: str, labels: Sequence[str], threshold: float = 0.5) -> Taxonomy:
    """A tag for each label, none above another: the words of somebody's own model.

    Raises :class:`TaxonomyError` for labels that are one word to whoever searches (``Cat`` and ``cat``).
    """
    tags = tuple(Tag(" ".join(label.lower().split()), (), (), threshold) for label in labels)
    return Taxonomy(
        name,
        tuple(Label(label, label) for label in labels),
        tags,
        {label: tag.name for label, tag in zip(labels, tags, strict=True)},
    )


def read_taxonomy(name: str, labels: str, derived: str) -> Taxonomy:
    """A taxonomy from the text of its ``labels.tsv`` and ``taxonomy.json``.

    Raises :class:`TaxonomyError` when they cannot be read or do not fit together.
    """
    try:
        rows = csv.DictReader(labels.splitlines(), delimiter="\t")
        parts = json.loads(derived)
        return Taxonomy(
            name,
            tuple(Label(row["key"], row["name"]) for row in rows),
            tuple(_tag(entry) for entry in parts["tags"]),
            dict(parts["labels"]),
            {word: tuple(names) for word, names in parts["hints"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TaxonomyError(f"The files of the taxonomy {name!r} cannot be read: {error!r}.") from error


def _tag(entry: Mapping[str, Any]) -> Tag:
    return Tag(
        str(entry["name"]),
        tuple(map(str, entry["aliases"])),
        tuple(map(str, entry["parents"])),
        float(entry["threshold"]),
    )


# -- words ------------------------------------------------------------------------------------


def normal(text: str) -> str:
    """A word as it is compared: lower case, no accents, hyphens as spaces, single spaces."""
    apart = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter)).lower()
    return " ".join(re.sub(r"[-_\s]+", " ", re.sub(r"['.,]", "", plain)).split())


def forms(text: str) -> set[str]:
    """All that a word may be the plural of, itself among them, written in one (hotdog, hot dog)."""
    return {"".join(words) for words in product(*map(_singulars, normal(text).split()))}


def _singulars(word: str) -> tuple[str, ...]:
    """A word and what it may be the plural of, by the rules of English spelling."""
    found = [word]
    if word in _IRREGULAR:
        found.append(_IRREGULAR[word])
    if word.endswith("ies"):
        found.append(f"{word[:-3]}y")
    if word.endswith("ves"):
        found += [f"{word[:-3]}f", f"{word[:-3]}fe"]
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        found.append(word[:-2])
    if word.endswith("s") and not word.endswith("ss"):
        found.append(word[:-1])
    return tuple(found)


def _swapped(text: str) -> Iterator[str]:
    """The text with two letters beside each other in each other's place: the commonest slip."""
    for place in range(len(text) - 1):
        yield text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def _index(terms: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    """Tag names by the forms of the words for them."""
    index: defaultdict[str, set[str]] = defaultdict(set)
    for term, name in terms:
        for form in forms(term):
            index[form].add(name)
    return dict(index)


# -- checks -----------------------------------------------------------------------------------


def _check_words(tags: Sequence[Tag], hints: Mapping[str, tuple[str, ...]]) -> None:
    """Each word means one tag, or is a hint; every tag's threshold is a confidence."""
    words = Counter(normal(word) for tag in tags for word in (tag.name, *tag.aliases))
    words.update(normal(word) for word in hints)
    if shared := [word for word, times in words.items() if times > 1]:
        raise TaxonomyError(f"One word stands for two tags, or twice for one: {_some(shared)}.")
    names = {tag.name for tag in tags}
    if unknown := [word for word, offered in hints.items() if not names.issuperset(offered)]:
        raise TaxonomyError(f"There are hints to tags that do not exist: {_some(unknown)}.")
    if wild := [tag.name for tag in tags if not 0 < tag.threshold <= 1]:
        raise TaxonomyError(f"A threshold must be above 0 and at most 1: {_some(wild)}.")


def _check_graph(tags: Sequence[Tag]) -> None:
    graph = {tag.name: tag.parents for tag in tags}
    parents = {parent for tag in tags for parent in tag.parents}
    if unknown := sorted(parents - graph.keys()):
        raise TaxonomyError(f"There are parents that are no tags: {_some(unknown)}.")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise TaxonomyError(f"Tags stand above themselves: {' -> '.join(error.args[1])}.") from error


def _check_labels(labels: Sequence[Label], tag_of_label: Mapping[str, str], names: set[str]) -> None:
    keys = Counter(label.key for label in labels)
    if twice := [key for key, times in keys.items() if times > 1]:
        raise TaxonomyError(f"Labels appear twice: {_some(twice)}.")
    if different := sorted(keys.keys() ^ tag_of_label.keys()):
        raise TaxonomyError(f"Labels without a tag, or tags for no label: {_some(different)}.")
    if unknown := sorted(set(tag_of_label.values()) - names):
        raise TaxonomyError(f"Labels are mapped to tags that do not exist: {_some(unknown)}.")


def _some(words: Sequence[str], at_most: int = 5) -> str:
    """The first few of many, for a message."""
    more = f" and {len(words) - at_most} more" if len(words) > at_most else ""
    return ", ".join(words[:at_most]) + more
