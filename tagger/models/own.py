"""Models of one's own: a folder for each, with ``model.json``, ``weights.safetensors`` and ``labels.txt``.

They are read at start-up, without torch, and registered beside those that can be had. A folder is written
under another name and moved into place whole.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from tagger.errors import ModelError, WeightsError
from tagger.models.spec import ModelSpec, OwnWeights
from tagger.values import Preprocessing

if TYPE_CHECKING:  # both take long to import
    import numpy as np
    import torch
    from numpy.typing import NDArray

_FORMAT: Final = 1
_SPEC, _WEIGHTS, _LABELS, _HELD_OUT = "model.json", "weights.safetensors", "labels.txt", "held-out.npz"
_REPORT: Final = "report"
_UNFINISHED: Final = ".unfinished-"
_DAY: Final = 86_400


def read_all(folder: Path) -> list[ModelSpec]:
    """The models in a folder, by name; none if there is no such folder.

    Raises:
        ModelError: one of them cannot be read; the message names its folder.
    """
    if not folder.is_dir():
        return []
    return [
        _read(each)
        for each in sorted(folder.iterdir())
        if not each.name.startswith(".") and (each / _SPEC).is_file()
    ]


def labels(spec: ModelSpec) -> tuple[str, ...]:
    """A model's classes by name, in the order of its logits.

    Raises:
        ModelError: the file is gone.
    """
    return read_labels(folder_of(spec) / _LABELS)


def keep_held_out(folder: Path, confidences: NDArray[np.float64], truth: NDArray[np.int8]) -> None:
    """Note in a model's folder how sure it was of pictures that it did not learn from, and what is true of
    them (1, 0, and -1 for unknown): both [N, C]."""
    import numpy as np

    np.savez(folder / _HELD_OUT, confidences=confidences.astype(np.float32), truth=truth)


def held_out(spec: ModelSpec) -> tuple[NDArray[np.float32], NDArray[np.int8]] | None:
    """What :func:`keep_held_out` noted; None for a model that was not trained here.

    Raises:
        ModelError: it cannot be read.
    """
    import numpy as np

    if not isinstance(spec.weights, OwnWeights) or not (file := folder_of(spec) / _HELD_OUT).is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["confidences"], kept["truth"]
    except (OSError, ValueError, KeyError, BadZipFile) as fault:
        raise ModelError(f"what {spec.name} was measured with, {file}, cannot be read: {fault}") from fault


def report_of(folder: Path) -> Path:
    """Where the report of a model's training lies, in the model's folder."""
    return folder / _REPORT


def folder_of(spec: ModelSpec) -> Path:
    """Where all that belongs to a model lies."""
    assert isinstance(spec.weights, OwnWeights)
    return Path(spec.weights.path).parent


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels in a text file, one a line, in the order of the network's classes.

    Raises:
        ModelError: it cannot be read, or names nothing, or one label twice.
    """
    try:
        found = tuple(" ".join(line.split()) for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as fault:
        raise ModelError(f"the labels at {path} cannot be read: {fault}") from fault
    if not found or not all(found):
        raise ModelError(f"{path} should have a label on each line, and has an empty one")
    twice = [label for label, times in Counter(label.casefold() for label in found).items() if times > 1]
    if twice:
        raise ModelError(f"{path} has a label twice: {', '.join(twice[:5])}")
    return found


def _nothing_beside(folder: Path) -> None:
    pass


def add(
    folder: Path,
    spec: ModelSpec,
    state: Mapping[str, torch.Tensor],
    names: Sequence[str],
    beside: Callable[[Path], None] = _nothing_beside,
) -> ModelSpec:
    """Keep a model under ``folder``; the spec as it is read from there from now on.

    ``state`` fits the network of ``spec``, and ``names`` are its labels. ``beside`` may write more into the
    model's own folder, before it is in its place.

    Raises:
        ModelError: there is a model of that name already, or it cannot be written.
    """
    from safetensors.torch import save

    place = folder / spec.name
    if place.exists():
        raise ModelError(f"there is a model called {spec.name} already, in {place}: choose another name")
    content = save({name: value.contiguous() for name, value in state.items()})
    digest = hashlib.sha256(content).hexdigest()
    kept = replace(spec, weights=OwnWeights(str(place / _WEIGHTS), digest, len(content)))
    try:
        require_writable(folder)
        unfinished = Path(mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            (unfinished / _WEIGHTS).write_bytes(content)
            (unfinished / _LABELS).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
            beside(unfinished)
            (unfinished / _SPEC).write_text(json.dumps(_as_json(kept), indent=2), encoding="utf-8")
            unfinished.chmod(0o755)
            unfinished.rename(place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as fault:
        raise ModelError(f"the model cannot be kept in {folder}: {fault}") from fault
    return kept


def require_writable(folder: Path) -> None:
    """See to it that models can be kept in a folder, and that nothing is left there of one that was cut off.

    Raises:
        ModelError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(mkdtemp(prefix=_UNFINISHED, dir=folder)).rmdir()
        for left in folder.glob(f"{_UNFINISHED}*"):
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
    except OSError as fault:
        raise ModelError(f"models cannot be kept in {folder}: {fault} (TAGGER_MODELS_DIR)") from fault


def remove(spec: ModelSpec) -> None:
    """Remove a model's folder; raises :class:`ModelError`."""
    place = folder_of(spec)
    gone = place.with_name(f"{_UNFINISHED}{place.name}")
    try:
        place.rename(gone)  # first, so that nobody finds half of it
        shutil.rmtree(gone)
    except OSError as fault:
        raise ModelError(f"{place} cannot be removed: {fault}") from fault


def fitting(path: Path, spec: ModelSpec, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """The weights in a file, as they fit the network of ``spec`` with a class for each label.

    Raises:
        WeightsError: the file is broken, holds code, or does not fit; the message says what.
    """
    from tagger.models import networks, weights

    state = weights.read(path)
    try:
        weights.fill(networks.create(replace(spec, label_count=len(names))), state, origin=f"at {path}")
    except WeightsError as fault:
        rows = {value.shape[0] for name, value in state.items() if name.endswith("bias") and value.ndim == 1}
        hint = "" if len(names) in rows else f" There are {len(names)} labels; has it so many classes?"
        raise WeightsError(f"{fault}{hint}") from fault
    return state


def count(architecture: str, family: str, classes: int) -> int:
    """The trainable numbers of a network, found without making them."""
    import torch

    from tagger.models import networks

    with torch.device("meta"):
        network = networks.empty(family, architecture, classes)
    return sum(value.numel() for value in network.parameters())


def _read(folder: Path) -> ModelSpec:
    try:
        kept = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
        if kept.pop("format") != _FORMAT:
            raise ModelError(f"{folder} was made by another version of this program")
        weights = kept.pop("weights")
        pixels = kept.pop("preprocessing")
        pixels |= {"mean": tuple(pixels["mean"]), "std": tuple(pixels["std"])}
        return ModelSpec(
            **kept | {"ranges": tuple(kept.get("ranges", ()))},
            preprocessing=Preprocessing(**pixels),
            weights=OwnWeights(str(folder / _WEIGHTS), weights["sha256"], weights["size"]),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ModelError(f"the model in {folder} cannot be read: {fault!r}") from fault


def _as_json(spec: ModelSpec) -> dict[str, object]:
    parts = asdict(spec)
    parts.pop("published")
    parts["weights"].pop("path")
    return {"format": _FORMAT, **parts}
