"""Camera RAW, shown by the preview that the camera put into it.

What lies on the sensor is no picture yet, and the camera's own JPEG beside it is what its owner saw.
LibRaw finds it (rawpy, the extra ``raw``). Where there is none, or only a stamp too small for the
networks, LibRaw develops the RAW at half its size with the camera's white balance, which costs
seconds: such files are few (some drones, some converters), and their owners want them tagged too.

Most RAW files are TIFF files, of which Pillow shows the first directory: a stamp of 160 x 120
pixels. So they are told apart first, by what only they hold: a directory of sensor values. A TIFF
or DNG without one is a picture like any other. Without rawpy a RAW is refused, and the reason names
what to install.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tagger.loading.facts import STATED, Exif, exif_tags, image_facts, orientation_of
from tagger.loading.failures import RefusalError
from tagger.loading.geometry import Size, swaps_sides, upright_size
from tagger.loading.opened import Opened
from tagger.loading.zeros import without_zeros
from tagger.values import OutcomeKind

if TYPE_CHECKING:
    import rawpy
    from PIL._imaging import PixelAccess

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class RawKind:
    """``format`` is the name in the facts (``NEF``), ``maker`` whose it is."""

    format: str
    maker: str

    def __str__(self) -> str:
        return f"{self.maker} {self.format}".strip()


# By the formats' own first bytes.
_SIGNATURES = (
    (re.compile(rb"....ftypcrx ", re.DOTALL), RawKind("CR3", "Canon")),
    (re.compile(rb"(II\*\0|MM\0\*)....CR", re.DOTALL), RawKind("CR2", "Canon")),
    (re.compile(rb"II....HEAPCCDR", re.DOTALL), RawKind("CRW", "Canon")),
    (re.compile(rb"FUJIFILMCCD-RAW"), RawKind("RAF", "Fujifilm")),
    (re.compile(rb"II(RO|RS)|MMOR"), RawKind("ORF", "Olympus")),
    (re.compile(rb"IIU\0"), RawKind("RW2", "Panasonic")),
    (re.compile(rb"\0MRM"), RawKind("MRW", "Minolta")),
    (re.compile(rb"FOVb"), RawKind("X3F", "Sigma")),
    (re.compile(rb"(II\*\0|MM\0\*)....(IIII|MMMM)", re.DOTALL), RawKind("IIQ", "Phase One")),
)

# The rest are TIFF files, told apart by who made them.
_TIFF = re.compile(rb"II\*\0|MM\0\*")
_MAKERS = (
    ("NIKON", RawKind("NEF", "Nikon")),
    ("SONY", RawKind("ARW", "Sony")),
    ("PENTAX", RawKind("PEF", "Pentax")),
    ("RICOH", RawKind("PEF", "Pentax")),
    ("SAMSUNG", RawKind("SRW", "Samsung")),
    ("HASSELBLAD", RawKind("3FR", "Hasselblad")),
    ("EPSON", RawKind("ERF", "Epson")),
    ("KODAK", RawKind("DCR", "Kodak")),
    ("LEICA", RawKind("RWL", "Leica")),
)
_DNG_VERSION, _SUB_DIRECTORIES = 50706, 330
_TELLING = (_DNG_VERSION, _SUB_DIRECTORIES, Base.Make, Base.PhotometricInterpretation)
# Photometric interpretations that only sensors have: a colour filter array, and linear values (DNG).
_SENSOR = frozenset({32803, 34892})
_MOST_DIRECTORIES = 16

# A preview whose shorter side is below that of the networks' squares is a stamp.
_LEAST_PREVIEW = 256
# LibRaw's turns (dcraw's ``flip``) as EXIF's.
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}

# Canon's CR3 keeps its EXIF near its start.
_CR3_HEADER = 1_000_000


def raw_kind(data: bytes) -> RawKind | None:
    """Whose RAW a file is; None if it is none."""
    known = next((kind for pattern, kind in _SIGNATURES if pattern.match(data)), None)
    return known or (_tiff_kind(data) if _TIFF.match(data) else None)


def open_raw(data: bytes, kind: RawKind) -> Opened:
    """The RAW's largest preview, or itself when that is too small, with the facts of the RAW.

    Raises:
        RefusalError: rawpy is not installed, or LibRaw can make nothing of the file.
    """
    library = _rawpy()
    if library is None:
        reason = f"camera RAW ({kind}): `pip install rawpy` to tag it by its embedded preview"
        raise RefusalError(OutcomeKind.UNSUPPORTED, reason)
    with _reading(library, data, kind) as raw:
        stored, turn = _size(raw), _ORIENTATIONS.get(raw.sizes.flip, 1)
        preview = _preview(library, raw)
    shown = preview if preview and min(preview.image.size) >= _LEAST_PREVIEW else None
    shown = shown or _developed(library, data, kind, stored)
    exif = {**(shown.exif or {}), **stated_exif(data)}
    exif[Base.Orientation] = 1
    facts = image_facts(kind.format, upright_size(stored, turn), exif)
    exif[Base.Orientation] = _turn_of(shown, stored, turn)
    return replace(shown, facts=facts, exif=exif)


class _Rendered(ImageFile):
    """Pixels that are made when they are loaded, as Pillow's own formats are."""

    format = "RAW"
    format_description = "camera RAW"

    def __init__(self, size: Size, render: Callable[[], Pixels]) -> None:
        self._promised, self._render = size, render
        super().__init__(BytesIO())

    def _open(self) -> None:
        self._size, self._mode = self._promised, "RGB"

    def load(self) -> PixelAccess | None:
        """The pixels.

        Raises:
            OSError: the last row is empty, which no sensor's is: LibRaw leaves out without a word
                what a RAW that breaks off lacks. What there is comes with a second call.
        """
        if self._im is None:
            picture = Image.fromarray(self._render())
            # A sensor with oblong or tilted pixels comes out in another size than it states.
            picture = picture if picture.size == self.size else picture.resize(self.size)
            self._im = picture.im
            if picture.crop((0, self.height - 1, *self.size)).getbbox() is None:
                raise OSError("the RAW is truncated")
        return Image.Image.load(self)


