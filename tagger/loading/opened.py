"""A file as a picture whose header is read and of which nothing is decoded yet."""

from __future__ import annotations

from dataclasses import dataclass

from PIL.ImageFile import ImageFile

from tagger.loading.facts import Exif
from tagger.loading.zeros import Lost
from tagger.values import ImageFacts


@dataclass(frozen=True, slots=True)
class Opened:
    """``image`` was opened from ``data``, which may be a part of the file; ``aside`` says what a
    person should know of it. Where the picture is shown by a preview, ``facts`` and ``exif`` are
    those of the file itself, with the preview's own orientation; else the picture tells them.
    ``zeros`` tells that the file goes on with nothing but zeros behind ``data``, ``lost`` what is known
    to lie under zeros within it.
    """

    image: ImageFile
    data: bytes
    aside: str | None = None
    facts: ImageFacts | None = None
    exif: Exif | None = None
    zeros: bool = False
    lost: Lost | None = None
