"""The loader under fuzzing, its answers checked and counted."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from tagger.loading import PillowLoader
from tests.fuzz.blackbox import BlackBox
from tests.fuzz.check import PREPROCESSING, check
from tests.fuzz.findings import keep


class Watched:
    """Takes bytes, keeps those that show a fault. ``counts`` are of formats, outcomes and faults;
    ``slowest`` is in seconds, with a word on what it was."""

    def __init__(self, blackbox: BlackBox, findings: Path) -> None:
        self._loader = PillowLoader(PREPROCESSING)
        self._blackbox = blackbox
        self._findings = findings
        self.counts: dict[str, Counter[str]] = {
            "formats": Counter(),
            "outcomes": Counter(),
            "faults": Counter(),
        }
        self.slowest = (0.0, "nothing")

    def feed(self, data: bytes) -> None:
        """One execution."""
        began = time.perf_counter()
        self._blackbox.begins(data)
        checked = check(self._loader, data)
        self._blackbox.ends()
        seconds = time.perf_counter() - began
        self.counts["formats"][checked.format] += 1
        self.counts["outcomes"][checked.outcome] += 1
        self.slowest = max(self.slowest, (seconds, f"{checked.format}, {len(data)} bytes, {checked.outcome}"))
        if checked.fault is not None:
            self.counts["faults"][checked.fault] += 1
            if self.counts["faults"][checked.fault] == 1:
                keep(self._findings, "fault", data, f"{checked.fault}: {checked.reason}")
