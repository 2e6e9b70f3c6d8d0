"""What is learned from: images, and what people say that they show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tagger.errors import TrainingError

UNKNOWN = -1
"""In a truth matrix: nobody has said."""


@dataclass(frozen=True, slots=True)
class Example:
    """An image by its URI, the labels that are ``right`` for it, and those that are ``wrong``."""

    uri: str
    right: frozenset[str]
    wrong: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples from one place. ``complete``: a label that an example does not name is wrong for it; else
    nobody has said. ``remarks`` tell what of the place was passed over."""

    items: tuple[Example, ...]
    complete: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def labels(self) -> Counter[str]:
        """How many examples each label is right for."""
        return Counter(label for item in self.items for label in item.right)


@dataclass(frozen=True, slots=True)
class Content:
    """One picture to learn from: where its pixels are, the first place it was found at and how many places
    have it, and what is said of it."""

    row: int
    uri: str
    copies: int
    right: frozenset[str]
    wrong: frozenset[str]


@dataclass(frozen=True, slots=True)
class Contents:
    """Each content once. ``contradictory`` are those of which two things are said, by their URIs."""

    items: tuple[Content, ...]
    contradictory: tuple[tuple[str, frozenset[str]], ...] = ()


def one_each(examples: Sequence[Example], digests: Mapping[int, bytes], *, many: bool) -> Contents:
    """The contents of the examples that could be loaded: ``digests`` by their place in ``examples``.

    A content that is an example of several labels has them all if a picture may have ``many``. If not, it
    cannot be learned from: it is told apart, and left out.
    """
    places: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in digests.items():
        places[digest].append(row)
    items, contradictory = [], []
    for rows in places.values():
        right = frozenset().union(*(examples[row].right for row in rows))
        wrong = frozenset().union(*(examples[row].wrong for row in rows))
        if (not many and len(right) > 1) or right & wrong:
            contradictory += [(examples[row].uri, right) for row in rows]
        elif right or many:
            items.append(Content(rows[0], examples[rows[0]].uri, len(rows), right, wrong))
    return Contents(tuple(items), tuple(contradictory))


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels to be learned, in the order of the network's classes; those with too ``few`` pictures, and
    those with too few that do not show them."""

    names: tuple[str, ...]
    few: Mapping[str, int] = field(default_factory=dict)
    bare: Mapping[str, int] = field(default_factory=dict)


def enough(contents: Sequence[Content], least: int, *, many: bool, complete: bool) -> Labels:
    """The labels of which there are ``least`` pictures or more, by name; where a picture may have ``many``,
    and as many that are known not to show them.

    Raises:
        TrainingError: there are not two of them (with ``many`` not one), so nothing to tell apart.
    """
    right = Counter(label for content in contents for label in content.right)
    wrong = Counter(label for content in contents for label in content.wrong - content.right)
    few, bare = dict[str, int](), dict[str, int]()
    for label, number in sorted(right.items()):
        others = len(contents) - number if complete or not many else wrong[label]
        if number < least:
            few[label] = number
        elif many and others < least:
            bare[label] = others
    names = right.keys() - few.keys() - bare.keys()
    if len(names) < (1 if many else 2):
        raise TrainingError(_too_few(sorted(names), few, bare, least))
    return Labels(tuple(sorted(names, key=lambda label: (label.casefold(), label))), few, bare)


def _too_few(names: Sequence[str], few: Mapping[str, int], bare: Mapping[str, int], least: int) -> str:
    if not names and not few and not bare:
        return "there is no picture with a label to learn from"
    small = f"; fewer have {', '.join(f'{label} ({number})' for label, number in few.items())}" if few else ""
    if bare:
        return (
            f"of too few pictures it is known that they do not show {', '.join(bare)}, {least} at least: "
            f"name some without a label, or reject the tag of some (`tagger reject`){small}"
        )
    if names:
        return (
            f"there is one label only, {names[0]}, and nothing to tell it from: add pictures of something "
            f"else, {least} at least (in a folder called other, say){small}"
        )
    return f"no label has {least} different pictures that can be read{small}. --least asks for fewer"


def truth(contents: Sequence[Content], names: Sequence[str], *, complete: bool) -> NDArray[np.int8]:
    """What is right (1), wrong (0) and :data:`UNKNOWN` of each picture: int8 [N, C]."""
    column = {name: index for index, name in enumerate(names)}
    said = np.full((len(contents), len(names)), 0 if complete else UNKNOWN, np.int8)
    for row, content in enumerate(contents):
        said[row, [column[label] for label in content.wrong if label in column]] = 0
        said[row, [column[label] for label in content.right if label in column]] = 1
    return said
