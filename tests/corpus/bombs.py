"""Small files that mean harm: they claim, or unpack to, far more than they are.

The largest here is a few megabytes on disk. Pillow is not asked what it makes of them.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache

from tagger.values import OutcomeKind
from tests.corpus.case import ANY, Allowed, Case
from tests.corpus.containers import (
    box,
    deflated_zeros,
    grey_tiff,
    icns,
    icon,
    jpeg_segment,
    png,
    png_chunk,
    png_header,
    saved,
    tiff,
    tiff_entry,
    with_jpeg_segments,
    with_png_chunks,
)
from tests.corpus.handmade import fits, psd
from tests.corpus.sound import picture

HUGE = (60_000, 60_000)
_TOO_LARGE = frozenset({OutcomeKind.TOO_LARGE})
# What takes its time may run into the limit on that, on a slow machine.
_SLOW = ANY | {OutcomeKind.TIMEOUT}

Named = Iterator[tuple[str, bytes]]


@cache
def bombs_cases() -> tuple[Case, ...]:
    """All bombs, with the outcomes that each may have."""
    groups: tuple[tuple[Callable[[], Named], Allowed], ...] = (
        (_claims, _TOO_LARGE),
        (_claims_within, ANY),
        (_unpacking, ANY),
        (_counts, ANY),
        (_loops, ANY),
        (_slow, _SLOW),
        (_just_within_the_limit, _SLOW),
    )
    return tuple(
        Case(f"bomb-{name}", data, allowed, whole=False)
        for group, allowed in groups
        for name, data in group()
    )


def _claims() -> Named:
    """Sides that are stored in the header; all far over the limit on pixels."""
    yield "real.png", png(png_header(HUGE, 1, 0), deflated_zeros(HUGE[1] * (HUGE[0] // 8 + 1)))
    yield "empty.png", png(png_header((2**31 - 1, 2**31 - 1), 8, 2), b"")
    yield (
        "moving.png",
        with_png_chunks(
            png(png_header(HUGE, 8, 2), b""), png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
        ),
    )
    yield "sides.jpg", _patched("JPEG", ">HH", (24, 32), HUGE)
    yield "most.jpg", _patched("JPEG", ">HH", (24, 32), (65_500, 65_500))
    yield "sides.gif", _patched("GIF", "<HH", (32, 24), (65_535, 65_535))
    yield "sides.bmp", _patched("BMP", "<II", (32, 24), HUGE)
    yield "sides.ppm", b"P6 60000 60000 255\n" + bytes(1000)
    yield "digits.ppm", b"P5 9999999999 9999999999 255\n" + bytes(1000)
    yield "sides.qoi", b"qoif" + struct.pack(">IIBB", *HUGE, 3, 0) + bytes(100)
    yield "sides.tiff", grey_tiff(HUGE)
    yield "widest.tiff", grey_tiff((2**31 - 1, 2**16))
    yield "canvas.webp", b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0"
    yield "sides.psd", psd((30_000, 30_000))
    yield "sides.fits", fits(8, bytes(2880), (100_000, 100_000))
    yield "sides.dds", _patched("DDS", "<II", (24, 32), HUGE)
    yield "sides.sgi", _patched("SGI", ">HH", (32, 24), HUGE)
    yield "sides.gbr", struct.pack(">5I4sI", 33, 2, *HUGE, 4, b"GIMP", 10) + bytes(100)
    yield "sides.xpm", b'/* XPM */\n"99999 99999 1 1",\n"x c #ffffff",\n"x"\n'
    yield "sides.j2k", _patched("JPEG2000", ">II", (32, 24), HUGE, no_jp2=True)


def _claims_within() -> Named:
    """The same in places where a decoder may see it late, or take it for nonsense."""
    huge = png(png_header(HUGE, 8, 2), b"")
    yield "png.ico", icon(huge)
    yield "many-png.ico", icon(*[huge] * 200)
    yield "png.icns", icns((b"ic10", huge))
    yield "jp2.icns", icns((b"ic09", _patched("JPEG2000", ">II", (32, 24), HUGE)))
    yield "widest-unsigned.tiff", grey_tiff((2**32 - 1, 2**32 - 1))
    yield "negative.bmp", _patched("BMP", "<ii", (32, 24), (-1, -(2**31)))
    yield "frame.webp", _patched("WEBP", "<HH", (32, 24), (0x3FFF, 0x3FFF))
    for kind in ("AVIF", "HEIF"):
        sides = rb"\1" + struct.pack(">II", *HUGE).replace(b"\\", rb"\\")
        yield f"sides.{kind.lower()}", re.sub(rb"(?s)(ispe....).{8}", sides, saved(picture(), kind))
    yield "sides.tga", _patched("TGA", "<HH", (32, 24), (65_535, 65_535))
    yield "sides.pcx", _patched("PCX", "<HH", (31, 23), (65_535, 65_535))
    yield "sides-behind-the-header.jp2", _patched("JPEG2000", ">II", (32, 24), HUGE)
    yield "tiles.j2k", _tiles()
    yield "one-wide-row.ppm", b"P6 190000000 1 255\n"
    yield "short-of-data.bmp", _patched("BMP", "<II", (32, 24), (13_000, 13_000))
    yield "short-of-data.tiff", grey_tiff((14_000, 14_000))
    yield "tall.xpm", b'/* XPM */\n"1 190000000 1 1",\n"x c #ffffff",\n"x"\n'
    yield "pixels.gbr", struct.pack(">5I4sI", 33, 2, 13_000, 13_000, 4, b"GIMP", 10) + bytes(100)


def _patched(kind: str, layout: str, old: tuple[int, ...], new: tuple[int, ...], **options: object) -> bytes:
    """A sound file with numbers of its header replaced, wherever they stand together."""
    data = saved(picture(), kind, **options)
    patched = data.replace(struct.pack(layout, *old), struct.pack(layout, *new))
    if patched == data:
        raise AssertionError(f"{old} are not in a {kind} file")
    return patched


def _tiles() -> bytes:
    """A JPEG 2000 of 196 million tiles: the size of the picture, of a tile, and where they begin."""
    sides, origin = struct.pack(">II", 32, 24), bytes(8)
    data = saved(picture(), "JPEG2000", no_jp2=True)
    picture_and_tile = (sides + origin) * 2
    assert picture_and_tile in data
    huge = struct.pack(">II", 14_000, 14_000) + origin + struct.pack(">II", 1, 1) + origin
    return data.replace(picture_and_tile, huge)


def _unpacking() -> Named:
    """Little that unpacks to much, beside a small picture."""
    zeros = deflated_zeros(500_000_000)
    plain = saved(picture(), "PNG")
    yield "text.png", with_png_chunks(plain, png_chunk(b"zTXt", b"Comment\0\0" + zeros))
    yield "profile.png", with_png_chunks(plain, png_chunk(b"iCCP", b"profile\0\0" + zeros))
    yield "xmp.png", with_png_chunks(plain, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros))
    yield "late-text.png", plain[:-12] + png_chunk(b"zTXt", b"Comment\0\0" + zeros) + plain[-12:]
    yield "much-too-much.png", png(png_header((8, 8), 8, 0), zeros)
    yield "laughs.jpg", with_jpeg_segments(saved(picture(), "JPEG"), jpeg_segment(0xE1, _laughing_xmp()))
    yield "packed.fits", _packed_fits()
    yield (
        "runs.tga",
        b"\0\0\x0a\0\0\0\0\0\0\0\0\0" + struct.pack("<HHBB", 9000, 9000, 24, 0) + b"\xff\1\2\3" * 99,
    )
    yield "deflated.tiff", _deflated_tiff((13_000, 13_000))


def _laughing_xmp() -> bytes:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    document = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><x:xmpmeta xmlns:x="adobe:ns:meta/">&l9;</x:xmpmeta>'
    return b"http://ns.adobe.com/xap/1.0/\0" + document.encode()


def _packed_fits() -> bytes:
    """A compressed FITS of 200 MB of zeros, said to be 64 x 64."""
    cards = ["SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "END"]
    first = "".join(card.ljust(80) for card in cards).ljust(2880)
    cards = ["XTENSION= 'BINTABLE'", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 8", "NAXIS2  = 1"]
    cards += ["ZIMAGE  = T", "ZCMPTYPE= 'GZIP_1  '", "ZBITPIX = 8", "ZNAXIS  = 2"]
    cards += ["ZNAXIS1 = 64", "ZNAXIS2 = 64", "END"]
    second = "".join(card.ljust(80) for card in cards).ljust(2880)
    return (first + second).encode() + bytes(8) + gzip.compress(bytes(200_000_000), 6, mtime=0)


def _deflated_tiff(size: tuple[int, int]) -> bytes:
    """One strip of 169 MB of zeros."""
    data = bytearray(grey_tiff(size))
    strip = deflated_zeros(size[0] * size[1])
    compression = data.index(struct.pack("<HHII", 259, 3, 1, 1))
    data[compression + 8] = 8
    count = data.index(struct.pack("<HHI", 279, 4, 1))
    data[count + 8 : count + 12] = struct.pack("<I", len(strip))
    return bytes(data[:-1000]) + strip


def _counts() -> Named:
    """More of something than anybody has, or says to have."""
    plain = saved(picture(), "PNG")
    yield "chunks.png", with_png_chunks(plain, *[png_chunk(b"tEXt", b"a\0b")] * 100_000)
    yield "empty-chunks.png", _with_empty_data(plain, 100_000)
    yield "frames.gif", _frames(100_000)
    yield "extensions.gif", _extensions(300_000)
    yield "samples.tiff", grey_tiff((100, 100), tiff_entry(277, 3, 1, 65_535))
    yield "bits.tiff", grey_tiff((100, 100), tiff_entry(277, 3, 60_000, 8))
    yield (
        "tiles.tiff",
        grey_tiff(
            (14_000, 14_000), tiff_entry(322, 4, 1, 1), tiff_entry(323, 4, 1, 1), tiff_entry(324, 4, 2**31, 8)
        ),
    )
    yield "entries.tiff", tiff([tiff_entry(tag, 4, 2**30, 8) for tag in range(20_000)])
    yield "layers.psd", psd(layers=struct.pack(">Ih", 2**31, -32_768) + b"\xff" * 2000)
    yield "pictures.mpo", _mpo_of(0xFFFF)
    yield "cursors.cur", struct.pack("<HHH", 0, 2, 65_535) + bytes(range(256)) * 40
    yield "icons.ico", struct.pack("<HHH", 0, 1, 65_535) + bytes(range(256)) * 40
    yield "colours.xpm", b'/* XPM */\n"9 9 999999999 9",\n' + b'"x c #ffffff",\n' * 1000
    yield "components.jp2", saved(picture(), "JPEG2000").replace(b"\0\3\7\1\1", b"\x40\0\7\1\1")
    yield "boxes.heic", box(b"ftyp", b"heic", bytes(4), b"heicmif1") + box(b"free") * 200_000
    yield "items.heic", _heif(box(b"iinf", b"\1\0\0\0", struct.pack(">I", 2**32 - 1)))
    yield "places.heic", _heif(box(b"iloc", b"\2\0\0\0DD\0\0", struct.pack(">I", 2**32 - 1)))
    yield (
        "blocks.jpg",
        with_jpeg_segments(saved(picture(), "JPEG"), *[jpeg_segment(0xE2, b"ICC_PROFILE\0")] * 3000),
    )


def _with_empty_data(data: bytes, number: int) -> bytes:
    start = data.index(b"IDAT") - 4
    return data[:start] + png_chunk(b"IDAT", b"") * number + data[start:]


def _frames(number: int) -> bytes:
    dot = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x4c\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + dot * number + b";"


def _extensions(number: int) -> bytes:
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + b"!\xf9\4\0\0\0\0\0" * number + b";"


def _mpo_of(number: int) -> bytes:
    """A JPEG whose index says how many further pictures there are (CIPA DC-007)."""
    entries = [
        tiff_entry(0xB000, 7, 4, 0x30303130),
        tiff_entry(0xB001, 4, 1, number),
        tiff_entry(0xB002, 7, 16 * number, 50),
    ]
    index = b"MPF\0" + tiff(entries, bytes(64))
    return with_jpeg_segments(saved(picture(), "JPEG"), jpeg_segment(0xE2, index))


def _heif(*boxes: bytes) -> bytes:
    return box(b"ftyp", b"heic", bytes(4), b"heicmif1") + box(b"meta", bytes(4), *boxes)


def _loops() -> Named:
    """What leads back to itself, or deeper than anybody would go."""
    yield "directory.tiff", grey_tiff((32, 24), following=8)
    yield "sub-directory.tiff", grey_tiff((32, 24), tiff_entry(330, 4, 1, 8), tiff_entry(34665, 4, 1, 8))
    exif = tiff([tiff_entry(tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005)], following=8)
    for kind in ("JPEG", "PNG", "WEBP", "HEIF", "AVIF"):
        yield f"exif.{kind.lower()}", saved(picture(), kind, exif=b"Exif\0\0" + exif)
    nested = b""
    for _ in range(3000):
        nested = box(b"meta", bytes(4), nested)
    for brand in (b"heic", b"avif", b"mif1"):
        yield f"nested-{brand.decode()}.heic", box(b"ftyp", brand, bytes(4), brand) + nested
    deep = b""
    for _ in range(3000):
        deep = box(b"jp2h", deep)
    yield "nested.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 ", bytes(4), b"jp2 ") + deep
    yield "endless-box.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\0free" * 1000
    yield "icns-in-icns.icns", icns((b"icns", icns((b"icns", icns()))))
    yield "no-length.icns", b"icns\0\0\0\x40ic07\0\0\0\0" + bytes(100)
    yield (
        "no-frame.flc",
        struct.pack("<IHHHHHHI", 128, 0xAF12, 9, 32, 24, 8, 3, 0).ljust(128, b"\0") + bytes(64),
    )


def _slow() -> Named:
    """Much work for each byte."""
    yield "scans.jpg", _many_scans((1500, 1500), 300)
    yield "run.qoi", b"qoif" + struct.pack(">IIBB", 2000, 2000, 3, 0) + b"\xfd" * (4_000_000 // 62 + 1)
    yield "runs.bmp", _bmp_of_lines(3000)
    yield "rows.psd", psd((1, 30_000))
    yield "comments.ppm", b"P3\n" + b"# nothing\n" * 100_000 + b"1 1 255 1 2 3\n"
    yield "words.ppm", b"P3 800 800 255\n" + b"1 " * (3 * 800 * 800)


def _many_scans(size: tuple[int, int], number: int) -> bytes:
    """A progressive JPEG that goes over all its blocks again and again."""
    data = saved(picture("L").resize(size), "JPEG", progressive=True, quality=20)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * number + data[-2:]


def _bmp_of_lines(side: int) -> bytes:
    """RLE8 that ends each line as soon as it begins."""
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 2, 0)
    start = 14 + len(info) + 8
    return b"BM" + struct.pack("<III", 0, 0, start) + info + bytes(8) + b"\0\0" * side + b"\0\1"


def _just_within_the_limit() -> Named:
    """All the memory that may be had for one picture."""
    side = 13_000
    yield "169-megapixels.png", png(png_header((side, side), 8, 2), deflated_zeros(side * (3 * side + 1)))
    yield "169-grey-megapixels.png", png(png_header((side, side), 8, 0), deflated_zeros(side * (side + 1)))
    yield (
        "144-deep-megapixels.png",
        png(png_header((12_000, 12_000), 16, 0), deflated_zeros(12_000 * (24_000 + 1))),
    )
    body = zlib.compress(b"", 9)
    yield "64-interlaced-megapixels.png", png(png_header((8000, 8000), 8, 2, 1), body)
