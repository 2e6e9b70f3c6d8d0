"""From bytes to a picture in memory: opened, small enough, and whole or as whole as it can be.

Pillow's own formats are named one by one. Left out on purpose: EPS and PostScript, which Pillow
hands to Ghostscript, a program that runs what the file says; IPTC, whose plugin opens what it
contains with every format, EPS too; WMF, MPEG and the science formats that Pillow identifies and
cannot read. What a plugin from elsewhere has registered in this process comes after them: whoever
installs a decoder wants it used.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

from PIL import Image, UnidentifiedImageError, features
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from tagger.loading.damage import Damage, damage_in, ends_in_one_colour
from tagger.loading.facts import image_facts, read_exif
from tagger.loading.failures import RefusalError, cause_of
from tagger.loading.opened import Opened
from tagger.loading.quiet import prepare_pillow
from tagger.loading.raw import open_raw, raw_kind
from tagger.loading.turbo import decoded
from tagger.loading.zeros import lost_in_zeros, without_zeros
from tagger.values import OutcomeKind

# In the order in which libraries hold them: each is asked in turn until one accepts. AVIF comes
# before HEIF: both claim containers of brand mif1, and only the first sees at once what is not its.
FORMATS = (
    "JPEG", "PNG", "AVIF", "HEIF", "WEBP", "GIF", "TIFF", "BMP", "JXL", "JPEG2000", "ICO", "PPM", "TGA",
    "PSD", "DIB", "ICNS", "CUR", "DDS", "PCX", "DCX", "SGI", "SUN", "QOI", "XBM", "XPM", "IM", "MSP", "PCD",
    "PIXAR", "FLI", "GBR", "BLP", "FTEX", "SPIDER", "FITS", "IMT", "XVTHUMB", "MCIDAS",
)  # fmt: skip

_NAMED = frozenset(FORMATS)

# What a decoder raises when the data and not the machine is at fault.
_DATA_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)

# Peak memory while decoding in bytes for each pixel, measured on 30-megapixel pictures: the picture
# itself by its mode, and what the decoder holds beside it by format.
_PICTURE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_DECODER_BYTES = {
    "WEBP": 13, "JPEG2000": 21, "AVIF": 8, "HEIF": 5, "QOI": 4, "SGI": 3, "FITS": 24, "TIFF": 4, "PSD": 1,
    "DDS": 5, "BLP": 5, "FTEX": 5, "ICNS": 21, "ICO": 5, "CUR": 5, "MSP": 1, "XPM": 9, "PPM": 7,
    "JXL": 5, "RAW": 24,
}  # fmt: skip

# For a plugin's format, of which nothing is known.
_UNKNOWN_DECODER_BYTES = 8

_JPEG_START = b"\xff\xd8\xff"
_END_OF_IMAGE = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = struct.Struct(">I4s")
# All that makes up the picture; the rest is text, profiles and times.
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"})


def readable_formats() -> tuple[str, ...]:
    """The formats, by Pillow's names, that this installation can decode, in the order of asking."""
    prepare_pillow()
    built = {"AVIF": "avif", "WEBP": "webp", "JPEG": "jpg", "JPEG2000": "jpg_2000", "PNG": "zlib"}
    return tuple(name for name in _formats() if name not in built or features.check(built[name]))


def open_picture(data: bytes) -> Opened:
    """The picture with its header read and nothing decoded, and what was wrong beside it.

    What stands beside a sound picture does not cost it: a PNG whose text or profile is broken, or
    unpacks to more than Pillow allows, is opened without them, and a JPEG with a broken index of
    further pictures as the plain JPEG that it also is.

    Raises:
        UnidentifiedImageError, or whatever the decoder does with a broken header.
        RefusalError: a camera RAW of which nothing can be shown, or a container that ends in zeros.
    """
    kind = raw_kind(data)
    if kind is not None:
        return open_raw(data, kind)
    sound, lost = without_zeros(data), lost_in_zeros(data)
    try:
        opened = _opened(sound)
    except _DATA_ERRORS:
        if lost is None:
            raise
        raise RefusalError(OutcomeKind.CORRUPT, lost.reason) from None
    return replace(opened, zeros=len(sound) < len(data), lost=lost)


def open_stamp(data: bytes, why: str) -> Opened:
    """What Pillow shows of a camera RAW of which LibRaw could show nothing, for the reason ``why``:
    mostly a stamp of 160 x 120 pixels, whose size says nothing of the picture's.

    Raises:
        UnidentifiedImageError: it is no camera RAW, or not one that is built like a TIFF.
    """
    kind = raw_kind(data)
    if kind is None:
        raise UnidentifiedImageError("no camera RAW")
    image = _open(data)
    exif = read_exif(image)
    facts = replace(image_facts(kind.format, image.size, exif), width=None, height=None)
    note = f"shown by its stamp of {image.width} x {image.height}: {why}"
    return Opened(image, data, note, facts, exif)


def shrink(image: ImageFile, wanted: int) -> tuple[float, float]:
    """Have a JPEG decoded at 1/2, 1/4 or 1/8, no smaller than ``wanted`` on its shorter side.

    Returns:
        The width and height of the stored picture at the scale it will be decoded at, fractions
        included: the decoded one is rounded up.
    """
    drafted = image.draft(None, (wanted, wanted)) if image.format in ("JPEG", "MPO") else None
    return drafted[1][2:] if drafted else (float(image.width), float(image.height))


