"""Names as people see them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.sources import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"a b'\"$.jpg", "a b'\"$.jpg"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg".encode(), "caf\N{LATIN SMALL LETTER E WITH ACUTE}.jpg"),
        (b"new\nline\ttab\r", r"new\nline\ttab\r"),
        (b"\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        (b"caf\xe9.jpg", r"caf\xe9.jpg"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe".encode(), r"\u202egpj.exe"),
        ("\N{LINE SEPARATOR}\N{NEXT LINE}".encode(), r"\u2028\x85"),
        (
            "\N{MAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}".encode(),
            "\N{MAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
        ),
    ],
)
def test_a_name_is_shown_so_that_no_terminal_obeys_it(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown


@given(st.binary(max_size=60))
def test_any_bytes_can_be_shown_on_one_line(raw: bytes) -> None:
    shown = printable(os.fsdecode(raw))
    shown.encode()
    assert shown.replace("\N{ZERO WIDTH JOINER}", "").isprintable()
