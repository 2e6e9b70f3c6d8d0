"""TIFF files written out by hand (TIFF 6.0, DNG 1.4): what Pillow reads and does not write."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# A value is the bytes of the tag; a Blob or the numbers of Directories become offsets.
Directory = dict[int, "tuple[int, list[int] | bytes | Blob | Below]"]

BYTE, ASCII, SHORT, LONG, RATIONAL, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 10
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "I", SIGNED_RATIONAL: "i"}
_SENSOR_VALUES = 32803


class Blob(bytes):
    """Data outside of its directory."""


class Below(list[int]):
    """The directories, by their numbers, that stand beneath this one."""


def tiff(directories: list[Directory], header: bytes = b"II*\0") -> bytes:
    starts, position = [], 8
    for directory in directories:
        starts.append(position)
        position += 2 + 12 * len(directory) + 4
    body, extra = b"", b""
    for directory in directories:
        body += struct.pack("<H", len(directory))
        for tag, (kind, value) in sorted(directory.items()):
            if isinstance(value, Blob):
                value, extra = [position + len(extra)], extra + value + bytes(len(value) % 2)
            elif isinstance(value, Below):
                value = [starts[number] for number in value]
            raw = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}{_CODES[kind]}", *value)
            count = len(value) // 2 if kind in (RATIONAL, SIGNED_RATIONAL) else len(value)
            if len(raw) > 4:
                raw, extra = struct.pack("<I", position + len(extra)), extra + raw + bytes(len(raw) % 2)
            body += struct.pack("<HHI", tag, kind, count) + raw.ljust(4, b"\0")
        body += bytes(4)
    return header + struct.pack("<I", 8) + body + extra


def strip(pixels: NDArray[np.generic], photometric: int = 2) -> Directory:
    """The tags of an uncompressed picture of shape [height, width] or [height, width, channels]."""
    height, width, *rest = pixels.shape
    channels = rest[0] if rest else 1
    data = Blob(pixels.tobytes())
    return {
        254: (LONG, [0]),
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * pixels.dtype.itemsize] * channels),
        259: (SHORT, [1]),
        262: (SHORT, [photometric]),
        273: (LONG, data),
        277: (SHORT, [channels]),
        278: (LONG, [height]),
        279: (LONG, [len(data)]),
    }


STAMP = np.full((8, 12, 3), 128, np.uint8)
SENSOR = (640, 400)


def mosaic(width: int, height: int) -> NDArray[np.uint16]:
    """What a sensor with red, green, green and blue filters holds of an orange wall, brighter to
    the right and much darker below its middle."""
    light = np.tile(np.linspace(20_000, 60_000, width), (height, 1))
    light[height // 2 :] /= 6
    light[0::2, 1::2] *= 0.6
    light[1::2, 0::2] *= 0.6
    light[1::2, 1::2] *= 0.2
    return light.astype(np.uint16)


def camera_raw(
    preview: bytes | None = None,
    *,
    orientation: int = 1,
    make: bytes = b"Acme\0",
    is_dng: bool = True,
    stamp: bool = True,
    beneath: dict[int, Directory] | None = None,
) -> bytes:
    """A DNG, or another maker's RAW built in the same way: a stamp first, the values of the sensor
    beneath it, and a JPEG of any size; ``beneath`` names further directories by their tags."""
    width, height = SENSOR
    sensor = strip(mosaic(width, height), _SENSOR_VALUES)
    sensor |= {33421: (SHORT, [2, 2]), 33422: (BYTE, bytes([0, 1, 1, 2])), 50717: (SHORT, [65535])}
    first: Directory = dict(strip(STAMP)) if stamp else {}
    first |= {
        254: (LONG, [1]),
        271: (ASCII, make),
        272: (ASCII, b"One\0"),
        274: (SHORT, [orientation]),
        306: (ASCII, b"2019:07:20 16:05:09\0"),
        330: (LONG, Below([1, 2] if preview else [1])),
    }
    if is_dng:
        first |= {
            50706: (BYTE, bytes([1, 4, 0, 0])),
            50708: (ASCII, b"Acme One\0"),
            50721: (SIGNED_RATIONAL, [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]),
            50728: (RATIONAL, [1, 1, 1, 1, 1, 1]),
            50778: (SHORT, [21]),
        }
    directories = [first, sensor]
    if preview:
        with Image.open(io.BytesIO(preview)) as image:
            wide, high = image.size
        shown = strip(STAMP, 6) | {256: (LONG, [wide]), 257: (LONG, [high]), 259: (SHORT, [7])}
        directories.append(
            shown | {254: (LONG, [1]), 273: (LONG, Blob(preview)), 279: (LONG, [len(preview)])}
        )
    for tag, directory in (beneath or {}).items():
        first[tag] = (LONG, Below([len(directories)]))
        directories.append(directory)
    return tiff(directories)
