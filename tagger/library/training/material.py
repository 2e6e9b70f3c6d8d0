"""Who learns from what: each content once, alike pictures on one side, those for measuring on their own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tagger.errors import TrainingError
from tagger.library.training import pictures
from tagger.library.training.order import Course, Order, Watch
from tagger.library.training.pictures import Pictures
from tagger.training import examples, split
from tagger.training.examples import Content, Contents, Labels


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
    labels = examples.enough(found.items, manner.least, many=manner.many)
    return _arranged(order, course, loaded, found, tests, labels)


def _below(digests: Mapping[int, bytes], end: int) -> dict[int, bytes]:
    return {row: digest for row, digest in digests.items() if row < end}


def _from(digests: Mapping[int, bytes], start: int) -> dict[int, bytes]:
    return {row: digest for row, digest in digests.items() if row >= start}


def _arranged(
    order: Order, course: Course, loaded: Pictures, found: Contents, tests: Contents, labels: Labels
) -> Material:
    """Who learns from what. What is measured with is not learned from, nor is anything that looks just so."""
    manner = order.manner
    learnable = [item for item in found.items if manner.many or item.right <= set(labels.names)]
    tests_of = [item for item in tests.items if manner.many or item.right <= set(labels.names)]
    items = learnable + tests_of
    groups = split.alike(loaded.pixels, np.array([item.row for item in items]))
    is_test = np.arange(len(items)) >= len(learnable)
    leaked = np.isin(groups, groups[is_test]) & ~is_test
    stays = np.flatnonzero(~leaked)
    used, tested = [items[place] for place in stays], is_test[stays]
    truth = examples.truth(used, labels.names, complete=order.given.examples.complete)
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
        "could not be loaded": [
            f"{asked[row].uri}: {failure.kind.value}: {failure.reason}"
            for row, failure in loaded.failures.items()
        ],
        "are examples of two things at once": [
            f"{uri}: {' and '.join(sorted(names))}"
            for uri, names in (*found.contradictory, *tests.contradictory)
        ],
        "are of labels with too few pictures": [f"{label}: {n}" for label, n in labels.few.items()],
        "are measured with, and so not learned from": [item.uri for item in leaked],
        "are for measuring, and of labels that were not learned": [
            item.uri for item in tests.items if not (order.manner.many or item.right <= set(labels.names))
        ],
        "were passed over": list(order.given.examples.remarks),
        "are the same file as another": [
            f"{item.uri}: {item.copies} times" for item in found.items if item.copies > 1
        ],
    }
    return {reason: tuple(listed) for reason, listed in said.items() if listed}


def _identity(
    order: Order, course: Course, digests: Sequence[bytes], truth: NDArray[np.int8], names: Sequence[str]
) -> str:
    """All that decides what is learned, in 64 hex digits."""
    begun = course.base.weights.identity if course.base else None
    parts = [asdict(order.manner), begun, order.equipment.engine, names, [digest.hex() for digest in digests]]
    text = json.dumps(parts, sort_keys=True).encode() + truth.tobytes()
    return hashlib.sha256(text).hexdigest()
