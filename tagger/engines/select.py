"""Which runtime runs here, found out as cheaply as can be.

Importing torch takes seconds, so it is left alone as long as nothing speaks for a CUDA device.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tagger.engines import openvino
from tagger.engines.protocol import Engine
from tagger.errors import EngineError
from tagger.values import EngineName, Precision, Preprocessing

if TYPE_CHECKING:
    from torch import nn

# Left by NVIDIA's driver on Linux, by WSL for its host's GPU, and by Jetson boards.
_DRIVER_TRACES: Final = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/nvmap")


@dataclass(frozen=True, slots=True)
class Device:
    """A device that networks can run on, or could: ``note`` says what it does or what it lacks."""

    kind: Literal["cpu", "cuda"]
    name: str
    usable: bool
    note: str


def select_engine(
    name: EngineName,
    network: Callable[[], nn.Module],
    preprocessing: Preprocessing,
    key: str,
    cache_dir: Path,
    *,
    threads: int | None = None,
    precision: Precision = "auto",
    ranges: tuple[float, ...] = (),
    batch_size: int | None = None,
) -> Engine:
    """The engine asked for, ready to run; ``auto`` is CUDA, else OpenVINO, else PyTorch on the CPU.

    ``network`` builds the network (normalised pixels to logits and features) and is called only
    where it is needed: OpenVINO keeps its own form of it in ``cache_dir`` under ``key``, which
    must change with the weights. ``threads`` is the number of CPU threads, all cores if None.
    A network that has ``ranges`` may be computed in int8, which OpenVINO does; see
    :mod:`tagger.engines.quantise`. ``batch_size`` is the longest batch; the engine's own choice if None.

    Raises:
        EngineError: that engine or that precision is not to be had on this machine.
    """
    chosen = _automatic() if name == "auto" else name
    if chosen == "openvino":
        return openvino.OpenVinoEngine(
            network,
            preprocessing,
            key,
            cache_dir,
            threads=threads,
            precision=precision,
            ranges=ranges,
            batch_size=batch_size,
        )
    if chosen == "cuda":
        _require_cuda()
        from tagger.engines.cuda import CudaEngine

        return CudaEngine(network(), preprocessing, precision=precision, batch_size=batch_size)
    from tagger.engines.eager import EagerEngine

    return EagerEngine(network(), preprocessing, precision=precision, threads=threads, batch_size=batch_size)


def selects_openvino(name: EngineName) -> bool:
    """Whether :func:`select_engine` surely takes the CPU engine; torch is not asked."""
    if name == "auto" and not _has_nvidia_driver():
        return _automatic() == "openvino"
    return name == "openvino"


def describe_devices() -> list[Device]:
    """The CPU and every NVIDIA GPU of this machine. Imports torch only if there may be one."""
    return [_cpu(), *_gpus()]


def _automatic() -> Literal["openvino", "eager", "cuda"]:
    if _has_nvidia_driver() and _cuda_fault() is None:
        return "cuda"
    try:
        openvino.runtime()
    except EngineError:
        return "eager"
    return "openvino"


def _require_cuda() -> None:
    fault = _cuda_fault() if _has_nvidia_driver() else "no NVIDIA driver was found"
    if fault is not None:
        raise EngineError(f"The engine cuda cannot run here: {fault}. The engine auto takes what can.")


def _has_nvidia_driver() -> bool:
    """Whether torch is worth asking: false only where there is plainly no NVIDIA device."""
    if platform.system() == "Windows":
        return find_library("nvcuda") is not None
    return any(Path(trace).exists() for trace in _DRIVER_TRACES)


def _cuda_fault() -> str | None:
    """Why torch has no CUDA device, as the end of a sentence; None if it has one."""
    import torch

    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA; install the build for your driver from pytorch.org"
    return f"PyTorch (CUDA {torch.version.cuda}) sees no device; the driver may be older than that"


def _cpu() -> Device:
    try:
        name, capabilities = openvino.describe_cpu()
    except EngineError as error:
        return Device("cpu", platform.processor() or platform.machine(), True, f"PyTorch only. {error}")
    return Device("cpu", name, True, f"OpenVINO: {', '.join(capabilities)}")


def _gpus() -> list[Device]:
    if not _has_nvidia_driver():
        return []
    fault = _cuda_fault()
    if fault is not None:
        return [Device("cuda", "NVIDIA GPU", False, f"Not used: {fault}.")]
    return [_gpu(index) for index in range(_gpu_count())]


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _gpu(index: int) -> Device:
    import torch

    properties = torch.cuda.get_device_properties(index)
    gigabytes = properties.total_memory / 2**30
    note = f"compute capability {properties.major}.{properties.minor}, {gigabytes:.0f} GiB"
    return Device("cuda", properties.name, True, note)
