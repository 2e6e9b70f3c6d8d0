"""What a file says of its picture: its turn, its size as seen, when it was taken.

EXIF comes from cameras, phones and forty years of programs, so anything in it may be missing, of
the wrong type or nonsense. Nothing in it is ever the reason why a picture is refused.
"""

from __future__ import annotations

import re
from datetime import datetime

from PIL import ExifTags, Image
from PIL.ExifTags import Base

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

Exif = dict[int, object]


def read_exif(image: Image.Image) -> Exif:
    """The picture's EXIF tags, of its first directory and of the camera's; empty when broken.

    Decodes nothing: of a PNG that keeps them behind its pixels, they are known once it is loaded.
    """
    if image.format == "PNG" and "exif" not in image.info and getattr(image, "tile", None):
        return {}
    try:
        exif = image.getexif()
        tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # a broken block raises whatever its parser stumbled upon
        return {}
    if image.format == "TIFF":
        # Pillow itself turns TIFF files, their size included.
        tags.pop(Base.Orientation, None)
    return tags


def orientation_of(exif: Exif) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) when it is absent or nonsense."""
    value = exif.get(Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def image_facts(image_format: str | None, stored: tuple[int, int], exif: Exif) -> ImageFacts:
    """The facts as a person sees the picture; ``stored`` is its size in the file."""
    width, height = upright_size(stored, orientation_of(exif))
    return ImageFacts(width, height, image_format, taken_at(exif))


def taken_at(exif: Exif) -> str | None:
    """ISO 8601 to the second, with an offset where the file states one; None if there is no
    believable time. Fractions of a second are left out."""
    for time_tag, offset_tag in _TIMES:
        moment = _moment(exif.get(time_tag))
        if moment is not None:
            return moment + _offset(exif.get(offset_tag))
    return None


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
