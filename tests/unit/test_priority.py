"""What computes and loads gives way to what writes down what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tagger.priority import NICER, give_way

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows a niceness for each thread")


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_a_thread_gives_way_with_all_that_it_starts_and_nobody_else_does() -> None:
    before = _niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(_niceness).result() == min(19, before + NICER)
        child = [sys.executable, "-c", "import os; print(os.nice(0))"]
        said = pool.submit(subprocess.check_output, child).result()
    assert int(said) == min(19, before + NICER)
    assert _niceness() == before


def test_one_that_is_as_low_as_can_be_stays_there() -> None:
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        for _ in range(3):
            pool.submit(give_way).result()
        assert pool.submit(_niceness).result() == 19
