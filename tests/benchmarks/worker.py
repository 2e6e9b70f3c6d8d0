"""Does a worker grow? `make bench-worker`.

One worker tags many photos, through a broker into PostgreSQL and with default settings, and is looked at
every thousand of them: PSS (shared pages divided among those that share them) of the process that tags,
and of its loading children together. How fast it is beside ``tagger tag`` is measured by
:mod:`tests.benchmarks.bench`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from tagger.settings import load_settings
from tests.benchmarks.product import DONE, Product, database_engine, one
from tests.benchmarks.servers import broker_server, postgres_server
from tests.photos import distinct_jpegs

SIZE = (500, 375)
PHOTO_BYTES = 60_000
"""What a photo takes on disk, more or less."""
EVERY = 1000
"""Images between two looks at the memory."""
FROM = 5000
"""Images after which a worker has all that it keeps."""


@dataclass(frozen=True, slots=True)
class Held:
    """Megabytes held after so many images."""

    images: int
    node: float
    children: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=int, default=50_000, metavar="IMAGES", help="over so many images")
    images = parser.parse_args().memory
    with tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        _require_space(Path(folder), images)
        photos = Path(folder) / "photos"
        distinct_jpegs(photos, images, SIZE)
        product = Product(Path(folder), load_settings().cores)
        with postgres_server() as server, broker_server() as broker:
            database = product.new_postgres(server)
            with product.working(photos, database, images, broker):
                figures = memory(database_engine(database), images)
    print(json.dumps(figures, indent=2))


def memory(engine: Engine, images: int) -> dict[str, Any]:
    """What the worker holds, every thousand images, and by how much it grew."""
    held = list(_held(engine, images))
    last = held[-1]
    base = next((each for each in held if each.images >= min(FROM, images // 2)), held[0])
    return {
        "MB": [asdict(each) for each in held],
        "from image": base.images,
        "to image": last.images,
        "the node grew by, MB": round(last.node - base.node, 1),
        "its loading children grew by, MB": round(last.children - base.children, 1),
        "images/s": round(_rate(engine), 1),
    }


def _held(engine: Engine, images: int) -> Iterator[Held]:
    """A look after each thousand images, while the worker is at work, and one at the end."""
    due = step = EVERY if images >= 10 * EVERY else images // 10
    while True:
        done = one(engine, DONE)
        if done >= due or done >= images:
            pid = one(engine, "SELECT pid FROM leases WHERE role = 'worker' ORDER BY id DESC LIMIT 1")
            yield _look(pid, done)
            print(f"{done:,} images", file=sys.stderr)
            due = done - done % step + step
        if done >= images:
            return
        time.sleep(0.5)


def _look(pid: int, done: int) -> Held:
    node = psutil.Process(pid)
    children = sum(_megabytes(child) for child in node.children(recursive=True))
    return Held(done, round(_megabytes(node), 1), round(children, 1))


def _megabytes(process: psutil.Process) -> float:
    """PSS where the system tells, else what is resident; 0 for what has just ended."""
    try:
        memory = process.memory_full_info()
    except psutil.NoSuchProcess:
        return 0.0
    return float(getattr(memory, "pss", memory.rss)) / 1e6


def _rate(engine: Engine) -> float:
    """Images a second from the first committed outcome to the last; the first group is not counted."""
    groups = (
        "SELECT finished_at, COUNT(*) FROM taggings WHERE outcome IS NOT NULL "
        "GROUP BY finished_at ORDER BY finished_at"
    )
    with engine.connect() as connection:
        rows = connection.execute(text(groups)).all()
    first: datetime = rows[0][0]
    return float(sum(images for _, images in rows[1:]) / max(1e-9, (rows[-1][0] - first).total_seconds()))


def _require_space(folder: Path, images: int) -> None:
    needed, free = images * PHOTO_BYTES, shutil.disk_usage(folder).free
    if free < 1.5 * needed:
        sys.exit(f"{folder} has {free / 1e9:.1f} GB free; {images:,} photos need {needed / 1e9:.1f} GB")


if __name__ == "__main__":
    main()
