"""JPEG XL as one of Pillow's formats, decoded by libjxl (pylibjxl, the extra ``jxl``).

pylibjxl registers a format of its own too, which shows the last frame of an animation instead of the
first: asked for the metadata, it decodes to the end of the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from PIL.ImageFile import ImageFile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def register_jpeg_xl() -> bool:
    """Have Pillow open JPEG XL; False if the extra is not installed."""
    try:
        import pylibjxl  # noqa: F401
    except ImportError:
        return False
    Image.register_open(JpegXlFile.format, JpegXlFile, lambda start: start.startswith(_STARTS))
    return True


class JpegXlFile(ImageFile):
    """Upright as libjxl gives it, 8 bits a channel, with its EXIF, XMP and profile once loaded."""

    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        import pylibjxl

        assert self.fp is not None
        self._data = self.fp.read()
        try:
            found = pylibjxl.probe(self._data)
        except RuntimeError as error:
            raise SyntaxError(str(error)) from error
        self._size = found["width"], found["height"]
        self._mode = _MODES.get(found["channels"], "RGB")
        self._moves = bool(found["have_animation"])
        # Says that there is something to load.
        self.tile = [("jxl", (0, 0, *self._size), 0, None)]  # type: ignore[list-item]

    def load(self) -> PixelAccess | None:
        """The pixels of the first frame.

        Raises:
            OSError: libjxl cannot decode them; there is no picture in part.
        """
        if self._im is None:
            self._im = self._decoded().im
            self.tile = []
        return Image.Image.load(self)

    def _decoded(self) -> Image.Image:
        import pylibjxl

        try:
            pixels, told = pylibjxl.decode(self._data, metadata=True)
            if self._moves:
                pixels = pylibjxl.decode(self._data)
        except RuntimeError as error:
            raise OSError(str(error)) from error
        for name, key in (("icc", "icc_profile"), ("exif", "exif"), ("xmp", "xmp")):
            if told.get(name):
                self.info[key] = told[name]
        picture = Image.fromarray(pixels)
        return picture if picture.mode == self.mode else picture.convert(self.mode)
