"""How Ctrl-C and TERM end a command: by a KeyboardInterrupt, and never with a lock left held.

Python raises it between any two steps of the main thread. A condition (of a queue, a future, an event) is
locked by a function in Python: raised at the end of that, nobody lets go of the lock, and the threads that
need it are waited for without end. There it comes a moment later.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_MOMENT_S = 0.005
_LOCKING = frozenset({threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__})


def end_in_order() -> None:
    """Have both signals end this process in order; to be called by the main thread."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code in _LOCKING:
        signal.setitimer(signal.ITIMER_REAL, _MOMENT_S)
    else:
        raise KeyboardInterrupt
