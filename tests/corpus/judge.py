"""What Pillow alone makes of a file: the measure that the product is held to.

Pillow is asked in processes of its own, so that a file that hangs or kills it is merely one that it
does not load.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue

from PIL import Image

from tagger.loading.quiet import prepare_pillow
from tests.corpus.case import Case

LEFT_OUT = frozenset({"EPS", "WMF", "IPTC", "MPEG", "BUFR", "GRIB", "HDF5"})
"""Formats that the product does not read on purpose; :mod:`tagger.loading.decode` says why."""

_SECONDS = 20.0


def fully_loaded(folder: Path, cases: Iterable[Case], max_pixels: int, workers: int = 2) -> dict[str, bool]:
    """Whether Pillow loads each file without an exception; ``cases`` that know it are believed."""
    listed = list(cases)
    judges: SimpleQueue[_Judge] = SimpleQueue()
    for _ in range(workers):
        judges.put(_Judge(max_pixels))

    def ask(case: Case) -> bool:
        if case.whole is not None:
            return case.whole
        with _borrowed(judges) as judge:
            return judge.loads(folder / case.name)

    with ThreadPoolExecutor(workers) as pool:
        verdicts = list(pool.map(ask, listed))
    for _ in range(workers):
        judges.get().close()
    return {case.name: verdict for case, verdict in zip(listed, verdicts, strict=True)}


@contextmanager
def _borrowed(judges: SimpleQueue[_Judge]) -> Iterator[_Judge]:
    judge = judges.get()
    try:
        yield judge
    finally:
        judges.put(judge)


class _Judge:
    """One process that loads what it is told to; replaced when it hangs or dies."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._process, self._line = _started(max_pixels)

    def loads(self, path: Path) -> bool:
        self._line.send(path)
        try:
            if self._line.poll(_SECONDS):
                verdict: bool = self._line.recv()
                return verdict
        except EOFError:
            pass  # it died; so this is not a file that Pillow loads
        self.close()
        self._process, self._line = _started(self._max_pixels)
        return False

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._line.close()


def _started(max_pixels: int) -> tuple[BaseProcess, Connection]:
    # Spawned, so that nothing of the parent's (its threads, its Pillow) is in it.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, max_pixels), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _serve(line: Connection, max_pixels: int) -> None:
    prepare_pillow(max_pixels)
    warnings.simplefilter("ignore")
    while True:
        line.send(_loads(line.recv()))


def _loads(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if image.format in LEFT_OUT:
                return False
            image.load()
    except Exception:  # whatever it is, the file is not loaded
        return False
    return True
