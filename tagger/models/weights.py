"""Weights on disk: where they lie, whether they are the right ones, and what is in them.

A file is found without importing the package that carries it, is checked by its SHA-256 before
anything in it is read, and is read by ways that run no code: safetensors, or PyTorch's
restricted unpickler. Torch is imported only to read a file, or to download one.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shlex
import sys
import warnings
from collections.abc import Mapping
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from tagger.errors import WeightsError
from tagger.models.spec import OwnWeights, TorchvisionWeights, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn


def locate(source: Weights, given: Path | None = None) -> Path:
    """The file that holds the weights: the one ``given``, else the installed package's or the one that was
    downloaded.

    Torch is not imported and the package's code does not run, so this is cheap enough to ask of
    every model in a list.

    Raises:
        WeightsError: there is no such file; the message says how to get it.
    """
    path = given if given is not None else _place(source)
    if not path.is_file():
        raise WeightsError(f"There are no weights at {path}.{_cure(source)}")
    return path


def load(source: Weights, given: Path | None = None) -> dict[str, torch.Tensor]:
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


def read(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in any file of somebody's own, safetensors or PyTorch's, on the CPU.

    Raises:
        WeightsError: as :func:`load`, but for the digest.
    """
    try:
        with path.open("rb") as file:
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


def fetch(source: Weights) -> bool:
    """Download the weights if they are not here and can be; whether that was done.

    Several processes may do it at once: the file appears whole, checked by the digits in its name.

    Raises:
        WeightsError: there is no way to them from here; the message says where to put the file.
    """
    if not isinstance(source, TorchvisionWeights) or _place(source).is_file():
        return False
    import torch
    from torchvision import models

    path, url = _place(source), models.get_weight(source.name).url
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), source.sha256_start, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong digest a RuntimeError
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"{url} cannot be downloaded from here ({reason}). Download it elsewhere and save it as {path}; "
            "efficientnet-lite0, 1 and 2 need no download."
        ) from error
    return True


def check(source: Weights, path: Path) -> None:
    """Read the whole file; raises :class:`WeightsError` unless it is the published one."""
    try:
        with path.open("rb") as file:
            _check_digest(file, path, source)
    except OSError as error:
        raise WeightsError(f"The weights at {path} cannot be read: {error}.") from error


def _place(source: Weights) -> Path:
    if isinstance(source, OwnWeights):
        return Path(source.path)
    if isinstance(source, TorchvisionWeights):
        return _torch_home() / "hub" / "checkpoints" / source.file
    try:
        distribution = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        raise WeightsError(f"The weights are not installed.{_cure(source)}") from None
    return Path(str(distribution.locate_file(source.file)))


def _torch_home() -> Path:
    """Where PyTorch keeps what it downloads, so that nothing is downloaded twice: ``torch.hub``'s rule."""
    if home := os.environ.get("TORCH_HOME"):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "torch"


def how(source: Weights) -> str:
    """The command that brings the weights here, or brings them anew."""
    if isinstance(source, OwnWeights):
        return "tagger models add"
    if isinstance(source, TorchvisionWeights):
        return f"rm {shlex.quote(str(_place(source)))}, then `tagger models fetch MODEL`"
    return f"pip install --force-reinstall --no-deps {source.package}"


def _cure(source: Weights) -> str:
    if isinstance(source, OwnWeights):
        return " They were put there by `tagger models add`."
    if isinstance(source, TorchvisionWeights):
        return (
            f" torchvision publishes them as {source.name}: `tagger models fetch MODEL` downloads them, "
            "once what is there is removed."
        )
    return f" They come with a package: {how(source)}"


def _check_digest(file: BufferedReader, path: Path, source: Weights) -> None:
    wanted = source.sha256_start if isinstance(source, TorchvisionWeights) else source.sha256
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted):
        raise WeightsError(
            f"The weights at {path} are not the ones this model is made of: "
            f"SHA-256 should be {wanted} and is {found}.{_cure(source)}"
        )
    file.seek(0)


def _state_dict(file: BufferedReader, path: Path) -> dict[str, torch.Tensor]:
    content = _read_safetensors(file, path) if path.suffix == ".safetensors" else _read_torch(file, path)
    return _only_tensors(content, path)


def _read_torch(file: BufferedReader, path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings():
            # That of another pickle protocol than PyTorch's own; what it cannot read raises anyway.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
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
