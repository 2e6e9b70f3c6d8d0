"""A network is converted in another process: what PyTorch takes for it ends there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tagger import models
from tagger.engines import graph, openvino, select
from tagger.library.convert import convert_apart, key_of

SPEC = models.get("efficientnet-lite0")
ALONE = """
import sys
from pathlib import Path
from tagger import models
from tagger.library.convert import convert_apart
convert_apart(models.get("efficientnet-lite0"), "openvino", Path(sys.argv[1]))
assert "torch" not in sys.modules
"""


def _is_kept(folder: Path) -> bool:
    return graph.is_kept(openvino.runtime(), SPEC.preprocessing, key_of(SPEC), folder)


def test_the_network_is_kept_and_this_process_has_met_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _is_kept(tmp_path)
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], check=True)
    assert _is_kept(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_: pytest.fail("it is there already"))
    convert_apart(SPEC, "openvino", tmp_path)


@pytest.mark.parametrize("engine", ["eager", "cuda"])
def test_other_engines_want_no_conversion(engine: str, tmp_path: Path) -> None:
    convert_apart(SPEC, engine, tmp_path)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


def test_where_there_may_be_a_gpu_nothing_is_converted_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "_has_nvidia_driver", lambda: True)
    convert_apart(SPEC, "auto", tmp_path)
    assert not any(tmp_path.iterdir())
