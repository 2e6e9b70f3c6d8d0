"""Derives ``taxonomy.json`` from WordNet, the labels and what a person decided.

    python -m tagger.data.derive [--wordnet /usr/share/wordnet/data.noun] [--check]

WordNet gives the words and their order; ``curation.toml`` says which of its rungs are kept, what
things are called and from which confidence on they count. The result is checked in, so that
nothing needs WordNet at run time; the same inputs give the same bytes. WordNet 3.0 is the version
whose offsets ImageNet's ids are (Debian ships it as ``wordnet-base``).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tagger.errors import TaxonomyError
from tagger.taxonomy import Taxonomy, forms, normal, read_taxonomy

WORDNET = Path("/usr/share/wordnet/data.noun")
FOLDER = Path(__file__).parent / "imagenet"


@dataclass(frozen=True, slots=True)
class Synset:
    """A meaning in WordNet: the words for it, and the ids of the wider meanings above."""

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Curation:
    """What a person decided; the comments in ``curation.toml`` say what each table means."""

    rungs: Mapping[str, str]
    made: Mapping[str, Mapping[str, list[str]]]
    labels: Mapping[str, str]
    parents: Mapping[str, list[str]]
    spellings: Mapping[str, str]
    aliases: Mapping[str, list[str]]
    never: Mapping[str, list[str]]
    hints: Mapping[str, list[str]]
    thresholds: Mapping[str, Any]


def main() -> int:
    """Writes the file, or with ``--check`` says whether it is the one that would be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wordnet", type=Path, default=WORDNET, help="WordNet 3.0's data.noun")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it would differ")
    arguments = parser.parse_args()
    text = derive(arguments.wordnet, FOLDER)
    target = FOLDER / "taxonomy.json"
    if arguments.check:
        return int(not target.exists() or target.read_text(encoding="utf-8") != text)
    target.write_text(text, encoding="utf-8")
    return 0


def derive(wordnet: Path, folder: Path) -> str:
    """The text of ``taxonomy.json`` for the labels and the curation in ``folder``.

    Raises :class:`TaxonomyError` when a decision names what does not exist or changes nothing.
    """
    labels = (folder / "labels.tsv").read_text(encoding="utf-8")
    keys = [row["key"] for row in csv.DictReader(labels.splitlines(), delimiter="\t")]
    curation = Curation(**tomllib.loads((folder / "curation.toml").read_text(encoding="utf-8")))
    synsets = read_wordnet(wordnet)
    named = name_synsets(keys, synsets, curation)
    parents = place_tags(named, synsets, curation)
    aliases = gather_aliases(named, parents.keys(), synsets, curation)
    leaves = parents.keys() - {above for tags in parents.values() for above in tags}
    thresholds = set_thresholds(parents, leaves, curation.thresholds)
    text = write(parents, aliases, thresholds, {key: named[key] for key in keys}, curation.hints)
    _check_spelling(read_taxonomy(folder.name, labels, text))
    return text


def read_wordnet(path: Path) -> dict[str, Synset]:
    """The nouns of WordNet by id (``n02084071``), from its database file.

    The format is in WordNet's manual page wndb(5): after a licence whose lines begin with two
    spaces, a synset a line, with the number of words in hexadecimal and of pointers in decimal.
    """
    synsets = {}
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("  "):
                continue
            offset, _, _, count, *rest = line.partition("|")[0].split()
            words, pointers = rest[: 2 * int(count, 16) : 2], rest[2 * int(count, 16) + 1 :]
            above = [f"n{pointers[i + 1]}" for i, mark in enumerate(pointers) if mark in ("@", "@i")]
            synsets[f"n{offset}"] = Synset(tuple(word.replace("_", " ") for word in words), tuple(above))
    return synsets


# -- names ------------------------------------------------------------------------------------


def name_synsets(keys: Iterable[str], synsets: Mapping[str, Synset], curation: Curation) -> dict[str, str]:
    """The tag of each label and each kept rung, by synset id: WordNet's first word, or ours."""
    plain = {key: american(synsets[key].words[0].lower(), curation.spellings) for key in keys}
    _refuse("labels are no classes", curation.labels.keys() - plain.keys())
    _refuse("labels say what WordNet says", curation.labels.items() & plain.items())
    _refuse("rungs are no synsets", curation.rungs.keys() - synsets.keys())
    _refuse("rungs share a name", _twice([*curation.rungs.values(), *curation.made]))
    return {**plain, **curation.labels, **curation.rungs}


