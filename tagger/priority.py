"""Who gives way on busy cores: what computes, to what feeds it and writes down what came of it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICER = 10
"""By how much, in the system's own measure (nice(2)): a thread that is ten lower gets a tenth of a core that
two want. With five the transactions of a run took a quarter longer."""


def give_way() -> None:
    """Have this thread, and all threads and processes that it starts, give way to all else.

    They take what cores are left, which on a machine with nothing else to do is as much as before. What a
    transaction needs is little, but it holds locks for as long as it waits for a core. Linux alone has
    a niceness for each thread; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with suppress(OSError):
        lower = os.getpriority(os.PRIO_PROCESS, thread) + NICER
        os.setpriority(os.PRIO_PROCESS, thread, min(lower, 19))
