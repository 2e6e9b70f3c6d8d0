"""How far confidences are off, and the temperature that mends it: `make bench-calibration PHOTOS=folder`.

Photos lie in folders named by WordNet ids, as for `make bench-accuracy`, and are prepared and classified as
the product does it. Each half of the photos is judged by the temperature that the other half has (two-fold
cross-fitting); errors are over ten bins of equal mass, with the interval that a bootstrap gives. The last
column of the first table is what stands in the catalogue.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tagger import models
from tagger.engines import confidences
from tagger.errors import WeightsError
from tagger.loading import PillowLoader
from tagger.models import ModelSpec, weights
from tagger.scoring import TagScorer, membership
from tagger.taxonomy import load_taxonomy
from tagger.training import calibration
from tests.benchmarks.accuracy import classified, labelled, loaded

TAGS = ("dog", "animal")


def main() -> None:
    """Print what each model's temperature is, and what it does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    here = [spec.name for spec in models.all_specs() if _is_here(spec)]
    parser.add_argument("--models", nargs="+", default=here, help="default: those whose weights are here")
    options = parser.parse_args()
    photos, classes = labelled(options.folder)
    if not photos:
        parser.error(f"{options.folder} has no folders named by the WordNet ids of ImageNet's classes")
    truth = np.eye(len(load_taxonomy().labels), dtype=np.int8)[classes]
    console = Console()
    for spec in map(models.get, options.models):
        loader = PillowLoader(spec.preprocessing)
        logits = classified((loaded(loader, path.read_bytes()) for path in photos), "auto", spec)
        console.print(_table(spec, logits, truth))


def _is_here(spec: ModelSpec) -> bool:
    try:
        weights.locate(spec.weights)
    except WeightsError:
        return False
    return True


def _table(spec: ModelSpec, logits: NDArray[np.float32], truth: NDArray[np.int8]) -> Table:
    fitted = calibration.temperature(logits, truth, "softmax")
    raw = confidences(logits, "softmax", 1.0)
    crossed = calibration.cross_fitted(logits, truth, "softmax")
    shipped = confidences(logits, "softmax", spec.temperature)
    title = (
        f"{spec.name}, {len(truth)} photos: temperature {fitted} by all of them, {spec.temperature} shipped"
    )
    table = Table("", "as trained", "cross-fitted", "as shipped", title=title)
    ways = (raw, crossed, shipped)
    table.add_row("log-loss", *(f"{_log_loss(each, truth):.4f}" for each in ways))
    right = truth.argmax(axis=1)
    table.add_row("label, off by", *(_error(each.max(axis=1), each.argmax(axis=1) == right) for each in ways))
    for tag in TAGS:
        has = membership(load_taxonomy())[:, [each.name for each in load_taxonomy().tags].index(tag)]
        table.add_row(f"{tag}, off by", *(_error(each[:, has].sum(axis=1), has[right]) for each in ways))
    table.add_row("tags, precision and recall", *(_tags(spec, each, right) for each in ways))
    return table


def _log_loss(sure: NDArray[np.float64], truth: NDArray[np.int8]) -> float:
    return float(-np.log(sure[np.arange(len(truth)), truth.argmax(axis=1)]).mean())


def _error(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> str:
    low, high = calibration.interval(calibration.calibration_error, sure, right)
    return f"{calibration.calibration_error(sure, right):.4f} [{low:.4f}, {high:.4f}]"


def _tags(spec: ModelSpec, sure: NDArray[np.float64], right: NDArray[np.intp]) -> str:
    """Over all tags of all photos, at the thresholds that a new database begins with."""
    taxonomy = load_taxonomy()
    keys = [label.key for label in taxonomy.labels]
    threshold = {tag.name: tag.threshold for tag in taxonomy.tags}
    said = TagScorer(taxonomy, keys, spec.floor, "softmax")(sure.astype(np.float32))
    both = called = are = 0
    for tags, label in zip(said, right.tolist(), strict=True):
        found = {
            above
            for tag in tags
            if tag.confidence >= threshold[tag.tag]
            for above in taxonomy.ancestors[tag.tag]
        }
        true = set(taxonomy.ancestors[taxonomy.tag_of_label[keys[label]]])
        both, called, are = both + len(found & true), called + len(found), are + len(true)
    return f"{both / called:.3f}, {both / are:.3f}"


if __name__ == "__main__":
    main()