def american(text: str, spellings: Mapping[str, str]) -> str:
    """The text with each British word in American spelling (``spellings`` is by the American)."""
    to_american = {british: word for word, british in spellings.items()}
    return " ".join(to_american.get(word, word) for word in text.split(" "))


def british(text: str, spellings: Mapping[str, str]) -> str:
    """The text with each American word in British spelling."""
    return " ".join(spellings.get(word, word) for word in text.split(" "))


# -- places -----------------------------------------------------------------------------------


def place_tags(
    named: Mapping[str, str], synsets: Mapping[str, Synset], curation: Curation
) -> dict[str, tuple[str, ...]]:
    """The tags directly above each tag, sorted, none of them implied by another."""
    above: defaultdict[str, set[str]] = defaultdict(set)
    for synset, name in named.items():
        above[name] |= {named[kept] for kept in _nearest(synset, named, synsets)} - {name}
    for name, entry in curation.made.items():
        above[name] |= set(entry.get("under", ()))
    _refuse("made rungs hold what is no tag", _held(curation) - above.keys())
    _refuse("parents are of what is no tag", curation.parents.keys() - above.keys())
    _refuse("parents are no tags", {up for ups in curation.parents.values() for up in ups} - above.keys())
    same = {name for name, ups in curation.parents.items() if above[name] == set(ups)}
    _refuse("parents say what WordNet says", same)
    above.update({name: set(ups) for name, ups in curation.parents.items()})
    for name, entry in curation.made.items():
        for below in entry.get("holds", ()):
            above[below].add(name)
    return {name: _without_implied(above[name], above) for name in sorted(above)}


def _nearest(synset: str, named: Mapping[str, str], synsets: Mapping[str, Synset]) -> Iterator[str]:
    """The nearest kept synsets above one, by every way up."""
    for above in synsets[synset].hypernyms:
        if above in named:
            yield above
        else:
            yield from _nearest(above, named, synsets)


def _held(curation: Curation) -> set[str]:
    return {below for entry in curation.made.values() for below in entry.get("holds", ())}


def _without_implied(names: set[str], above: Mapping[str, set[str]]) -> tuple[str, ...]:
    """The names less those that stand above another of them."""
    implied = {far for name in names for far in _all_above(name, above)}
    return tuple(sorted(names - implied))


