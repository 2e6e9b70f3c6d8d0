"""Ctrl-C at the worst of moments: while the main thread locks what other threads need."""

from __future__ import annotations

import subprocess
import sys

_STORM = """
import os, signal, sys, threading
from tagger.cli.interrupts import end_in_order

end_in_order()

def free(condition):
    if not condition.acquire(timeout=10):
        print("a lock is held that nobody will let go of", flush=True)
        os._exit(1)
    condition.release()

for number in range(60):
    condition = threading.Condition()
    sent = signal.SIGTERM if number % 2 else signal.SIGINT
    interrupting = threading.Timer(0.002, os.kill, (os.getpid(), sent))
    try:
        interrupting.start()
        while True:
            with condition:
                pass
    except KeyboardInterrupt:
        pass
    interrupting.join()
    other = threading.Thread(target=free, args=(condition,))
    other.start()
    other.join()
print("free")
"""


def test_no_lock_is_left_held_by_what_was_interrupted() -> None:
    done = subprocess.run([sys.executable, "-c", _STORM], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "free\n", "")
