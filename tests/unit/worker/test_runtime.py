"""What a worker learns of its own speed."""

from __future__ import annotations

from worker.runtime import LONGEST_TICK, _WorkingTime


def test_a_machine_that_slept_is_not_slow() -> None:
    clock = _WorkingTime()
    clock.last -= 0.5
    clock.tick()
    assert 0.5 <= clock.seconds < 1.0
    clock.last -= 3600.0  # it slept for an hour in the midst of a chunk
    clock.tick()
    assert clock.seconds < 1.0 + LONGEST_TICK
