"""``tagger tag`` with JPEGs decoded on the engine's device: the same tags as without.

Where there is no GPU, PyTorch's engine on the CPU stands for it, with the same decoder's CPU side.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.photos import EXAMPLES

from .conftest import Tagger

pytest.importorskip("torchcodec", reason="the extra gpu is not installed")

ENGINE = "cuda" if torch.cuda.is_available() else "eager"
PHOTOS = (
    "domestic_dog.jpg",
    "ocelot.jpg",
    "vehicle.jpg",
    "portrait-orientation-6.jpg",
    "african_elephants_bw.jpg",
    "african_elephants_cmyk.jpg",
    "african_elephants_truncated_file.jpg",
    "denali.webp",
)


def _tagged(tagger: Tagger, decoding: str) -> Tagger:
    folder = tagger.folder / "photos"
    folder.mkdir(exist_ok=True)
    for name in PHOTOS:
        shutil.copy2(EXAMPLES / name, folder / name)
    own = tagger.folder / decoding
    own.mkdir()
    database = str(own / "tagger.db")
    env = {"TAGGER_ENGINE": ENGINE, "TAGGER_DECODING": decoding, "TAGGER_DATABASE_URL": database}
    other = Tagger({**tagger.env, **env}, own)
    report = other.json("tag", folder)
    assert (report["tagged"], report["failed"]) == (len(PHOTOS), 0)
    return other


def test_tags_are_the_same_wherever_jpegs_are_decoded(tagger: Tagger) -> None:
    found: dict[str, dict[tuple[str, str], float]] = {}
    for decoding in ("cpu", "device"):
        other = _tagged(tagger, decoding)
        rows = other.rows("SELECT uri, label, confidence FROM label_scores WHERE rank = 1")
        found[decoding] = {(Path(uri).name, label): confidence for uri, label, confidence in rows}
    here, there = found["cpu"], found["device"]
    assert here.keys() == there.keys() and len(here) == len(PHOTOS)
    assert max(abs(here[key] - there[key]) for key in here) < 0.05
    loaders = dict(other.rows("SELECT loader, count(*) FROM taggings GROUP BY loader"))
    device = "cuda" if ENGINE == "cuda" else "cpu"
    assert loaders == {f"torchcodec-{device}": 5, "pillow": 3}
    notes = other.rows("SELECT reason FROM image_status WHERE uri LIKE '%truncated%'")
    assert "the file ends early" in notes[0][0]


def test_the_doctor_says_what_decodes(tagger: Tagger) -> None:
    told = {}
    for engine, decoding in ((ENGINE, "device"), ("eager", "cpu"), ("openvino", "device")):
        env = {**tagger.env, "TAGGER_ENGINE": engine, "TAGGER_DECODING": decoding}
        ill = engine == "openvino"
        said = replace(tagger, env=env)("doctor", code=1 if ill else 0)
        told[engine, decoding] = next(line for line in said.splitlines() if "decoding:" in line)
    assert "plain JPEGs are decoded on the device, by torchcodec" in told[ENGINE, "device"]
    assert "JPEGs are decoded on the CPU" in told["eager", "cpu"]
    assert "the engine openvino takes no pixels" in told["openvino", "device"]


def test_who_insists_on_what_cannot_be_is_told(tagger: Tagger, photos: Path) -> None:
    env = {**tagger.env, "TAGGER_ENGINE": "openvino", "TAGGER_DECODING": "device"}
    said = replace(tagger, env=env)("tag", photos, code=3)
    assert "JPEGs cannot be decoded on the device: the engine openvino takes no pixels" in said
