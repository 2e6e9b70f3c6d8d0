"""What the corpus and the fuzzing have found, so that it stays mended."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from tagger.loading import PillowLoader
from tests.corpus.bombs import bombs_cases
from tests.corpus.containers import saved
from tests.corpus.handmade import psd
from tests.corpus.reasons import fault_in
from tests.fuzz.check import PREPROCESSING, Checked, check


def checked(data: bytes) -> Checked:
    return check(PillowLoader(PREPROCESSING), data)


def big_endian_tiff(values: np.ndarray[tuple[int, int], np.dtype[np.uint16]]) -> bytes:
    """16 bits of grey as scanners of the Motorola kind write them."""
    height, width = values.shape
    numbers = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 110, 278: height, 279: 2 * values.size}
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, number) for tag, number in numbers.items())
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", 8) + entries + bytes(4) + values.astype(">u2").tobytes()


def test_deep_greys_of_either_order_are_salvaged() -> None:
    values = np.random.default_rng(1).integers(1000, 60_000, (100, 100)).astype(np.uint16)
    data = big_endian_tiff(values)
    assert checked(data).outcome == "loaded"
    assert "lower 25%" in (checked(data[:-5000]).reason or "")


def test_a_float_picture_of_one_huge_value_is_a_picture() -> None:
    data = saved(Image.fromarray(np.full((20, 30), 3.4e38, np.float32)), "TIFF")
    assert checked(data).outcome == "loaded"


def test_a_limit_of_the_decoders_own_is_a_limit() -> None:
    (bomb,) = (case for case in bombs_cases() if case.name == "bomb-sides.heif")
    assert checked(bomb.data).outcome == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        b"P6 4 4 255\xbc'+3\xd7O\xcf\xa8" + bytes(48),
        psd()[:22] + struct.pack(">HH", 1800, 1286) + psd()[26:],
        b"BM" + struct.pack("<IIIIiiHHI", 54, 0, 54, 40, 4, 4, 1, 13_364, 0) + bytes(100),
    ],
    ids=["a byte string in Pillow's words", "a key in place of words", "a number in brackets"],
)
def test_reasons_are_for_people(data: bytes) -> None:
    result = checked(data)
    assert result.outcome in ("corrupt", "unsupported")
    assert result.fault is None, result.reason


@pytest.mark.parametrize(
    "reason",
    [
        None,
        "",
        "KeyError",
        "broken PNG: its data makes no picture (KeyError: 3)",
        "broken PNG: its data makes no picture (<_io.BytesIO object at 0x7fafb950ff60>)",
        "broken PNG: its data makes no picture (b'IHDR')",
        "broken PNG: its data makes no picture ((3, 8))",
        "two\nlines of it",
        "[Errno 22] Invalid argument given",
    ],
)
def test_what_slips_out_of_a_program_is_no_reason(reason: str | None) -> None:
    assert fault_in(reason) is not None
