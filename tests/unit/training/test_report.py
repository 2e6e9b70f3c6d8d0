"""The report is a page that needs nothing else, whatever labels and files are called."""

from __future__ import annotations

import json
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tagger.training import report
from tagger.training.fitting import Epoch
from tagger.training.measures import Mistake, measure
from tagger.training.report import Pictures, Report

ODD = ("<script>alert(1)</script>", "a $x$ & b", "\u732b")


def _report(names: tuple[str, ...], tested: int = 0) -> Report:
    random = np.random.default_rng(0)
    truth = np.eye(len(names), dtype=np.int8)[random.integers(0, len(names), 60)]
    sure = random.dirichlet(np.ones(len(names)), 60)
    epochs = tuple(Epoch(n, 1e-3, 1 / n, 1.5 / n, 1 - 0.5 / n, n != 3, 0.1) for n in (1, 2, 3))
    return Report(
        name="odd",
        made_at=datetime(2026, 1, 2, 3, 4),
        base="efficientnet-lite0",
        architecture="efficientnet-lite0",
        kind="softmax",
        seed=0,
        fine_tuned=False,
        names=names,
        learned=100,
        held_out=60,
        tested=tested,
        alike=1,
        left_out={"could not be loaded": ("file:///<b>.jpg: corrupt: <i>",) * 30},
        epochs=epochs,
        temperature=0.9,
        measures=measure(sure, sure, truth, names, "softmax"),
        doubtful=(Mistake(3, names[0], 0.9, names[1]),),
        seconds=3.0,
    )


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def _written(folder: Path, written: Report) -> tuple[str, _Tags]:
    uris = [f"file:///photos/%3Cb%3E{row}.jpg" for row in range(60)]
    pictures = Pictures(uris, lambda row: np.full((256, 256, 3), row, np.uint8))
    report.write(folder / "report", written, pictures, pictures)
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(page)
    return page, tags


def test_nothing_in_a_name_becomes_markup(tmp_path: Path) -> None:
    page, tags = _written(tmp_path, _report(ODD))
    assert "script" not in {tag for tag, _ in tags.seen}
    assert "<script>" not in page and "&lt;script&gt;" in page and "\u732b" in page
    assert "and 10 more, in report.json" in page


def test_it_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    _, tags = _written(tmp_path, _report(ODD))
    sources = [value for _, attrs in tags.seen for name, value in attrs.items() if name in ("src", "href")]
    assert sources and all(value is not None and value.startswith("data:image/") for value in sources)
    assert all(attrs.get("alt") for tag, attrs in tags.seen if tag == "img")


def test_its_charts_are_pictures_and_its_figures_json(tmp_path: Path) -> None:
    written = _report(ODD)
    _written(tmp_path, written)
    charts = sorted(path.name for path in (tmp_path / "report").glob("*.png"))
    assert charts == ["confusion.png", "learning.png", "reliability.png"]
    for chart in charts:
        with Image.open(tmp_path / "report" / chart) as image:
            assert image.width > 300 and len(image.convert("RGB").getcolors(2**24) or []) > 20
    figures = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert figures["right"]["of"] == 60
    assert len(figures["mistakes"]) == len(written.measures.mistakes)
    assert figures["doubtful"][0]["uri"].endswith("3.jpg")
    assert len(figures["left_out"]["could not be loaded"]) == 30


@pytest.mark.parametrize("tested", [0, 60])
def test_it_says_what_the_figures_are_of(tested: int, tmp_path: Path) -> None:
    page, _ = _written(tmp_path, _report(ODD, tested))
    assert ("given for measuring" in page) == bool(tested)
    assert ("kept from learning. They decided" in page) == (not tested)


def test_it_warns_where_nothing_takes_what_is_none_of_the_labels(tmp_path: Path) -> None:
    page, _ = _written(tmp_path, _report(ODD))
    assert "one of its labels for every photo" in page and "Labels to look at" in page
    (tmp_path / "again").mkdir()
    page, _ = _written(tmp_path / "again", _report((*ODD, "other")))
    assert "one of its labels for every photo" not in page


def test_very_many_labels_are_no_table(tmp_path: Path) -> None:
    page, _ = _written(tmp_path, _report(tuple(f"label {n}" for n in range(50))))
    assert not (tmp_path / "report" / "confusion.png").exists()
    assert "Most often mistaken" in page
