"""What is done again and again goes on whatever fails; and a deaf process ends, no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest

from tagger.errors import DatabaseUnavailable
from tagger.library.dispatch import BrokerUnavailable
from worker.keeper import IDLE_SECONDS, STALLED_SECONDS, Attention, Keeper, Watchdog


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class Duty:
    """Counts how often it is done, and fails in between as it is told."""

    def __init__(self, *faults: Exception | None) -> None:
        self._faults = list(faults)
        self.times = 0

    def __call__(self) -> None:
        fault = self._faults[self.times] if self.times < len(self._faults) else None
        self.times += 1
        if fault is not None:
            raise fault


@pytest.mark.parametrize("fault", [DatabaseUnavailable("the database is away"), RuntimeError("a bug")])
def test_what_fails_is_said_once_and_tried_again_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    failing, other = Duty(fault, fault, fault), Duty()
    with caplog.at_level(logging.INFO), Keeper("test", [failing, other], 0.01):
        _until(lambda: other.times >= 6)
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1
    assert str(fault) in caplog.text
    assert caplog.text.count("it works again") == 1
    assert failing.times >= 6


def test_another_fault_is_said_too_and_so_is_one_that_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    first, second = DatabaseUnavailable("away"), BrokerUnavailable("gone")
    duty = Duty(first, first, second, second, None, first)
    with caplog.at_level(logging.ERROR), Keeper("test", [duty], 0.01):
        _until(lambda: duty.times >= 7)
    assert [record.message for record in caplog.records] == ["away", "gone", "away"]


def test_one_that_is_woken_does_its_duties_at_once() -> None:
    duty = Duty()
    with Keeper("test", [duty], interval=3600) as keeper:
        _until(lambda: duty.times == 1)
        keeper.wake()
        _until(lambda: duty.times == 2)


def test_one_that_is_done_does_nothing_more() -> None:
    duty = Duty()
    with Keeper("test", [duty], 0.01):
        _until(lambda: duty.times >= 2)
    before = duty.times
    time.sleep(0.1)
    assert duty.times == before
    assert not any(thread.name == "test" for thread in threading.enumerate())


def test_its_last_sign_of_life_is_of_its_last_whole_round() -> None:
    held = threading.Event()
    with Keeper("test", [lambda: None, lambda: held.wait(10) and None], 0.01) as keeper:
        time.sleep(0.1)
        began = keeper.alive_at
        time.sleep(0.1)
        assert keeper.alive_at == began, "it hangs in a duty"
        held.set()
        _until(lambda: keeper.alive_at > began)


class Line:
    """A queue with so many messages, or none that answers."""

    def __init__(self, waiting: int) -> None:
        self.waiting: int | None = waiting

    def depth(self, queue: str) -> int:
        assert queue == "tagger.images"
        if self.waiting is None:
            raise BrokerUnavailable("gone")
        return self.waiting


class Watched:
    """A process under watch; time goes by when it is told."""

    def __init__(self, waiting: int = 3) -> None:
        self.ended = False
        self.now = 1000.0
        self.line = Line(waiting)
        self.attention = Attention()
        self.database_answers = True
        self._dog = Watchdog(
            self.line,  # type: ignore[arg-type]
            self.attention,
            database_answers=lambda: self.database_answers,
            end=self._end,
            clock=lambda: self.now,
        )

    def _end(self) -> None:
        self.ended = True

    def pass_time(self, seconds: float, every: float = 5.0) -> None:
        """The watchdog looks every so often."""
        for _ in range(int(seconds / every)):
            self.now += every
            self._dog()

    def work(self, seconds: float) -> None:
        """A message is in hand for so long, and a word of it comes every half minute."""
        self.attention.busy, end = True, self.now + seconds
        while self.now < end:
            self.attention.last = self.now
            self.pass_time(min(30, end - self.now))
        self.attention.busy, self.attention.last = False, self.now

    def hang(self, seconds: float) -> None:
        """A message is in hand, and nothing is heard of it."""
        self.attention.busy, self.attention.last = True, self.now
        self.pass_time(seconds)


def test_a_process_ends_when_messages_wait_and_none_comes() -> None:
    watched = Watched()
    watched.pass_time(IDLE_SECONDS)
    assert not watched.ended
    watched.pass_time(15)
    assert watched.ended


def test_a_process_without_messages_stays() -> None:
    watched = Watched(waiting=0)
    watched.pass_time(3600)
    assert not watched.ended


def test_a_process_that_works_stays_however_long_its_message_takes() -> None:
    watched = Watched()
    watched.work(3600)
    assert not watched.ended
    watched.pass_time(IDLE_SECONDS - 5)
    assert not watched.ended, "it has just finished"
    watched.work(60)
    assert not watched.ended


def test_a_process_whose_work_does_not_go_on_ends() -> None:
    watched = Watched()
    watched.hang(STALLED_SECONDS - 5)
    assert not watched.ended
    watched.pass_time(15)
    assert watched.ended


def test_a_process_that_waits_for_its_database_stays() -> None:
    watched = Watched()
    watched.database_answers = False
    watched.hang(STALLED_SECONDS + 300)
    assert not watched.ended


def test_a_process_that_got_one_message_and_then_none_ends() -> None:
    watched = Watched()
    watched.work(10)
    watched.pass_time(IDLE_SECONDS + 15)
    assert watched.ended


def test_messages_that_come_after_a_long_rest_get_their_time() -> None:
    watched = Watched(waiting=0)
    watched.pass_time(3600)
    watched.line.waiting = 3
    watched.pass_time(IDLE_SECONDS)
    assert not watched.ended


def test_messages_that_others_take_are_no_sign_of_deafness() -> None:
    watched = Watched()
    for _ in range(20):
        watched.line.waiting = 3
        watched.pass_time(IDLE_SECONDS - 10)
        watched.line.waiting = 0
        watched.pass_time(5)
    assert not watched.ended


def test_a_broker_that_is_away_ends_nobody_and_its_return_starts_the_time_anew() -> None:
    watched = Watched()
    watched.pass_time(IDLE_SECONDS - 5)
    watched.line.waiting = None
    for _ in range(100):
        with pytest.raises(BrokerUnavailable):
            watched.pass_time(5)
    watched.line.waiting = 3
    watched.pass_time(IDLE_SECONDS)
    assert not watched.ended
    watched.pass_time(15)
    assert watched.ended


def test_attention_is_between_the_beginning_and_the_end_of_a_message() -> None:
    attention = Attention()
    assert not attention.busy
    attention.begin(task_id="1")
    assert attention.busy
    began = attention.last
    attention.end(task_id="1")
    assert not attention.busy
    assert attention.last >= began > 0
