"""Keeping processes alive: each post is filled again when its process dies, until all are to stop.

Small on purpose: it holds no model, no connection and no thread, so that there is nothing in it to
fail. The processes are started anew and never forked from one that has threads or a GPU. Their
standard input is a pipe that closes when this process dies, which tells them to end in order.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

log = logging.getLogger(__name__)

GRACE_SECONDS = 45.0
"""How long a process may take to stop in order; shorter than what container engines are told to allow."""
HOPELESS = 3
"""The exit code of what cannot work as it is set up: starting it again would not help."""
FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 5.0, 60.0
"""Seconds before a process that died is started again: doubled each time that it did not stay up for
long enough, up to a limit."""
_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds."""

    grace: float = GRACE_SECONDS
    first_pause: float = FIRST_PAUSE
    longest_pause: float = LONGEST_PAUSE
    steady: float = STEADY


@dataclass(frozen=True, slots=True)
class Post:
    """A process that is to be there."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(slots=True)
class _Guard:
    """One post, and the process that fills it."""

    post: Post
    patience: Patience
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0
    next_start: float = 0.0

    def start(self) -> None:
        self.started = time.monotonic()
        try:
            self._spawn()
        except OSError as fault:  # no memory or no number for one more process, for a while
            self._put_off()
            log.error("%s cannot be started (%s); next try in %.1f s", self.post.name, fault, self.pause)

    def _spawn(self) -> None:
        self.process = subprocess.Popen(
            self.post.command,
            env=dict(self.post.environment),
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us alone, and we tell them
        )
        log.info("%s started, process %d", self.post.name, self.process.pid)

    def tend(self) -> int | None:
        """Start the process if there is none; its exit code, once, if it has died."""
        if self.process is None:
            if time.monotonic() >= self.next_start:
                self.start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        self._close()
        self._put_off()
        return code

    def _put_off(self) -> None:
        """The next start waits the longer the more often this one did not stay up."""
        now = time.monotonic()
        if not self.pause or now - self.started >= self.patience.steady:
            self.pause = self.patience.first_pause
        else:
            self.pause = min(2 * self.pause, self.patience.longest_pause)
        self.next_start = now + self.pause

    def stop(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def is_gone(self) -> bool:
        if self.process is None:
            return True
        if self.process.poll() is None:
            return False
        self._close()
        return True

    def _close(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.process = None


@dataclass(slots=True)
class Supervisor:
    """Fills posts until it is told to stop by TERM, INT or HUP; asked twice it stops at once."""

    posts: Sequence[Post]
    patience: Patience = field(default_factory=Patience)
    asked: int = 0
    _guards: list[_Guard] = field(default_factory=list)

    def run(self) -> int:
        """The exit code: 0 when stopped in order, else that of what cannot work."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._ask)
        self._guards = [_Guard(post, self.patience) for post in self.posts]
        code = 0
        while not self.asked and not code:
            for guard in self._guards:
                code = code or self._look_after(guard)
            time.sleep(_TICK)
        self._end()
        return code

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1

    def _look_after(self, guard: _Guard) -> int:
        died = guard.tend()
        if died is None:
            return 0
        if died == HOPELESS:
            return HOPELESS
        how = signal.Signals(-died).name if died < 0 else f"code {died}"
        log.error("%s ended (%s); it is started again in %.1f s", guard.post.name, how, guard.pause)
        return 0

    def _end(self) -> None:
        """All are told to stop; what does not within its time is killed."""
        for guard in self._guards:
            guard.stop(signal.SIGTERM)
        deadline = time.monotonic() + self.patience.grace
        while not all(guard.is_gone() for guard in self._guards):
            if self.asked > 1 or time.monotonic() > deadline:
                for guard in self._guards:
                    guard.stop(signal.SIGKILL)
            time.sleep(_TICK)
