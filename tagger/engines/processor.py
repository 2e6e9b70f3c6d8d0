"""What the processor can compute natively, as far as the operating system tells."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path


def instructions() -> frozenset[str]:
    """The instruction sets by Linux's names (``avx512_vnni``, ``amx_bf16``); empty where it is not told."""
    try:
        with Path("/proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            first = list(takewhile(str.strip, file))  # a block for each core, and an empty line after it
    except OSError:
        return frozenset()
    lists = (line.partition(":")[2] for line in first if line.startswith(("flags", "Features")))
    return frozenset(word for words in lists for word in words.split())
