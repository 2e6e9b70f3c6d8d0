"""Waiting for what may never answer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tagger.errors import SourceError
from tagger.sources import Roots, Stretch, Whereabouts, answer, make_contact, patiently, scan


@pytest.fixture
def dead() -> Iterator[threading.Event]:
    """A share that answers only when the test is over."""
    answers = threading.Event()
    yield answers
    answers.set()


def test_all_items_come_in_their_order_and_in_groups() -> None:
    groups = list(patiently(range(1203), Whereabouts("/x"), size=500))
    assert [item for group in groups for item in group] == list(range(1203))
    assert len(groups) == 3
    assert list(patiently([], Whereabouts("/x"), size=500)) == []


def test_what_is_raised_comes_behind_what_came_before() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise SourceError("the third folder is closed")

    stream = patiently(broken(), Whereabouts("/x"), size=500)
    assert next(stream) == [1]
    with pytest.raises(SourceError, match="the third folder"):
        next(stream)


def test_a_silent_place_is_named_and_what_it_gave_is_kept(dead: threading.Event) -> None:
    whereabouts = Whereabouts("/mnt")

    def hanging() -> Iterator[int]:
        yield from (1, 2)
        whereabouts.at("/mnt/nas\x1b[2J/2019")
        dead.wait()

    heard: list[str] = []
    stream = patiently(hanging(), whereabouts, size=500, limit_s=0.2, quiet=heard.append)
    assert next(stream) == [1, 2]
    with pytest.raises(SourceError) as caught:
        next(stream)
    assert str(caught.value).startswith(r"/mnt/nas\x1b[2J/2019 has not answered for 0.2 seconds")


def test_one_who_waits_is_told_for_what(dead: threading.Event) -> None:
    heard: list[str] = []
    stream = patiently(
        iter(dead.wait, None), Whereabouts("/mnt/nas"), size=1, limit_s=1.2, quiet=heard.append
    )
    with pytest.raises(SourceError):
        next(stream)
    assert heard == ["/mnt/nas"] * 2


def test_slow_is_not_silent() -> None:
    whereabouts = Whereabouts("/mnt")

    def slow() -> Iterator[int]:
        for _ in range(20):  # folders with nothing in them
            time.sleep(0.02)
            whereabouts.at("/mnt/empty")
        yield 1

    assert list(patiently(slow(), whereabouts, size=500, limit_s=0.2)) == [[1]]


def test_items_that_come_slowly_are_not_held_back(dead: threading.Event) -> None:
    def slow() -> Iterator[int]:
        yield 1
        dead.wait()
        yield 2

    stream = patiently(slow(), Whereabouts("/mnt"), size=500)
    assert next(stream) == [1]
    dead.set()
    assert next(stream) == [2]


def test_closing_early_closes_what_was_gathered() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    stream = patiently(endless(), Whereabouts("/x"), size=10)
    assert next(stream) == [1] * 10
    stream.close()  # type: ignore[attr-defined]
    assert closed.wait(10)


def test_nothing_is_gathered_far_ahead() -> None:
    gathered: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(1_000_000):
            gathered.append(number)
            yield number

    next(patiently(counted(), Whereabouts("/x"), size=100))
    time.sleep(0.1)
    assert len(gathered) <= 201


def test_a_scan_tells_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.jpg").write_bytes(b"x")
    whereabouts = Whereabouts(str(tmp_path))
    for event in scan(tmp_path, Roots().adding([tmp_path]), None, whereabouts):
        assert isinstance(event, Stretch)
        assert whereabouts.place == str(tmp_path / "a" / "b")
    assert whereabouts.place == str(tmp_path)
    assert whereabouts.signs >= 3


def test_a_question_is_answered_or_refused_in_time(dead: threading.Event) -> None:
    assert answer(lambda: 7, "/x") == 7
    with pytest.raises(FileNotFoundError):
        answer(Path("/nowhere/at/all").stat, "/nowhere")
    with pytest.raises(SourceError, match="/mnt/nas has not answered"):
        answer(dead.wait, Path("/mnt/nas"), limit_s=0.1)


def test_contact_with_what_answers(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "loop").symlink_to("loop")
    odd = tmp_path / os.fsdecode(b"-c \xff\n")
    odd.mkdir()
    for place in (tmp_path, tmp_path / "a.jpg", tmp_path / "gone", tmp_path / "loop", odd):
        make_contact(place)


def test_contact_with_what_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Hanging(subprocess.Popen[bytes]):
        def __init__(self, *_: object, **options: object) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(600)"])
            started.append(self)

    monkeypatch.setattr("subprocess.Popen", Hanging)
    with pytest.raises(SourceError, match=r"has not answered for 0\.2 seconds"):
        make_contact(tmp_path, limit_s=0.2)
    assert started[0].wait(10) != 0, "and is ended, where it can be"
