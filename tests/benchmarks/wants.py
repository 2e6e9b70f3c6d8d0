"""What a million wanted images cost, and whether that stays flat: `make bench-wants`.

Real: PostgreSQL, the broker, and the product's own ways: ``fill`` with a stream of paths, the
dispatcher's pass, a worker's claim, look-up and writing of outcomes, the question of ``tagger
status``. Made: the library is a tree of empty files in memory (each is really looked at; storage is
not measured); workers are lease rows of other hosts, by turns played by this process, without a
network (scores are made from random logits, as many rows as photos have). Between the stages most
of the wanted images are completed by plain SQL, rows and indexes as the product writes them, since
writing a million outcomes one by one would take an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import batched_groups as _none  # type: ignore[attr-defined]  # noqa: F401
from pathlib import Path
