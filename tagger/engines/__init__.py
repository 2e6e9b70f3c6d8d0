"""The runtimes: one Protocol, one file for each. They compute; they know no labels and no files.

Importing this package imports neither torch nor OpenVINO.
"""

from __future__ import annotations

from tagger.engines.memory import GpuMemory, gpu_memory
from tagger.engines.protocol import Engine, Prediction, activate, confidences
from tagger.engines.select import Device, describe_devices, select_engine, selects_openvino

__all__ = [
    "Device",
    "Engine",
    "GpuMemory",
    "Prediction",
    "activate",
    "confidences",
    "describe_devices",
    "gpu_memory",
    "select_engine",
    "selects_openvino",
]
