"""Where a loading process leaves a picture for its watcher: memory that both of them see.

A picture is far larger than all else that is said about an image. Through the socket it would be pickled,
written and read in pieces, and unpickled; so it is copied in and copied out.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import replace

import numpy as np

from tagger.values import LoadedImage

_EMPTY = np.empty((0, 0, 3), np.uint8)


class Slot:
    """Room for one square picture, uint8 [side, side, 3], in a file without a name.

    Who has made it hands :attr:`fd` to the other process, which opens it there by that number.
    """

    def __init__(self, fd: int, side: int) -> None:
        """Raises OSError when the memory cannot be had."""
        self.fd = fd
        self._memory = mmap.mmap(fd, side * side * 3)
        self._pixels = np.frombuffer(self._memory, np.uint8).reshape(side, side, 3)

    @classmethod
    def made(cls, side: int) -> Slot:
        """A new one; raises OSError when the system gives none."""
        fd = _nameless_file()
        try:
            os.ftruncate(fd, side * side * 3)
            return cls(fd, side)
        except BaseException:
            os.close(fd)
            raise

    def put(self, image: LoadedImage) -> LoadedImage:
        """Leave the pixels here; the image without them."""
        self._pixels[:] = image.pixels
        return replace(image, pixels=_EMPTY)

    def take(self, image: LoadedImage) -> LoadedImage:
        """The image with a copy of the pixels that were left for it."""
        return replace(image, pixels=self._pixels.copy())

    def close(self) -> None:
        """Give the memory back."""
        del self._pixels
        self._memory.close()
        os.close(self.fd)


def _nameless_file() -> int:
    """In memory where the system has such files (Linux), else where it keeps temporary ones."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tagger-picture")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
