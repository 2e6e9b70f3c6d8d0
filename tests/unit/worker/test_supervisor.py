"""Real processes: kept alive, told to stop, waited for, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[3]
PYTHON = [sys.executable, "-S", "-E", "-c"]

SUPERVISE = """
import json, logging, os, sys
from worker.supervisor import Patience, Post, Supervisor
logging.basicConfig(level="INFO", format="%(message)s")
commands, patience = json.loads(sys.argv[1])
posts = [Post(name, command, os.environ) for name, command in commands.items()]
sys.exit(Supervisor(posts, Patience(**patience)).run())
"""

DIES = """
import time
with open("starts", "a") as f: f.write(f"{time.monotonic()}\\n")
raise SystemExit(1)
"""
STAYS = """
import os, signal, sys, time
def told(number, frame):
    time.sleep(0.4)
    with open("stopped", "a") as f: f.write(f"{number}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, told)
with open("pids", "a") as f: f.write(f"{os.getpid()}\\n")
while True: time.sleep(0.02)
"""
STUBBORN = """
import os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
with open("pids", "a") as f: f.write(f"{os.getpid()}\\n")
while True: time.sleep(0.02)
"""
READS = """
import os
with open("pids", "a") as f: f.write(f"{os.getpid()}\\n")
while os.read(0, 1): pass
with open("ended", "w") as f: f.write("its input was closed")
"""
HOPELESS = """
import os, sys, time
while not os.path.exists("pids"): time.sleep(0.02)
sys.exit(3)
"""


class Supervised:
    """A supervisor in a process of its own, in a folder where its children leave their traces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str]

    def start(self, commands: dict[str, list[str]], **patience: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, json.dumps([commands, patience])],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self, name: str) -> list[float]:
        file = self.folder / name
        return [float(line) for line in file.read_text().split()] if file.exists() else []

    def until(self, holds: Callable[[], bool], limit: float = 15.0) -> None:
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.02)

    def child(self) -> int:
        self.until(lambda: bool(self.lines("pids")))
        return int(self.lines("pids")[-1])

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, within: float = 10.0) -> int:
        return self.process.wait(timeout=within)

    def clean_up(self) -> None:
        children = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        self.process.kill()
        for child in children:  # before the output is read: they hold its other end
            child.kill()
        self.process.communicate()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    found = Supervised(tmp_path)
    yield found
    found.clean_up()


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_one_that_dies_is_started_again_after_ever_longer_pauses_up_to_a_limit(
    supervised: Supervised,
) -> None:
    supervised.start({"a": [*PYTHON, DIES]}, first_pause=0.2, longest_pause=0.8, steady=60.0)
    supervised.until(lambda: len(supervised.lines("starts")) >= 5)
    pauses = [later - earlier for earlier, later in pairwise(supervised.lines("starts"))][:4]
    assert pauses[0] < pauses[1] < pauses[2]
    for pause, least in zip(pauses, (0.2, 0.4, 0.8, 0.8), strict=True):
        assert least <= pause < least + 0.7
    supervised.tell(signal.SIGTERM)
    assert supervised.ends() == 0


def test_one_that_stayed_up_for_long_is_started_again_soon(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, DIES]}, first_pause=0.05, longest_pause=60.0, steady=0.0)
    supervised.until(lambda: len(supervised.lines("starts")) >= 6)


def test_one_that_is_killed_is_replaced_and_its_neighbour_left_alone(supervised: Supervised) -> None:
    reads = READS.replace("pids", "neighbours")
    supervised.start({"a": [*PYTHON, STAYS], "b": [*PYTHON, reads]}, first_pause=0.05)
    first = supervised.child()
    supervised.until(lambda: bool(supervised.lines("neighbours")))
    os.kill(first, signal.SIGKILL)
    supervised.until(lambda: len(supervised.lines("pids")) == 2)
    assert len(supervised.lines("neighbours")) == 1
    supervised.tell(signal.SIGTERM)
    assert supervised.ends() == 0


def test_what_cannot_work_as_it_is_set_up_ends_all_in_order(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, STAYS], "b": [*PYTHON, HOPELESS]})
    assert supervised.ends() == 3
    assert supervised.lines("stopped") == [signal.SIGTERM]
    assert _gone(supervised.child())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_stop_it_tells_all_and_waits_for_them(supervised: Supervised, number: signal.Signals) -> None:
    supervised.start({"a": [*PYTHON, STAYS], "b": [*PYTHON, STAYS]})
    supervised.until(lambda: len(supervised.lines("pids")) == 2)
    supervised.tell(number)
    assert supervised.ends() == 0
    assert supervised.lines("stopped") == [signal.SIGTERM] * 2


def test_one_that_does_not_stop_in_its_time_is_killed(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, STUBBORN]}, grace=0.5)
    child = supervised.child()
    supervised.tell(signal.SIGTERM)
    began = time.monotonic()
    assert supervised.ends() == 0
    assert time.monotonic() - began >= 0.4
    assert _gone(child)


def test_told_twice_it_kills_at_once(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, STUBBORN]}, grace=300.0)
    child = supervised.child()
    supervised.tell(signal.SIGTERM)
    time.sleep(0.3)
    assert not _gone(child)
    supervised.tell(signal.SIGTERM)
    assert supervised.ends(within=5.0) == 0
    assert _gone(child)


def test_told_to_stop_while_one_waits_to_be_started_again_it_starts_none(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, DIES]}, first_pause=300.0)
    supervised.until(lambda: len(supervised.lines("starts")) == 1)
    time.sleep(0.3)
    supervised.tell(signal.SIGTERM)
    assert supervised.ends(within=5.0) == 0
    assert len(supervised.lines("starts")) == 1


def test_when_the_supervisor_is_killed_its_children_see_their_input_end(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, READS], "b": [*PYTHON, STAYS]})
    supervised.until(lambda: len(supervised.lines("pids")) == 2)
    children = psutil.Process(supervised.process.pid).children()
    supervised.tell(signal.SIGKILL)
    supervised.ends()
    supervised.until(lambda: (supervised.folder / "ended").exists())
    for child in children:  # the other one does not listen
        child.kill()


def test_what_cannot_be_started_is_tried_again_and_holds_up_no_other(supervised: Supervised) -> None:
    commands = {"a": [str(supervised.folder / "program")], "b": [*PYTHON, STAYS]}
    supervised.start(commands, first_pause=0.05, longest_pause=0.1)
    supervised.child()
    program = supervised.folder / "program"
    program.write_text(f"#!/bin/sh\necho 1 > {supervised.folder}/came; exec sleep 60\n")
    program.chmod(0o755)
    supervised.until(lambda: bool(supervised.lines("came")))
    supervised.tell(signal.SIGTERM)
    assert supervised.ends() == 0


def test_ctrl_c_at_the_terminal_reaches_the_supervisor_alone(supervised: Supervised) -> None:
    supervised.start({"a": [*PYTHON, STAYS]})
    child = supervised.child()
    assert os.getsid(child) != os.getsid(supervised.process.pid)
    supervised.tell(signal.SIGINT)
    assert supervised.ends() == 0
