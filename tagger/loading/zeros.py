"""Copies that were cut off and kept their length: the rest of the file is zeros.

So end copies into preallocated files, downloads that were broken off, and files from rescued disks.
Decoders take the zeros for data and often say nothing. Compressed data hold no long runs of zeros
at their end, so such a run says where a file was cut off; but zeros may also be padding behind a
file that is whole. Which of the two it is, is told by decoding what comes before (JPEG, PNG, GIF,
JPEG 2000, bare JPEG XL), or by the lengths that the container states (WebP, HEIF, AVIF, JPEG XL).

Of all others nothing is concluded: where pixels are stored as they are, zeros may be black.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tagger.loading.magic import signature_of

# So many zeros at the end are no chance: a sector of a disk.
_LEAST = 512

# The decoders of these notice when the data end; a JPEG XL only where it has no container.
_KNOW_THEIR_END = frozenset({"JPEG", "PNG", "GIF", "JPEG2000"})
_BARE_JPEG_XL = b"\xff\x0a"
# JPEG XL has no mark at its end, and its last byte is often a zero.
_OWN_ZEROS = 8

_BOX = struct.Struct(">I4s")
_CHUNK = struct.Struct("<4sI")
# Boxes at the top of a file (ISO/IEC 14496-12, 18181-2) without which the picture is whole.
_BESIDE_THE_PICTURE = frozenset({b"free", b"skip", b"wide", b"mpvd", b"Exif", b"xml ", b"jumb", b"uuid"})
_WEBP_FRAMES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


@dataclass(frozen=True, slots=True)
class Lost:
    """``reason`` says what is lost. ``may_be_flat``: zeros are also how this kind of data describes
    a lower part of one colour; only the decoded picture tells."""

    reason: str
    may_be_flat: bool = False


def without_zeros(data: bytes) -> bytes:
    """``data`` up to the zeros at its end, where the decoder will notice if something is missing;
    ``data`` itself where there are none, or where it would not."""
    if not data.endswith(bytes(_LEAST)):
        return data
    if data.startswith(_BARE_JPEG_XL):
        return data[: len(data.rstrip(b"\0")) + _OWN_ZEROS]
    signature = signature_of(data)
    known = signature is not None and signature.decoder in _KNOW_THEIR_END
    return data.rstrip(b"\0") if known else data


def lost_in_zeros(data: bytes) -> Lost | None:
    """What a picture in a container lacks because the end of the file is zeros; None for a whole
    one, for padding behind it, and for formats without lengths to compare with."""
    if not data.endswith(bytes(_LEAST)):
        return None
    signature = signature_of(data)
    decoder = signature.decoder if signature else None
    begin = len(data.rstrip(b"\0"))
    if decoder == "WEBP":
        return _lost_of_webp(data, begin)
    boxes = decoder in ("AVIF", "HEIF", "JXL") and not data.startswith(_BARE_JPEG_XL)
    return Lost(_reason(data, begin)) if boxes and _zeros_in_box(data, begin) >= _LEAST else None


def _reason(data: bytes, begin: int) -> str:
    share = max(1, round(100 * (1 - begin / len(data))))
    return f"the last {share}% of the file holds nothing but zeros; the copy was cut off"


def _lost_of_webp(data: bytes, begin: int) -> Lost | None:
    """By the chunk of the first frame; what comes behind it is not shown."""
    position = 12  # behind RIFF, the length, WEBP
    while position < begin and position + _CHUNK.size <= len(data):
        name, length = _CHUNK.unpack_from(data, position)
        end = min(position + _CHUNK.size + length, len(data))
        if name in _WEBP_FRAMES:
            if end - begin < _LEAST:
                return None
            # The coder of VP8 (RFC 6386, section 7) writes zeros for whatever it holds for likely.
            # Seen up to a tenth of the file, below a photo on black.
            lossy = name != b"VP8L" and end - begin < (end - position) / 2
            return Lost(_reason(data, begin), may_be_flat=lossy)
        position = end + length % 2
    return Lost(_reason(data, begin))


def _zeros_in_box(data: bytes, begin: int) -> int:
    """How many zeros from ``begin`` on belong to a box that the picture needs."""
    position = 0
    while position < begin and position + _BOX.size <= len(data):
        length, name = _BOX.unpack_from(data, position)
        if length == 1:  # the length follows, in 64 bits
            length = int.from_bytes(data[position + 8 : position + 16])
        # A length of 0 means: to the end of the file. No box is shorter than its own start.
        end = min(position + max(length, _BOX.size), len(data)) if length else len(data)
        if end > begin:
            return 0 if name in _BESIDE_THE_PICTURE else end - begin
        position = end
    return 0
