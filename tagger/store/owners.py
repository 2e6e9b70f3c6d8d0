"""Who holds leases: this process, and whether another one still lives."""

from __future__ import annotations

import os
import socket

import psutil

from tagger.store.ledger import Owner

_SAME_START = 1.0
"""Seconds by which two readings of one process's start may differ (clock ticks, rounding)."""


def this_process() -> Owner:
    """The owner that this process signs its leases with."""
    return Owner(socket.gethostname(), os.getpid(), psutil.Process().create_time())


def is_dead(owner: Owner) -> bool:
    """True when the owner ran on this host and is certainly gone; of other hosts nothing is known."""
    if owner.host != socket.gethostname():
        return False
    try:
        process = psutil.Process(owner.pid)
        other = abs(process.create_time() - owner.process_started) > _SAME_START
        return other or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False
