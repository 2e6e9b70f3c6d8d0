"""Small sound files of the formats that Pillow reads and does not write, each after its layout."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np

from tests.corpus.case import Case, sound
from tests.corpus.containers import icns, icon, png, png_header, saved
from tests.corpus.sound import SIZE, picture

WIDTH, HEIGHT = SIZE
PIXELS = WIDTH * HEIGHT


@cache
def handmade_cases() -> tuple[Case, ...]:
    """One or more of each format."""
    made = {
        "psd-raw.psd": psd(),
        "psd-packbits.psd": packed_psd(),
        "cur.cur": icon(_bitmap(), kind=2),
        "icon-bitmap.ico": icon(_bitmap()),
        "icns-png.icns": icns((b"icp5", saved(picture("RGBA", (32, 32)), "PNG"))),
        "icns-jp2.icns": icns((b"ic07", saved(picture("RGBA", (128, 128)), "JPEG2000"))),
        "icns-packed.icns": icns((b"il32", _icns_runs()), (b"l8mk", bytes(range(256)) * 4)),
        "dcx.dcx": struct.pack("<III", 0x3ADE68B1, 12, 0) + saved(picture(), "PCX"),
        "sun.ras": _sun(1, _rgb()),
        "sun-grey.ras": struct.pack(">8I", 0x59A66A95, *SIZE, 8, PIXELS, 1, 0, 0) + _grey(),
        "sun-runs.ras": _sun(2, bytes([0x80, 255, 99]) * (3 * PIXELS // 256)),
        "xpm.xpm": _xpm(),
        "photo.pcd": bytes(2048) + b"PCD_".ljust(1539, b"\0") + bytes(96 * 2048 - 3587) + bytes(768 * 768),
        "pixar.pxr": _pixar(),
        "fli.flc": _fli(),
        "gbr.gbr": struct.pack(">5I4sI", 33, 2, *SIZE, 1, b"GIMP", 10) + b"name\0" + _grey(),
        "gbr-colour.gbr": struct.pack(">5I4sI", 33, 2, *SIZE, 4, b"GIMP", 10) + b"name\0" + _grey() * 4,
        "ftex.ftu": struct.pack("<4s7i", b"FTEX", 1, *SIZE, 1, 1, 1, 32)
        + struct.pack("<i", 3 * PIXELS)
        + _rgb(),
        "ftex-packed.ftc": struct.pack("<4s7i", b"FTEX", 1, *SIZE, 1, 1, 0, 32)
        + struct.pack("<i", PIXELS // 2)
        + _grey()[: PIXELS // 2],
        "fits.fits": fits(8, _grey()),
        "fits-16.fits": fits(16, _grey() * 2),
        "fits-float.fits": fits(-32, np.linspace(0, 1, PIXELS).astype(">f4").tobytes()),
        "imt.imt": b"width %d\nheight %d\npixel n8\n\x0c" % SIZE + _grey(),
        "xv.thumb": b"P7 332\n#END_OF_COMMENTS\n%d %d 255\n" % SIZE + _grey(),
        "mcidas.area": _mcidas(1) + _grey(),
        "mcidas-16.area": _mcidas(2) + _grey() * 2,
        "plain.pbm": b"P1 8 2\n1 0 1 0 1 0 1 0\n0 1 0 1 0 1 0 1\n",
        "plain.pgm": b"P2 # a comment\n4 2 15\n0 5 10 15\n15 10 5 0\n",
        "plain.ppm": b"P3 2 1 255\n255 0 0 0 0 255\n",
        "deep.ppm": b"P6 %d %d 65535\n" % SIZE + _rgb() * 2,
        "runs.bmp": _bmp_of_runs(),
        "os2.bmp": b"BM" + struct.pack("<IIIIHHHH", 26 + 3 * PIXELS, 0, 26, 12, *SIZE, 1, 24) + _rgb(),
        "adam7.png": adam7(),
        "rgb48.png": png(png_header(SIZE, 16, 2), zlib.compress((b"\0" + _rgb()[: 6 * WIDTH]) * HEIGHT)),
    }
    return tuple(sound(f"handmade-{name}", data) for name, data in made.items())


def _rgb() -> bytes:
    return picture().tobytes()


def _grey() -> bytes:
    return picture("L").tobytes()


def psd(size: tuple[int, int] = SIZE, layers: bytes = b"", version: int = 1) -> bytes:
    """Photoshop, uncompressed RGB (Adobe Photoshop File Formats Specification)."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", version, 3, size[1], size[0], 8, 3)
    sections = struct.pack(">III", 0, 0, len(layers)) + layers
    planes = b"".join(band.tobytes() for band in picture().split())
    return header + sections + struct.pack(">H", 0) + planes


