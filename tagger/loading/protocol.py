"""What loading promises: to a process that has bytes, and to those who have images loaded elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tagger.values import EncodedImage, FileContent, ImageRef, LoadedImage, LoadFailure

Found = LoadedImage | EncodedImage | LoadFailure | None
"""What comes of an image; None when it is not wanted."""


class Loader(Protocol):
    """Turns the bytes of one file into the pixels that a model wants, or people do.

    It is bound to one way of having them and to limits when it is made, may be called from many threads at
    once, and never raises for what is wrong with a file.
    """

    @property
    def name(self) -> str:
        """What is recorded with a tagging (``pillow``)."""
        ...

    def load(self, file: FileContent) -> LoadedImage | LoadFailure:
        """One picture, upright, uint8 RGB, [crop, crop, 3] or whole; or why there is none."""
        ...


class Client(Protocol):
    """Who has images loaded. Told of each in this order, from the threads that see to the loading."""

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]], /) -> Sequence[bool]:
        """Which images are to be loaded, by the SHA-256 of their bytes; asked once for each at most."""
        ...

    def done(self, ref: ImageRef, result: Found, /) -> None:
        """What came of an image."""
        ...

    def failed(self, ref: ImageRef, fault: BaseException, /) -> None:
        """Nothing came of it, through no fault of its own."""
        ...
