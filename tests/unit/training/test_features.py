"""Features are found once, and what was found before an interruption is not found again."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from tagger.engines import Prediction
from tagger.training import features
from tagger.training.features import Views
from tagger.values import Batch

COUNT = 300


class Engine:
    """Gives means of the pixels; dies after so many batches."""

    batch_sizes = (1, 4, 16)
    depth = 2

    def __init__(self, dies_after: int | None = None) -> None:
        self.batches = 0
        self.dies_after = dies_after

    def submit(self, batch: Batch) -> Future[Prediction]:
        self.batches += 1
        if self.dies_after is not None and self.batches > self.dies_after:
            raise KeyboardInterrupt
        means = batch.pixels.reshape(len(batch), -1).mean(axis=1)
        done: Future[Prediction] = Future()
        done.set_result(
            Prediction(np.zeros((len(batch), 2), np.float32), means[:, None].repeat(3, 1).astype(np.float16))
        )
        return done


def _find(folder: Path, engine: Engine, told: list[int] | None = None) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT + 5, 32, 32, 3), np.uint8)
    rows = np.arange(5, COUNT + 5)
    views = Views(3, "photo", 32, 7)
    found = features.find(engine, pixels, rows, views, 3, folder, (told or []).append)  # type: ignore[arg-type]
    return np.array(found)


def test_the_first_view_is_the_picture_as_it_is(tmp_path: Path) -> None:
    told: list[int] = []
    found = _find(tmp_path, Engine(), told)
    pixels = np.random.default_rng(0).integers(0, 255, (COUNT + 5, 32, 32, 3), np.uint8)[5:]
    assert found.shape == (3, COUNT, 3) and found.dtype == np.float16
    assert np.array_equal(found[0, :, 0], pixels.reshape(COUNT, -1).mean(axis=1).astype(np.float16))
    assert not np.array_equal(found[1], found[2])


@pytest.mark.parametrize("dies_after", [40, 50])
def test_it_goes_on_where_it_was_cut_off(tmp_path: Path, dies_after: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = Engine()
    expected = _find(tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        _find(tmp_path / "cut", Engine(dies_after))
    again = Engine()
    assert np.array_equal(_find(tmp_path / "cut", again), expected)
    assert 0 < again.batches < whole.batches


@pytest.mark.parametrize("what", ["empty", "nonsense", "cut", "gone"])
def test_what_was_damaged_is_found_anew(tmp_path: Path, what: str) -> None:
    expected = _find(tmp_path, Engine())
    done, kept = tmp_path / "features.done", tmp_path / "features.npy"
    match what:
        case "empty":
            done.write_text("")
        case "nonsense":
            kept.write_bytes(b"no array")
        case "cut":
            kept.write_bytes(kept.read_bytes()[:1000])
        case "gone":
            kept.unlink()
    engine = Engine()
    assert np.array_equal(_find(tmp_path, engine), expected)
    assert engine.batches > 50


def test_what_is_whole_is_not_found_again(tmp_path: Path) -> None:
    expected, engine = _find(tmp_path, Engine()), Engine()
    assert np.array_equal(_find(tmp_path, engine), expected)
    assert engine.batches == 0
