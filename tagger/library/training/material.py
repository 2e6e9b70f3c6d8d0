"""Who learns from what: each content once, alike pictures on one side, those for measuring on their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

import tagger
from tagger.errors import TrainingError
from tagger.library.training import pictures
from tagger.library.training.order import Course, Manner, Order, Watch
from tagger.library.training.pictures import Pictures
from tagger.sources import printable
from tagger.taxonomy import normal
from tagger.training import examples, split
from tagger.training.examples import Content, Contents, Labels

LONGEST: Final = 100
"""Letters of a label."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Pictures with what is true of them: the ``rows`` of ``pixels`` that count, and in their order URIs,
    truth (int8 [N, C]), which are ``held_out`` and which for measuring alone."""

    pixels: NDArray[np.uint8]
    rows: NDArray[np.intp]
    uris: tuple[str, ...]
    truth: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    names: tuple[str, ...]
    left_out: Mapping[str, tuple[str, ...]]
    """Examples that were not used, by the reason, each in words."""
    alike: int
    """Pictures that are others saved anew, kept on the side of the others."""
    identity: str

    @property
    def learned(self) -> NDArray[np.bool_]:
        """What is learned from."""
        return ~(self.held_out | self.tested)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """What the figures are of: the pictures for measuring, or those that only decided when to stop."""
        return self.tested if self.tested.any() else self.held_out


def gather(order: Order, course: Course, file: Path, watch: Watch) -> Material:
    """Load the examples into ``file``, and settle who learns from what.

    Raises:
        TrainingError: there is nothing to be learned from them.
    """
    manner, test = order.manner, order.test
    given = order.given.examples.items
    _require_words(order)
    asked = (*given, *(test.examples.items if test else ()))
    watch.stage("Loading", len(asked))
    roots = order.given.roots.adding(root.path for root in test.roots.items) if test else order.given.roots
    loaded = pictures.load(
        [example.uri for example in asked],
        roots,
        course.preprocessing,
        order.equipment.limits,
        order.equipment.threads,
        file,
        watch.advanced,
    )
    found = examples.one_each(given, _below(loaded.digests, len(given)), many=manner.many)
    tests = examples.one_each(asked, _from(loaded.digests, len(given)), many=manner.many)
    _require_loaded(order, loaded)
    _require_one_label(found)
    complete = order.given.examples.complete
    labels = examples.enough(found.items, manner.least, many=manner.many, complete=complete)
    return _arranged(order, course, loaded, found, tests, labels)


def _require_words(order: Order) -> None:
    """Labels that can be shown, and told apart by whoever searches; asked before hours of work."""
    known: dict[str, str] = {}
    for label in sorted(order.given.examples.labels):
        if len(label) > LONGEST or not label.isprintable():
            shown = printable(label[:LONGEST])
            raise TrainingError(f"{shown!r} is no label: 1 to {LONGEST} letters that can be printed")
        other = known.setdefault(normal(label), label)
        if other != label:
            raise TrainingError(f"{other} and {label} are one word to whoever searches: rename one of them")


def _require_loaded(order: Order, loaded: Pictures) -> None:
    """Something could be read, both to learn from and to measure with."""
    learned = len(order.given.examples.items)
    for what, rows in (("learn from", range(learned)), ("measure with", range(learned, len(loaded.pixels)))):
        failed = [loaded.failures[row] for row in rows if row in loaded.failures]
        if rows and len(failed) == len(rows):
            raise TrainingError(
                f"none of the {len(rows):,} pictures to {what} can be read; the first one: {failed[0].reason}"
            )


def _require_one_label(found: Contents) -> None:
    """Several labels to most pictures are meant, and no mistake."""
    several = [(uri, names) for uri, names in found.contradictory if len(names) > 1]
    if len(several) > len(found.items):
        uri, names = several[0]
        raise TrainingError(
            f"{len(several):,} pictures have several labels, such as {printable(unquote(uri))}: "
            f"{', '.join(sorted(names))}. --multi-label learns each label for itself"
        )


def _below(digests: Mapping[int, bytes], end: int) -> dict[int, bytes]:
    return {row: digest for row, digest in digests.items() if row < end}


def _from(digests: Mapping[int, bytes], start: int) -> dict[int, bytes]:
    return {row: digest for row, digest in digests.items() if row >= start}


def _arranged(
    order: Order, course: Course, loaded: Pictures, found: Contents, tests: Contents, labels: Labels
) -> Material:
    """Who learns from what. What is measured with is not learned from, nor is anything that looks just so."""
    manner = order.manner
    learnable = [item for item in found.items if _is_learned(item, manner, labels)]
    tests_of = [item for item in tests.items if _is_learned(item, manner, labels)]
    items = learnable + tests_of
    groups = split.alike(loaded.pixels, np.array([item.row for item in items]))
    is_test = np.arange(len(items)) >= len(learnable)
    leaked = np.isin(groups, groups[is_test]) & ~is_test
    stays = np.flatnonzero(~leaked)
    used, tested = [items[place] for place in stays], is_test[stays]
    if order.test is not None and not tested.any():
        raise TrainingError(
            f"no picture to measure with is of a label that is learned ({', '.join(labels.names[:5])}, ...)"
        )
    truth = _truth(order, used, tested, labels)
    held_out = np.zeros(len(used), np.bool_)
    held_out[~tested] = split.held_out(truth[~tested], groups[stays][~tested], manner.share, manner.seed)
    _require_sides(truth[~tested], held_out[~tested], labels.names)
    return Material(
        pixels=loaded.pixels,
        rows=np.array([item.row for item in used]),
        uris=tuple(item.uri for item in used),
        truth=truth,
        held_out=held_out,
        tested=tested,
        names=labels.names,
        left_out=_left_out(
            order, loaded, found, tests, labels, [items[place] for place in np.flatnonzero(leaked)]
        ),
        alike=len(items) - len(np.unique(groups)),
        identity=_identity(order, course, [loaded.digests[item.row] for item in used], truth, labels.names),
    )


def _is_learned(item: Content, manner: Manner, labels: Labels) -> bool:
    return manner.many or item.right.issubset(labels.names)


def _truth(
    order: Order, used: Sequence[Content], tested: NDArray[np.bool_], labels: Labels
) -> NDArray[np.int8]:
    """Of both sides; what one does not name may be wrong there, and unknown on the other."""
    truth = examples.truth(used, labels.names, complete=order.given.examples.complete)
    if order.test is not None:
        by_test = examples.truth(used, labels.names, complete=order.test.examples.complete)
        truth[tested] = by_test[tested]
    return truth


def _require_sides(truth: NDArray[np.int8], held_out: NDArray[np.bool_], names: Sequence[str]) -> None:
    lacking = [
        name
        for column, name in enumerate(names)
        if not (truth[held_out, column] == 1).any() or not (truth[~held_out, column] == 1).any()
    ]
    if lacking:
        raise TrainingError(
            f"all pictures of {', '.join(lacking[:5])} are one and the same, or used for measuring: there is "
            "nothing left to learn from, or to see what was learned"
        )


def _left_out(
    order: Order,
    loaded: Pictures,
    found: Contents,
    tests: Contents,
    labels: Labels,
    leaked: Sequence[Content],
) -> dict[str, tuple[str, ...]]:
    asked = (*order.given.examples.items, *(order.test.examples.items if order.test else ()))
    said = {
        "not readable": [
            f"{asked[row].uri}: {failure.kind.value}: {failure.reason}"
            for row, failure in loaded.failures.items()
        ],
        "under two labels at once": [
            f"{uri}: {' and '.join(sorted(names))}"
            for uri, names in (*found.contradictory, *tests.contradictory)
        ],
        "labels with too few photos": [f"{label} ({n})" for label, n in labels.few.items()],
        "labels with too few photos that do not show them": [
            f"{label} ({n})" for label, n in labels.bare.items()
        ],
        "measured with, and so not learned from": [item.uri for item in leaked],
        "for measuring, of labels that were not learned": [
            item.uri for item in tests.items if not _is_learned(item, order.manner, labels)
        ],
        "passed over": list(order.given.examples.remarks),
        "the same file under several names": [
            f"{item.uri}: {item.copies} times" for item in found.items if item.copies > 1
        ],
    }
    return {reason: tuple(listed) for reason, listed in said.items() if listed}


def _identity(
    order: Order, course: Course, digests: Sequence[bytes], truth: NDArray[np.int8], names: Sequence[str]
) -> str:
    """All that decides what is learned, in 64 hex digits."""
    begun = course.base.weights.identity if course.base else None
    means = [
        asdict(course.preprocessing),
        order.equipment.engine,
        order.equipment.threads,
        tagger.__version__,
    ]
    parts = [asdict(order.manner), begun, means, names, [digest.hex() for digest in digests]]
    text = json.dumps(parts, sort_keys=True).encode() + truth.tobytes()
    return hashlib.sha256(text).hexdigest()