def _rawpy() -> ModuleType | None:
    try:
        import rawpy
    except ImportError:
        return None
    return rawpy


@contextmanager
def _reading(library: ModuleType, data: bytes, kind: RawKind) -> Iterator[rawpy.RawPy]:
    """The file opened by LibRaw, whose errors become refusals."""
    try:
        with library.RawPy() as raw:
            raw.open_buffer(BytesIO(data))
            yield raw
    except library.LibRawError as error:
        raise _refusal(library, error, kind) from error


def _refusal(library: ModuleType, error: Exception, kind: RawKind) -> RefusalError:
    name = f"camera RAW ({kind})"
    if isinstance(error, (library.LibRawFileUnsupportedError, library.LibRawNotImplementedError)):
        return RefusalError(OutcomeKind.UNSUPPORTED, f"{name} of a kind that no decoder here reads")
    if isinstance(error, (library.LibRawTooBigError, library.LibRawUnsufficientMemoryError)):
        return RefusalError(OutcomeKind.TOO_LARGE, f"{name} that is too large for LibRaw")
    if isinstance(error, library.LibRawIOError):
        return RefusalError(OutcomeKind.CORRUPT, f"broken {name}: the file ends early")
    return RefusalError(OutcomeKind.CORRUPT, f"broken {name}: its data makes no picture")


def _size(raw: rawpy.RawPy) -> Size:
    """The picture's size on the sensor, within the frame that its camera gives it."""
    sizes = raw.sizes
    whole, frame = (sizes.width, sizes.height), (sizes.crop_width, sizes.crop_height)
    return frame if all(0 < part <= most for part, most in zip(frame, whole, strict=True)) else whole


def _preview(library: ModuleType, raw: rawpy.RawPy) -> Opened | None:
    """The largest embedded preview; None when there is none that can be read."""
    try:
        found = raw.extract_thumb()
    except library.LibRawError:
        return None
    if isinstance(found.data, bytes):
        return _jpeg_preview(found.data)
    pixels = found.data.copy()  # LibRaw's own memory goes with the file
    return Opened(_Rendered((pixels.shape[1], pixels.shape[0]), lambda: pixels), b"")


