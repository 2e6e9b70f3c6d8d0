"""Which engine runs here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tagger.engines import describe_devices, select, select_engine
from tagger.errors import EngineError
from tests.unit.engines.conftest import PIXELS, Tiny


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any trace of an NVIDIA driver."""
    monkeypatch.setattr(select, "_DRIVER_TRACES", ())
    monkeypatch.setattr(select, "find_library", lambda _name: None)


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_openvino_runs(tmp_path: Path) -> None:
    with select_engine("auto", Tiny, PIXELS, "k", tmp_path) as engine:
        assert engine.name == "openvino"


@pytest.mark.usefixtures("no_gpu")
def test_without_openvino_pytorch_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with select_engine("auto", Tiny, PIXELS, "k", tmp_path) as engine:
        assert engine.name == "eager"
    with pytest.raises(EngineError, match="pip install openvino"):
        select_engine("openvino", Tiny, PIXELS, "k", tmp_path)
    (device,) = describe_devices()
    assert device.usable
    assert "PyTorch only" in device.note


@pytest.mark.usefixtures("no_gpu")
def test_cuda_where_there_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        select_engine("cuda", Tiny, PIXELS, "k", tmp_path)


def test_a_driver_without_a_build_of_torch_for_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "_has_nvidia_driver", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    with pytest.raises(EngineError, match="built without CUDA"):
        select_engine("cuda", Tiny, PIXELS, "k", tmp_path)
    with select_engine("auto", Tiny, PIXELS, "k", tmp_path) as engine:
        assert engine.name == "openvino"
    assert [(each.kind, each.usable) for each in describe_devices()] == [("cpu", True), ("cuda", False)]


def test_the_processor_is_described() -> None:
    first = describe_devices()[0]
    assert first.kind == "cpu"
    assert first.name
    assert "FP32" in first.note


def test_asking_for_devices_without_a_gpu_does_not_import_torch() -> None:
    code = (
        "import sys; from tagger.engines import select\n"
        "select._DRIVER_TRACES = (); select.find_library = lambda name: None\n"
        "select.describe_devices(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
