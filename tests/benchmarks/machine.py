"""Which machine it was, and how quiet: what a reader must know before a figure."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from tests.benchmarks.public import computes_bf16

LIBRARIES = (
    "openvino", "torch", "timm", "torchcodec", "simplejpeg", "cykooz.resizer", "pillow", "sqlalchemy"
)  # fmt: skip


def described(cores: int) -> dict[str, str]:
    """The machine in words, by what they are about."""
    gigabytes = psutil.virtual_memory().total / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {cores} cores used, {_instructions()}",
        "memory": f"{gigabytes:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "libraries": ", ".join(filter(None, map(_versioned, LIBRARIES))),
        "load before the run (1 minute)": f"{os.getloadavg()[0]:.2f}",
    }


class Others:
    """Processor time that others took from this machine, from when this was made."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def taken(self) -> str:
        """By the machine's host ("steal"), as a share of all; where the system tells."""
        before, now = self._before, psutil.cpu_times()
        if not hasattr(now, "steal"):
            return "not told by this system"
        return f"{(now.steal - before.steal) / (sum(now) - sum(before)):.1%}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _instructions() -> str:
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        flags = set()
    known = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_tile") if name in flags]
    return " ".join([*known, "bf16" if computes_bf16() else "no bf16"])


def _versioned(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return ""
