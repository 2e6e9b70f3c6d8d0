"""ICC profiles written out by hand (ICC.1:2010, version 2), small enough for tests."""

from __future__ import annotations

import struct

_D50 = (0.9642, 1.0, 0.8249)

# Red, green and blue as XYZ under D50.
DISPLAY_P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def grey_profile(gamma: float, space: bytes = b"GRAY") -> bytes:
    """Greys with one curve."""
    return _profile(space, [(b"kTRC", _curve(gamma))])


def matrix_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """RGB of other primaries than sRGB's."""
    colours = zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, primaries), strict=True)
    curves = ((key, _curve(gamma)) for key in (b"rTRC", b"gTRC", b"bTRC"))
    return _profile(b"RGB ", [*colours, *curves])


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)


def _fixed(values: tuple[float, ...]) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(values)


def _profile(space: bytes, own: list[tuple[bytes, bytes]]) -> bytes:
    text = b"made by a test\0"
    name = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78)
    tags = [(b"desc", name), (b"wtpt", _xyz(_D50)), *own]
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for key, value in tags:
        table += key + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header = (header + bytes(12) + b"acsp" + bytes(28) + _fixed(_D50)).ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + table + body
