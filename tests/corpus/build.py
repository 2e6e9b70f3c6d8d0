"""The whole corpus, for a seed and a number of mutations."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from random import Random

from tests.corpus.bombs import bombs_cases
from tests.corpus.case import Case
from tests.corpus.handmade import handmade_cases
from tests.corpus.mutations import mutated, spliced
from tests.corpus.odd import odd_cases
from tests.corpus.others import others_cases
from tests.corpus.raws import raws_cases
from tests.corpus.sound import sound_cases
from tests.photos import EXAMPLES

# Of larger files so few bytes are headers that a mutation seldom meets one.
_LARGEST_SEED = 40_000
# One mutation in so many is of a photo, the others of the small files.
_PHOTOS = 8
_SPLICED = 0.05


def corpus(mutations: int, seed: int = 1) -> Iterator[Case]:
    """All that is made by hand, the photos as they are, and mutations of both."""
    yield from (*sound_cases(), *handmade_cases(), *odd_cases(), *raws_cases())
    yield from (*bombs_cases(), *others_cases())
    yield from photo_cases()
    yield from islice(mutation_cases(seed), mutations)


def mutation_cases(seed: int) -> Iterator[Case]:
    """Broken files without end, each format as often as any other."""
    random, kinds, photos = Random(seed), _seeds_by_kind(), photo_cases()
    for number, kind in enumerate(cycle(sorted(kinds))):
        origin = random.choice(photos if number % _PHOTOS == 0 else kinds[kind])
        other = random.choice(kinds[random.choice(sorted(kinds))])
        splice = random.random() < _SPLICED
        data = spliced(origin.data, other.data, random) if splice else mutated(origin.data, random)
        yield Case(f"mutation-{number:06d}-{origin.name}", data)


def seeds() -> list[Case]:
    """What fuzzing begins with: small, sound, of every format."""
    cases = (*sound_cases(), *handmade_cases(), *odd_cases(), *raws_cases())
    return [case for case in cases if len(case.data) <= _LARGEST_SEED]


@cache
def photo_cases() -> tuple[Case, ...]:
    """The example photos, real ones of several cameras and programs; one is cut off."""
    photos = sorted(file for file in EXAMPLES.iterdir() if file.suffix != ".md")
    return tuple(Case(f"photo-{photo.name}", photo.read_bytes()) for photo in photos)


def write(cases: Iterator[Case], folder: Path) -> dict[str, Case]:
    """The cases as files of a folder; by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for case in cases:
        if case.name in written:
            raise ValueError(f"two cases are called {case.name}")
        (folder / case.name).write_bytes(case.data)
        written[case.name] = case
    return written


def _seeds_by_kind() -> dict[str, list[Case]]:
    kinds: dict[str, list[Case]] = {}
    for case in seeds():
        kinds.setdefault(case.name.rsplit(".", 1)[1], []).append(case)
    return kinds
