"""The charts of a report, as PNG: learning curve, confusion, reliability. Importing it imports matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from tagger.training.measures import Calibration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tagger.training.fitting import Epoch

MOST_LABELS: Final = 40
"""More than these are no table that anybody reads."""
_INK, _FAINT, _LEARNED, _HELD_OUT = "#1f2933", "#9aa5b1", "#c05621", "#2b6cb0"


_FALLBACKS: Final = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Hiragino Sans",
    "PingFang SC",
    "Arial Unicode MS",
)
"""Where the system has them, for letters that matplotlib's own font lacks."""


@contextmanager
def _fonts() -> Iterator[None]:
    """A letter that no font here has becomes a box, and nobody is told on the console: the page has labels as
    text."""
    families = ["DejaVu Sans", *(name for name in _FALLBACKS if name in get_font_names())]
    with rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        yield


@_fonts()
def learning(epochs: Sequence[Epoch]) -> bytes:
    """Losses on what is learned from and on the rest, and how much of the rest is named right."""
    figure, (left, right) = _figure(9.0, 3.4, 2)
    numbers = range(1, len(epochs) + 1)
    left.plot(numbers, [epoch.loss for epoch in epochs], color=_LEARNED, label="learned from")
    left.plot(numbers, [epoch.held_out_loss for epoch in epochs], color=_HELD_OUT, label="held out")
    left.set(title="Loss", xlabel="epoch", ylim=(0, None))
    left.legend(frameon=False)
    right.plot(numbers, [epoch.right for epoch in epochs], color=_HELD_OUT)
    right.set(title="Named right, held out", xlabel="epoch", ylim=(None, 1.005))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    best = [number for number, epoch in zip(numbers, epochs, strict=True) if epoch.best]
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if best:
            axes.axvline(best[-1], color=_FAINT, linestyle=":", linewidth=1)
    if best:
        where = best[-1], left.get_ylim()[1]
        left.annotate("kept", where, (3, -12), textcoords="offset points", color=_FAINT)
    return _png(figure)


@_fonts()
def confusion(counts: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """How many pictures of each label (rows) were called what (columns); shades by row."""
    side = min(12.0, 2.5 + 0.42 * len(names))
    figure, (axes,) = _figure(side, side, 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), [_short(name) for name in names], rotation=90)
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set(xlabel="called", ylabel="is")
    axes.grid(visible=False)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else _INK
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7, color=colour)
    return _png(figure)


@_fonts()
def reliability(before: Calibration, after: Calibration) -> bytes:
    """How often pictures of about one confidence are right, before and after calibration."""
    figure, both = _figure(9.0, 4.4, 2)
    for axes, found, title in zip(both, (before, after), ("Before calibration", "After"), strict=True):
        axes.plot((0, 1), (0, 1), color=_FAINT, linestyle=":", linewidth=1)
        sure, right = [each.confidence for each in found.bins], [each.right for each in found.bins]
        axes.vlines(sure, sure, right, color=_LEARNED, linewidth=2, alpha=0.6)
        axes.plot(sure, right, "o-", color=_HELD_OUT, markersize=5)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="right", aspect="equal")
        axes.set_title(f"{title}: off by {found.error:.3f}")
    return _png(figure)


def _figure(width: float, height: float, plots: int) -> tuple[Figure, tuple[Axes, ...]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    made = tuple(figure.add_subplot(1, plots, number) for number in range(1, plots + 1))
    for axes in made:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e4e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
    return figure, made


def _short(name: str, longest: int = 24) -> str:
    # A dollar would begin a formula.
    return (name if len(name) <= longest else f"{name[: longest - 1]}…").replace("$", r"\$")


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
