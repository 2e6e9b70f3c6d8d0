"""Loading processes are there while somebody needs them; of those who wait the last to come is the first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil
import pytest

from tagger.errors import LoadingError
from tagger.library import pool as room
from tagger.library.pool import Pool, Turns
from tagger.sources import Roots
from tagger.supervision import Setup
from tagger.values import ImageRef, Limits, LoadedImage, Whole
from tests.photos import distinct_jpegs


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_processes_are_ended_when_nobody_needs_them_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "IDLE_SECONDS", 0.1)
    (photo,) = distinct_jpegs(tmp_path, 1, (300, 200))
    roots, before = Roots().adding([tmp_path]), _children()
    ref = ImageRef(1, roots.uri_of(photo))
    pool = Pool(Setup(roots, Limits(), Whole(64)), 1)
    assert _children() == before, "none before the first is needed"
    seen: list[int] = []
    for _ in range(2):
        assert isinstance(pool.load(ref, lambda digest: True), LoadedImage)
        seen += _children() - before
        while _children() != before:
            time.sleep(0.01)
    assert len(set(seen)) <= 2
    pool.close()
    with pytest.raises(LoadingError, match="about to end"):
        pool.load(ref, lambda digest: True)
    assert _children() == before


def test_closing_ends_those_who_wait(tmp_path: Path) -> None:
    (photo,) = distinct_jpegs(tmp_path, 1, (300, 200))
    roots, before = Roots().adding([tmp_path]), _children()
    pool = Pool(Setup(roots, Limits(), Whole(64)), 1)
    closing: list[threading.Thread] = []

    def wanted(digest: bytes) -> bool:
        closing.append(threading.Thread(target=pool.close))
        closing[0].start()
        pool._closed.wait()
        return True

    with pytest.raises(LoadingError, match="about to end"):
        while True:  # it may have been loaded before the process was ended
            pool.load(ImageRef(1, roots.uri_of(photo)), wanted)
    closing[0].join()
    assert _children() == before


def test_the_last_to_come_is_the_first_to_go() -> None:
    turns = Turns(1)
    order: list[int] = []
    waiting: list[threading.Thread] = []

    def come(number: int) -> None:
        with turns:
            order.append(number)

    with turns:
        for number in range(4):
            waiting.append(threading.Thread(target=come, args=[number]))
            waiting[-1].start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
    for thread in waiting:
        thread.join()
    assert order == [3, 2, 1, 0]
    with turns:
        assert not turns._waiting
