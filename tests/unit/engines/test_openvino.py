"""OpenVINO's own: the graph on disk, precisions, silence towards its maker."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from tagger.engines import openvino, processor
from tagger.engines.openvino import OpenVinoEngine
from tagger.errors import EngineError, OutOfMemory
from tagger.priority import NICER
from tests.unit.engines.conftest import PIXELS, Tiny, batch, by_hand


def _never() -> nn.Module:
    pytest.fail("the network was built, though its graph is there")


def _open(cache: Path, network: Callable[[], nn.Module] = Tiny, **changes: Any) -> OpenVinoEngine:
    settings: dict[str, Any] = {"preprocessing": PIXELS, "key": "k", "cache_dir": cache, "precision": "f32"}
    return OpenVinoEngine(network, **(settings | changes))


def _is_right(engine: OpenVinoEngine) -> bool:
    with engine:
        logits = engine.submit(batch(3)).result().logits
    return np.allclose(logits, by_hand(batch(3).pixels), rtol=1e-4, atol=1e-4)


def test_a_second_start_reads_the_graph(tmp_path: Path) -> None:
    assert _is_right(_open(tmp_path))
    assert _is_right(_open(tmp_path, _never))


@pytest.mark.parametrize(
    "change",
    [{"key": "another"}, {"preprocessing": replace(PIXELS, std=(1.0, 2.0, 3.0))}],
    ids=["key", "preprocessing"],
)
def test_another_model_is_another_graph(tmp_path: Path, change: dict[str, Any]) -> None:
    built: list[nn.Module] = []

    def network() -> nn.Module:
        built.append(Tiny())
        return built[-1]

    _open(tmp_path, network).close()
    _open(tmp_path, network, **change).close()
    assert len(built) == 2
    _open(tmp_path, _never).close()


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _flipped_in_the_middle(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(byte ^ 0x20 for byte in whole[middle : middle + 64])
    path.write_bytes(whole)


def _half_zeroed(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [_emptied, _shortened, _flipped_in_the_middle, _half_zeroed, Path.unlink])
def test_a_damaged_graph_is_made_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    _open(tmp_path).close()
    (path,) = tmp_path.rglob(name)
    damage(path)
    with caplog.at_level(logging.WARNING):
        assert _is_right(_open(tmp_path))
    assert [record.getMessage().partition(" is ")[2] for record in caplog.records] == [
        "damaged; making it anew."
    ]
    assert _is_right(_open(tmp_path, _never))


def test_one_letter_of_a_graph_that_would_still_be_read_is_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stride of one instead of two: as good a graph, and another network."""
    _open(tmp_path).close()
    (path,) = tmp_path.rglob("model.xml")
    text = path.read_text()
    assert 'strides="2, 2"' in text
    path.write_text(text.replace('strides="2, 2"', 'strides="1, 2"'))
    assert _is_right(_open(tmp_path))
    assert "damaged" in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert _is_right(_open(tmp_path / "file"))
    assert "cannot be kept" in caplog.text


def test_of_two_that_convert_at_once_the_first_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second finds the folder in place when it is done, and leaves it as it is."""

    def network() -> nn.Module:
        _open(tmp_path).close()
        (path,) = tmp_path.rglob("model.bin")
        seen.append(path.stat().st_mtime_ns)
        return Tiny()

    seen: list[int] = []
    assert _is_right(_open(tmp_path, network))
    (folder,) = (tmp_path / "openvino").iterdir()
    assert (folder / "model.bin").stat().st_mtime_ns == seen[0]
    assert not caplog.records


SECOND_START = """
import pathlib, sys
import numpy as np
from tagger.engines import select_engine
from tagger.values import Batch, Preprocessing

def network():
    raise AssertionError("built again")

pixels = Preprocessing(10, 8, "bilinear", (127.0, 120.0, 110.0), (128.0, 60.0, 50.0))
with select_engine("openvino", network, pixels, "k", pathlib.Path(sys.argv[1])) as engine:
    assert engine.submit(Batch((1,), np.zeros((1, 8, 8, 3), np.uint8))).result().logits.shape == (1, 5)
