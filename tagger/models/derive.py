"""Derives ``torchvision.json``: what torchvision publishes of its classifiers for ImageNet.

    python -m tagger.models.derive [--check]

Weights are named as torchvision names them, and their preprocessing is bound to them as there. The result
is checked in, so that listing models imports no torch; pixels are counted from 0 to 255 in it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "torchvision.json"
FAMILIES = {
    "AlexNet": (2012, ["alexnet"]),
    "VGG": (2014, [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]),
    "Inception": (2014, ["googlenet", "inception_v3"]),
    "ResNet": (2015, [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]),
    "DenseNet": (2016, [f"densenet{depth}" for depth in (121, 161, 169, 201)]),
    "MobileNet": (2018, ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"]),
    "EfficientNet": (
        2019,
        [f"efficientnet_b{number}" for number in range(8)]
        + [f"efficientnet_v2_{size}" for size in ("s", "m", "l")],
    ),
    "ConvNeXt": (2022, [f"convnext_{size}" for size in ("tiny", "small", "base", "large")]),
}
"""Each with the year of its first paper, and its networks as torchvision calls them."""
YEARS = {"inception_v3": 2015, "mobilenet_v3_small": 2019, "mobilenet_v3_large": 2019} | dict.fromkeys(
    ("efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l"), 2021
)
"""Of those that came later than their family."""


def main() -> int:
    """Writes the file, or with ``--check`` says whether it is the one that would be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it would differ")
    text = derive()
    if parser.parse_args().check:
        return int(FILE.read_text(encoding="utf-8") != text)
    FILE.write_text(text, encoding="utf-8")
    return 0


def derive() -> str:
    """The file's text: a list, a line for each set of weights."""
    lines = ",\n".join(json.dumps(row) for row in _rows())
    return f"[\n{lines}\n]\n"


def _rows() -> Iterator[dict[str, Any]]:
    for family, (year, architectures) in FAMILIES.items():
        for architecture in architectures:
            yield from _weights_of(family, YEARS.get(architecture, year), architecture)


def _weights_of(family: str, year: int, architecture: str) -> Iterator[dict[str, Any]]:
    """The best weights under the network's own name; older ones with their version behind it."""
    from torchvision import models

    from tagger.models.torchvision import feature_size

    published = models.get_model_weights(architecture)
    best = published.DEFAULT
    for weights in published:
        if not re.fullmatch(r"IMAGENET1K_V\d", weights.name):
            continue  # without a classifier, or for pictures of another size
        version = weights.name.removeprefix("IMAGENET1K_").lower()
        yield {
            "name": architecture if weights is best else f"{architecture}-{version}",
            "family": family,
            "year": year,
            "architecture": architecture,
            "weights": str(weights),
            "file": weights.url.rpartition("/")[2],
            "megabytes": weights.meta["_file_size"],
            "parameters": weights.meta["num_params"],
            "features": feature_size(architecture),
            "top1": round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
            **_preprocessing(weights.transforms()),
        }


def _preprocessing(transforms: Any) -> dict[str, Any]:
    return {
        "resize": transforms.resize_size[0],
        "crop": transforms.crop_size[0],
        "interpolation": transforms.interpolation.value,
        "mean": [round(255 * each, 4) for each in transforms.mean],
        "std": [round(255 * each, 4) for each in transforms.std],
    }


if __name__ == "__main__":
    sys.exit(main())
