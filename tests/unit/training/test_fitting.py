"""The loop learns, stops, keeps what was best, and goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tagger.errors import TrainingError
from tagger.models import UNTRAINED, networks
from tagger.training import fitting
from tagger.training.fitting import Epoch, Schedule
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here

PREPROCESSING = UNTRAINED[0].preprocessing


def _squares(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures with a light spot left or right, which it is, and every fifth held out."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 60, (count, 32, 32, 3), np.uint8)
    side = np.arange(count) % 2
    for row in range(count):
        left = 4 if side[row] else 20
        pixels[row, 10:20, left : left + 8] += 150
    return pixels, np.eye(2, dtype=np.int8)[side], np.arange(count) % 5 == 0


def _fit(
    epochs: int, checkpoint: Path | None, patience: int = 20, rate: float = 1e-3
) -> tuple[dict[str, torch.Tensor], tuple[Epoch, ...], list[Epoch]]:
    pixels, truth, held_out = _squares(80)
    schedule = Schedule(epochs, patience, rate, 0.01, 16, seed=3)
    lesson = fitting.of_pixels(
        fitting.Pictures(pixels, np.arange(80), truth, held_out),
        PREPROCESSING,
        "softmax",
        "text",
        schedule,
        torch.device("cpu"),
        None,
        still=False,
        stepped=lambda done, of: None,
    )
    torch.manual_seed(0)
    network = networks.empty("LeNet", "lenet", 2)
    told: list[Epoch] = []
    found = fitting.fit(network, lesson, schedule, checkpoint, told.append)
    return network.state_dict(), found, told


def test_it_learns() -> None:
    _, epochs, told = _fit(12, None)
    assert list(epochs) == told
    assert epochs[-1].loss < epochs[0].loss
    assert max(epoch.right for epoch in epochs) == 1.0


def test_what_was_cut_off_comes_to_the_same_weights(tmp_path: Path) -> None:
    whole, epochs, _ = _fit(6, None)
    _fit(3, tmp_path / "checkpoint")
    resumed, again, told = _fit(6, tmp_path / "checkpoint")
    assert [epoch.loss for epoch in again] == [epoch.loss for epoch in epochs]
    assert len(told) == 6
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02cos\nsystem\n."])
def test_a_broken_checkpoint_is_begun_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    assert len(_fit(2, tmp_path / "checkpoint")[1]) == 2


def test_the_best_weights_are_kept_and_patience_ends() -> None:
    state, epochs, _ = _fit(60, None, patience=4)
    best = next(epoch for epoch in reversed(epochs) if epoch.best)
    assert best.held_out_loss == min(epoch.held_out_loss for epoch in epochs)
    assert len(epochs) == 60 or len(epochs) - best.number == 4
    network = networks.empty("LeNet", "lenet", 2)
    network.load_state_dict(state)
    pixels, truth, held_out = _squares(80)
    planes = (torch.from_numpy(pixels[held_out]).permute(0, 3, 1, 2).float() - 127.5) / 127.5
    with torch.inference_mode():
        loss = fitting.loss_of(network(planes)[0], torch.from_numpy(truth[held_out]).float(), "softmax")
    assert float(loss) == pytest.approx(best.held_out_loss, rel=1e-4)


def test_a_loss_that_is_no_number_is_told_with_what_to_do() -> None:
    with pytest.raises(TrainingError, match="--rate"):
        _fit(5, None, rate=1e30)


def test_what_nobody_said_does_not_count() -> None:
    logits = torch.tensor([[0.0, 50.0]], requires_grad=True)
    loss = fitting.loss_of(logits, torch.tensor([[1.0, -1.0]]), "sigmoid")
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(np.log(2))
    assert logits.grad is not None and float(logits.grad[0, 1]) == 0.0


def test_a_head_is_the_same_layer_without_its_scale() -> None:
    features = np.random.default_rng(0).normal(3, 2, (2, 40, 7)).astype(np.float16)
    head = fitting.head_for(features, np.arange(30), 4)
    with torch.no_grad():
        head.weight.normal_()
        head.bias.normal_()
        weight, bias = head.plain()
        some = torch.from_numpy(features[0]).float()
        assert torch.allclose(head(some), some @ weight.T + bias, atol=1e-4)


def test_a_last_layer_learns_from_features() -> None:
    random = np.random.default_rng(0)
    side = np.arange(100) % 2
    features = random.normal(0, 1, (3, 100, 8)).astype(np.float16)
    features[:, :, 2] += 4 * side
    truth, held_out = np.eye(2, dtype=np.int8)[side], np.arange(100) % 4 == 0
    schedule = Schedule(100, 10, 1e-2, 0.1, 16, seed=0)
    head = fitting.head_for(features, np.flatnonzero(~held_out), 2)
    epochs = fitting.fit(
        head,
        fitting.of_features(features, truth, held_out, "softmax", schedule),
        schedule,
        None,
        lambda _: None,
    )
    assert max(epoch.right for epoch in epochs) > 0.9
