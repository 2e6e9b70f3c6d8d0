"""One's own labels, from a folder of photos to tags beside ImageNet's, by the command."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.acceptance.conftest import Tagger
from tests.unit.library.training.conftest import SHAPES, draw

LENET = ("--scratch", "lenet", "--vary", "text")


@pytest.fixture
def tagger(tagger: Tagger) -> Tagger:
    """With one thread: PyTorch's wait for each other by spinning, and other tests run beside these."""
    return replace(tagger, env={**tagger.env, "TAGGER_THREADS": "1"})


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder with twenty pictures of each of three shapes."""
    for shape in SHAPES:
        for seed in range(20):
            draw(tmp_path / "shapes" / shape / f"{seed}.png", shape, seed)
    return tmp_path / "shapes"


def test_a_new_last_layer_tags_beside_imagenet(tagger: Tagger, shapes: Path, tagged: Path) -> None:
    before = {tag["tag"]: tag["images"] for tag in tagger.json("tags")}
    (shapes / "disc" / "0.png").rename(shapes / "bar" / "wrong.png")
    (shapes / "bar" / "1.png").rename(shapes / "disc" / "wrong too.png")
    said = tagger("train", shapes, "--name", "my-shapes")
    assert "my-shapes learned 3 labels from 48 photos" in " ".join(said.split())
    page = Path(
        next(line for line in said.splitlines() if line.startswith("Report: ")).removeprefix("Report: ")
    )
    assert page.is_file() and "my-shapes" in page.read_text()
    figures = json.loads((page.parent / "report.json").read_text())
    pointed_at = {
        each["uri"].rpartition("/")[2]: each["said"] for each in figures["mistakes"] + figures["doubtful"]
    }
    assert pointed_at["wrong.png"] == "disc" and pointed_at["wrong%20too.png"] == "bar"
    for shape in SHAPES:
        draw(tmp := tagger.folder / "new" / f"{shape}.png", shape, 99)
    report = tagger.json("tag", tmp.parent, "--model", "my-shapes")
    assert report["live"] and report["tagged"] == 3
    found = {
        shape: [row["uri"].rpartition("/")[2] for row in tagger.json("search", shape)] for shape in SHAPES
    }
    assert found == {shape: [f"{shape}.png"] for shape in SHAPES}
    assert {tag["tag"]: tag["images"] for tag in tagger.json("tags") if tag["tag"] not in SHAPES} == before
    shown = tagger("show", "new/disc.png")
    assert "The own words of my-shapes@" in shown
    fitted = tagger.json(
        "thresholds", "fit", "--precision", "0.9", "--held-out", "--cases", "4", "--model", "my"
    )
    assert {each["tag"] for each in fitted} <= set(SHAPES) and fitted
    listed = tagger.json("thresholds", "list", "--model", "my-shapes")
    assert {each["tag"]: each["threshold"] for each in listed} | {
        each["tag"]: each["after"] for each in fitted if each["after"] is not None
    } == {each["tag"]: each["threshold"] for each in listed}


def test_a_later_version_waits_to_be_promoted(tagger: Tagger, shapes: Path) -> None:
    first = tagger.json("train", shapes, "--name", "one", *LENET, "--epochs", "2")
    assert first["live"] and first["learned"] == 48 and len(first["epochs"]) == 2
    said = tagger(
        "train", shapes, "--name", "two", "--vocabulary", "one", *LENET, "--epochs", "2", "--seed", "1"
    )
    assert "tagger models promote two@" in said
    tagger("tag", shapes, "--model", "one")
    assert not tagger.json("tag", shapes, "--model", "two")["live"]
    assert "rollback --vocabulary one" in tagger("models", "promote", "two")
    assert "promote that first" in tagger("models", "remove", "two", "--yes", code=3)
    tagger("models", "remove", "one", "--yes")
    assert "say --yes" in tagger("models", "remove", "two", code=2)
    tagger("models", "remove", "two", "--yes")
    assert "none of your own" in tagger("models", "remove", "efficientnet-lite0", "--yes", code=3)
    listed = tagger.json("models")
    assert not listed["versions"] and not {"one", "two"} & {row["name"] for row in listed["models"]}
    assert tagger.json("tags") == []
    assert tagger.json("train", shapes, "--name", "one", *LENET, "--epochs", "2")["live"]


def test_cut_off_it_goes_on(tagger: Tagger, shapes: Path) -> None:
    command = ("train", shapes, "--name", "mine", *LENET, "--epochs", "60", "--patience", "60")
    place = Path(tagger.env["TAGGER_CACHE_DIR"]) / "training" / "mine"
    begun: list[object] = []
    for how, code in ((signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)):
        process = tagger.start(*command)
        deadline = time.monotonic() + 120
        while len(_epochs(place)) <= len(begun):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.05)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert ("the same command goes on from here" in err) == (how == signal.SIGINT)
        assert "mine" not in {row["name"] for row in tagger.json("models")["models"]}
        # To the second: none of those was gone through again.
        assert _epochs(place)[: len(begun)] == begun
        begun = _epochs(place)
    done = tagger.json(*command)
    assert len(done["epochs"]) == 60 and done["epochs"][: len(begun)] == begun
    assert not place.exists()


def _epochs(place: Path) -> list[object]:
    """What a checkpoint knows of; it is replaced whole."""
    for checkpoint in place.glob("*/*.checkpoint"):
        kept: list[object] = torch.load(checkpoint, weights_only=True)["epochs"]
        return kept
    return []


def test_what_people_confirmed_is_learned(tagger: Tagger, shapes: Path) -> None:
    tagger("tag", shapes)
    with (tagger.folder / "said.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "tag", "verdict"])
        rows.writerows(
            [str(shapes / shape / f"{seed}.png"), shape, "confirm"] for shape in SHAPES for seed in range(10)
        )
        for seed in range(5):
            rows.writerow([str(shapes / "bar" / f"{seed}.png"), "disc", "reject"])
            rows.writerow([str(shapes / "disc" / f"{seed}.png"), "bar", "reject"])
        rows.writerow([str(shapes / "bar" / "11.png"), "disc", "reject"])
    tagger("confirm", "--csv", tagger.folder / "said.csv", "--new")
    # Names of their own in each test, since all share one cache, and one process at a time learns a name.
    trained = tagger.json("train", "--verdicts", "--name", "confirmed", *LENET, "--epochs", "3")
    assert trained["learned"] + trained["held_out"] == 30
    assert [label["label"] for label in trained["labels"]] == list(SHAPES)
    some = ("--verdicts", "--tag", "disc", "--tag", "bar", "--multi-label", "--name", "several")
    several = tagger.json("train", *some, *LENET, "--epochs", "3")
    assert several["kind"] == "sigmoid" and several["learned"] + several["held_out"] == 21
    # The table of verdicts is a table to learn from, too.
    (tagger.folder / "table.csv").write_text(tagger("verdicts", "--csv"))
    again = tagger.json("train", tagger.folder / "table.csv", "--name", "again", *LENET, "--epochs", "3")
    assert again["learned"] + again["held_out"] == 30


def test_what_cannot_be_learned_is_said(tagger: Tagger, shapes: Path) -> None:
    assert "only" in tagger("train", _only(shapes, "bar"), "--name", "x", code=3)
    assert "no folder and no file" in tagger("train", shapes / "nothing", "--name", "x", code=3)
    (tagger.folder / "odd.csv").write_text("photo,what\na,b\n")
    assert "image (or uri, path, file) and label (or tag)" in tagger(
        "train", tagger.folder / "odd.csv", "--name", "x", code=3
    )
    assert "verdicts" in tagger("train", "--name", "x", code=2)
    assert "--tag" in tagger("train", shapes, "--tag", "a", "--name", "x", code=2)
    assert "did you mean" in tagger("train", shapes, "--name", "x", "--scratch", "lenett", code=3)
    assert tagger.json("models")["versions"] == []


def _only(shapes: Path, label: str) -> Path:
    folder = shapes.parent / "only"
    shutil.copytree(shapes / label, folder / label)
    return folder
