"""Images a second over time, as the points of a drawing: an SVG needs no library to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from tagger.store.runs import Tick

WIDTH: Final = 600
HEIGHT: Final = 120


@dataclass(frozen=True, slots=True)
class Plot:
    """``area`` and ``line`` are SVG paths in a box of :data:`WIDTH` by :data:`HEIGHT`, ``failed`` the line of
    what failed, None if nothing did; ``peak`` is in images a second."""

    area: str
    line: str
    failed: str | None
    peak: float
    begins: datetime
    seconds: float


def plot(ticks: Sequence[Tick]) -> Plot | None:
    """The drawing of what a run did; None if it did nothing."""
    if not ticks:
        return None
    begin = ticks[0].at.timestamp()
    seconds = max(ticks[-1].at.timestamp() + ticks[-1].seconds - begin, 1e-3)
    rates = [tick.done / tick.seconds for tick in ticks]
    peak = max(*rates, 1e-9)
    # Each step goes on to the next: what was done in a moment is spread over more than that, for its rate.
    edges = [*((tick.at.timestamp() - begin) / seconds for tick in ticks), 1.0]
    steps = list(pairwise(edges))
    line = _steps(steps, [rate / peak for rate in rates])
    failures = [tick.failed / tick.seconds / peak for tick in ticks]
    return Plot(
        area=f"M0 {HEIGHT} {line.replace('M', 'L', 1)} L{WIDTH} {HEIGHT} Z",
        line=line,
        failed=_steps(steps, failures) if any(failures) else None,
        peak=peak,
        begins=ticks[0].at,
        seconds=seconds,
    )


def _steps(spans: Sequence[tuple[float, float]], heights: Sequence[float]) -> str:
    """A path that goes level over each span, for within it nothing finer is known; all are 0-1."""
    points = [
        (min(x, 1.0) * WIDTH, (1 - height) * HEIGHT)
        for span, height in zip(spans, heights, strict=True)
        for x in span
    ]
    return "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
