"""``tagger tag`` over odd, broken and hostile files: one outcome each, in bounded memory."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import psutil
import pytest

from tagger.loading import PillowLoader, readable_formats
from tagger.values import Limits, OutcomeKind
from tests.corpus.build import corpus, mutation_cases, write
from tests.corpus.case import SHOWN, Case
from tests.corpus.judge import fully_loaded
from tests.corpus.reasons import fault_in
from tests.fuzz.check import PREPROCESSING, check

from .conftest import Tagger

# With what is made by hand and the photos, about seventeen hundred files.
MUTATIONS = 1100
SEED = 1
MOST_MEMORY = 2_000_000_000

Row = tuple[str, str | None]


@pytest.mark.timeout(600)
def test_hostile_files_have_one_outcome_each_and_harm_nothing(tagger: Tagger, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    cases = write(corpus(MUTATIONS, SEED), folder)
    memory = _run(tagger, folder)
    rows = _rows(tagger)
    assert rows.keys() == cases.keys()
    assert _not_allowed(cases, rows) == {}
    assert _poor_reasons(rows) == {}
    assert _refused_though_sound(folder, cases, rows) == {}
    assert memory < MOST_MEMORY, f"{memory / 1e6:.0f} MB"


def test_a_seed_gives_the_same_corpus_and_another_gives_another() -> None:
    one, same, other = (list(islice(mutation_cases(seed), 60)) for seed in (1, 1, 2))
    assert one == same
    assert not {case.data for case in one} <= {case.data for case in other}


def test_every_format_is_in_the_corpus_and_what_is_called_sound_is(tmp_path: Path) -> None:
    sound = [case for case in corpus(0) if case.whole]
    write(iter(sound), tmp_path)
    asked = [replace(case, whole=None) for case in sound]
    loaded = fully_loaded(tmp_path, asked, Limits().max_pixels)
    assert [name for name, loads in loaded.items() if not loads] == []
    loader = PillowLoader(PREPROCESSING)
    formats = {check(loader, case.data).format.upper() for case in sound}
    assert formats >= set(readable_formats())


def _run(tagger: Tagger, folder: Path) -> int:
    """Tag the folder; the most memory (bytes) that the command and its children held together."""
    process = tagger.start("tag", folder, "--json")
    watch = _Watch(process)
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, out + err
    assert "Traceback" not in err
    return watch.peak()


class _Watch(threading.Thread):
    """Adds up the memory of a process and all beneath it, many times a second."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._peak = 0
        self._samples = 0
        self.start()

    def run(self) -> None:
        top = psutil.Process(self._process.pid)
        while self._process.returncode is None:
            self._peak = max(self._peak, sum(_memory(one) for one in _family(top)))
            self._samples += 1
            time.sleep(0.05)

    def peak(self) -> int:
        self.join()
        assert self._samples > 10, "nobody looked"
        return self._peak


def _family(top: psutil.Process) -> list[psutil.Process]:
    try:
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def _memory(process: psutil.Process) -> int:
    """Resident bytes; what is shared counts only in part where the system tells (PSS)."""
    try:
        facts = process.memory_full_info()
    except psutil.Error:  # it has just ended
        return 0
    return int(getattr(facts, "pss", facts.rss))


def _rows(tagger: Tagger) -> dict[str, Row]:
    """Outcome and reason by the file's name."""
    found = tagger.rows("SELECT uri, outcome, reason FROM image_status")
    rows = {unquote(uri.rsplit("/", 1)[1]): (outcome, reason) for uri, outcome, reason in found}
    assert len(rows) == len(found), "more than one outcome for a file"
    return rows


def _not_allowed(cases: Mapping[str, Case], rows: Mapping[str, Row]) -> dict[str, Row]:
    return {name: row for name, row in rows.items() if OutcomeKind(row[0]) not in cases[name].allowed}


def _poor_reasons(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Failures need a reason; a picture may have one, if it is damaged."""
    wanted = {name: row for name, row in rows.items() if row[0] not in SHOWN or row[1] is not None}
    return {name: row for name, row in wanted.items() if fault_in(row[1])}


def _refused_though_sound(folder: Path, cases: Mapping[str, Case], rows: Mapping[str, Row]) -> dict[str, Row]:
    whole = fully_loaded(folder, cases.values(), Limits().max_pixels)
    assert sum(whole.values()) > len(cases) / 4, "a corpus must also hold what can be loaded"
    return {name: rows[name] for name, loads in whole.items() if loads and rows[name][0] not in SHOWN}