def packed_psd() -> bytes:
    """The same with PackBits: each row of one colour, in two bytes for 32 pixels."""
    rows = 3 * HEIGHT
    body = struct.pack(">H", 1) + struct.pack(">H", 2) * rows
    header = struct.pack(">4sH6xHIIHHIII", b"8BPS", 1, 3, HEIGHT, WIDTH, 8, 3, 0, 0, 0)
    return header + body + bytes([257 - WIDTH, 120]) * rows


def _bitmap() -> bytes:
    """What an icon holds: a header of twice the height, BGRA rows, and a mask."""
    header = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 32, 0, 16 * 16 * 4, 0, 0, 0, 0)
    return header + picture("RGBA", (16, 16)).tobytes() + bytes(16 * 4)


def _icns_runs() -> bytes:
    """Three planes of 32 x 32, packed: runs of 128 pixels, said by 0xFD and a value."""
    return b"".join(bytes([0xFD, value]) * 8 for value in (40, 90, 160))


def _sun(kind: int, body: bytes) -> bytes:
    return struct.pack(">8I", 0x59A66A95, *SIZE, 24, len(body), kind, 0, 0) + body


def _xpm() -> bytes:
    rows = b"".join(b'"' + b".#" * (WIDTH // 2) + b'",\n' for _ in range(HEIGHT))
    return b'/* XPM */\nstatic char *x[] = {\n"%d %d 2 1",\n". c #ff8000",\n"# c None",\n' % SIZE + rows


def _pixar() -> bytes:
    header = bytearray(1024)
    header[:4] = b"\x80\xe8\0\0"
    struct.pack_into("<HH4xHH", header, 416, HEIGHT, WIDTH, 14, 2)
    return bytes(header) + _rgb()


def _fli() -> bytes:
    """An animation of one frame that is stored as it is (chunk 16)."""
    copy = struct.pack("<IH", 6 + PIXELS, 16) + _grey()
    frame = struct.pack("<IHH8x", 16 + len(copy), 0xF1FA, 1) + copy
    header = struct.pack("<IHHHHHHI", 128 + len(frame), 0xAF12, 1, *SIZE, 8, 3, 50)
    return header.ljust(128, b"\0") + frame


def fits(bits: int, body: bytes, size: tuple[int, int] = SIZE) -> bytes:
    """FITS 4.0: cards of 80 characters in blocks of 2,880."""
    cards = ["SIMPLE  = T", f"BITPIX  = {bits}", "NAXIS   = 2"]
    cards += [f"NAXIS1  = {size[0]}", f"NAXIS2  = {size[1]}", "END"]
    header = "".join(card.ljust(80) for card in cards).ljust(2880)
    return header.encode() + body.ljust(-(-len(body) // 2880) * 2880, b"\0")


def _mcidas(depth: int) -> bytes:
    """The directory of an area file: words of 32 bits, counted from 1."""
    words = [0] * 65
    words[2], words[9], words[10], words[11], words[14], words[34] = 4, HEIGHT, WIDTH, depth, 1, 256
    return struct.pack("!64i", *words[1:])


def _bmp_of_runs() -> bytes:
    """RLE8: each row one run, then the end of the line."""
    body = bytes([WIDTH, 1, 0, 0]) * HEIGHT + b"\0\1"
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(body), 0, 0, 2, 0)
    palette = bytes([0, 0, 0, 0, 200, 120, 40, 0])
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<III", start + len(body), 0, start) + info + palette + body


def adam7() -> bytes:
    """An interlaced PNG, which Pillow does not write."""
    pixels = np.asarray(picture())
    passes = (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    )  # fmt: skip
    rows = [row for y, x, down, across in passes for row in pixels[y::down, x::across]]
    return png(png_header(SIZE, 8, 2, 1), zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
