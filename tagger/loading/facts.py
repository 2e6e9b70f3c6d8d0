"""What a file says of its picture: its turn, its size as seen, when and where it was taken.

EXIF comes from cameras, phones and forty years of programs, so anything in it may be missing, of
the wrong type or nonsense. Nothing in it is ever the reason why a picture is refused.
"""

from __future__ import annotations

import math
import re
from datetime import datetime

from PIL import ExifTags, Image
from PIL.ExifTags import GPS, IFD, Base

from tagger.loading.geometry import upright_size
from tagger.values import ImageFacts

_DATE = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?")
_OFFSET = re.compile(r"Z|[+-](?:0\d|1[0-4]):[0-5]\d")

# When the picture was taken, digitised, last changed: each time with the tag of its own offset.
_TIMES = (
    (Base.DateTimeOriginal, Base.OffsetTimeOriginal),
    (Base.DateTimeDigitized, Base.OffsetTimeDigitized),
    (Base.DateTime, Base.OffsetTime),
)

# The tags that facts are made of, the turn aside.
STATED = frozenset({*(tag for pair in _TIMES for tag in pair), Base.GPSInfo})

# XMP states the same times where EXIF is lost, as attributes or as elements, in ISO 8601. Two
# words are looked for in the bytes: to read the XML itself would open a door to XML bombs.
_XMP_TIMES = ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
_XMP_TIME = r"""\s*(?:=\s*["']|>)\s*([0-9T:-]{16,19})(?:\.\d+)?(Z|[+-]\d\d:\d\d)?"""
_LONGEST_XMP = 1_000_000

# These two tell their EXIF only once they are decoded, or may.
_FACTS_BEHIND_PIXELS = frozenset({"PNG", "JXL"})
# TIFF is turned by Pillow, its size included; JPEG XL by its decoder, since its own header states
# the turn and EXIF's must be ignored (ISO/IEC 18181-2).
_TURNED_BY_THE_DECODER = frozenset({"TIFF", "JXL"})

Exif = dict[int, object]


def read_exif(image: Image.Image) -> Exif:
    """The picture's EXIF tags, of its first directory and of the camera's, with the directory of
    its place beneath ``GPSInfo``; empty when broken. Times that only XMP states are among them.

    Decodes nothing: what stands behind the pixels is known once they are loaded.
    """
    behind = image.format in _FACTS_BEHIND_PIXELS and "exif" not in image.info
    if behind and getattr(image, "tile", None):
        return {}
    try:
        tags = exif_tags(image.getexif())
    except Exception:  # a broken block raises whatever its parser stumbled upon
        tags = {}
    if taken_at(tags) is None:
        tags.update(_xmp_time(image))
    if image.format in _TURNED_BY_THE_DECODER:
        tags.pop(Base.Orientation, None)
    return tags


def exif_tags(exif: Image.Exif) -> Exif:
    """The tags of Pillow's EXIF in one dictionary; a broken directory costs only itself."""
    tags: Exif = {**exif, **_directory(exif, IFD.Exif)}
    tags[Base.GPSInfo] = _directory(exif, IFD.GPSInfo)
    return tags


def orientation_of(exif: Exif) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) when it is absent or nonsense."""
    value = exif.get(Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def image_facts(image_format: str | None, stored: tuple[int, int], exif: Exif) -> ImageFacts:
    """The facts as a person sees the picture; ``stored`` is its size in the file."""
    width, height = upright_size(stored, orientation_of(exif))
    return ImageFacts(width, height, image_format, taken_at(exif), *position(exif))


def taken_at(exif: Exif) -> str | None:
    """ISO 8601 to the second, with an offset where the file states one; None if there is no
    believable time. Fractions of a second are left out."""
    for time_tag, offset_tag in _TIMES:
        moment = _moment(exif.get(time_tag))
        if moment is not None:
            return moment + _offset(exif.get(offset_tag))
    return None


def seems_edited(exif: Exif, stored: tuple[int, int]) -> bool:
    """Whether a program has been at the picture since the camera wrote it: it says that it was changed later
    than it was taken, or to have had another size."""
    changed, taken = (_moment(exif.get(tag)) for tag in (Base.DateTime, Base.DateTimeOriginal))
    said = exif.get(Base.ExifImageWidth, stored[0]), exif.get(Base.ExifImageHeight, stored[1])
    return said != stored or (changed is not None and taken is not None and changed != taken)


def position(exif: Exif) -> tuple[float, float] | tuple[None, None]:
    """Latitude and longitude in degrees, to a centimetre, north and east positive. None for both
    unless both are stated with their hemispheres; so for 0, 0, which cameras write without a fix."""
    place = exif.get(Base.GPSInfo)
    if not isinstance(place, dict):
        return None, None
    latitude = _degrees(place.get(GPS.GPSLatitude), place.get(GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(place.get(GPS.GPSLongitude), place.get(GPS.GPSLongitudeRef), "EW", 180)
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(value: object, hemisphere: object, sides: str, most: int) -> float | None:
    """Degrees, minutes and seconds, of which the last may be absent, as signed degrees."""
    side = _text(hemisphere)[:1].upper()
    parts = value if isinstance(value, tuple) else (value,)
    if side not in tuple(sides) or len(parts) > 3:
        return None
    try:
        degrees, minutes, seconds = (*(float(part) for part in parts), 0.0, 0.0)[:3]
    except (TypeError, ValueError, ArithmeticError):
        return None
    if not (0 <= minutes <= 60 and 0 <= seconds <= 60):  # false for the not-a-number of 0/0 too
        return None
    total = degrees + minutes / 60 + seconds / 3600
    if not (math.isfinite(total) and 0 <= total <= most):
        return None
    return round(total if side == sides[0] else -total, 7)


def _directory(exif: Image.Exif, which: ExifTags.IFD) -> Exif:
    try:
        return dict(exif.get_ifd(which))
    except Exception:  # as above
        return {}


def _xmp_time(image: Image.Image) -> Exif:
    """The time that the picture's XMP states, as EXIF's tags state it; empty if there is none."""
    packet = image.info.get("xmp")
    text = packet[:_LONGEST_XMP].decode("utf-8", "replace") if isinstance(packet, bytes) else ""
    for name in _XMP_TIMES:
        found = re.search(name + _XMP_TIME, text)
        if found and _moment(found[1]):
            return {Base.DateTimeOriginal: found[1], Base.OffsetTimeOriginal: found[2]}
    return {}


def _moment(value: object) -> str | None:
    match = _DATE.match(_text(value))
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups())).isoformat()  # type: ignore[arg-type]
    except ValueError:  # 0000:00:00, 2021:02:30
        return None


def _offset(value: object) -> str:
    match = _OFFSET.fullmatch(_text(value))
    return match[0].replace("Z", "+00:00") if match else ""


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip(" \0\t\r\n") if isinstance(value, str) else ""
