"""Anybody may write messages: what does not fit is refused, in one short line that names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.library.dispatch import LARGEST
from tagger.sources import LONGEST
from tagger.store.dispatch import Chunk
from tagger.store.runs import RunKind
from worker.messages import PATHS, RefusedMessage, arguments_of, chunk_of, request_of

PATH = "root://photos/a.jpg"
CHUNK = {"run": 1, "model": "m@1", "images": [1, 2]}
MILLION = "x" * 1_000_000

BAD_REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("paths", {}),
    ("paths", {"paths": None}),
    ("paths", {"paths": PATH}),
    ("paths", {"paths": {"0": PATH}}),
    ("paths", {"paths": []}),
    ("paths", {"paths": [PATH] * (PATHS + 1)}),
    ("paths.0", {"paths": [MILLION]}),
    ("paths.0", {"paths": ["/" + "x" * LONGEST]}),
    ("paths.0", {"paths": [""]}),
    ("paths.1", {"paths": [PATH, 17]}),
    ("paths.0", {"paths": [True]}),
    ("paths.0", {"paths": [None]}),
    ("paths.0", {"paths": [[PATH]]}),
    ("paths.0", {"paths": [[[[[[PATH]]]]]]}),
    ("paths.0", {"paths": ["/a\0.jpg"]}),
    ("paths.0", {"paths": ["/a\ud800.jpg"]}),
    ("run", {"paths": [PATH], "run": ""}),
    ("run", {"paths": [PATH], "run": 7}),
    ("run", {"paths": [PATH], "run": MILLION}),
    ("run", {"paths": [PATH], "run": "a\0"}),
    ("run", {"paths": [PATH], "run": "a\udcff"}),
    ("model", {"paths": [PATH], "model": ["m"]}),
    ("model", {"paths": [PATH], "model": "\0"}),
    ("bulk", {"paths": [PATH], "bulk": 1}),
    ("bulk", {"paths": [PATH], "bulk": "true"}),
    ("bulk", {"paths": [PATH], "bulk": None}),
    ("retry_failed", {"paths": [PATH], "retry_failed": 0.0}),
    ("kind", {"paths": [PATH], "kind": "tag"}),
    ("xxxxx", {"paths": [PATH], MILLION: 1}),
    (r"a\n\x1b", {"paths": [PATH], "a\n\x1b": 1}),
    ("arguments", {"paths": [PATH], "\ud800": 1}),
]

BAD_CHUNKS: list[tuple[str, dict[str, Any]]] = [
    ("run", {**CHUNK, "run": True}),
    ("run", {**CHUNK, "run": "1"}),
    ("run", {**CHUNK, "run": 1.0}),
    ("run", {**CHUNK, "run": 0}),
    ("run", {**CHUNK, "run": -1}),
    ("run", {**CHUNK, "run": 2**63}),
    ("run", {**CHUNK, "run": None}),
    ("model", {**CHUNK, "model": ""}),
    ("model", {**CHUNK, "model": 1}),
    ("model", {**CHUNK, "model": MILLION}),
    ("model", {**CHUNK, "model": "m\0"}),
    ("images", {**CHUNK, "images": []}),
    ("images", {**CHUNK, "images": 1}),
    ("images", {**CHUNK, "images": "123"}),
    ("images", {**CHUNK, "images": {"1": 1}}),
    ("images", {**CHUNK, "images": list(range(1, LARGEST + 2))}),
    ("images.0", {**CHUNK, "images": [True]}),
    ("images.1", {**CHUNK, "images": [1, 2.0]}),
    ("images.0", {**CHUNK, "images": [float("nan")]}),
    ("images.0", {**CHUNK, "images": ["1"]}),
    ("images.0", {**CHUNK, "images": [[1]]}),
    ("images.0", {**CHUNK, "images": [0]}),
    ("images.0", {**CHUNK, "images": [-(2**63)]}),
    ("images.0", {**CHUNK, "images": [2**63]}),
    ("images.0", {**CHUNK, "images": [10**400]}),
    ("lease", {**CHUNK, "lease": 1}),
    ("images", {"run": 1, "model": "m@1"}),
]


def _refused(fault: RefusedMessage, field: str) -> None:
    said = str(fault)
    assert f"{field}" in said
    assert len(said) < 1000
    assert said.isprintable()


@pytest.mark.parametrize("position", range(len(BAD_REQUESTS)))
def test_a_request_that_does_not_fit_is_refused_by_the_name_of_the_field(position: int) -> None:
    field, arguments = BAD_REQUESTS[position]
    with pytest.raises(RefusedMessage) as refusal:
        request_of(arguments)
    _refused(refusal.value, f" {field}")


@pytest.mark.parametrize("position", range(len(BAD_CHUNKS)))
def test_a_chunk_that_does_not_fit_is_refused_by_the_name_of_the_field(position: int) -> None:
    field, arguments = BAD_CHUNKS[position]
    with pytest.raises(RefusedMessage) as refusal:
        chunk_of(arguments)
    _refused(refusal.value, f" {field}: ")


def test_what_is_wrong_in_ten_thousand_places_is_said_of_a_few() -> None:
    with pytest.raises(RefusedMessage) as refusal:
        request_of({"paths": [1] * PATHS} | {f"more{number}": 1 for number in range(1000)})
    _refused(refusal.value, "paths.0")


def test_the_refusal_repeats_nothing_of_what_was_sent() -> None:
    with pytest.raises(RefusedMessage) as refusal:
        request_of({"paths": ["https://user:secret@host/a.jpg\0"], "run": ["secret"]})
    assert "secret" not in str(refusal.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_likely = st.dictionaries(
    st.sampled_from(["paths", "run", "model", "bulk", "retry_failed", "images", "\ud800"]), _json
)


@given(_likely | st.dictionaries(st.text(max_size=10), _json, max_size=5))
def test_no_arguments_raise_anything_but_a_refusal(arguments: dict[str, Any]) -> None:
    for read in (request_of, chunk_of):
        try:
            read(arguments)
        except RefusedMessage as fault:
            _refused(fault, "the arguments do not fit")


def test_the_plainest_request_is_its_paths() -> None:
    ask = request_of({"paths": [PATH, "/photos"]}).ask()
    assert (ask.kind, ask.items, ask.model, ask.bulk, ask.retry_failed) == (
        RunKind.ENQUEUE,
        (PATH, "/photos"),
        None,
        False,
        False,
    )


def test_a_request_may_say_all() -> None:
    arguments = {"paths": [PATH], "run": "upload", "model": "m", "bulk": True, "retry_failed": True}
    ask = request_of(json.loads(json.dumps(arguments))).ask()
    assert (ask.name, ask.model, ask.bulk, ask.retry_failed) == ("upload", "m", True, True)


def test_a_request_at_the_limits_is_taken() -> None:
    longest = "/" + "x" * (LONGEST - 1)
    assert len(request_of({"paths": [longest] * PATHS, "run": "n" * 200}).paths) == PATHS


def test_requests_without_a_name_share_a_run_and_bulk_ones_another() -> None:
    """Else new images would wait with the bulk work that came before them."""
    new, null, bulk = (
        request_of({"paths": [PATH], **more}).ask().name for more in ({}, {"run": None}, {"bulk": True})
    )
    assert new == null
    assert bulk not in (None, new)


def test_a_chunk_survives_its_way_through_json() -> None:
    chunk = Chunk(12, "efficientnet-lite0@abc", (1, 2**63 - 1))
    message = chunk_of(json.loads(json.dumps(arguments_of(chunk))))
    assert Chunk(message.run, message.model, tuple(message.images)) == chunk
