"""A network taught: a new last layer on what another has learned, all of it, or from its beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tagger.engines import Engine, confidences, processor, select_engine
from tagger.library.convert import key_of, network_of
from tagger.library.training.material import Material
from tagger.library.training.order import Course, Half, Manner, Order, Watch
from tagger.models import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tagger.training.fitting import Epoch, Schedule

VIEWS: Final = 8
"""Views of each picture whose features are found ..."""
FOLDS: Final = 3
"""Parts of what is learned from, each judged by a last layer that learned from the others."""
MOST_VIEWS: Final = 40_000
"""... or as many as come to this together, and two at least: four minutes on two cores."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A network that has learned, and how that went. ``doubts`` are confidences of what it learned from, by
    last layers that did not learn from those pictures, float64 [N, C]; None where the last layer did not
    learn alone."""

    network: nn.Module
    epochs: tuple[Epoch, ...]
    doubts: NDArray[np.float64] | None = None


def teach(
    order: Order, course: Course, material: Material, spec: ModelSpec, folder: Path, watch: Watch
) -> Taught:
    """Teach the network of ``spec``; what is found on the way is kept in ``folder``, and gone on from."""
    from tagger.training import fitting

    work = folder / material.identity[:16]
    work.mkdir(exist_ok=True)
    with fitting.threads(order.equipment.threads):
        return _learned(order, course, material, spec, work, watch)


def schedule_for(manner: Manner, way: Literal["head", "scratch", "fine"], pictures: int) -> Schedule:
    """What suits a way of learning; what was asked for comes first.

    A last layer alone is trained in a moment. A small batch for few pictures, so that an epoch has steps.
    """
    from tagger.training.fitting import Schedule

    usual = {
        "head": Schedule(300, 20, 5e-4, 0.3, 64, manner.seed),
        "scratch": Schedule(80, 12, 1e-3, 0.05, 64, manner.seed),
        "fine": Schedule(20, 4, 1e-4, 0.05, 32, manner.seed),
    }[way]
    return replace(
        usual,
        epochs=manner.epochs or usual.epochs,
        patience=manner.patience or usual.patience,
        rate=manner.rate or usual.rate,
        batch=manner.batch or min(usual.batch, max(8, pictures // 16)),
    )


def _learned(
    order: Order, course: Course, material: Material, spec: ModelSpec, work: Path, watch: Watch
) -> Taught:
    import torch

    from tagger.models import networks

    if course.base is None:
        torch.manual_seed(order.manner.seed)
        network = networks.create(spec)
        return Taught(network, _fit_pixels(order, network, material, spec, work, "scratch", watch))
    network = networks.build_for(course.base, len(material.names))
    taught = _fit_head(order, course.base, network, material, work, watch)
    if not order.manner.fine_tune:
        return taught
    more = _fit_pixels(order, network, material, spec, work, "fine", watch)
    return replace(taught, epochs=taught.epochs + more)


def _fit_head(
    order: Order, base: ModelSpec, network: nn.Module, material: Material, work: Path, watch: Watch
) -> Taught:
    """Give ``network``, whose other layers stay as they are, the last layer that suits."""
    import torch

    from tagger.models import head
    from tagger.training import features, fitting

    taught = ~material.tested
    number = min(VIEWS, max(2, MOST_VIEWS // max(int(taught.sum()), 1)))
    views = features.Views(number, order.manner.vary, base.preprocessing.crop, order.manner.seed)
    rows, truth, held_out = material.rows[taught], material.truth[taught], material.held_out[taught]
    watch.stage("Looking", number * len(rows))
    with _engine(order, base, lambda: network_of(base), key_of(base), order.equipment.cache_dir) as engine:
        seen = features.find(engine, material.pixels, rows, views, base.feature_size, work, watch.advanced)
    schedule = schedule_for(order.manner, "head", int((~held_out).sum()))
    layer = fitting.head_for(seen, np.flatnonzero(~held_out), len(material.names))
    lesson = fitting.of_features(seen, truth, held_out, order.manner.kind, schedule)
    watch.stage("Learning", schedule.epochs)
    epochs = fitting.fit(layer, lesson, schedule, None, lambda epoch: watch.epoch(epoch, schedule.epochs))
    _, last = head.of(network)
    with torch.no_grad():
        weight, bias = layer.plain()
        last.weight.copy_(weight)
        last.bias.copy_(bias)
    watch.stage("Checking the labels", FOLDS)
    doubts = _doubts(seen[:, ~held_out], truth[~held_out], order.manner, schedule, len(epochs), watch)
    return Taught(network, epochs, doubts)


def _doubts(
    seen: NDArray[np.float16],
    truth: NDArray[np.int8],
    manner: Manner,
    schedule: Schedule,
    epochs: int,
    watch: Watch,
) -> NDArray[np.float64]:
    """What last layers say of pictures that these did not learn from, part by part: float64 [N, C]."""
    import torch

    from tagger.training import fitting

    part = np.random.default_rng(manner.seed).permutation(len(truth)) % FOLDS
    found = np.zeros(truth.shape, np.float64)
    brief = replace(schedule, epochs=min(epochs, 50), patience=min(epochs, 50))
    for fold in range(FOLDS):
        out = part == fold
        layer = fitting.head_for(seen, np.flatnonzero(~out), truth.shape[1])
        fitting.fit(
            layer, fitting.of_features(seen, truth, out, manner.kind, brief), brief, None, lambda _: None
        )
        with torch.inference_mode():
            said = layer(torch.from_numpy(seen[0, out]).float()).numpy()
        found[out] = confidences(said, manner.kind, 1.0)
        watch.advanced(fold + 1)
    return found


def _fit_pixels(
    order: Order,
    network: nn.Module,
    material: Material,
    spec: ModelSpec,
    work: Path,
    way: Literal["scratch", "fine"],
    watch: Watch,
) -> tuple[Epoch, ...]:
    import torch

    from tagger.training import fitting

    taught = ~material.tested
    schedule = schedule_for(order.manner, way, int(material.learned.sum()))
    device = torch.device(
        "cuda" if torch.cuda.is_available() and order.equipment.engine != "eager" else "cpu"
    )
    lesson = fitting.of_pixels(
        fitting.Pictures(
            material.pixels, material.rows[taught], material.truth[taught], material.held_out[taught]
        ),
        spec.preprocessing,
        spec.kind,
        order.manner.vary,
        schedule,
        device,
        _half(order.manner.half, device, way),
        still=way == "fine",
        stepped=lambda done, of: watch.advanced(done),
    )
    if hasattr(network, "aux_logits"):  # heads of GoogLeNet's and Inception's own training
        setattr(network, "aux_logits", False)  # noqa: B010 -- modules are not typed
    network.to(memory_format=torch.channels_last)

    def told(epoch: Epoch) -> None:
        watch.epoch(epoch, schedule.epochs)
        watch.stage("Learning", int(material.learned.sum()))

    watch.stage("Learning", int(material.learned.sum()))
    epochs = fitting.fit(network, lesson, schedule, work / f"{way}.checkpoint", told)
    network.to("cpu")
    return epochs


def _half(asked: Half, device: torch.device, way: Literal["scratch", "fine"]) -> torch.dtype | None:
    """What most is computed in: half precision where the device has it and the network is large."""
    import torch

    named = {"f32": None, "bf16": torch.bfloat16, "f16": torch.float16}
    if asked != "auto":
        return named[asked]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    has_bf16 = bool({"avx512_bf16", "amx_bf16"} & processor.instructions())
    return torch.bfloat16 if has_bf16 and way == "fine" else None


def logits(
    order: Order, network: nn.Module, spec: ModelSpec, material: Material, folder: Path
) -> NDArray[np.float32]:
    """What the network says of what it did not learn from, by the engine that will tag: float32 [N, C]."""
    from tagger.training import features

    with _engine(order, spec, lambda: network, material.identity, folder) as engine:
        return features.logits(
            engine, material.pixels, material.rows[~material.learned], spec.preprocessing.crop
        )


def _engine(
    order: Order, spec: ModelSpec, network: Callable[[], nn.Module], key: str, cache_dir: Path
) -> Engine:
    return select_engine(
        order.equipment.engine,
        network=network,
        preprocessing=spec.preprocessing,
        key=key,
        cache_dir=cache_dir,
        threads=order.equipment.threads,
        ranges=spec.ranges,
    )
