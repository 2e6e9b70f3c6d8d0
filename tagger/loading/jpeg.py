"""Which JPEGs a device may decode: those of the plain kind, from their first marker to their last.

A device's decoder is quick, knows few kinds, and says little of what it passes over. So the whole
chain of segments is walked here, on the CPU, before one sees a file: it gets what every decoder
agrees on, and all else goes to the CPU's, which knows what a damaged or an odd file is worth.
Markers and segments are those of ITU-T T.81, Annex B.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_BASELINE, _PROGRESSIVE = 0xC0, 0xC2
_TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantisation, restart interval
_JFIF, _ADOBE = 0xE0, 0xEE
# Previews, profiles, EXIF (the turn among it), comments: nothing that decoding needs.
_ASIDE = frozenset({*range(0xE0, 0xF0), 0xFE})

# Luma's sampling beside chroma's 1 x 1: 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1.
_SAMPLINGS = frozenset({0x11, 0x21, 0x12, 0x22, 0x41})
# What follows an FF within coded data and makes no marker of it: 00, the number of a restart, and
# a further FF, of which the last one counts.
_CODED = np.zeros(256, bool)
_CODED[[0x00, *range(0xD0, 0xD8), 0xFF]] = True


@dataclass(frozen=True, slots=True)
class PlainJpeg:
    """``data`` is the picture alone, from start to end, with nothing beside it and nothing behind
    it; above all without EXIF, so that no decoder turns it. ``size`` is (width, height) as stored."""

    data: bytes
    size: tuple[int, int]


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """The picture of a JPEG that any decoder can be given: 8 bits, grey or YCbCr of the usual
    samplings, baseline in one scan or progressive, Huffman-coded, whole to its end marker.

    Returns:
        None for all others, what is no JPEG among them; nothing is said against those.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        return _Walk(data).picture()
    except (IndexError, _OddError):
        return None


class _OddError(Exception):
    """Not of the plain kind."""


@dataclass(slots=True)
class _Walk:
    """From segment to segment."""

    data: bytes
    kept: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    size: tuple[int, int] | None = None
    progressive: bool = False
    components: bytes = b""
    jfif: bool = False
    adobe: int | None = None
    scans: int = 0
    markers: NDArray[np.int64] | None = None

    def picture(self) -> PlainJpeg:
        position = 2
        while True:
            marker, position = self._marker(position)
            if marker == _END:
                break
            position = self._segment(marker, position)
        if self.size is None or not self.scans or not self._is_usual_colour():
            raise _OddError
        return PlainJpeg(b"".join([*self.kept, b"\xff\xd9"]), self.size)

    def _marker(self, position: int) -> tuple[int, int]:
        """The marker that stands here, any number of FF before it, and where its segment begins."""
        if self.data[position] != 0xFF:
            raise _OddError
        while self.data[position] == 0xFF:
            position += 1
        return self.data[position], position + 1

    def _segment(self, marker: int, start: int) -> int:
        """Take the segment in; where the next marker stands."""
        length = int.from_bytes(self.data[start : start + 2])
        end = start + length
        if length < 2 or end > len(self.data):
            raise _OddError
        body = self.data[start + 2 : end]
        if marker in (_BASELINE, _PROGRESSIVE):
            self._frame(marker, body)
        elif marker == _SCAN:
            return self._scan(start, end)
        elif marker in _ASIDE:
            return self._beside(marker, body, end)
        elif marker not in _TABLES:
            raise _OddError  # arithmetic, lossless, hierarchical; a height that comes later
        self._keep(marker, start, end)
        return end

    def _keep(self, marker: int, start: int, end: int) -> None:
        self.kept += [bytes((0xFF, marker)), self.data[start:end]]

    def _frame(self, marker: int, body: bytes) -> None:
        height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        count = body[5]
        usual = body[0] == 8 and height and width and count in (1, 3) and len(body) == 6 + 3 * count
        if self.size is not None or not usual:
            raise _OddError
        samplings = body[7::3]
        if count == 3 and (samplings[0] not in _SAMPLINGS or samplings[1:] != b"\x11\x11"):
            raise _OddError
        self.size, self.progressive, self.components = (width, height), marker == _PROGRESSIVE, body[6::3]

    def _scan(self, start: int, end: int) -> int:
        """The scan's header and its coded data; where the marker behind them stands."""
        if self.markers is None:
            self.markers = _markers(self.data, end)
        behind = int(np.searchsorted(self.markers, end))
        one_scan_of_all = not self.scans and self.data[start + 2] == len(self.components)
        if behind == len(self.markers) or self.size is None or not (self.progressive or one_scan_of_all):
            raise _OddError
        self.scans += 1
        found = int(self.markers[behind])
        self._keep(_SCAN, start, found)
        return found

    def _beside(self, marker: int, body: bytes, end: int) -> int:
        """What says how colours are meant is kept, in its shortest form; the rest is left out."""
        if marker == _JFIF and body.startswith(b"JFIF\0") and not self.jfif:
            self.jfif = True
            self.kept.append(b"\xff\xe0\x00\x10" + body[:12].ljust(12, b"\0") + b"\0\0")
        elif marker == _ADOBE and body.startswith(b"Adobe") and len(body) >= 12:
            self.adobe = body[11]
        return end

    def _is_usual_colour(self) -> bool:
        """Whether all decoders take it for grey or for YCbCr, whichever mark they believe."""
        if len(self.components) == 1:
            return True
        return self.adobe in (None, 1) and self.components == b"\x01\x02\x03"


def _markers(data: bytes, start: int) -> NDArray[np.int64]:
    """Where markers may stand from ``start`` on, in one go: a large photo has ten thousand FF."""
    content = np.frombuffer(data, np.uint8, offset=start)
    places = np.flatnonzero(content[:-1] == 0xFF)
    return places[~_CODED[content[places + 1]]] + start
