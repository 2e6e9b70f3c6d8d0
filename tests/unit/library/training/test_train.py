"""From a folder of pictures to a version in the database."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from tagger import models
from tagger.errors import ModelError, TrainingError
from tagger.library import versions
from tagger.models import own
from tagger.store.session import Database
from tests.unit.library.training.conftest import SHAPES, Run, Watched, draw


def _weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in load_file(folder / "mine" / "weights.safetensors").items()}


def test_what_it_learned_is_a_version_with_a_report(run: Run, sqlite: Database, tmp_path: Path) -> None:
    trained = run(epochs=40)
    assert trained.spec == models.get("mine") == own.read_all(tmp_path / "models")[0]
    assert own.labels(trained.spec) == SHAPES
    assert trained.model.live and trained.model.vocabulary == "mine"
    assert versions.registered(sqlite) == [trained.model]
    assert trained.summary.learned == 48 and trained.summary.held_out == 12
    assert trained.summary.measures.right.value >= 0.75
    assert trained.spec.temperature == trained.summary.temperature != 1.0
    report = trained.page.parent
    assert {each.name for each in report.iterdir()} == {
        "index.html",
        "report.json",
        "learning.png",
        "confusion.png",
        "reliability.png",
    }
    assert json.loads((report / "report.json").read_text())["right"]["of"] == 12
    assert not list((tmp_path / "cache" / "training").glob("*"))


def test_a_name_that_is_taken_is_refused_before_any_work(run: Run) -> None:
    watch = Watched()
    with pytest.raises(ModelError, match="already"):
        run(name="efficientnet-lite0", watch=watch)
    with pytest.raises(ModelError, match="no name"):
        run(name="../x", watch=watch)
    with pytest.raises(ModelError, match="did you mean lenet"):
        run(scratch="lenett", watch=watch)
    assert not watch.stages


def test_cut_off_it_goes_on_and_comes_to_the_same_weights(run: Run, tmp_path: Path) -> None:
    run(epochs=5)
    whole = _weights(tmp_path / "models")
    shutil.rmtree(tmp_path / "models")
    models.adopt([])
    with pytest.raises(KeyboardInterrupt):
        run(epochs=5, watch=Watched(cut_at=2))
    assert not list((tmp_path / "models").glob("*"))
    assert list((tmp_path / "cache" / "training" / "mine").glob("*/*.checkpoint"))
    assert not list((tmp_path / "cache").rglob("pictures.npy"))
    watch = Watched()
    run(epochs=5, watch=watch)
    assert [epoch.number for epoch in watch.epochs] == [1, 2, 3, 4, 5]
    again = _weights(tmp_path / "models")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_other_pictures_are_another_work(run: Run, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(epochs=5, watch=Watched(cut_at=2))
    draw(shapes / "bar" / "one more.png", "bar", 99)
    watch = Watched()
    run(epochs=5, watch=watch)
    assert watch.epochs[0].seconds > 0 and len(watch.epochs) == 5
    assert not (tmp_path / "cache" / "training" / "mine").exists()


def test_broken_files_and_copies_are_told_and_harm_nothing(run: Run, shapes: Path) -> None:
    (shapes / "disc" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (shapes / "disc" / "notes.txt").write_text("no picture")
    shutil.copy(shapes / "disc" / "0.png", shapes / "disc" / "copy.png")
    shutil.copy(shapes / "disc" / "1.png", shapes / "frame" / "also.png")
    (shapes / "loose.png").write_bytes((shapes / "bar" / "0.png").read_bytes())
    left = run(epochs=2).summary.left_out
    assert "broken.png: corrupt" in left["not readable"][0]
    assert [each.rpartition("/")[2] for each in left["under two labels at once"]] == [
        "1.png: disc and frame",
        "also.png: disc and frame",
    ]
    assert left["the same file under several names"][0].endswith("0.png: 2 times")
    assert left["passed over"][0].endswith("loose.png: lies in no label's folder")


def test_what_is_measured_with_is_not_learned_from(run: Run, shapes: Path, tmp_path: Path) -> None:
    for shape in SHAPES:
        for seed in range(40, 46):
            draw(tmp_path / "test" / shape / f"{seed}.png", shape, seed)
    # The same picture under another name, and one saved anew.
    shutil.copy(shapes / "bar" / "3.png", tmp_path / "test" / "bar" / "x.png")
    Image.open(shapes / "disc" / "4.png").resize((200, 200)).save(tmp_path / "test" / "disc" / "y.jpg")
    draw(tmp_path / "test" / "star" / "1.png", "frame", 77)
    summary = run(test=tmp_path / "test", epochs=2).summary
    leaked = summary.left_out["measured with, and so not learned from"]
    assert sorted(uri.rpartition("/")[2] for uri in leaked) == ["3.png", "4.png"]
    assert summary.left_out["for measuring, of labels that were not learned"][0].endswith("star/1.png")
    assert (summary.learned + summary.held_out, summary.tested) == (58, 20)
    assert summary.measures.right.of == 20


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nothing", "has no examples"),
        ("one label", "one label only, bar"),
        ("too few", r"no label has 5 different pictures.*bar \(2\)"),
        ("copies", r"no label has 5 different pictures.*bar \(1\)"),
        ("one and the same", "one and the same"),
    ],
)
def test_nothing_to_learn_is_a_clear_error_and_leaves_nothing(
    what: str, said: str, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    labels = {"nothing": (), "one label": ("bar",)}.get(what, ("bar", "disc"))
    for label in labels:
        for seed in range(2 if what == "too few" else 8):
            path = draw(
                folder / label / f"{seed}.png", label, 0 if what in ("copies", "one and the same") else seed
            )
            if what == "one and the same":
                Image.open(path).save(path, pnginfo=None, compress_level=seed + 1)
    with pytest.raises(TrainingError, match=said):
        run(folder)
    assert not list((tmp_path / "models").glob("*"))
    assert not models.get.__self__._adopted  # type: ignore[attr-defined]


def test_labels_that_are_one_word_to_a_search_are_refused(run: Run, shapes: Path) -> None:
    (shapes / "bar").rename(shapes / "Disc-")
    watch = Watched()
    with pytest.raises(TrainingError, match="Disc- and disc are one word"):
        run(watch=watch)
    assert not [words for words, _ in watch.stages if words != "Loading"]


def test_a_half_made_model_is_none(run: Run, tmp_path: Path) -> None:
    run(epochs=1)
    (tmp_path / "models" / "mine").rename(tmp_path / "models" / ".unfinished-abc")
    models.adopt([])
    assert own.read_all(tmp_path / "models") == []
    run(epochs=1)
    assert [spec.name for spec in own.read_all(tmp_path / "models")] == ["mine"]


def test_a_vocabulary_that_comes_with_the_program_is_left_alone(run: Run) -> None:
    with pytest.raises(ModelError, match="would replace all of its tags"):
        run(vocabulary="imagenet")
    with pytest.raises(ModelError, match="no name for a vocabulary"):
        run(vocabulary="a/b")


def test_what_cannot_be_read_is_said_where_it_is_all(run: Run, tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text("image,label\n" + "".join(f"gone{n}.jpg,a\n" for n in range(9)))
    with pytest.raises(
        TrainingError, match="none of the 9 pictures to learn from can be read; the first one"
    ):
        run(tmp_path / "said.csv")


def test_a_test_with_other_labels_is_none(run: Run, tmp_path: Path) -> None:
    draw(tmp_path / "test" / "star" / "1.png", "frame", 77)
    with pytest.raises(TrainingError, match="no picture to measure with"):
        run(test=tmp_path / "test")


def test_several_labels_to_a_picture_from_a_table(run: Run, shapes: Path, tmp_path: Path) -> None:
    lines = ["image;label"]
    for shape in SHAPES:
        for seed in range(20):
            lines += [f"shapes/{shape}/{seed}.png;{shape}, a_shape"]
    for seed in range(8):
        draw(tmp_path / "none" / f"{seed}.png", "bar", seed + 50)
        lines.append(f"none/{seed}.png;")
    (tmp_path / "said.csv").write_text("\n".join(lines))
    with pytest.raises(TrainingError, match="--multi-label"):
        run(tmp_path / "said.csv")
    trained = run(tmp_path / "said.csv", many=True, epochs=3)
    assert trained.spec.kind == "sigmoid"
    assert trained.summary.names == ("a shape", "bar", "disc", "frame")
    assert trained.summary.learned + trained.summary.held_out == 68
    assert trained.summary.measures.confusion is None


def test_two_at_once_do_not_disturb_each_other(run: Run, tmp_path: Path) -> None:
    class Meanwhile(Watched):
        def stage(self, words: str, total: int) -> None:
            super().stage(words, total)
            if words == "Learning" and len(self.stages) < 4:
                with pytest.raises(TrainingError, match="another process trains mine"):
                    run(epochs=1)

    run(epochs=1, watch=Meanwhile())


def test_a_full_disk_is_said_before_it_is_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(TrainingError, match="TAGGER_CACHE_DIR"):
        run()
