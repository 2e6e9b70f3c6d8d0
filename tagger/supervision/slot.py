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

from tagger.supervision.messages import HANDFUL
from tagger.values import LoadedImage

_WORDS = 64
"""Bytes for the two words: a line of the processor's cache, so that pictures begin on one."""
_IN_HAND, _CUT = 0, 1


class Slot:
    """Room for a handful of pictures, uint8 [HANDFUL, side, side, 3], in a file without a name; and two words
    beside them, by which each process sees without asking what the other is at.

    A picture that is not square lies in the upper left of its room.

    Who has made it hands :attr:`fd` to the other process, which opens it there by that number.
    """

    def __init__(self, fd: int, side: int) -> None:
        """Raises OSError when the memory cannot be had."""
        self.fd = fd
        self._memory = mmap.mmap(fd, _bytes(side))
        pixels = np.frombuffer(self._memory, np.uint8, offset=_WORDS)
        self._pixels = pixels.reshape(HANDFUL, side, side, 3)

    @classmethod
    def made(cls, side: int) -> Slot:
        """A new one; raises OSError when the system gives none."""
        fd = _nameless_file()
        try:
            os.ftruncate(fd, _bytes(side))
            return cls(fd, side)
        except BaseException:
            os.close(fd)
            raise

    @property
    def in_hand(self) -> int | None:
        """The place in its job of the image that is being read or loaded at the moment."""
        place = self._memory[_IN_HAND]
        return place - 1 if place else None

    @in_hand.setter
    def in_hand(self, place: int | None) -> None:
        self._memory[_IN_HAND] = 0 if place is None else place + 1

    @property
    def is_cut(self) -> bool:
        """Whether no further image of the job is to be begun."""
        return bool(self._memory[_CUT])

    @is_cut.setter
    def is_cut(self, cut: bool) -> None:
        self._memory[_CUT] = cut

    def put(self, place: int, image: LoadedImage) -> LoadedImage:
        """Leave the pixels, [h, w, 3], here; the image with none of them, but with their shape: [h, w, 0]."""
        height, width = image.pixels.shape[:2]
        self._pixels[place, :height, :width] = image.pixels
        return replace(image, pixels=np.empty((height, width, 0), np.uint8))

    def take(self, place: int, image: LoadedImage) -> LoadedImage:
        """The image with a copy of the pixels that were left for it."""
        height, width = image.pixels.shape[:2]
        return replace(image, pixels=self._pixels[place, :height, :width].copy())

    def close(self) -> None:
        """Give the memory back."""
        del self._pixels
        self._memory.close()
        os.close(self.fd)


def _bytes(side: int) -> int:
    return _WORDS + HANDFUL * side * side * 3


def _nameless_file() -> int:
    """In memory where the system has such files (Linux), else where it keeps temporary ones."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tagger-picture")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