def _jpeg_preview(data: bytes) -> Opened | None:
    try:
        sound = without_zeros(data)
        image = JpegImageFile(BytesIO(sound))
        return Opened(image, sound, exif=exif_tags(image.getexif()), zeros=len(sound) < len(data))
    except Exception:  # a preview in another format, or broken: the RAW itself is there
        return None


def _developed(library: ModuleType, data: bytes, kind: RawKind, stored: Size) -> Opened:
    """The RAW itself, at half its size."""

    def render() -> Pixels:
        with _reading(library, data, kind) as raw:
            return raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0)

    return Opened(_Rendered(((stored[0] + 1) // 2, (stored[1] + 1) // 2), render), b"")


def _turn_of(shown: Opened, stored: Size, turn: int) -> int:
    """How the shown picture is to be turned, as an EXIF orientation.

    Previews are stored as the sensor lies, but for a few that are upright already: those stand
    where the sensor lies. Whether one is upside down it alone can say.
    """
    width, height = shown.image.size
    if swaps_sides(turn):
        return turn if (width > height) == (stored[0] > stored[1]) else 1
    told = shown.exif is not None and Base.Orientation in shown.exif
    own = orientation_of(shown.exif or {})
    return own if told and not swaps_sides(own) else turn


def stated_exif(data: bytes) -> Exif:
    """Times and place that the RAW itself states; empty where only its preview does."""
    if data.startswith((b"II", b"MM")) and not data.startswith(b"HEAPCCDR", 6):
        # Olympus and Panasonic put a signature of their own where TIFF has 42.
        standard = b"II*\0" if data.startswith(b"II") else b"MM\0*"
        tags = _tags_in(data if data.startswith(standard) else standard + data[4:])
    else:
        tags = _boxed_tags(data[:_CR3_HEADER])
    return {tag: value for tag, value in tags.items() if tag in STATED}


def _boxed_tags(header: bytes) -> Exif:
    """The tags of a CR3, each directory of which is a small TIFF in a box of its own."""
    camera, place = (header.partition(name)[2] for name in (b"CMT2", b"CMT4"))
    return {**_tags_in(camera), Base.GPSInfo: _tags_in(place)} if camera else {}


def _tags_in(block: bytes) -> Exif:
    exif = Image.Exif()
    try:
        exif.load(block)
        return exif_tags(exif)
    except Exception:  # a broken block raises whatever its parser stumbled upon
        return {}


def _tiff_kind(data: bytes) -> RawKind | None:
    """By the directories of a TIFF file: whose RAW it is, if one of them holds a sensor's values."""
    first: dict[int, object] = {}
    for found in _directories(data):
        first = first or found
        if found.get(Base.PhotometricInterpretation) in _SENSOR:
            break
    else:
        return None
    if first[_DNG_VERSION] is not None:
        return RawKind("DNG", "")
    make = str(first[Base.Make]).upper()
    return next((kind for word, kind in _MAKERS if word in make), RawKind("RAW", ""))


def _directories(data: bytes) -> Iterator[dict[int, object]]:
    """The directories of a TIFF file, those beneath others too, as far as they can be read."""
    tags = ImageFileDirectory_v2(data[:8])
    waiting, seen = [tags.next], set[int]()
    while waiting and len(seen) < _MOST_DIRECTORIES:
        offset = waiting.pop(0)
        if not isinstance(offset, int) or not 0 < offset < len(data) or offset in seen:
            continue
        seen.add(offset)
        tags = ImageFileDirectory_v2(data[:8])
        file = BytesIO(data)
        file.seek(offset)
        try:
            tags.load(file)
            found = {tag: tags.get(tag) for tag in _TELLING}
        except Exception:  # broken: what was read before it still counts
            continue
        yield found
        beneath = found[_SUB_DIRECTORIES]
        waiting += [tags.next, *(beneath if isinstance(beneath, tuple) else (beneath,))]