def _all_above(name: str, above: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [*above[name]]
    while waiting:
        if (next_up := waiting.pop()) not in found:
            found.add(next_up)
            waiting += above[next_up]
    return found


# -- other words ------------------------------------------------------------------------------


def gather_aliases(
    named: Mapping[str, str], tags: Iterable[str], synsets: Mapping[str, Synset], curation: Curation
) -> dict[str, tuple[str, ...]]:
    """Every other word for each tag: ours, then those of WordNet that nothing else claims."""
    names = list(tags)
    ours = {tag: _our_words(tag, curation) for tag in names}
    offered = _words_of_wordnet(named, synsets, curation.never)
    claimed = {normal(word) for words in (names, curation.hints, *ours.values()) for word in words}
    claims = Counter(normal(word) for words in offered.values() for word in words)
    _check_aliases(names, curation)
    found = {}
    for tag in names:
        free = [word for word in offered[tag] if normal(word) not in claimed and claims[normal(word)] == 1]
        found[tag] = tuple(sorted([*ours[tag], *free]))
    return found


def _our_words(tag: str, curation: Curation) -> list[str]:
    """The words that a person chose for a tag, and how the British spell them."""
    words = [tag, *curation.aliases.get(tag, ())]
    spelled = [british(word, curation.spellings) for word in words]
    return list(dict.fromkeys(word for word in [*words[1:], *spelled] if word != tag))


def _words_of_wordnet(
    named: Mapping[str, str], synsets: Mapping[str, Synset], never: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """What WordNet calls each tag, each word once, without those that would mislead."""
    unwanted = {normal(word) for words in never.values() for word in words}
    offered: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for synset, tag in named.items():
        for word in synsets[synset].words:
            offered[tag].setdefault(normal(word), word.lower())
    said = {word for words in offered.values() for word in words}
    _refuse("words never wanted are not WordNet's", unwanted - said)
    return defaultdict(
        list,
        {
            tag: [word for form, word in words.items() if form not in unwanted]
            for tag, words in offered.items()
        },
    )


def _check_aliases(names: Iterable[str], curation: Curation) -> None:
    _refuse("aliases are of what is no tag", curation.aliases.keys() - set(names))
    given = [normal(word) for words in curation.aliases.values() for word in words]
    _refuse("aliases are given twice", _twice(given))
    _refuse("aliases are tags", {normal(name) for name in names} & set(given))
    _refuse("aliases are hints", {normal(word) for word in curation.hints} & set(given))


# -- thresholds -------------------------------------------------------------------------------


def set_thresholds(
    parents: Mapping[str, tuple[str, ...]], leaves: Iterable[str], decided: Mapping[str, Any]
) -> dict[str, float]:
    """The threshold of each tag, never below that of a tag above it.

    A tag that counts makes those above it count, so a lower threshold below would undercut them.
    The few of ``base_rate`` are so broad that this is meant: they lift nothing.
    """
    own = {name: float(decided["rung"]) for name in parents} | dict.fromkeys(leaves, float(decided["leaf"]))
    listed = [(name, float(level["at"])) for level in decided["levels"] for name in level["tags"]]
    broad = {name: float(at) for name, at in decided["base_rate"].items()}
    _refuse("thresholds are of what is no tag", ({name for name, _ in listed} | broad.keys()) - own.keys())
    _refuse("thresholds are set twice", _twice([*broad, *(name for name, _ in listed)]))
    own.update(listed)
    above: dict[str, set[str]] = {name: set(direct) for name, direct in parents.items()}
    lifting = own | dict.fromkeys(broad, 0.0)
    return {
        name: max(own[name], *(lifting[far] for far in _all_above(name, above)), 0.0) for name in own
    } | broad


# -- writing ----------------------------------------------------------------------------------


def write(
    parents: Mapping[str, tuple[str, ...]],
    aliases: Mapping[str, tuple[str, ...]],
    thresholds: Mapping[str, float],
    labels: Mapping[str, str],
    hints: Mapping[str, list[str]],
) -> str:
    """The JSON, a tag, label or hint a line, so that a change shows as the lines it changes."""
    tags = [
        {"name": name, "parents": parents[name], "aliases": aliases[name], "threshold": thresholds[name]}
        for name in sorted(parents)
    ]
    return (
        '{"tags": [\n'
        + ",\n".join(map(json.dumps, tags))
        + '\n], "labels": {\n'
        + _lines(labels)
        + '\n}, "hints": {\n'
        + _lines(dict(sorted(hints.items())))
        + "\n}}\n"
    )


def _lines(entries: Mapping[str, object]) -> str:
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())


# -- checks -----------------------------------------------------------------------------------


def _check_spelling(taxonomy: Taxonomy) -> None:
    """Names are lower-case ASCII with single spaces, and no two differ only in number."""
    names = [tag.name for tag in taxonomy.tags]
    words = names + [alias for tag in taxonomy.tags for alias in tag.aliases]
    odd = {word for word in words if not word.isascii() or word != " ".join(word.lower().split())}
    _refuse("words are not lower-case ASCII with single spaces", odd)
    spoken = Counter(form for name in names for form in forms(name))
    alike = {name for name in names if any(spoken[form] > 1 for form in forms(name))}
    _refuse("tags differ only in number or hyphens", alike)


def _twice(words: Iterable[str]) -> set[str]:
    return {word for word, times in Counter(words).items() if times > 1}


def _refuse(what: str, entries: Iterable[object]) -> None:
    """Raises when there are any: a decision that does nothing is a mistake or has gone stale."""
    if found := sorted(map(str, entries)):
        raise TaxonomyError(f"curation.toml: {what}: {', '.join(found)}")


if __name__ == "__main__":
    sys.exit(main())
