"""What is no model is refused, and leaves nothing behind."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tagger import models
from tagger.errors import ModelError
from tagger.library import versions
from tagger.library.versions import Own
from tagger.models import networks, own

LABELS = ["Prairie Falcon", "domestic dog", "\u732b", "unser Rex"]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Models that a test has made known are not there for the next."""
    yield
    models.adopt([])


@pytest.fixture
def given(tmp_path: Path) -> Own:
    """A LeNet and its labels."""
    save_file(networks.empty("LeNet", "lenet", len(LABELS)).state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    return Own("mine", "lenet", tmp_path / "mine.safetensors", tmp_path / "labels.txt")


def test_what_is_added_is_read_again(given: Own, tmp_path: Path) -> None:
    spec = versions.add(tmp_path / "own", replace(given, crop=28, mean=(1.0, 2.0, 3.0), many_labels=True))
    versions.adopt_own(tmp_path / "own")
    assert models.get("mine") == spec == own.read_all(tmp_path / "own")[0]
    assert own.labels(spec) == tuple(LABELS)
    assert (spec.kind, spec.vocabulary, spec.parameters) == ("sigmoid", "mine", 61_196)
    assert (spec.preprocessing.resize, spec.preprocessing.crop, spec.preprocessing.mean) == (
        28,
        28,
        (1, 2, 3),
    )
    assert networks.build(spec)(torch.zeros(1, 3, 32, 32))[0].shape == (1, 4)


def _code(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": print}, protocol=2))


@pytest.mark.parametrize(
    ("change", "spoil", "fault"),
    [
        ({}, lambda w, t: w.write_bytes(w.read_bytes()[:1000]), "are broken"),
        ({"weights": Path("evil.pth")}, lambda w, t: _code(w), "hold more than tensors and are refused"),
        ({"weights": Path("nowhere.pth")}, lambda w, t: None, "cannot be read"),
        ({}, lambda w, t: t.write_text("one\ntwo\n"), "There are 2 labels; has it so many classes"),
        ({}, lambda w, t: t.write_text("one\ntwo\nOne\nfour\n"), "has a label twice: one"),
        ({}, lambda w, t: t.write_text("one\n\ntwo\n"), "has an empty one"),
        ({}, lambda w, t: t.write_bytes(b"\xff\xfe\xff"), "cannot be read"),
        ({"labels": Path("nowhere.txt")}, lambda w, t: None, "cannot be read"),
        ({"name": "../mine"}, lambda w, t: None, "is no name for a model"),
        ({"name": "resnet50"}, lambda w, t: None, "already"),
        ({"architecture": "le-net"}, lambda w, t: None, "did you mean lenet"),
        ({"resize": 10}, lambda w, t: None, "have no middle of 32 pixels"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    given: Own, tmp_path: Path, change: dict[str, object], spoil: Callable[[Path, Path], object], fault: str
) -> None:
    placed = {name: tmp_path / value if isinstance(value, Path) else value for name, value in change.items()}
    wrong = replace(given, **placed)  # type: ignore[arg-type]
    spoil(wrong.weights, wrong.labels)
    with pytest.raises(ModelError, match=fault):
        versions.add(tmp_path / "own", wrong)
    assert not (tmp_path / "own").exists() or not list((tmp_path / "own").iterdir())
    assert wrong.name == "resnet50" or wrong.name not in models.names()


def test_a_name_is_taken_once(given: Own, tmp_path: Path) -> None:
    versions.add(tmp_path / "own", given)
    with pytest.raises(ModelError, match="there is a model called mine already"):
        versions.add(tmp_path / "own", given)


def test_a_damaged_folder_is_named(given: Own, tmp_path: Path) -> None:
    versions.add(tmp_path / "own", given)
    (tmp_path / "own" / "mine" / "model.json").write_text("{}")
    with pytest.raises(ModelError, match="own/mine cannot be read"):
        versions.adopt_own(tmp_path / "own")
