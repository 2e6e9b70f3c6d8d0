"""What Pillow keeps for the whole process, set once and on purpose.

Pillow has a few switches that are no arguments of any call: which formats are registered, how many
pixels are a bomb, where warnings and log lines go. They are all set here, none is changed later,
and none is ever toggled around a call, since other threads are decoding at the same time.
"""

from __future__ import annotations

import ctypes
import logging
import re
import warnings
from pathlib import Path
from threading import Lock

import PIL
import pillow_heif
from PIL import AvifImagePlugin, Image, _imaging

from tagger.loading.jxl import register_jpeg_xl

_LOCK = Lock()
_FROM_DECODERS = r"(PIL|pillow_heif|pylibjxl|rawpy)(\.|$)"
# Pillow keeps a picture in blocks of 16 MB, which glibc may serve from the heap of the thread and
# then not give back: four threads would come to hold the largest picture that each ever saw. From
# 32 MB on it always gives back.
_BLOCK = 64 * 2**20
_FILTER = ("ignore", None, Warning, re.compile(_FROM_DECODERS), 0)


def prepare_pillow(max_pixels: int = 0) -> None:
    """Register all formats and let pictures of ``max_pixels`` through; may be called again.

    Pillow refuses at twice ``MAX_IMAGE_PIXELS``. The loader checks its own limit on what the
    header says; this one also holds for pictures inside of others (icons), so it stays finite, and
    with several loaders the largest counts.
    """
    with _LOCK:
        Image.init()
        # One thread for each image: the loader is called from several already.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
        register_jpeg_xl()
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, (max_pixels + 1) // 2)
        _imaging.set_block_size(_BLOCK)
        _silence_libtiff()
        log = logging.getLogger("PIL")
        if not log.handlers:
            log.addHandler(logging.NullHandler())
    quiet_warnings()


def _silence_libtiff() -> None:
    """Keep libtiff from writing about broken files to the terminal, which Pillow lets it do.

    Its exceptions say the same. The library is the one inside Pillow's wheel, by its path there on
    Linux and macOS; where Pillow is built otherwise, the lines stay.
    """
    package = Path(PIL.__file__).parent
    for folder in (package.parent / "pillow.libs", package / ".dylibs"):
        for library in folder.glob("libtiff*"):
            ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)


def quiet_warnings() -> None:
    """Ignore what the decoders warn of: broken EXIF is no news to somebody with a million photos.

    Looked at for each image, since whoever runs this process may set up warnings anew (a test
    runner does for each test); the list is only changed when it must be.
    """
    if not warnings.filters or warnings.filters[0] != _FILTER:
        with _LOCK:
            warnings.filterwarnings("ignore", module=_FROM_DECODERS)
