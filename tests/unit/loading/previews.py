"""JPEGs as cameras write them: the photo, and behind it a preview that an index speaks of."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from io import BytesIO

from PIL import Image
from PIL.Image import Image as Picture

FULL_HD = 0x010002
STEREO = 0x020002

_ENTRY = struct.Struct(">LLLHH")
_HEADER = b"MPF\0"


def camera_jpeg(
    photo: Picture, preview: Picture, kind: int = FULL_HD, exif: Mapping[int, object] | None = None
) -> bytes:
    """A photo with a preview of this ``kind`` (CIPA DC-007, 5.2.3.3.1)."""
    tags = Image.Exif()
    for tag, value in (exif or {}).items():
        tags[tag] = value
    small, large = _jpeg(preview, b""), _jpeg(photo, tags.tobytes() if exif else b"")
    length = len(large) + len(_index(kind, 0, 0, 0))
    # Offsets count from the index's TIFF header: behind the start marker, four bytes, and MPF.
    return large[:2] + _index(kind, length, len(small), length - 10) + large[2:] + small


def _jpeg(picture: Picture, exif: bytes) -> bytes:
    out = BytesIO()
    picture.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def _index(kind: int, large: int, small: int, offset: int) -> bytes:
    entries = _ENTRY.pack(0x20030000, large, 0, 0, 0) + _ENTRY.pack(0x40000000 | kind, small, offset, 0, 0)
    directory = (
        struct.pack(">H", 3)
        + struct.pack(">HHL4s", 0xB000, 7, 4, b"0100")
        + struct.pack(">HHLL", 0xB001, 4, 1, 2)
        + struct.pack(">HHLL", 0xB002, 7, len(entries), 8 + 2 + 36 + 4)
        + struct.pack(">L", 0)
    )
    body = _HEADER + b"MM\0*" + struct.pack(">L", 8) + directory + entries
    return b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
