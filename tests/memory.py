"""What a command and all processes under it hold together."""

from __future__ import annotations

import subprocess
import time

import psutil


def peak_memory(process: subprocess.Popen[str], every: float = 0.05) -> int:
    """Wait for a command to end; the most bytes that it and its children held at one time.

    Looked at every so many seconds. Pages that several processes share count once (PSS) where the
    system tells, else for each.
    """
    peak = 0
    while process.poll() is None:
        peak = max(peak, _held(process.pid))
        time.sleep(every)
    return peak


def _held(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(map(_of, [root, *root.children(recursive=True)]))
    except psutil.Error:
        return 0


def _of(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    except psutil.Error:
        return 0
