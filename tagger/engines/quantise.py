"""A network whose convolutions compute in int8: an OpenVINO graph to another.

Integer multiplications with AVX512-VNNI are four times as many as those in f32, and twice those in
bf16. What a convolution multiplies becomes uint8 or int8: weights with a scale for each of its channels,
inputs with one for all. Sums, additions of a residual and the classifier stay in floating point. How
far inputs reach is known where an activation bounds them (ReLU6), and has to be measured elsewhere:
:func:`measured`. The scheme is that of Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference" (2018), after training, by channel as in Krishnamoorthi,
"Quantizing deep convolutional networks for efficient inference" (2018).

Not every network bears it: whose activations differ much from channel to channel loses points. Only
what was tried on labelled photos has ranges in its spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tagger.errors import EngineError

_CONVOLUTIONS: Final = {"Convolution": 1, "GroupConvolution": 2}
"""Their kinds, with the number of dimensions that lead in the weights and stand for output channels."""
_LARGEST_WEIGHT: Final = 127
_LEVELS: Final = 256


@dataclass(frozen=True, slots=True)
class _Input:
    """What a convolution reads. ``bound`` is the activation's, None where it must be measured; what is
    ``signed`` goes below zero."""

    output: Any
    readers: tuple[Any, ...]
    signed: bool
    bound: float | None


def quantised(runtime: Any, model: Any, ranges: Sequence[float]) -> Any:
    """``model`` itself, changed: its convolutions compute in int8.

    ``ranges`` are magnitudes above zero, one for each input of a convolution that no activation bounds,
    in the order of the graph; larger values are cut off. The first convolution reads the pixels, which
    are integers already.

    Raises:
        EngineError: there are more or fewer ranges than such inputs, or weights are not constant.
    """
    inputs = list(_inputs(model))
    lacking = sum(each.bound is None for each in inputs)
    if lacking != len(ranges):
        raise EngineError(f"Computing in int8 needs {lacking} ranges of this network, not {len(ranges)}.")
    left = iter(ranges)
    for each in inputs:
        _round_input(runtime, each, next(left) if each.bound is None else each.bound)
    for convolution in _convolutions(model):
        _round_weights(runtime, convolution)
    model.validate_nodes_and_infer_types()
    return model


def measured(runtime: Any, model: Any, batches: Iterable[NDArray[np.uint8]]) -> tuple[float, ...]:
    """The ranges of a network: the largest magnitude in each batch, the mean of all batches.

    ``batches`` are pixels as the graph takes them, uint8 [B, S, S, 3], all of one shape. A single
    outlier would take resolution from all others, hence the mean.
    """
    watched = [each.output for each in _inputs(model) if each.bound is None]
    operations = runtime.opset13
    everywhere = np.arange(4)
    largest = [
        operations.reduce_max(operations.abs(output), everywhere, False).output(0) for output in watched
    ]
    watching = runtime.Model(largest, model.get_parameters(), "ranges")
    return tuple(np.mean(list(_results(runtime, watching, batches)), axis=0).tolist())


def _results(runtime: Any, model: Any, batches: Iterable[NDArray[np.uint8]]) -> Iterator[list[float]]:
    compiled = None
    for pixels in batches:
        if compiled is None:
            model.reshape(list(pixels.shape))
            compiled = runtime.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(pixels)
        yield [float(found[index]) for index in range(len(compiled.outputs))]


def _convolutions(model: Any) -> Iterator[Any]:
    return (node for node in model.get_ordered_ops() if node.get_type_name() in _CONVOLUTIONS)


def _inputs(model: Any) -> Iterator[_Input]:
    """What all convolutions but the first read, each once."""
    readers: dict[tuple[str, int], list[Any]] = {}
    outputs: dict[tuple[str, int], Any] = {}
    for node in list(_convolutions(model))[1:]:
        output = node.input_value(0)
        name = output.get_node().get_name(), output.get_index()
        outputs[name] = output
        readers.setdefault(name, []).append(node)
    for name, output in outputs.items():
        signed, bound = _reach(output.get_node())
        yield _Input(output, tuple(readers[name]), signed, bound)


def _reach(node: Any) -> tuple[bool, float | None]:
    """Whether what a node gives goes below zero, and how far it goes at most."""
    kind = node.get_type_name()
    if kind in ("Pad", "MaxPool"):  # neither adds a value beyond those it reads and zero
        return _reach(node.input_value(0).get_node())
    if kind == "Relu":
        return False, None
    if kind == "Clamp" and node.get_attributes()["min"] == 0:
        return False, float(node.get_attributes()["max"])
    return True, None


def _round_input(runtime: Any, found: _Input, magnitude: float) -> None:
    """Have the readers of an output read it in 256 steps, zero among them."""
    low, high = 0.0, magnitude
    if found.signed:
        low, high = -magnitude, magnitude * (1 - 2 / _LEVELS)
    ends = [runtime.opset13.constant(np.full((1, 1, 1, 1), end, np.float32)) for end in (low, high)]
    rounded = runtime.opset13.fake_quantize(found.output, *ends, *ends, _LEVELS)
    for reader in found.readers:
        reader.input(0).replace_source_output(rounded.output(0))


def _round_weights(runtime: Any, convolution: Any) -> None:
    """Weights as int8 and a scale for each output channel, by which the graph multiplies them again."""
    weights = convolution.input_value(1).get_node()
    if weights.get_type_name() != "Constant":
        raise EngineError("Computing in int8 needs constant weights; this network computes some of them.")
    whole, scale = _steps(weights.data, _CONVOLUTIONS[convolution.get_type_name()])
    operations = runtime.opset13
    as_floats = operations.convert(operations.constant(whole), "f32")
    again = operations.multiply(as_floats, operations.constant(scale))
    convolution.input(1).replace_source_output(again.output(0))


def _steps(weights: NDArray[np.float32], leading: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weights in whole steps, and the size of a step; ``leading`` dimensions have a step of their own."""
    within = tuple(range(leading, weights.ndim))
    largest = np.abs(weights).max(axis=within, keepdims=True)
    # A channel of zeros, as pruned networks have, has no size of its own.
    scale = (np.where(largest > 0, largest, 1) / _LARGEST_WEIGHT).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale
