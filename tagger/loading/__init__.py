"""Bytes to upright RGB pixels, under limits.

A loader is a :class:`~tagger.loading.protocol.Loader`; each is paired with the device that its
engine runs on. :class:`~tagger.loading.pillow.PillowLoader` serves the CPU, and says what every
loader holds to: what a damaged file is worth, and which outcome each failure has. For a GPU,
:mod:`tagger.loading.device` decodes the JPEGs that :func:`~tagger.loading.handover.handed_over`
finds plain, and the CPU's loader all else.
"""

from tagger.loading.budget import Budget
from tagger.loading.decode import readable_formats
from tagger.loading.failures import NOT_ENOUGH_MEMORY
from tagger.loading.handover import handed_over
from tagger.loading.pillow import PillowLoader
from tagger.loading.protocol import Client, Found, Loader

__all__ = [
    "NOT_ENOUGH_MEMORY",
    "Budget",
    "Client",
    "Found",
    "Loader",
    "PillowLoader",
    "handed_over",
    "readable_formats",
]
