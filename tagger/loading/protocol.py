"""What the pipeline asks of a loader."""

from __future__ import annotations

from typing import Protocol

from tagger.values import FileContent, LoadedImage, LoadFailure


class Loader(Protocol):
    """Turns the bytes of one file into the pixels that a model wants.

    It is bound to one preprocessing and to limits when it is made, is called from many threads at
    once, and never raises for what is wrong with a file.
    """

    @property
    def name(self) -> str:
        """What is recorded with a tagging (``pillow``)."""
        ...

    def load(self, file: FileContent) -> LoadedImage | LoadFailure:
        """One picture, upright, uint8 RGB of shape [crop, crop, 3]; or why there is none."""
        ...
