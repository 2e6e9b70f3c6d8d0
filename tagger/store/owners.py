"""Who holds leases: this process, and whether another one still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

from tagger.store.ledger import Owner

_SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ (clock ticks, rounding)."""


def this_process() -> Owner:
    """The owner that this process signs its leases with."""
    return Owner(here(), os.getpid(), _started(os.getpid()))


@cache
def here() -> str:
    """Where process numbers mean what they mean here: the host by name, and on Linux its boot and the
    namespace of process numbers. Containers and cloned machines may share all else."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 -- no path: pid:[4026531836]
    return f"{known[0]}/{hashlib.sha256('/'.join(known).encode()).hexdigest()[:12]}"


def _started(pid: int) -> float:
    """When the process began, in seconds: since the boot where the system tells, which no change of the
    clock moves."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")  # starttime, proc(5)
    except (FileNotFoundError, IndexError):
        return psutil.Process(pid).create_time()


def is_dead(owner: Owner) -> bool:
    """True when the owner ran on this host and is certainly gone; of other hosts nothing is known."""
    if owner.host != here():
        return False
    try:
        process = psutil.Process(owner.pid)
        other = abs(_started(owner.pid) - owner.process_started) > _SAME_START
        return other or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
