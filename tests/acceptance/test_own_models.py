"""A model of one's own: weights and labels become tags beside ImageNet's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tagger.models import networks
from tests.acceptance.conftest import Tagger

LABELS = ["Prairie Falcon", "domestic dog", "猫", "unser Rex", "denali", "vehicle"]


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    """Weights of a LeNet that always says the first label, and the labels."""
    torch.manual_seed(1)
    state = networks.empty("LeNet", "lenet", len(LABELS)).state_dict()
    state["fc3.bias"][0] = 20.0
    save_file(state, tmp_path / "mine.safetensors")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    return tmp_path / "mine.safetensors", tmp_path / "labels.txt"


def _add(tagger: Tagger, weights: Path, labels: Path, *more: str, name: str = "mine") -> str:
    arguments = ("--name", name, "--architecture", "lenet", "--labels", str(labels), *more)
    return tagger("models", "add", weights, *arguments)


def test_it_tags_beside_imagenet_and_not_instead(
    tagger: Tagger, tagged: Path, given: tuple[Path, Path]
) -> None:
    before = tagger.json("tags")
    assert "mine knows 6 labels" in _add(tagger, *given)
    assert any(row["name"] == "mine" and row["here"] for row in tagger.json("models")["models"])
    report = tagger.json("tag", tagged, "--model", "mine")
    assert report["live"] and report["tagged"] == 7
    found = {tag["tag"]: tag["images"] for tag in tagger.json("tags")}
    assert found.pop("prairie falcon") == 5
    assert found == {tag["tag"]: tag["images"] for tag in before if tag["tag"] != "prairie falcon"}
    assert len(tagger.json("search", "prairie", "falcon")) == 5
    sources = {tag["model"].split("@")[0] for tag in tagger.json("show", "ocelot.jpg")["tags"]}
    assert sources == {"efficientnet-lite0", "mine"}


def test_a_second_version_of_the_vocabulary_waits_to_be_promoted(
    tagger: Tagger, photos: Path, given: tuple[Path, Path]
) -> None:
    _add(tagger, *given)
    tagger("tag", photos, "--model", "mine")
    weights, labels = given
    assert "already" in tagger(
        "models", "add", weights, "--name", "mine", "--architecture", "lenet", "--labels", labels, code=3
    )
    state = networks.empty("LeNet", "lenet", len(LABELS)).state_dict()
    state["fc3.bias"][2] = 20.0
    torch.save(state, weights.with_suffix(".pth"))
    _add(tagger, weights.with_suffix(".pth"), labels, "--vocabulary", "mine", name="mine-2")
    assert not tagger.json("tag", photos, "--model", "mine-2")["live"]
    tagger("models", "promote", "mine-2")
    assert len(tagger.json("search", "猫")) == 5
    tagger("models", "rollback", "--vocabulary", "mine")
    assert tagger.json("search", "猫", code=1) == []