assert "torch" not in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
"""


def test_a_second_start_needs_no_torch_and_reports_to_nobody(tmp_path: Path) -> None:
    _open(tmp_path).close()
    second = subprocess.run(
        [sys.executable, "-W", "error", "-c", SECOND_START, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_converting_reports_to_nobody() -> None:
    openvino.runtime()
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"


@pytest.mark.parametrize("precision", ["f32", "bf16", "f16"])
def test_a_precision_is_kept_to_or_refused(tmp_path: Path, precision: str) -> None:
    """OpenVINO alone would quietly compute in another."""
    try:
        engine = _open(tmp_path, precision=precision)
    except EngineError as error:
        assert precision != "f32"
        assert precision in str(error)
    else:
        assert engine.precision == precision
        engine.close()


def test_automatic_precision_is_named(tmp_path: Path) -> None:
    with _open(tmp_path) as engine:
        assert engine.precision in ("f32", "bf16", "f16")


NOT_COMPILED = (
    "Exception from src/inference/src/cpp/core.cpp:117:\n"
    "Exception from src/inference/src/dev/plugin.cpp:54:\n"
    "could not create a primitive descriptor. Run workload with environment variable ONEDNN_VERBOSE=all.\n\n"
)


def _takes_by_itself(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    core = openvino.runtime().Core
    get_property = core.get_property

    def property_of(self: Any, device: str, name: str) -> Any:
        if name == "INFERENCE_PRECISION_HINT":
            return getattr(openvino.runtime().Type, precision)
        return get_property(self, device, name)

    monkeypatch.setattr(core, "get_property", property_of)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What OpenVINO fails to compile for; ``auto`` stands for what it takes by itself, bf16.

    This processor has VNNI, as far as the engine knows.
    """
    _takes_by_itself(monkeypatch, "bf16")
    failing: set[str] = set()
    core = openvino.runtime().Core
    compile_model = core.compile_model

    def compiling(self: Any, model: Any, device: str, config: dict[str, Any]) -> Any:
        in_int8 = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
        if ("int8" if in_int8 else config.get("INFERENCE_PRECISION_HINT", "auto")) in failing:
            raise RuntimeError(NOT_COMPILED)
        return compile_model(self, model, device, config)

    monkeypatch.setattr(core, "compile_model", compiling)
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx512_vnni"}))
    return failing


@pytest.mark.parametrize(("ranges", "named"), [((60.0,), "int8"), ((), "bf16")])
def test_what_the_engine_chose_and_cannot_be_compiled_is_computed_in_f32(
    tmp_path: Path,
    failing: set[str],
    ranges: tuple[float, ...],
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing |= {"int8", "auto"}
    engine = _open(tmp_path, precision="auto", ranges=ranges)
    assert engine.precision == "f32"
    assert engine.batch_sizes[-1] == 4  # the longest in floating point, whatever int8 would have taken
    assert _is_right(engine)
    assert [record.getMessage() for record in caplog.records] == [
        f"OpenVINO cannot compile this network in {named} here (could not create a primitive descriptor);"
        " use f32. It is computed in f32 instead."
    ]


@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("int8", "in int8 here (could not create a primitive descriptor); use f32."),
        ("bf16", "in bf16 here (could not create a primitive descriptor); use f32."),
        ("f32", "in f32 here (could not create a primitive descriptor); use the engine eager."),
        ("auto", "in f32 here (could not create a primitive descriptor); use the engine eager."),
    ],
)
def test_what_cannot_be_compiled_as_it_was_asked_for_is_an_error(
    tmp_path: Path, failing: set[str], precision: str, advice: str
) -> None:
    failing |= {"int8", "auto", "bf16", "f32"}
    with pytest.raises(EngineError) as caught:
        _open(tmp_path, precision=precision, ranges=(60.0,))
    assert str(caught.value) == f"OpenVINO cannot compile this network {advice}"


def test_what_fails_in_f32_is_not_tried_in_f32_again(
    tmp_path: Path, failing: set[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a processor where OpenVINO takes f32 by itself."""
    _takes_by_itself(monkeypatch, "f32")
    failing.add("auto")
    with pytest.raises(EngineError, match="in f32 here"):
        _open(tmp_path, precision="auto")
    assert not caplog.records


class _Starved(OpenVinoEngine):
    """As OpenVINO reports it when memory ends: a RuntimeError with the C++ exception's name."""

    def _forward(self, lane: Any, size: int, pixels: Any) -> Any:
        if size > 2:
            raise RuntimeError("Exception from src/plugins/intel_cpu/src/graph.cpp:1: std::bad_alloc")
        return super()._forward(lane, size, pixels)


def test_a_shorter_batch_may_fit_where_memory_ends(tmp_path: Path) -> None:
    with _Starved(Tiny, PIXELS, "k", tmp_path) as engine:
        for _ in range(2 * engine.depth):
            with pytest.raises(OutOfMemory):
                engine.submit(batch(3)).result()
        assert engine.submit(batch(1)).result().logits.shape == (1, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows a niceness for each thread")
def test_the_threads_that_compute_give_way(tmp_path: Path) -> None:
    before = set(Path("/proc/self/task").iterdir())
    own = os.getpriority(os.PRIO_PROCESS, 0)
    with _open(tmp_path) as engine:
        engine.submit(batch(3)).result()
        started = {int(task.name) for task in set(Path("/proc/self/task").iterdir()) - before}
        asking = {thread.native_id for thread in threading.enumerate()}
        nice = [os.getpriority(os.PRIO_PROCESS, task) for task in started - asking]
    assert min(19, own + NICER) in nice
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
