"""``tagger train``: from examples to a model version, with a report of what it is worth.

Each step leaves what it found in a folder of its own (features as they are found, a checkpoint after each
epoch), named by all that decides the result; so the same command goes on where it was cut off.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tagger import models
from tagger.engines import confidences
from tagger.errors import ModelError, TrainingError
from tagger.library import versions
from tagger.library.training import learning, material
from tagger.library.training.learning import Taught
from tagger.library.training.material import Material
from tagger.library.training.order import Course, Manner, Order, Watch
from tagger.models import Activation, ModelSpec, OwnWeights, own, weights
from tagger.store.catalog import Model
from tagger.store.session import Database
from tagger.taxonomy import flat_taxonomy
from tagger.training import calibration
from tagger.training.measures import Measures, Mistake, measure, mistakes

if TYPE_CHECKING:
    from tagger.training.report import Pictures, Report

DOUBT: Final = 0.7
"""So sure of another label one must be for a picture's own to be doubted."""
PICTURES: Final = "pictures.npy"


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What came of it. ``model`` is its version in the database, ``page`` the report for people, and
    ``figures`` all of it for programs."""

    spec: ModelSpec
    model: Model
    summary: Report
    figures: dict[str, Any]
    page: Path


def train(database: Database, order: Order, watch: Watch) -> Trained:
    """Train a model, keep it, and register its version, which is live if it is the first of its vocabulary.

    Raises:
        ModelError: the name is taken or none, or there is no such network.
        TrainingError: there is nothing to be learned from the examples.
        EngineError, LoadingError: the machine cannot do it.
    """
    began = time.monotonic()
    versions.require_free(order.name, order.vocabulary)
    own.require_writable(order.equipment.models_dir)
    course = _course(order.manner)
    with _folder(order) as folder:
        gathered = material.gather(order, course, folder / PICTURES, watch)
        flat_taxonomy(order.name, gathered.names)  # its labels must be words that can be told apart
        spec = _spec(order, course, len(gathered.names))
        taught = learning.teach(order, course, gathered, spec, folder, watch)
        watch.stage("Measuring", 1)
        said = learning.logits(order, taught.network, spec, gathered, folder)
        judged = _judged(said, gathered, spec)
        spec = replace(spec, temperature=judged.temperature)
        summary = _summary(order, course, gathered, taught, judged, time.monotonic() - began)
        return _kept(database, order, spec, gathered, taught, judged, summary)


def _course(manner: Manner) -> Course:
    if manner.scratch is None:
        base = models.get(manner.base or models.DEFAULT)
        weights.fetch(base.weights)
        weights.locate(base.weights)
        return Course(models.architectures()[base.architecture], base)
    if manner.base is not None:
        raise ModelError("a network learns from its beginning or from a model's weights, not from both")
    return Course(versions.require_network(manner.scratch), None)


def _spec(order: Order, course: Course, classes: int) -> ModelSpec:
    network, base = course.network, course.base
    return ModelSpec(
        name=order.name,
        vocabulary=order.vocabulary or order.name,
        architecture=network.name,
        family=network.family,
        year=datetime.now().year,
        labels="own",
        label_count=classes,
        preprocessing=course.preprocessing,
        weights=OwnWeights("", "", 0),
        feature_size=network.feature_size,
        parameters=own.count(network.name, network.family, classes),
        licence=f"your own, from {base.name} ({base.licence})" if base else "your own",
        kind=order.manner.kind,
        # What the last layer reads is as it was, so the others may go on in int8.
        ranges=base.ranges if base and not order.manner.fine_tune else (),
    )


@contextmanager
def _folder(order: Order) -> Iterator[Path]:
    """A folder for what is found on the way. It stays when the work is cut off, and goes when it is done."""
    folder = order.equipment.cache_dir / "training" / order.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as fault:
        raise TrainingError(f"what is found on the way cannot be kept in {folder}: {fault}") from fault
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(f"another process trains {order.name} at the moment") from None
        if order.fresh:
            for kept in folder.glob("*/"):
                shutil.rmtree(kept)
        try:
            yield folder
        finally:
            (folder / PICTURES).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The temperature, and what is measured: by ``places`` in the material, confidences as the model will
    give them and truth, both [N, C]."""

    temperature: float
    places: NDArray[np.intp]
    confidences: NDArray[np.float64]
    truth: NDArray[np.int8]
    measures: Measures


