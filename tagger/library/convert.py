"""Converting a network for the CPU engine, in a process of its own.

PyTorch takes 0.7 GB for it and gives nothing back, and the process that tags may run for months.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tagger import models
from tagger.engines import graph, openvino, selects_openvino
from tagger.models import ModelSpec, OwnWeights, own
from tagger.values import EngineName

if TYPE_CHECKING:
    from torch import nn


def key_of(spec: ModelSpec) -> str:
    """What the converted network is kept under: its name and its weights."""
    return f"{spec.name}-{spec.weights.identity[:64]}"


def network_of(spec: ModelSpec) -> nn.Module:
    """The network with its weights; torch is imported only when an engine wants it built."""
    from tagger.models import networks

    return networks.build(spec)


def convert_apart(spec: ModelSpec, engine: EngineName, cache_dir: Path) -> None:
    """See to it that the network is in the cache, if the CPU engine is to run it.

    What goes wrong is left to the engine, which then converts by itself and says what is wrong.
    """
    if not selects_openvino(engine):
        return
    if graph.is_kept(openvino.runtime(), spec.preprocessing, key_of(spec), cache_dir):
        return
    command = [sys.executable, "-P", "-m", "tagger.library.convert", spec.name, str(cache_dir)]
    if isinstance(spec.weights, OwnWeights):
        command.append(str(Path(spec.weights.path).parent.parent))
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def main() -> None:
    """In the other process: convert the model of that name and keep it in that folder; a third word is the
    folder of one's own models."""
    if sys.argv[3:]:
        models.adopt(own.read_all(Path(sys.argv[3])))
    spec = models.get(sys.argv[1])
    graph.obtain(
        openvino.runtime(), lambda: network_of(spec), spec.preprocessing, key_of(spec), Path(sys.argv[2])
    )


if __name__ == "__main__":
    main()
