"""Pictures in order that few programs expect: extreme shapes, odd values, odd company."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from PIL import Image

from tests.corpus.case import Case, sound
from tests.corpus.containers import (
    deflated_zeros,
    jpeg_segment,
    png,
    png_chunk,
    png_header,
    saved,
    with_jpeg_segments,
    with_png_chunks,
)
from tests.corpus.sound import picture

_LOSSLESS = ("PNG", "BMP", "GIF", "TIFF", "WEBP", "TGA", "PPM", "QOI")


@cache
def odd_cases() -> tuple[Case, ...]:
    """All of them are shown."""
    groups = (_shapes(), _values(), _turned(), _beside(), _company(), _large())
    return tuple(sound(f"odd-{name}", data) for group in groups for name, data in group)


def _shapes() -> Iterator[tuple[str, bytes]]:
    for kind in (*_LOSSLESS, "JPEG", "AVIF", "JPEG2000", "HEIF"):
        yield f"dot.{kind.lower()}", saved(picture(size=(1, 1)), kind)
    for kind in ("PNG", "BMP", "TIFF", "JPEG", "GIF"):
        for size in ((1, 20_000), (20_000, 1), (2, 3), (257, 1)):
            yield f"{size[0]}x{size[1]}.{kind.lower()}", saved(Image.new("RGB", size, (9, 99, 199)), kind)


def _values() -> Iterator[tuple[str, bytes]]:
    floats = {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf, "max": 3.4e38, "tiny": 1e-45, "zero": 0.0}
    for name, value in floats.items():
        values = np.linspace(0, 1, 20 * 30, dtype=np.float32).reshape(20, 30)
        values[:, 5:15] = value
        yield f"{name}.tiff", saved(Image.fromarray(values), "TIFF")
        yield f"all-{name}.tiff", saved(Image.fromarray(np.full((20, 30), value, np.float32)), "TIFF")
    for name, number in (("least", -(2**31)), ("most", 2**31 - 1)):
        yield f"{name}.tiff", saved(Image.fromarray(np.full((20, 30), number, np.int32)), "TIFF")
    clear = Image.new("RGBA", (30, 20), (255, 0, 0, 0))
    for kind in ("PNG", "WEBP", "TIFF", "GIF", "AVIF", "ICO"):
        yield f"clear.{kind.lower()}", saved(clear, kind)
    yield "cmyk.jpg", saved(picture("CMYK"), "JPEG")
    yield "ycck.jpg", _ycck()


def _ycck() -> bytes:
    """A CMYK JPEG whose Adobe segment says that it was made YCC and K (transform 2)."""
    data = bytearray(saved(picture("CMYK"), "JPEG"))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def _turned() -> Iterator[tuple[str, bytes]]:
    for orientation in (*range(10), 255, 65535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "MPO"):
            if not (kind == "TIFF" and orientation > 8):
                yield f"turned-{orientation}.{kind.lower()}", saved(picture(), kind, exif=exif)


def _beside() -> Iterator[tuple[str, bytes]]:
    """Metadata that is nonsense, which is no reason to refuse a picture."""
    nonsense = {
        "ones": b"II*\0\x08\0\0\0" + b"\xff" * 60,
        "zeros": bytes(60),
        "loop": b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8),
        "endless": b"MM\0*\0\0\0\x08\xff\xff" + bytes(range(256)),
        "empty": b"",
        "text": b"no directory at all",
    }
    for name, block in nonsense.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            yield f"exif-{name}.{kind.lower()}", saved(picture(), kind, exif=b"Exif\0\0" + block)
    for name, profile in (("short", b"ICC"), ("zeros", bytes(3000)), ("ones", b"\xff" * 3000)):
        for kind in ("JPEG", "PNG", "TIFF", "WEBP"):
            yield f"profile-{name}.{kind.lower()}", saved(picture(), kind, icc_profile=profile)
    xmp = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><broken")
    yield "xmp-broken.jpg", with_jpeg_segments(saved(picture(), "JPEG"), xmp)
    yield "comments.jpg", with_jpeg_segments(saved(picture(), "JPEG"), *[jpeg_segment(0xFE, b"x")] * 5000)
    yield "texts.png", with_png_chunks(saved(picture(), "PNG"), *[png_chunk(b"tEXt", b"a\0b")] * 5000)


def _company() -> Iterator[tuple[str, bytes]]:
    """Two kinds of file at once, the picture first; and pictures under another's name."""
    jpeg, gif = saved(picture(), "JPEG"), saved(picture("P"), "GIF")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "hello")
    video = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + b"\0\0\0\x08free" + bytes(5000)
    yield "with-zip.jpg", jpeg + packed.getvalue()
    yield "with-script.gif", gif + b"*/=1;alert(1);//"
    yield "with-video.jpg", jpeg + video
    yield "with-jpeg.jpg", jpeg + jpeg
    yield "with-rubbish.png", saved(picture(), "PNG") + bytes(range(256)) * 40
    yield "really-png.jpg", saved(picture(), "PNG")
    yield "really-jpeg.heic", jpeg
    yield "really-webp.gif", saved(picture(), "WEBP")


def _large() -> Iterator[tuple[str, bytes]]:
    """Many pixels in few bytes, and still within the limits."""
    yield "49-megapixels.png", png(png_header((7000, 7000), 1, 0), deflated_zeros(7000 * 876))
    grey = zlib.compress(b"\0" + bytes(4000))
    yield "one-row-deflated.png", png(png_header((4000, 1), 8, 0), grey)
    yield "195-megapixels.tiff", saved(Image.new("1", (13_000, 15_000), 1), "TIFF", compression="group4")