def decode(opened: Opened, wanted: int) -> tuple[Image.Image, Damage | None]:
    """Decode a picture that was opened, and shrunk to ``wanted``.

    Raises:
        What the decoder raises, when nothing can be shown.
        RefusalError: what a container holds was cut off.
    """
    image = opened.image
    if opened.lost is not None and not (opened.lost.may_be_flat and _is_flat_below(image)):
        raise RefusalError(OutcomeKind.CORRUPT, opened.lost.reason)
    if (picture := decoded(image, opened.data)) is not None:
        return picture, None
    from_bottom = _is_stored_from_bottom(image)
    try:
        image.load()
    except _DATA_ERRORS as error:
        picture = _salvaged(image, opened.data, wanted, error)
        cause = cause_of(error, zeros=opened.zeros)
        return picture, damage_in(picture, cause, from_bottom=from_bottom, coarse=_is_refined(image))
    return image, None


def decoding_bytes(image: ImageFile, stored: tuple[int, int]) -> int:
    """About how much memory decoding will take at its peak; ``stored`` is the size in the file,
    ``image.size`` what it will be decoded at."""
    picture = _PICTURE_BYTES.get(image.mode, 4)
    pixels = image.width * image.height
    unknown = 0 if image.format in _NAMED else _UNKNOWN_DECODER_BYTES
    decoder = pixels * _DECODER_BYTES.get(image.format or "", unknown)
    return pixels * picture + decoder + _coefficient_bytes(image, stored)


def _coefficient_bytes(image: ImageFile, stored: tuple[int, int]) -> int:
    """A progressive JPEG is held whole as coefficients, two bytes each, at any scale."""
    layers = getattr(image, "layer", None)
    if not layers or not image.info.get("progressive"):
        return 0
    widest, highest = (max(1, *(layer[side] for layer in layers)) for side in (1, 2))
    samples = sum(layer[1] * layer[2] for layer in layers) / (widest * highest)
    return int(2 * samples * stored[0] * stored[1])


def _open(data: bytes) -> ImageFile:
    return Image.open(BytesIO(data), formats=_formats())


def _opened(data: bytes) -> Opened:
    try:
        return Opened(_open(data), data)
    except _DATA_ERRORS:
        if data.startswith(_JPEG_START):
            aside = "damaged: its index of further pictures is broken"
            return Opened(JpegImageFile(BytesIO(data)), data, aside)
        bare = _bare_png(data)
        if bare is None:
            raise
    return Opened(_open(bare), bare, "damaged: its text or colour profile is broken")


def _formats() -> tuple[str, ...]:
    """Those that are named and there, and then those of plugins from elsewhere."""
    there = Image.OPEN.copy()  # another thread may be registering
    others = [name for name in there if name not in _NAMED and not _is_pillows_own(there[name][0])]
    return (*(name for name in FORMATS if name in there), *others)


def _is_pillows_own(opener: Callable[..., ImageFile]) -> bool:
    return (getattr(opener, "__module__", None) or "").startswith("PIL.")


def _salvaged(image: ImageFile, data: bytes, wanted: int, error: Exception) -> Image.Image:
    """What the decoder had made before it failed; raises ``error`` again when that is nothing."""
    if image.format in ("JPEG", "MPO"):
        ended = _ended_jpeg(data, wanted)
        if ended is not None:
            return ended
    if _is_interlaced(image):
        raise error
    image.tile = []
    try:
        image.load()
    except Exception:
        raise error from None
    return image


def _ended_jpeg(data: bytes, wanted: int) -> Image.Image | None:
    """The JPEG decoded again with the marker that its end lacks, which makes the decoder give up
    what it holds: unfinished rows, and all of a progressive picture so far."""
    image = _open(data + _END_OF_IMAGE)
    shrink(image, wanted)
    try:
        image.load()
    except _DATA_ERRORS:
        return None
    return image


def _is_stored_from_bottom(image: ImageFile) -> bool:
    """Whether the lowest row comes first, as in most BMP and TGA files."""
    # (codec, extents, offset, arguments): a plain tuple in plugins from elsewhere.
    codec, *_, arguments = tuple(image.tile[0]) if image.tile else ("", None)
    # Pillow tells these two decoders the direction of rows among their arguments.
    return codec in ("raw", "tga_rle") and isinstance(arguments, tuple) and -1 in arguments


def _is_flat_below(image: ImageFile) -> bool:
    try:
        image.load()
    except _DATA_ERRORS:
        return False
    return ends_in_one_colour(image)


def _is_refined(image: ImageFile) -> bool:
    """Whether the data tell the whole picture first, and its details after that."""
    return image.format == "JPEG2000" or bool(image.info.get("progressive"))


def _is_interlaced(image: ImageFile) -> bool:
    """Whether rows are stored out of order, so that what is missing lies between what is there."""
    if image.format == "GIF":
        # (bits, interlace, transparency), as Pillow hands them to its decoder.
        return any(isinstance(tile.args, tuple) and bool(tile.args[1]) for tile in image.tile)
    return bool(image.info.get("interlace"))


def _bare_png(data: bytes) -> bytes | None:
    """A PNG without the chunks that the picture does not need; None if that changes nothing."""
    if not data.startswith(_PNG_START):
        return None
    kept, position = [_PNG_START], len(_PNG_START)
    while position + _PNG_CHUNK.size <= len(data):
        length, name = _PNG_CHUNK.unpack_from(data, position)
        end = position + _PNG_CHUNK.size + length + 4
        if not re.fullmatch(rb"[A-Za-z]{4}", name):
            break
        if name in _PNG_PICTURE:
            kept.append(data[position:end])
        position = end
    bare = b"".join(kept)
    return bare if len(bare) < len(data) else None
