"""What a GPU holds is told where one is in use, and asking starts nothing."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from tagger.engines import GpuMemory, gpu_memory


class Cuda(ModuleType):
    """PyTorch's module, as far as it is asked; no test machine need have a GPU."""

    def __init__(self, started: bool = True, broken: bool = False) -> None:
        super().__init__("torch.cuda")
        self._started, self._broken = started, broken

    def is_initialized(self) -> bool:
        return self._started

    def current_device(self) -> int:
        return 1

    def mem_get_info(self, device: int) -> tuple[int, int]:
        if self._broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        assert device == 1, "asking another device takes memory of it"
        return 60, 100

    def memory_allocated(self, device: int) -> int:
        return 20

    def memory_reserved(self, device: int) -> int:
        return 30


def test_a_gpu_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.cuda", Cuda())
    assert gpu_memory() == GpuMemory("cuda:1", allocated=20, reserved=30, used=40, total=100)


@pytest.mark.parametrize("module", [Cuda(started=False), Cuda(broken=True), ModuleType("torch.cuda")])
def test_there_is_nothing_to_tell(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA was not started; the device does not answer; another thread is importing torch."""
    monkeypatch.setitem(sys.modules, "torch.cuda", module)
    assert gpu_memory() is None


def test_without_torch_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.cuda", raising=False)
    assert gpu_memory() is None
