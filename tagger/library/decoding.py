"""Where JPEGs are decoded: by whom on the engine's device, or by nobody there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tagger.errors import EngineError
from tagger.values import Decoding, Preprocessing

if TYPE_CHECKING:
    from tagger.loading.device import DeviceDecoder

_LOG = logging.getLogger(__name__)

_THREADS = 2
"""Decoding threads: one is at the decoder while the other's pictures are made small."""

INSTALL = "pip install 'tagger[gpu]'"


def device_decoders(decoding: Decoding, engine: str, preprocessing: Preprocessing) -> Sequence[DeviceDecoder]:
    """The decoders of the device that ``engine`` (by its name) computes on; none where the CPU's
    processes are to decode everything, or must, since none can be had.

    Raises:
        EngineError: ``decoding`` insists on the device, and that cannot be.
    """
    device = device_of(engine)
    if decoding == "cpu" or (decoding == "auto" and device != "cuda"):
        return ()
    try:
        if device is None:
            raise EngineError(f"the engine {engine} takes no pixels that lie on a device")
        return [probed(preprocessing, device) for _ in range(_THREADS)]
    except EngineError as fault:
        if decoding == "device":
            raise EngineError(f"JPEGs cannot be decoded on the device: {fault}.") from fault
        _LOG.warning("JPEGs are decoded on the CPU: %s", fault)
        return ()


def device_of(engine: str) -> Literal["cuda", "cpu"] | None:
    """Where an engine's pixels lie as PyTorch's tensors; None for one that takes none."""
    if engine == "cuda":
        return "cuda"
    return "cpu" if engine == "eager" else None


def probed(preprocessing: Preprocessing, device: str) -> DeviceDecoder:
    """A decoder that has shown that it can.

    Raises:
        EngineError: TorchCodec is not there, or does not fit this PyTorch or this device.
    """
    try:
        from tagger.loading.device import DeviceDecoder

        decoder = DeviceDecoder(preprocessing, device)
        decoder.probe()
    except ImportError as fault:
        raise EngineError(f"TorchCodec is not installed ({fault}); {INSTALL}") from fault
    except (OSError, RuntimeError) as fault:
        first = str(fault).strip().partition("\n")[0]
        raise EngineError(f"TorchCodec does not decode here: {first}") from fault
    return decoder
