"""What a name alone tells: whose a file or folder is, and whether it can be an image.

The tables are short on purpose. A file is passed over only when its name says for certain that it
is no picture of a person's; every other file, whatever its extension or with none, is worth a row.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from urllib.parse import unquote_to_bytes


class SkipReason(StrEnum):
    """Why an entry gets no row. All are counted; none is a failure."""

    HIDDEN = "hidden"
    """Its name begins with a dot."""
    SYSTEM = "system"
    """Made by a NAS, a system or a photo program: thumbnails, bins, previews, catalogues."""
    IGNORED = "ignored"
    """Named by a ``.taggerignore`` file."""
    LINK = "link"
    """A link to a folder that is reached under its own name anyway, or a loop of links."""
    SIDECAR = "sidecar"
    """Notes of a program on a picture beside it."""
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    ARCHIVE = "archive"


_SYSTEM_NAMES = frozenset(
    {
        # network storage: Synology, QNAP, NetApp
        "@eadir", "@tmp", "@synoresource", "#recycle", "#snapshot", "@recycle", "@recently-snapshot",
        # Windows, macOS, Linux
        "$recycle.bin", "recycler", "system volume information", "thumbs.db", "ehthumbs.db",
        "ehthumbs_vista.db", "desktop.ini", "found.000", "__macosx", "network trash folder",
        "temporary items", "icon\r", "lost+found",
    }
)  # fmt: skip
# Lightroom's previews and smart previews, Aperture's and Nextcloud's.
_SYSTEM_ENDS = (".lrdata", ".lrprev")
_SYSTEM_STARTS = "appdata_"
# Apple's libraries are folders; beside the originals they hold derivatives, faces and databases.
_LIBRARY = re.compile(r".+\.(photoslibrary|(migrated)?photolibrary|aplibrary)", re.IGNORECASE | re.DOTALL)
_LIBRARY_ORIGINALS = frozenset({"originals", "masters"})

_EXTENSIONS: dict[SkipReason, str] = {
    # .thm is a JPEG, yet a thumbnail of the video or RAW file beside it.
    SkipReason.SIDECAR: "xmp aae thm pp3 pto json dop cos on1 nksc lrcat lrcat-data db db-shm db-wal "
    "db-journal ini lnk url",
    SkipReason.VIDEO: "mp4 m4v mov avi mkv webm mpg mpeg mpe m2v mts m2ts ts vob wmv asf flv f4v 3gp 3g2 ogv "
    "mxf lrv insv braw",
    SkipReason.AUDIO: "mp3 m4a aac wav wave flac ogg oga opus wma aif aiff mid midi amr caf",
    SkipReason.DOCUMENT: "pdf txt md rst rtf doc docx odt xls xlsx ods csv tsv ppt pptx odp htm html xml "
    "yaml yml log pages numbers key epub mobi srt vtt gpx kml sql sqlite sqlite3 py sh bat css js",
    SkipReason.ARCHIVE: "zip rar 7z tar gz tgz bz2 tbz xz txz zst iso dmg cab jar apk exe dll msi deb rpm",
}
_KIND_OF_EXTENSION = {name: kind for kind, names in _EXTENSIONS.items() for name in names.split()}

# What a library has most of: in none of these names would any of the tables above find a thing. They
# are spelt out, since each of a million is asked, and comparing without regard to case takes longer.
_PHOTO = r"\.(?:jpe?g|JPE?G|png|PNG|heic|HEIC|webp|tiff?)"
is_photo = re.compile(rf"(?!\.|[Aa][Pp]{{2}}[Dd]).+{_PHOTO}", re.DOTALL).fullmatch
"""Matches a name of which a file is looked at for certain."""
is_plain_photo = re.compile(rf"(?![Aa][Pp]{{2}}[Dd])[A-Za-z0-9_-][A-Za-z0-9._-]*{_PHOTO}").fullmatch
"""The same of a name that is its own part of a URI."""


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden or a system's own."""
    return skip_by_name(name) is not None


def skip_by_name(name: str) -> SkipReason | None:
    """Why a file or folder of this name is never looked at; None when it is."""
    if name.startswith("."):
        return SkipReason.HIDDEN
    lower = name.lower()
    system = lower in _SYSTEM_NAMES or lower.endswith(_SYSTEM_ENDS) or lower.startswith(_SYSTEM_STARTS)
    return SkipReason.SYSTEM if system else None


def skip_in_library(parent: str, name: str) -> SkipReason | None:
    """Why a folder inside the folder ``parent`` is not looked at: inside Apple's photo libraries
    only the originals are a person's pictures."""
    if _LIBRARY.fullmatch(parent) and name.lower() not in _LIBRARY_ORIGINALS:
        return SkipReason.SYSTEM
    return None


def kind_by_extension(name: str) -> SkipReason | None:
    """The kind of known non-image that a file's extension names; None when it may be an image."""
    stem, dot, extension = name.rpartition(".")
    return _KIND_OF_EXTENSION.get(extension.lower()) if dot and stem else None


def name_of(uri: str) -> str:
    """A URI as a person reads it: a path for a local file, unprintable characters escaped."""
    return printable(os.fsdecode(unquote_to_bytes(uri.removeprefix("file://"))))


def printable(text: str) -> str:
    """A name as any terminal, table and database can show it: on one line, no byte of it lost.

    Bytes that are not UTF-8, control characters (a terminal would obey them), breaks of line and
    marks that turn the direction of writing are escaped as in Python's strings.
    """
    if text.isprintable() and text.isascii():
        return text
    raw = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(char if _shows(char) else char.encode("unicode_escape").decode() for char in raw)


def _shows(char: str) -> bool:
    # The joiner inside emoji is no printable character by itself, yet does no harm.
    return char.isprintable() or char == "\N{ZERO WIDTH JOINER}"
