"""torchvision's families: its networks to the last name, on both engines of the CPU."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from tagger import models
from tagger.engines import select_engine
from tagger.errors import ModelError, WeightsError
from tagger.models import ModelSpec, TorchvisionWeights, networks, weights
from tagger.models import derive as published
from tagger.values import Batch, EngineName
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here

SPECS = [spec for spec in models.all_specs() if isinstance(spec.weights, TorchvisionWeights)]
QUICK = ["alexnet", "resnet18", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"]
MEMBERS = [*QUICK, "vgg11", "googlenet", "inception_v3", "densenet121", "efficientnet_v2_s", "convnext_tiny"]
"""The smallest of each family; what takes long only if asked: `FAMILIES=all pytest tests/unit/models`."""


def test_what_torchvision_publishes_is_what_is_listed() -> None:
    """If this fails: `python -m tagger.models.derive`, and look at what changed."""
    assert published.derive() == published.FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_shapes_and_numbers_are_torchvisions(spec: ModelSpec) -> None:
    assert isinstance(spec.weights, TorchvisionWeights)
    with torch.device("meta"):
        ours = networks.create(spec)
        arguments = {"init_weights": False} if spec.family == "Inception" else {}
        theirs = torchvision.models.get_model(spec.architecture, weights=None, **arguments)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == shapes
    meta = torchvision.models.get_weight(spec.weights.name).meta
    heads = sum(value.numel() for name, value in ours.named_parameters() if name.lower().startswith("aux"))
    assert spec.parameters == meta["num_params"]
    assert sum(value.numel() for value in ours.parameters()) in (spec.parameters, spec.parameters + heads)


def _seeded(spec: ModelSpec) -> nn.Module:
    torch.manual_seed(5)
    network = networks.create(spec)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training: not the identity
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


@pytest.mark.parametrize("name", MEMBERS if os.environ.get("FAMILIES") == "all" else QUICK)
def test_both_engines_say_the_same(name: str, tmp_path: Path) -> None:
    """Within 1e-3 of the largest logit, in f32."""
    spec = models.get(name)
    side = spec.preprocessing.crop
    pixels = np.random.default_rng(2).integers(0, 256, (2, side, side, 3), np.uint8)

    def logits(engine: EngineName) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
        with select_engine(
            engine,
            network=partial(_seeded, spec),
            preprocessing=spec.preprocessing,
            key=name,
            cache_dir=tmp_path,
            precision="f32",
            batch_size=2,
        ) as running:
            found = running.submit(Batch((1, 2), pixels)).result()
        return found.logits, found.features

    (ours, features), (reference, expected) = logits("openvino"), logits("eager")
    assert ours.shape == (2, 1000) and features.shape == (2, spec.feature_size)
    assert np.abs(ours - reference).max() <= 1e-3 * np.abs(reference).max()
    np.testing.assert_allclose(features, expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())


def test_a_network_that_torchvision_does_not_have_is_refused() -> None:
    from tagger.models import torchvision as families

    with pytest.raises(ModelError, match="no network called resnet19"):
        families.create("resnet19", 10)


# -- downloads --------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a server on this machine gives its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def offered(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[TorchvisionWeights, Path]:
    """Weights that torchvision would download from there, and the file on the server."""
    folder, address = served
    state = {"weight": torch.arange(4.0)}
    torch.save(state, folder / "unnamed")
    digest = hashlib.sha256((folder / "unnamed").read_bytes()).hexdigest()
    file = (folder / "unnamed").rename(folder / f"tiny-{digest[:8]}.pth")

    class Published:
        url = f"{address}/{file.name}"

    monkeypatch.setattr(torchvision.models, "get_weight", lambda name: Published)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return TorchvisionWeights("Tiny_Weights.V1", file.name, 1), file


def test_weights_are_downloaded_once_where_pytorch_keeps_them(
    offered: tuple[TorchvisionWeights, Path], tmp_path: Path
) -> None:
    source, file = offered
    with pytest.raises(WeightsError, match="`tagger models fetch MODEL` downloads them"):
        weights.locate(source)
    assert weights.fetch(source)
    place = weights.locate(source)
    assert place == tmp_path / "torch" / "hub" / "checkpoints" / file.name == _hub() / file.name
    assert torch.equal(weights.load(source)["weight"], torch.arange(4.0))
    file.unlink()
    assert not weights.fetch(source)


def _hub() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def test_weights_that_came_damaged_are_not_kept(offered: tuple[TorchvisionWeights, Path]) -> None:
    source, file = offered
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(WeightsError, match=r"cannot be downloaded.*save it as"):
        weights.fetch(source)
    with pytest.raises(WeightsError, match="There are no weights"):
        weights.locate(source)


def test_where_there_is_no_way_the_place_is_named(offered: tuple[TorchvisionWeights, Path]) -> None:
    source, file = offered
    file.unlink()
    with pytest.raises(WeightsError, match=f"cannot be downloaded.*{file.name}"):
        weights.fetch(source)


def test_another_file_of_that_name_is_refused(offered: tuple[TorchvisionWeights, Path]) -> None:
    source, _ = offered
    weights.fetch(source)
    weights.locate(source).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="SHA-256 should be"):
        weights.load(source)
