"""What a process was doing when it died: kept in a file that outlives it.

The file is mapped into memory, so that a note costs no system call: the executions so far, since
when the present one runs (on the clock that all processes share, 0 for none), and its bytes.
"""

from __future__ import annotations

import mmap
import struct
import time
from pathlib import Path

_HEAD = struct.Struct("<QdQ")


class BlackBox:
    """Written by the process that may die; read by the one that watches it, which makes it first,
    for inputs of up to ``longest`` bytes."""

    def __init__(self, path: Path, longest: int = 0) -> None:
        if longest:
            path.write_bytes(bytes(_HEAD.size + longest))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def begins(self, data: bytes) -> None:
        """An execution begins."""
        executions, _, _ = self._head()
        self._memory[_HEAD.size : _HEAD.size + len(data)] = data
        _HEAD.pack_into(self._memory, 0, executions + 1, time.monotonic(), len(data))

    def ends(self) -> None:
        """It came back."""
        executions, _, length = self._head()
        _HEAD.pack_into(self._memory, 0, executions, 0.0, length)

    @property
    def executions(self) -> int:
        """Begun so far."""
        return self._head()[0]

    @property
    def seconds(self) -> float:
        """How long the present execution has been running; 0 between two."""
        began = self._head()[1]
        return time.monotonic() - began if began else 0.0

    @property
    def data(self) -> bytes:
        """The bytes of the present or last execution."""
        return self._memory[_HEAD.size : _HEAD.size + self._head()[2]]

    def _head(self) -> tuple[int, float, int]:
        executions, began, length = _HEAD.unpack_from(self._memory)
        return executions, began, length
