"""What was measured, as values; and as JSON, Markdown and a plot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.turns import Turn

BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
"""What stands between these lines in a page is written by the command."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One number measured several times: over all, and by round."""

    overall: float
    by_round: tuple[float, ...]

    @property
    def least(self) -> float:
        """The worst or best round, whichever is less."""
        return min(self.by_round)

    @property
    def most(self) -> float:
        """The other end."""
        return max(self.by_round)

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return median(self.by_round)


def rate(turns: Sequence[Turn]) -> Spread:
    """Images a second over all turns, and in each."""
    overall = sum(turn.images for turn in turns) / sum(turn.seconds for turn in turns)
    return Spread(overall, tuple(turn.rate for turn in turns))


def combined(function: Callable[..., float], *parts: Spread) -> Spread:
    """A function of several numbers of the same rounds, round by round."""
    by_round = zip(*(part.by_round for part in parts), strict=True)
    return Spread(function(*(part.overall for part in parts)), tuple(function(*each) for each in by_round))


def limit(loading: Spread, forward: Spread) -> Spread:
    """What loading and forward pass allow together on the same cores, in images a second."""
    return combined(lambda one, other: 1 / (1 / one + 1 / other), loading, forward)


def ratio(part: Spread, whole: Spread) -> Spread:
    """One to the other."""
    return combined(lambda one, other: one / other, part, whole)


def repeated(values: Sequence[float]) -> Spread:
    """Something measured several times, of which the median counts."""
    return Spread(median(values), tuple(values))


@dataclass(frozen=True, slots=True)
class Figure:
    """A number with what is wanted of it: at least, or at most; None where nothing is."""

    name: str
    value: Spread
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether it is as wanted; None if nothing is."""
        if self.at_least is None and self.at_most is None:
            return None
        low = self.at_least is None or self.value.overall >= self.at_least
        return low and (self.at_most is None or self.value.overall <= self.at_most)

    @property
    def wanted(self) -> str:
        """In words."""
        if self.at_least is not None:
            return f"at least {number(self.at_least)}"
        return "" if self.at_most is None else f"at most {number(self.at_most)}"


@dataclass(frozen=True, slots=True)
class Section:
    """What was measured together.

    ``rates`` are images a second by contender, ``limits`` such as are computed from them; ``figures``
    is what they come to, ``notes`` what a reader must know. ``unmeasured`` is why there is nothing of these.
    """

    name: str
    title: str
    rates: Mapping[str, Spread] = field(default_factory=dict)
    limits: Mapping[str, Spread] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else is kept in the JSON."""
    unmeasured: str | None = None

    def without_verdicts(self) -> Section:
        """The same, with nothing wanted of its figures."""
        figures = [replace(figure, at_least=None, at_most=None) for figure in self.figures]
        return replace(self, figures=figures)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    machine: Mapping[str, Any]
    setting: Mapping[str, Any]
    sections: Sequence[Section]

    def as_json(self) -> str:
        """All of it."""
        found = asdict(self)
        for section, made in zip(found["sections"], self.sections, strict=True):
            for figure, each in zip(section["figures"], made.figures, strict=True):
                figure["reached"] = each.reached
        return json.dumps(found, indent=2) + "\n"

    def as_markdown(self) -> str:
        """Tables for people: first what was wanted, then what was measured."""
        parts = [_machine(self), _figures(self.sections)]
        parts += [_section(section) for section in self.sections]
        return "\n\n".join(part for part in parts if part) + "\n"


def write_between(page: Path, text: str) -> None:
    """Put a text between the page's marks, in place of what was there.

    Raises :class:`ValueError` if the page has no marks.
    """
    whole = page.read_text()
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}")


def number(value: float) -> str:
    """Three figures or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; the first column to the left, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _machine(report: Report) -> str:
    facts = [f"{name}: {value}" for name, value in report.machine.items()]
    facts += [f"{name}: {value}" for name, value in report.setting.items()]
    return "\n".join(f"- {fact}" for fact in facts)


def _figures(sections: Sequence[Section]) -> str:
    rows = [_figure(figure) for section in sections for figure in section.figures]
    if not rows:
        return ""
    head = ["figure", "measured", "least", "median", "most", "wanted", "reached"]
    return "### Figures\n\n" + table(head, rows)


def _figure(figure: Figure) -> list[str]:
    value = figure.value
    numbers = [number(each) for each in (value.overall, value.least, value.middle, value.most)]
    reached = {True: "yes", False: "**no**", None: ""}[figure.reached]
    return [figure.name + (f", {figure.unit}" if figure.unit else ""), *numbers, figure.wanted, reached]


def _section(section: Section) -> str:
    rows = [_rate(name, spread) for name, spread in section.rates.items()]
    rows += [_rate(f"*{name}*", spread) for name, spread in section.limits.items()]
    parts = [f"### {section.title}"]
    if rows:
        parts.append(table(["images/s", "all turns", "least", "median", "most"], rows))
    parts += section.notes
    if section.unmeasured:
        parts.append(f"**Not measured**: {section.unmeasured}.")
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _rate(name: str, spread: Spread) -> list[str]:
    return [name, *(number(each) for each in (spread.overall, spread.least, spread.middle, spread.most))]


def plot(report: Report, path: Path) -> None:
    """A panel of bars for each section that has rates, with their least and most; limits as lines."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [section for section in report.sections if section.rates]
    if not shown:
        return
    heights = [1.2 + 0.42 * len(section.rates) for section in shown]
    figure, panels = pyplot.subplots(
        len(shown), figsize=(12, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for panel, section in zip(panels[:, 0], shown, strict=True):
        _bars(panel, section)
    figure.suptitle(_where(report), fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _where(report: Report) -> str:
    return ", ".join(str(report.machine[name]) for name in ("processor", "date") if name in report.machine)


def _bars(panel: Any, section: Section) -> None:
    names, spreads = list(section.rates), list(section.rates.values())
    values = [spread.overall for spread in spreads]
    ends = [
        [max(0.0, spread.overall - spread.least) for spread in spreads],
        [max(0.0, spread.most - spread.overall) for spread in spreads],
    ]
    colours = [_colour(name) for name in names]
    panel.barh(names, values, color=colours, xerr=ends, ecolor="#444", capsize=2, height=0.7)
    for row, (value, spread) in enumerate(zip(values, spreads, strict=True)):
        panel.annotate(
            number(value),
            (max(value, spread.most), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    for index, (name, spread) in enumerate(section.limits.items()):
        style = ("--", ":", "-.")[index % 3]
        panel.axvline(
            spread.overall, color="#b3452f", linestyle=style, label=f"{name}: {number(spread.overall)}"
        )
    if section.limits:
        panel.legend(loc="upper right", bbox_to_anchor=(1, -0.08), ncols=2, fontsize=8, frameon=False)
    panel.invert_yaxis()
    panel.margins(x=0.12)
    panel.set_title(section.title, loc="left", fontsize=10)
    panel.set_xlabel("images/s" if section.name != "processes" else "images/s of whole processes")
    panel.spines[["top", "right"]].set_visible(False)


def _colour(name: str) -> str:
    """The product's whole, its parts, and all others."""
    if not name.startswith("tagger"):
        return "#b9c3cf"
    return "#8fb3dc" if ":" in name else "#2f6db3"
