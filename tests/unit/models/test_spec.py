"""A model's identity: what a fingerprint covers, and what it leaves out."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tagger import models
from tagger.errors import ModelError
from tagger.models import ModelSpec, PackagedWeights, PublishedAccuracy

KEYS = [f"n{index:08d}" for index in range(1000)]
SPEC = replace(models.get("efficientnet-lite0"), temperature=1.0)
PIXELS = SPEC.preprocessing


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPEC, weights=replace(SPEC.weights, sha256="0" * 64)),
        replace(SPEC, preprocessing=replace(PIXELS, resize=257)),
        replace(SPEC, preprocessing=replace(PIXELS, crop=225)),
        replace(SPEC, preprocessing=replace(PIXELS, interpolation="bilinear")),
        replace(SPEC, preprocessing=replace(PIXELS, mean=(127.0, 127.0, 128.0))),
        replace(SPEC, preprocessing=replace(PIXELS, std=(128.0, 127.0, 128.0))),
        replace(SPEC, kind="sigmoid"),
        replace(SPEC, temperature=1.1),
        replace(SPEC, floor=0.06),
    ],
)
def test_what_changes_the_scores_changes_the_fingerprint(changed: ModelSpec) -> None:
    assert changed.fingerprint(KEYS, "t") != SPEC.fingerprint(KEYS, "t")


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPEC, name="another"),
        replace(SPEC, vocabulary="another"),
        replace(SPEC, architecture="another", family="another", year=1998),
        replace(SPEC, labels="another"),
        replace(SPEC, weights=PackagedWeights("another", "another.pth", SPEC.weights.sha256, 1)),
        replace(SPEC, feature_size=1, parameters=1),
        replace(SPEC, published=PublishedAccuracy(0.1, "another"), licence="another"),
        replace(SPEC, temperature=1, floor=5e-2),
    ],
)
def test_what_leaves_the_scores_alone_leaves_the_fingerprint_alone(changed: ModelSpec) -> None:
    assert changed.fingerprint(KEYS, "t") == SPEC.fingerprint(KEYS, "t")


def test_labels_count_by_their_order_and_the_taxonomy_counts() -> None:
    prints = {
        SPEC.fingerprint(KEYS, "t"),
        SPEC.fingerprint(KEYS[::-1], "t"),
        SPEC.fingerprint([*KEYS[:-1], "n99999999"], "t"),
        SPEC.fingerprint(KEYS, "u"),
    }
    assert len(prints) == 4


def test_a_fingerprint_is_the_same_in_every_version_and_on_every_machine() -> None:
    """It stands in databases: if this fails, every library would be tagged anew."""
    expected = "3ad58cfa7ed9602543f013775be86023d49bfc3070b6115fcd2ae3d12b01f3de"
    assert SPEC.fingerprint(KEYS, "t") == expected


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match=r"1000 classes.*999 keys"):
        SPEC.fingerprint(KEYS[:-1], "t")


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": float("nan")}, {"floor": 1.0}])
def test_numbers_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="efficientnet-lite0"):
        replace(SPEC, **wrong)


def test_models_are_listed_without_torch() -> None:
    code = "import sys, tagger.models as m; m.all_specs(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
