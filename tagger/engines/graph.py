"""A network as an OpenVINO graph, kept on disk so that later starts need no PyTorch.

Converting costs about four seconds, nearly half of it PyTorch's own start; reading costs 0.01 s.
A graph is a folder of two files and their digests, written under another name and moved into place
whole: whoever finds it finds it complete, and of two processes that convert at once the first wins.
What a disk has damaged since then OpenVINO would read without a word and compute wrong tags with, so
the digests are compared at each start, which takes 0.01 s for 20 MB.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

from tagger.engines import quantise
from tagger.values import Preprocessing

if TYPE_CHECKING:
    from torch import nn

_LOG = logging.getLogger(__name__)
_FORMAT: Final = 2
"""Raised when :func:`_convert` or :mod:`quantise` changes what it makes of the same network, and when a
folder holds something else: an earlier release's graph is then no damaged one, but none."""
_FILES: Final = ("model.bin", "model.xml")
_DIGESTS: Final = "SHA256SUMS"


def obtain(
    runtime: Any,
    network: Callable[[], nn.Module],
    preprocessing: Preprocessing,
    key: str,
    cache_dir: Path,
    ranges: tuple[float, ...] = (),
) -> Any:
    """The graph of a network, from ``cache_dir`` or converted now and kept there.

    Its input is uint8 [batch, crop, crop, 3]; its outputs are float32 logits [batch, C] and
    features [batch, D]. ``key`` stands for the weights and all else that makes the network what
    it is; the preprocessing and OpenVINO's version are added to it here. ``network`` is not
    called when the graph is there. With ``ranges`` its convolutions compute in int8 (see
    :mod:`tagger.engines.quantise`). A cache that cannot be written costs time at every start, and
    nothing else.
    """
    folder = _folder(runtime, preprocessing, key, cache_dir, ranges)
    kept = _read(runtime, folder)
    if kept is not None:
        return kept
    if ranges:
        exact = obtain(runtime, network, preprocessing, key, cache_dir)
        model = quantise.quantised(runtime, exact, ranges)
    else:
        model = _convert(runtime, network(), preprocessing)
    _keep(runtime, model, folder)
    return model


def is_kept(runtime: Any, preprocessing: Preprocessing, key: str, cache_dir: Path) -> bool:
    """Whether :func:`obtain` would find the graph in floating point, from which it makes the other."""
    return _folder(runtime, preprocessing, key, cache_dir, ()).is_dir()


def _folder(
    runtime: Any, preprocessing: Preprocessing, key: str, cache_dir: Path, ranges: tuple[float, ...]
) -> Path:
    return cache_dir / "openvino" / _name(runtime, preprocessing, key, ranges)


def _name(runtime: Any, preprocessing: Preprocessing, key: str, ranges: tuple[float, ...]) -> str:
    parts = [_FORMAT, runtime.get_version(), asdict(preprocessing), key, ranges]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _read(runtime: Any, folder: Path) -> Any | None:
    """The graph in ``folder``; None if there is none, or a damaged one, which is then removed."""
    if not folder.is_dir():
        return None
    try:
        if _digests(folder) == (folder / _DIGESTS).read_bytes():
            return runtime.Core().read_model(folder / "model.xml")
    except (OSError, RuntimeError):
        pass  # a file is not there, or what is in it is no graph
    _LOG.warning("The cached graph in %s is damaged; making it anew.", folder)
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _digests(folder: Path) -> bytes:
    """The SHA-256 of each file of a graph, as ``sha256sum`` writes and checks them."""
    lines = []
    for name in _FILES:
        with (folder / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines).encode()


def _convert(runtime: Any, network: nn.Module, preprocessing: Preprocessing) -> Any:
    import torch

    side = preprocessing.crop
    # Two rows, since a tracer takes a dimension of one for a constant.
    example = torch.zeros(2, 3, side, side)
    with _tracing():
        model = runtime.convert_model(network, example_input=example, input=[-1, 3, side, side])
    return _with_preprocessing(runtime, model, preprocessing)


@contextmanager
def _tracing() -> Iterator[None]:
    """The setting in which OpenVINO follows a network through one pass of PyTorch."""
    import torch

    threads = torch.get_num_threads()
    # More would wait for each other by spinning: on a busy machine 5 to 13 s instead of 2 s.
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            # OpenVINO traces by torch.jit, which PyTorch has deprecated. The way by torch.export
            # gives the same graph and takes three times as long (6.3 s against 1.9 s).
            for category in (FutureWarning, DeprecationWarning):
                warnings.filterwarnings("ignore", message=r"`torch\.jit", category=category)
            yield
    finally:
        torch.set_num_threads(threads)


def _with_preprocessing(runtime: Any, model: Any, preprocessing: Preprocessing) -> Any:
    """The same model with uint8 [batch, side, side, 3] for its input, normalised inside."""
    steps = runtime.preprocess.PrePostProcessor(model)
    pixels = steps.input(0)
    pixels.tensor().set_element_type(runtime.Type.u8).set_layout(runtime.Layout("NHWC"))
    pixels.model().set_layout(runtime.Layout("NCHW"))
    normalise = pixels.preprocess().convert_element_type(runtime.Type.f32)
    normalise.mean(list(preprocessing.mean)).scale(list(preprocessing.std))
    return steps.build()


def _keep(runtime: Any, model: Any, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=".unfinished-", dir=folder.parent))
    except OSError as error:
        _LOG.warning("The converted network cannot be kept in %s: %s", folder.parent, error)
        return
    try:
        # Full precision: halved weights would shift every logit by about 1e-3.
        runtime.save_model(model, unfinished / "model.xml", compress_to_fp16=False)
        (unfinished / _DIGESTS).write_bytes(_digests(unfinished))
        _flush(unfinished)
        unfinished.rename(folder)
    except (OSError, RuntimeError) as error:
        # Where another process was faster its graph is there, and this one is not needed.
        if not folder.is_dir():
            _LOG.warning("The converted network cannot be kept in %s: %s", folder, error)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _flush(folder: Path) -> None:
    """To the disk itself: a power cut after the rename must not leave files of zeros."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
