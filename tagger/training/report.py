"""What came of a training, for people: an HTML page that needs nothing else, its charts as PNG beside it;
and the figures as JSON for programs."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray

from tagger.models.spec import Activation
from tagger.sources import printable
from tagger.training.measures import Measures, Mistake

if TYPE_CHECKING:
    from tagger.training.fitting import Epoch

PAGE: Final = "index.html"
MISTAKES: Final = 24
PAIRS: Final = 20
LISTED: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Numbers of pictures, what was left out and why, how learning went, and what it is worth."""

    name: str
    made_at: datetime
    base: str | None
    architecture: str
    kind: Activation
    seed: int
    fine_tuned: bool
    names: tuple[str, ...]
    learned: int
    held_out: int
    tested: int
    alike: int
    left_out: Mapping[str, tuple[str, ...]]
    epochs: tuple[Epoch, ...]
    temperature: float
    measures: Measures
    doubtful: tuple[Mistake, ...]
    """Pictures that it learned from, and that one which did not would call otherwise: by their rows."""
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures by their rows: ``uris``, and pixels as uint8 [S, S, 3]."""

    uris: Sequence[str]
    pixels: Callable[[int], NDArray[np.uint8]]


def write(folder: Path, report: Report, measured: Pictures, learned: Pictures) -> None:
    """The report into ``folder``: a page, its charts and ``report.json``."""
    folder.mkdir()
    charts = _charts(report)
    for name, content in charts.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "report.json").write_text(
        json.dumps(as_json(report, measured.uris, learned.uris), indent=2), encoding="utf-8"
    )
    page = _page(
        report,
        {name: _embedded(content, "png") for name, content in charts.items()},
        [_shown(mistake, measured) for mistake in report.measures.mistakes[:MISTAKES]],
        [_shown(mistake, learned) for mistake in report.doubtful[:MISTAKES]],
    )
    (folder / PAGE).write_text(page, encoding="utf-8")


def as_json(report: Report, measured: Sequence[str], learned: Sequence[str]) -> dict[str, Any]:
    """All figures, in values that JSON has; pictures by the URIs of those measured and learned from."""
    measures = report.measures
    said: dict[str, Any] = {
        name: getattr(report, name)
        for name in (
            "name", "base", "architecture", "kind", "seed", "fine_tuned", "learned", "held_out", "tested",
            "alike", "temperature",
        )
    }  # fmt: skip
    said |= {
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 1),
        "left_out": {reason: list(listed) for reason, listed in report.left_out.items()},
        "epochs": [asdict(epoch) for epoch in report.epochs],
        "right": asdict(measures.right),
        "labels": [asdict(label) for label in measures.labels],
        "calibration": {"before": asdict(measures.before), "after": asdict(measures.after)},
        "confusion": None if measures.confusion is None else measures.confusion.tolist(),
        "mistakes": [_plain(each, measured) for each in measures.mistakes],
        "doubtful": [_plain(each, learned) for each in report.doubtful],
    }
    return said


def _plain(mistake: Mistake, uris: Sequence[str]) -> dict[str, Any]:
    return {
        "uri": uris[mistake.row],
        "said": mistake.said,
        "confidence": round(mistake.confidence, 4),
        "truth": mistake.truth,
    }


def _charts(report: Report) -> dict[str, bytes]:
    from tagger.training import charts

    measures = report.measures
    made = {"reliability": charts.reliability(measures.before, measures.after)}
    if report.epochs:
        made["learning"] = charts.learning(report.epochs)
    if measures.confusion is not None and len(report.names) <= charts.MOST_LABELS:
        made["confusion"] = charts.confusion(measures.confusion, report.names)
    return made


def _page(
    report: Report,
    charts: Mapping[str, str],
    mistakes: Sequence[Mapping[str, object]],
    doubtful: Sequence[Mapping[str, object]],
) -> str:
    from jinja2 import Environment, StrictUndefined

    text = resources.files("tagger.training").joinpath("report.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(text)
    return template.render(
        report=report,
        charts=charts,
        mistakes=mistakes,
        more_mistakes=len(report.measures.mistakes) - len(mistakes),
        doubtful=doubtful,
        more_doubtful=len(report.doubtful) - len(doubtful),
        pairs=_pairs(report),
        confusion=_rows(report),
        left_out={
            reason: ([readable(each) for each in listed[:LISTED]], len(listed))
            for reason, listed in report.left_out.items()
        },
    )


def _rows(report: Report) -> list[tuple[str, list[tuple[int, float]]]]:
    """The confusion by label: how many pictures were called what, and the share of the row."""
    from tagger.training.charts import MOST_LABELS

    counts = report.measures.confusion
    if counts is None or len(report.names) > MOST_LABELS:
        return []
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [
        (name, list(zip(row.tolist(), of_row.tolist(), strict=True)))
        for name, row, of_row in zip(report.names, counts, shares, strict=True)
    ]


def _pairs(report: Report) -> list[tuple[str, str, int]]:
    """What was called what most often, wrongly."""
    counts = report.measures.confusion
    if counts is None:
        return []
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(place), len(report.names)) for place in order]
    return [(report.names[i], report.names[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]


def _shown(mistake: Mistake, pictures: Pictures) -> dict[str, object]:
    from PIL import Image

    file = BytesIO()
    image = Image.fromarray(pictures.pixels(mistake.row))
    if image.width > 160:
        image.thumbnail((160, 160))
    image.save(file, "JPEG", quality=85)
    return {
        "picture": _embedded(file.getvalue(), "jpeg"),
        "said": mistake.said,
        "confidence": mistake.confidence,
        "truth": mistake.truth,
        "place": readable(pictures.uris[mistake.row]),
    }


def readable(uri: str) -> str:
    """A URI, with whatever stands behind it, as people write paths."""
    return printable(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))


def _embedded(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
