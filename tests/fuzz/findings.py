"""Inputs that showed a fault, as files to be replayed."""

from __future__ import annotations

import hashlib
from pathlib import Path


def keep(folder: Path, kind: str, data: bytes, told: str) -> Path:
    """Save the bytes as ``kind-digest``, and beside them what was seen."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}"
    file.write_bytes(data)
    file.with_suffix(".txt").write_text(told + "\n")
    return file
