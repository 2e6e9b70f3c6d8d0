"""What a file is by its first bytes, in the words that a reason uses.

Only for files that no decoder took: to tell a broken picture from something that never was one,
and to say what it seems to be. The signatures are those of the formats' own specifications.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """``pattern`` is matched at the start of the file. ``decoder`` is Pillow's name of the format
    when a decoder here reads it, if need be one that the Python package ``package`` brings;
    ``picture`` tells whether it is one at all."""

    pattern: re.Pattern[bytes]
    name: str
    picture: bool
    decoder: str | None = None
    package: str | None = None


def _signature(
    pattern: bytes,
    name: str,
    *,
    picture: bool = False,
    decoder: str | None = None,
    package: str | None = None,
) -> Signature:
    compiled = re.compile(pattern, re.DOTALL)
    return Signature(compiled, name, picture or decoder is not None, decoder, package)


_SIGNATURES = (
    # pictures that a decoder here reads
    _signature(rb"\xff\xd8", "JPEG", decoder="JPEG"),
    _signature(rb"\x89PNG", "PNG", decoder="PNG"),
    _signature(rb"GIF8", "GIF", decoder="GIF"),
    _signature(rb"RIFF....WEBP", "WebP", decoder="WEBP"),
    _signature(rb"....ftypavi[fs]", "AVIF", decoder="AVIF"),
    _signature(rb"....ftyp(hei[cxms]|hev[cxms]|mi[fa]1|msf1)", "HEIF", decoder="HEIF"),
    _signature(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "JPEG 2000", decoder="JPEG2000"),
    _signature(rb"8BPS", "Photoshop", decoder="PSD"),
    _signature(rb"DDS ", "DDS", decoder="DDS"),
    _signature(rb"qoif", "QOI", decoder="QOI"),
    _signature(rb"icns", "ICNS", decoder="ICNS"),
    _signature(rb"BLP[12]", "BLP", decoder="BLP"),
    _signature(rb"P[1-6fy][\s#]", "Netpbm", decoder="PPM"),
    _signature(rb"SIMPLE  =", "FITS", decoder="FITS"),
    _signature(rb"\0\0[\x01\x02]\0[^\0]\0", "ICO", decoder="ICO"),
    _signature(rb"BM....\0\0\0\0", "BMP", decoder="BMP"),
    _signature(rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL", decoder="JXL", package="pylibjxl"),
    _signature(rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF", decoder="TIFF"),
    # pictures that none reads
    _signature(rb"II\xbc", "JPEG XR", picture=True),
    _signature(rb"\x76\x2f\x31\x01", "OpenEXR", picture=True),
    _signature(rb"#\?(RADIANCE|RGBE)", "Radiance HDR", picture=True),
    _signature(rb"gimp xcf", "GIMP", picture=True),
    _signature(rb"AT&TFORM", "DjVu", picture=True),
    _signature(rb".{128}DICM", "DICOM", picture=True),
    _signature(rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript", picture=True),
    _signature(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "Windows metafile", picture=True),
    _signature(
        rb"\s*(<\?xml[^>]*>\s*)?(<!--.{0,400}?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG", picture=True
    ),
    # what is none
    _signature(rb"%PDF", "a PDF document"),
    _signature(rb"PK\x03\x04", "a ZIP archive or an office document"),
    _signature(rb"Rar!", "a RAR archive"),
    _signature(rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    _signature(rb"\x1f\x8b", "a gzip archive"),
    _signature(rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "a compressed archive"),
    _signature(rb".{257}ustar", "a tar archive"),
    _signature(rb"\xd0\xcf\x11\xe0", "an office document"),
    _signature(rb"....ftyp|....(moov|mdat|free|wide)", "a video"),
    _signature(rb"\x1a\x45\xdf\xa3", "a video"),
    _signature(rb"RIFF....AVI |\0\0\x01[\xb3\xba]|FLV|\x30\x26\xb2\x75", "a video"),
    _signature(rb"ID3|\xff[\xe3\xf2\xf3\xfa\xfb]|OggS|fLaC|RIFF....WAVE|FORM....AIF", "a sound file"),
    _signature(rb"\x7fELF|MZ|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe", "a program"),
    _signature(rb"SQLite format 3", "a database"),
    _signature(rb"\s*<(!doctype )?html", "a web page"),
    _signature(rb"\s*<!DOCTYPE html|\s*<(HTML|head|body)", "a web page"),
    _signature(rb"\s*<\?xml|\s*<[a-z:]+[ >]", "an XML document"),
    _signature(rb"bplist", "a property list"),
    _signature(rb"\s*[{\[]\s*[\"{\[]", "a JSON document"),
)

_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]{16,}")
"""In any encoding: so many such bytes are hardly ever anything else."""
_BREAKS = str.maketrans("", "", "\t\n\r")


def signature_of(data: bytes) -> Signature | None:
    """The first signature that fits; None for what is unknown."""
    head = data[:512]
    return next((one for one in _SIGNATURES if one.pattern.match(head)), None)


def is_blank(data: bytes) -> bool:
    """Whether a file holds nothing but zero bytes, as broken copies and rescued disks leave it."""
    return data.count(0, 0, 4096) == min(len(data), 4096) and data.count(0) == len(data)


def looks_like_text(data: bytes) -> bool:
    """Whether the first bytes are all characters that texts hold; few must be UTF-8 as well."""
    head = data[:512]
    return _TEXT.fullmatch(head) is not None or (bool(head) and _is_short_text(head))


def _is_short_text(data: bytes) -> bool:
    try:
        return data.decode("utf-8-sig").translate(_BREAKS).isprintable()
    except UnicodeDecodeError:
        return False
