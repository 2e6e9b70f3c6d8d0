"""The CPU engine: OpenVINO, at least three times as fast as PyTorch eager on the same cores.

One statically shaped model is compiled for each rung of the ladder, with a request for each lane,
before the first image: each keeps 15 to 50 MB for good, and a process that runs for months should
have its size from the start. So the rungs are few, and the last batch of a run is padded. Static,
because OpenVINO 2026.4 corrupted the heap when one dynamic model ran batches of several sizes.
Compiled models are not kept on disk: compiling takes 0.15 s, reading one 0.08 s, and OpenVINO's
own cache writes them in place, where another process may find half of one. This is the
only module that imports OpenVINO.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from tagger.engines import graph, processor
from tagger.engines.lanes import LaneEngine
from tagger.engines.protocol import ladder
from tagger.errors import EngineError
from tagger.priority import give_way
from tagger.values import Batch, Precision, Preprocessing

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)

# What is in work at once should fit into the processor's cache, so longer batches gain nothing; and while
# others decode beside it, they lose. EfficientNet-Lite0, images a second of `tagger tag` on two cores with
# AVX512-BF16, means of two to four: 276 at 2, 284 at 4, 276 at 6, 269 at 8, 271 at 16; in f32 on two AVX2
# cores the forward pass alone 161 at 4 (and 100 MB), 157 at 8, 143 at 16 (250 MB), 137 at 32 (445 MB).
_LARGEST: Final = 4
# In int8 pixels between layers are half as many bytes: 313 images a second at 4, 324 at 8.
_LARGEST_INT8: Final = 8
_RUNGS: Final = (1, 8, 32, 128)
_AT_HAND: Final = 8
_MEMORY_WORDS: Final = ("bad_alloc", "allocate", "out of memory", "not enough memory")


@dataclass(slots=True)
class _Requests:
    """One lane: an inference request for each rung."""

    by_size: dict[int, Any]


class OpenVinoEngine(LaneEngine[_Requests]):
    """A network on the CPU.

    ``network`` is called only if ``cache_dir`` has no graph under ``key``; see
    :func:`tagger.engines.graph.obtain`. ``threads`` is all cores if None. The precision ``auto``
    is int8 where the network has ``ranges`` and the processor AVX512-VNNI and not AMX; else what the
    processor computes natively: bf16 with AVX512-BF16 or AMX, f16 on Arm with FP16, else f32. In int8
    what is no convolution is computed as it would be else. Where OpenVINO fails to compile for what
    ``auto`` came to, it is f32, and a warning says so.

    Raises:
        EngineError: the precision asked for is not to be had, or OpenVINO fails to compile for it.
    """

    name = "openvino"

    def __init__(
        self,
        network: Callable[[], nn.Module],
        preprocessing: Preprocessing,
        key: str,
        cache_dir: Path,
        *,
        threads: int | None = None,
        precision: Precision = "auto",
        ranges: tuple[float, ...] = (),
        batch_size: int | None = None,
    ) -> None:
        self._core = runtime().Core()
        self._side = preprocessing.crop
        obtain = partial(graph.obtain, runtime(), network, preprocessing, key, cache_dir)
        model, arithmetic = _model(obtain, precision, ranges)
        batch_sizes = _batch_sizes(arithmetic, batch_size)
        try:
            compiled = self._compile(model, batch_sizes, threads, arithmetic)
        except EngineError as fault:
            if precision != "auto" or self._settled(arithmetic) == "f32":
                raise
            # Not what OpenVINO takes by itself first: that is part of int8, and so as likely the cause. Where
            # oneDNN is held to less than AVX2, compiling for bf16 ends the process (2026.4).
            _LOG.warning("%s It is computed in f32 instead.", fault)
            arithmetic = "f32"
            batch_sizes = _batch_sizes(arithmetic, batch_size)
            compiled = self._compile(obtain(), batch_sizes, threads, arithmetic)
        largest = compiled[batch_sizes[-1]]
        self.precision = _agreed_precision(largest, arithmetic)
        self.device = str(self._core.get_property("CPU", "FULL_DEVICE_NAME"))
        streams = int(largest.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # More than are computed at once: a stream has its next batch at hand, whatever the interpreter
        # is busy with meanwhile. With one for each, 6 % of two cores' time was idle. Each takes 16 MB.
        depth = streams + min(streams, _AT_HAND)
        self._lanes = [
            _Requests({size: model.create_infer_request() for size, model in compiled.items()})
            for _ in range(depth)
        ]
        # Before there are threads that do: the first look into a tensor sets something up inside OpenVINO's
        # bindings, and two first looks at once wait for each other for ever (seen twice; the one holds
        # Python's lock, the other what the first waits for).
        _ = self._lanes[0].by_size[batch_sizes[0]].get_input_tensor().data
        super().__init__(self._lanes, batch_sizes, preprocessing.crop)

    def close(self) -> None:
        """Finish what is in flight and drop the compiled models."""
        super().close()
        for lane in self._lanes:
            lane.by_size.clear()

    def _forward(
        self, lane: _Requests, size: int, batch: Batch
    ) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
        request = lane.by_size[size]
        rows = len(batch)
        # Rows beyond these keep what an earlier batch left there; their results are cut off.
        request.get_input_tensor().data[:rows] = batch.pixels
        # Not infer(), which computes on the calling thread; and waited for here rather than by a
        # callback, which OpenVINO's Python API does not call when the inference fails.
        request.start_async()
        request.wait()
        logits = request.get_output_tensor(0).data[:rows].astype(np.float32)
        features = request.get_output_tensor(1).data[:rows].astype(np.float16)
        return logits, features

    def _compile(
        self, model: Any, batch_sizes: tuple[int, ...], threads: int | None, arithmetic: Precision
    ) -> dict[int, Any]:
        """A compiled model for each size."""
        config = _config(threads, arithmetic)

        def compiled(size: int) -> Any:
            static = model.clone()
            static.reshape([size, self._side, self._side, 3])
            try:
                return self._core.compile_model(static, "CPU", config)
            except (RuntimeError, MemoryError) as error:
                raise self._fault(arithmetic, error) from error

        # The threads that compute are started here, and are as nice as who starts them.
        with ThreadPoolExecutor(initializer=give_way) as pool:
            return dict(zip(batch_sizes, pool.map(compiled, batch_sizes), strict=True))

    def _fault(self, arithmetic: Precision, error: Exception) -> EngineError:
        settled = self._settled(arithmetic)
        instead = "the engine eager" if settled == "f32" else "f32"
        what = f"OpenVINO cannot compile this network in {settled} here"
        return EngineError(f"{what} ({_reason(error)}); use {instead}.")

    def _settled(self, arithmetic: Precision) -> str:
        """The precision itself, for ``auto`` what OpenVINO takes on this processor."""
        if arithmetic != "auto":
            return arithmetic
        own: str = self._core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        return own

    def _is_out_of_memory(self, error: Exception) -> bool:
        text = str(error).lower()
        return isinstance(error, MemoryError) or any(word in text for word in _MEMORY_WORDS)

    def _release(self) -> None:
        """Nothing is held in reserve on the CPU."""


def runtime() -> Any:
    """The ``openvino`` package, with its telemetry out of reach.

    On import and on every conversion OpenVINO reports to its maker by ``openvino_telemetry``,
    asking nobody. Where that package cannot be imported it falls back on a stand-in that does
    nothing. None in ``sys.modules`` is Python's documented way to say so.

    Raises:
        EngineError: OpenVINO is not installed, or does not run on this machine.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"OpenVINO cannot be used here: {error}. Try: pip install openvino") from error
    return openvino


