"""Convolutions in int8: nearly the same numbers, where the ranges are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tagger import models
from tagger.engines import graph, openvino, processor, quantise
from tagger.engines.openvino import OpenVinoEngine
from tagger.errors import EngineError
from tagger.library.convert import key_of, network_of
from tagger.values import Batch
from tests.unit.engines.conftest import PIXELS, SIDE, Tiny, batch, by_hand, square_photos

HAS_VNNI = not processor.instructions().isdisjoint({"avx512_vnni", "avx_vnni"})
needs_vnni = pytest.mark.skipif(not HAS_VNNI, reason="this processor has no VNNI")


def _exact(cache: Path, network: type[nn.Module] = Tiny) -> Any:
    return graph.obtain(openvino.runtime(), network, PIXELS, network.__name__, cache)


def _logits(model: Any, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    model.reshape(list(pixels.shape))
    compiled = openvino.runtime().Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits: NDArray[np.float32] = compiled(pixels)[0]
    return logits


def _distance(found: NDArray[np.float32], pixels: NDArray[np.uint8]) -> float:
    """The largest error, as a share of the largest logit."""
    expected = by_hand(pixels)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_the_measured_range_is_the_largest_input_of_the_second_convolution(tmp_path: Path) -> None:
    pixels = batch(6).pixels
    normalised = ((pixels.astype(np.float32) - PIXELS.mean) / PIXELS.std).astype(np.float32)
    with torch.inference_mode():
        inner = Tiny().first(torch.from_numpy(normalised.transpose(0, 3, 1, 2))).relu()
    halves = [pixels[:3], pixels[3:]]
    expected = (inner[:3].max().item() + inner[3:].max().item()) / 2
    (found,) = quantise.measured(openvino.runtime(), _exact(tmp_path), halves)
    assert found == pytest.approx(expected, rel=1e-4)


@needs_vnni
def test_int8_gives_nearly_the_same_logits(tmp_path: Path) -> None:
    pixels = batch(4).pixels
    ranges = quantise.measured(openvino.runtime(), _exact(tmp_path), [pixels])
    rounded = quantise.quantised(openvino.runtime(), _exact(tmp_path), ranges)
    distance = _distance(_logits(rounded, pixels), pixels)
    assert 1e-5 < distance < 0.05  # rounded indeed, and not by much


def test_what_is_beyond_its_range_is_cut_off(tmp_path: Path) -> None:
    pixels = batch(4).pixels
    rounded = quantise.quantised(openvino.runtime(), _exact(tmp_path), (0.01,))
    assert _distance(_logits(rounded, pixels), pixels) > 0.1


@pytest.mark.parametrize("ranges", [(), (1.0, 2.0)])
def test_ranges_must_be_those_of_the_network(tmp_path: Path, ranges: tuple[float, ...]) -> None:
    with pytest.raises(EngineError, match=f"needs 1 ranges of this network, not {len(ranges)}"):
        quantise.quantised(openvino.runtime(), _exact(tmp_path), ranges)


class Bounded(nn.Module):
    """A lopsided padding between a ReLU6 and a convolution by channel, of which one has only zeros;
    then a sum that nothing bounds, read by two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 4, 1)
        self.by_channel = nn.Conv2d(4, 4, 3, groups=4)
        self.by_channel.weight.data[1] = 0
        self.left, self.right = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.classes = nn.Linear(4, 5)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner = nn.functional.relu6(self.first(pixels))
        inner = self.by_channel(nn.functional.pad(inner, (0, 2, 0, 2)))
        features = (self.left(inner) + self.right(inner)).mean(dim=(2, 3))
        return self.classes(features), features


@needs_vnni
def test_only_what_no_activation_bounds_needs_a_range_and_it_needs_one(tmp_path: Path) -> None:
    pixels = batch(4).pixels
    exact = _exact(tmp_path, Bounded)
    ranges = quantise.measured(openvino.runtime(), exact, [pixels])
    assert len(ranges) == 1
    expected = _logits(_exact(tmp_path, Bounded), pixels)
    found = _logits(quantise.quantised(openvino.runtime(), exact, ranges), pixels)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def _open(cache: Path, **changes: Any) -> OpenVinoEngine:
    settings: dict[str, Any] = {"preprocessing": PIXELS, "key": "Tiny", "cache_dir": cache}
    return OpenVinoEngine(Tiny, **(settings | changes))


@pytest.mark.parametrize(
    ("instructions", "ranges", "in_int8"),
    [
        ({"avx2", "avx512_vnni"}, (60.0,), True),
        ({"avx2", "avx512_vnni"}, (), False),
        ({"avx2"}, (60.0,), False),
        ({"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8"}, (60.0,), False),
    ],
    ids=["VNNI", "no ranges", "no VNNI", "AMX"],
)
def test_int8_is_taken_where_model_and_processor_have_what_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    instructions: set[str],
    ranges: tuple[float, ...],
    in_int8: bool,
) -> None:
    monkeypatch.setattr(processor, "instructions", lambda: frozenset(instructions))
    with _open(tmp_path, ranges=ranges) as engine:
        assert (engine.precision == "int8") is in_int8
    with _open(tmp_path, ranges=ranges, precision="f32") as engine:
        assert engine.precision == "f32"
        logits = engine.submit(batch(3)).result().logits
    assert _distance(logits, batch(3).pixels) < 1e-4


def test_ranges_that_do_not_fit_cost_speed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx512_vnni"}))
    with _open(tmp_path, ranges=(1.0, 2.0)) as engine:
        assert engine.precision != "int8"
        logits = engine.submit(batch(3)).result().logits
    assert _distance(logits, batch(3).pixels) < 0.05
    assert "needs 1 ranges" in caplog.text
    with pytest.raises(EngineError, match="needs 1 ranges"):
        _open(tmp_path, ranges=(1.0, 2.0), precision="int8")


def test_int8_that_cannot_be_had_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="has not been prepared for int8; use auto or f32"):
        _open(tmp_path, precision="int8")
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx2"}))
    with pytest.raises(EngineError, match="lacks VNNI"):
        _open(tmp_path, precision="int8", ranges=(60.0,))


@needs_vnni
def test_the_second_start_in_int8_builds_no_network_either(tmp_path: Path) -> None:
    with _open(tmp_path, precision="int8", ranges=(60.0,)) as engine:
        first = engine.submit(batch(SIDE)).result().logits

    def never() -> nn.Module:
        pytest.fail("the network was built, though its graph is there")

    with OpenVinoEngine(
        never, PIXELS, "Tiny", tmp_path, precision="int8", ranges=(60.0,), batch_size=8
    ) as engine:
        np.testing.assert_array_equal(engine.submit(batch(SIDE)).result().logits, first)


@needs_vnni
def test_the_default_model_in_int8_sees_the_same_in_photos(engine_cache: Path) -> None:
    """They are computed otherwise; the most likely class, and how sure it is, stay."""
    spec = models.get("efficientnet-lite0")
    pixels = square_photos(spec.preprocessing.crop)
    found = {}
    for precision in ("f32", "int8"):
        with OpenVinoEngine(
            lambda: network_of(spec),
            spec.preprocessing,
            "lite0",
            engine_cache,
            precision=precision,  # type: ignore[arg-type]
            ranges=spec.ranges,
        ) as engine:
            assert engine.precision == precision
            logits = engine.submit(Batch(tuple(range(len(pixels))), pixels)).result().logits
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found[precision] = powers / powers.sum(axis=1, keepdims=True)
    assert (found["f32"].argmax(axis=1) == found["int8"].argmax(axis=1)).all()
    assert 1e-4 < np.abs(found["f32"] - found["int8"]).max() < 0.15


@pytest.mark.parametrize(
    "spec", [spec for spec in models.all_specs() if spec.ranges], ids=lambda spec: spec.name
)
def test_the_catalogue_has_the_ranges_that_photos_show(spec: models.ModelSpec, engine_cache: Path) -> None:
    """Four photos do not reach as far as a thousand, but nearly."""
    runtime = openvino.runtime()
    exact = graph.obtain(runtime, lambda: network_of(spec), spec.preprocessing, key_of(spec), engine_cache)
    found = quantise.measured(runtime, exact, [square_photos(spec.preprocessing.crop)])
    assert len(found) == len(spec.ranges)
    ratios = np.array(found) / np.array(spec.ranges)
    assert (ratios > 0.6).all() and (ratios < 1.5).all(), ratios
