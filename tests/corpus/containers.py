"""The bricks that picture files are built of, so that wrong ones can be put together by hand.

Layouts are those of the formats' specifications: PNG (W3C), TIFF 6.0, JFIF, ISO/IEC 14496-12 boxes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from PIL.Image import Image as Picture

PNG = b"\x89PNG\r\n\x1a\n"


def saved(image: Picture, kind: str, **options: Any) -> bytes:
    """The picture as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(size: tuple[int, int], depth: int, colour: int, interlaced: int = 0) -> bytes:
    """The IHDR chunk; ``colour`` is 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced))


def png(header: bytes, deflated: bytes, *extra: bytes) -> bytes:
    """A PNG of one IDAT chunk, with ``extra`` chunks before it."""
    return b"".join([PNG, header, *extra, png_chunk(b"IDAT", deflated), png_chunk(b"IEND", b"")])


def with_png_chunks(data: bytes, *extra: bytes) -> bytes:
    """Chunks put behind the header of a PNG (signature 8, IHDR 25 bytes)."""
    return data[:33] + b"".join(extra) + data[33:]


def deflated_zeros(length: int) -> bytes:
    """A valid zlib stream of ``length`` zeros, written without holding or compressing them all.

    A megabyte is compressed once and its block repeated; Adler-32 of n zeros is (n mod 65521, 1).
    """
    piece, engine = bytes(2**20), zlib.compressobj(9, zlib.DEFLATED, -15)
    first = engine.compress(piece) + engine.flush(zlib.Z_FULL_FLUSH)
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    last = engine.compress(bytes(length % len(piece))) + engine.flush(zlib.Z_FINISH)
    adler = struct.pack(">HH", length % 65521, 1)
    return b"\x78\x9c" + first * (length // len(piece)) + last + adler


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_jpeg_segments(data: bytes, *segments: bytes) -> bytes:
    """Segments put behind the start marker of a JPEG."""
    return data[:2] + b"".join(segments) + data[2:]


def tiff_entry(tag: int, kind: int, count: int, value: int) -> bytes:
    """One entry of a little-endian directory; ``kind`` is 3 for 16 and 4 for 32 bits."""
    return struct.pack("<HHII", tag, kind, count, value)


def tiff_directory(entries: Iterable[bytes], following: int = 0) -> bytes:
    listed = list(entries)
    return struct.pack("<H", len(listed)) + b"".join(listed) + struct.pack("<I", following)


def tiff(entries: Iterable[bytes], body: bytes = b"", following: int = 0) -> bytes:
    """A little-endian TIFF with one directory at offset 8 and ``body`` behind it."""
    return b"II*\0\x08\0\0\0" + tiff_directory(entries, following) + body


def grey_tiff(size: tuple[int, int], *extra: bytes, following: int = 0) -> bytes:
    """An uncompressed grey TIFF that claims a size and holds a thousand bytes."""
    entries = [
        tiff_entry(256, 4, 1, size[0]),
        tiff_entry(257, 4, 1, size[1]),
        tiff_entry(258, 3, 1, 8),
        tiff_entry(259, 3, 1, 1),
        tiff_entry(262, 3, 1, 1),
        *extra,
    ]
    start = 8 + 2 + 12 * (len(entries) + 3) + 4
    strips = [
        tiff_entry(273, 4, 1, start),
        tiff_entry(278, 4, 1, size[1]),
        tiff_entry(279, 4, 1, min(size[0] * size[1], 2**32 - 1)),
    ]
    return tiff(sorted([*entries, *strips], key=lambda entry: entry[:2][::-1]), bytes(1000), following)


def box(name: bytes, *bodies: bytes) -> bytes:
    """A box of an ISO media file (HEIF, AVIF, JPEG 2000)."""
    body = b"".join(bodies)
    return struct.pack(">I", len(body) + 8) + name + body


def icon(*entries: bytes, kind: int = 1) -> bytes:
    """An ICO (``kind`` 1) or CUR (2) of pictures that are said to be 16 x 16."""
    offset, listed = 6 + 16 * len(entries), []
    for entry in entries:
        listed.append(struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(entry), offset))
        offset += len(entry)
    return struct.pack("<HHH", 0, kind, len(entries)) + b"".join(listed) + b"".join(entries)


def icns(*entries: tuple[bytes, bytes]) -> bytes:
    """An Apple icon of (type, content) entries, each with its length behind its type."""
    body = b"".join(name + struct.pack(">I", len(content) + 8) + content for name, content in entries)
    return b"icns" + struct.pack(">I", len(body) + 8) + body