def _judged(logits: NDArray[np.float32], gathered: Material, spec: ModelSpec) -> _Judged:
    """What the model is worth by its ``logits``, float32 [N, C], of all that it did not learn from."""
    rest = np.flatnonzero(~gathered.learned)
    truth, kind = gathered.truth[rest], spec.kind
    shown = gathered.measured[rest]
    fitting = ~shown if gathered.tested.any() else shown
    temperature = calibration.temperature(logits[fitting], truth[fitting], kind)
    final = confidences(logits[shown], kind, temperature)
    # What the temperature is fitted to cannot tell how good it is.
    after = final if gathered.tested.any() else calibration.cross_fitted(logits[shown], truth[shown], kind)
    before = confidences(logits[shown], kind, 1.0)
    found = measure(before, after, truth[shown], gathered.names, kind)
    return _Judged(temperature, rest[shown], final, truth[shown], found)


def _summary(
    order: Order, course: Course, gathered: Material, taught: Taught, judged: _Judged, seconds: float
) -> Report:
    from tagger.training.report import Report

    return Report(
        name=order.name,
        made_at=datetime.now(),
        base=course.base.name if course.base else None,
        architecture=course.network.name,
        kind=order.manner.kind,
        seed=order.manner.seed,
        fine_tuned=order.manner.fine_tune,
        names=gathered.names,
        learned=int(gathered.learned.sum()),
        held_out=int(gathered.held_out.sum()),
        tested=int(gathered.tested.sum()),
        alike=gathered.alike,
        left_out=gathered.left_out,
        epochs=taught.epochs,
        temperature=judged.temperature,
        measures=judged.measures,
        doubtful=_doubtful(gathered, taught, order.manner.kind),
        seconds=seconds,
    )


def _doubtful(gathered: Material, taught: Taught, kind: Activation) -> tuple[Mistake, ...]:
    """Pictures that were learned from under a label that is perhaps wrong, by their rows among these."""
    if taught.doubts is None:
        return ()
    truth = gathered.truth[gathered.learned]
    found = mistakes(taught.doubts, truth, gathered.names, kind)
    return tuple(each for each in found if each.confidence >= DOUBT)


def _kept(
    database: Database,
    order: Order,
    spec: ModelSpec,
    gathered: Material,
    taught: Taught,
    judged: _Judged,
    summary: Report,
) -> Trained:
    """The model in its folder, with its report, and its version in the database."""
    from tagger.training import report

    measured = _pictures(gathered, judged.places)
    learned = _pictures(gathered, np.flatnonzero(gathered.learned))

    def beside(folder: Path) -> None:
        own.keep_held_out(folder, judged.confidences, judged.truth)
        report.write(own.report_of(folder), summary, measured, learned)

    folder = order.equipment.models_dir
    state = {name: value.detach().cpu() for name, value in taught.network.state_dict().items()}
    kept = own.add(folder, spec, state, gathered.names, beside)
    versions.adopt_own(folder)
    model = versions.register(database, versions.choose(database, kept.name))
    figures = report.as_json(summary, measured.uris, learned.uris)
    return Trained(kept, model, summary, figures, own.report_of(own.folder_of(kept)) / report.PAGE)


def _pictures(gathered: Material, places: NDArray[np.intp]) -> Pictures:
    from tagger.training.report import Pictures

    def pixels(row: int) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = gathered.pixels[gathered.rows[places[row]]]
        return found

    return Pictures([gathered.uris[place] for place in places], pixels)