def prefers_int8() -> bool:
    """Whether the processor is faster in int8 than in floating point, as far as it was measured.

    It was with AVX512-VNNI: twice as fast as f32, an eighth faster than bf16. With AMX, where bf16 is many
    times as fast as without, and with AVX-VNNI nobody has looked.
    """
    has = processor.instructions()
    return "avx512_vnni" in has and "amx_tile" not in has


def describe_cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's name and what OpenVINO says it can compute in.

    Raises:
        EngineError: OpenVINO cannot be used here.
    """
    core = runtime().Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return str(core.get_property("CPU", "FULL_DEVICE_NAME")), tuple(str(each) for each in capabilities)


def _computes_int8(precision: Precision, ranges: tuple[float, ...]) -> bool:
    """Whether convolutions compute in int8; without VNNI sums of products overflow, and gain little.

    Raises:
        EngineError: int8 is asked for, and not to be had of this model or this processor.
    """
    if precision == "auto":
        return bool(ranges) and prefers_int8()
    if precision != "int8":
        return False
    if not ranges:
        raise EngineError("This model has not been prepared for int8; use auto or f32.")
    if processor.instructions().isdisjoint({"avx512_vnni", "avx_vnni"}):
        raise EngineError("This processor does not compute in int8 (it lacks VNNI); use auto or f32.")
    return True


def _model(
    obtain: Callable[..., Any], precision: Precision, ranges: tuple[float, ...]
) -> tuple[Any, Precision]:
    """The graph, from :func:`graph.obtain` with or without ranges, and what it is computed in."""
    if not _computes_int8(precision, ranges):
        return obtain(), precision
    try:
        return obtain(ranges), "int8"
    except EngineError as fault:
        if precision == "int8":
            raise
        # Another release of OpenVINO may make another graph of the same network.
        _LOG.warning("%s It is computed in floating point instead.", fault)
        return obtain(), precision


def _batch_sizes(arithmetic: Precision, longest: int | None) -> tuple[int, ...]:
    own = _LARGEST_INT8 if arithmetic == "int8" else _LARGEST
    return ladder(own if longest is None else longest, _RUNGS)


def _reason(error: Exception) -> str:
    """OpenVINO's own word: above it are the places in its source that the error passed, behind it advice."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].partition(". ")[0].rstrip(".")


def _config(threads: int | None, arithmetic: Precision) -> dict[str, object]:
    config: dict[str, object] = {
        # One stream a core or few: no waiting of cores on each other inside a layer. On two busy
        # cores 10 % more images for the same processor time than one stream over both.
        "PERFORMANCE_HINT": "THROUGHPUT",
        # Pinned threads cannot get out of the way of the loaders, and two workers on one machine
        # would pin theirs to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    if arithmetic not in ("auto", "int8"):  # the graph says where int8 is; what is not is up to OpenVINO
        config["INFERENCE_PRECISION_HINT"] = arithmetic
    return config


def _agreed_precision(compiled: Any, wanted: Precision) -> str:
    """What the plugin settled on: it takes a precision that the processor lacks for a hint, and of int8,
    which is in the graph, it knows nothing.

    Without a hint it chooses bf16 only where the processor has the instructions. Its list of
    capabilities would not tell: it names BF16 for any AVX-512, where it is emulated and slow.
    """
    if wanted == "int8":
        return wanted
    found: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if wanted not in ("auto", found):
        raise EngineError(f"This processor does not compute in {wanted}; use auto or {found}.")
    return found
