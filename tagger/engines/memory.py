"""What a GPU's memory holds, asked without starting anything: for whoever watches a worker."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Bytes on the GPU that this process computes on.

    ``allocated`` is in tensors of this process, ``reserved`` what PyTorch's allocator keeps for them
    and for later ones; ``used`` is what all processes together hold, of ``total``.
    """

    device: str
    allocated: int
    reserved: int
    used: int
    total: int


def gpu_memory() -> GpuMemory | None:
    """None where this process has no GPU in use, or one that does not answer.

    Never imports torch, never starts CUDA: a process without a model asks this too. It may be
    called from any thread, even while another is importing torch.
    """
    cuda = sys.modules.get("torch.cuda")
    # Half imported, the module may lack anything; where CUDA was started it is whole.
    is_initialized = getattr(cuda, "is_initialized", None)
    if cuda is None or is_initialized is None or not is_initialized():
        return None
    with suppress(RuntimeError):  # a device that failed has no more to say; the worker will tell
        # The one in use only: asking another would take some hundred megabytes of it.
        index = cuda.current_device()
        free, total = cuda.mem_get_info(index)
        allocated, reserved = cuda.memory_allocated(index), cuda.memory_reserved(index)
        return GpuMemory(f"cuda:{index}", allocated, reserved, total - free, total)
    return None
