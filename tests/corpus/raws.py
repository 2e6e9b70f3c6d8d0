"""Camera RAW of the plainest kind: a stamp, the values of a small sensor, and a preview.

Pillow alone shows the stamp; the product does so only where LibRaw can make nothing of the rest.
"""

from __future__ import annotations

from functools import cache

from tests.corpus.case import BROKEN, SHOWN, Case
from tests.corpus.containers import saved
from tests.corpus.sound import picture
from tests.unit.loading.tiffs import (
    ASCII,
    BYTE,
    LONG,
    SHORT,
    SIGNED_RATIONAL,
    STAMP,
    Below,
    Blob,
    Directory,
    mosaic,
    strip,
    tiff,
)

_SENSOR = (96, 64)
_FILTERS = 32803
# A matrix of nine fractions: numerator, denominator.
_IDENTITY = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]


@cache
def raws_cases() -> tuple[Case, ...]:
    """With and without a preview, by several makers; unsupported without the extra. All are called
    .dng, so that mutations count them as one format."""
    preview = saved(picture(size=(300, 260)), "JPEG", quality=10)
    made = {
        "preview.dng": _raw(preview),
        "bare.dng": _raw(None),
        "nikon-nef.dng": _raw(preview, make=b"NIKON\0"),
        "sigma-x3f.dng": b"FOVb" + bytes(500),
        "fuji-raf.dng": b"FUJIFILMCCD-RAW 0201FF383501" + bytes(500),
        "canon-cr3.dng": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(500),
        "olympus-orf.dng": b"IIRO" + _raw(preview)[4:],
        "panasonic-rw2.dng": b"IIU\0" + _raw(preview)[4:],
    }
    return tuple(Case(f"raw-{name}", data, SHOWN | BROKEN) for name, data in made.items())


def _raw(preview: bytes | None, make: bytes | None = None) -> bytes:
    first: Directory = strip(STAMP) | {
        254: (LONG, [1]),
        271: (ASCII, make or b"Acme\0"),
        272: (ASCII, b"One\0"),
        330: (LONG, Below([1, 2] if preview else [1])),
    }
    if make is None:
        first |= {50706: (BYTE, bytes([1, 4, 0, 0])), 50708: (ASCII, b"Acme One\0")}
        first |= {50721: (SIGNED_RATIONAL, _IDENTITY), 50778: (SHORT, [21])}
    return tiff([first, _sensor(), *([_preview(preview)] if preview else [])])


def _sensor() -> Directory:
    values = strip(mosaic(*_SENSOR), _FILTERS)
    return values | {33421: (SHORT, [2, 2]), 33422: (BYTE, bytes([0, 1, 1, 2])), 50717: (SHORT, [65535])}


def _preview(jpeg: bytes) -> Directory:
    shown = strip(STAMP, 6) | {254: (LONG, [1]), 256: (LONG, [300]), 257: (LONG, [260]), 259: (SHORT, [7])}
    return shown | {273: (LONG, Blob(jpeg)), 279: (LONG, [len(jpeg)])}
