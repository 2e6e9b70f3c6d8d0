"""The loader of the CPU engines: Pillow decodes, and only what is shown is resampled.

What all loaders hold to, whatever decodes:

**Damage.** A picture that breaks off or turns to noise is worth what a person would still see in
it. When at least half of its rows are there, those rows are taken for the picture, and the note
says what is missing (``damaged: the file ends early; the lower 30% of the picture is missing``).
With less, it is ``corrupt``: tags of a strip of sky help nobody. That holds for JPEG, PNG, GIF,
TIFF, BMP and all that are decoded row by row; a progressive JPEG is taken as coarse as it is. WebP,
AVIF, HEIF and JPEG XL are all or nothing by their decoders, interlaced PNG and GIF by their nature.
A file that keeps its length and ends in zeros counts as one that ends where they begin. Errors that
the decoder itself passes over (noise within a JPEG) are not known here.

**Limits.** Bytes are limited where files are read. Pixels are counted from the header, before
anything is decoded; so is the memory that decoding will take, of which all threads together hold
no more than ``memory``.

**First picture.** Of animations the first frame, of documents the first page, of HEIF the primary
image, of icons the largest, of camera RAW the largest preview.

**As a person sees it.** Turned by EXIF; transparency over white; colour profiles applied; inks as
colours; more than 8 bits brought down by the range that is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from tagger.loading.budget import Budget, Memory
from tagger.loading.colour import resample, to_rgb
from tagger.loading.damage import Damage
from tagger.loading.decode import decode, decoding_bytes, open_picture, open_stamp, shrink
from tagger.loading.facts import Exif, image_facts, orientation_of, read_exif
from tagger.loading.failures import RefusalError, explain, too_many_pixels
from tagger.loading.framing import framing_of
from tagger.loading.geometry import TURNS, TURNS_AFTER_SWAP, Size, missing_side, scaled, swaps_sides
from tagger.loading.opened import Opened
from tagger.loading.preview import open_preview
from tagger.loading.quiet import prepare_pillow, quiet_warnings
from tagger.values import (
    FileContent,
    ImageFacts,
    Limits,
    LoadedImage,
    LoadFailure,
    OutcomeKind,
    Preprocessing,
    Whole,
)

_LOG = logging.getLogger(__name__)

# How many times larger than wanted block averages must leave a picture to the exact kernel: top-1 on
# 650 photos stays what it is.
_GAP = 2.0

# A picture of which less is there is corrupt.
_LEAST_KEPT = 0.5


class PillowLoader:
    """Loads for one preprocessing; thread-safe, and best used by all threads of a process.

    Args:
        preprocessing: the square that the weights want, whose ``resize`` must not be below ``crop``; or
            the whole picture, as people want it.
        limits: what one image may cost.
        memory: where decoding takes its memory from; a picture that needs more than all of it is
            ``too_large``. By default ``limits.max_memory``, for the threads of this loader.

    Raises:
        ModelError: the preprocessing cannot be done.
    """

    name = "pillow"

    def __init__(
        self,
        preprocessing: Preprocessing | Whole,
        limits: Limits | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._framing = framing_of(preprocessing)
        self._limits = limits or Limits()
        self._memory = memory or Budget(self._limits.max_memory)
        prepare_pillow(self._limits.max_pixels)

    def load(self, file: FileContent) -> LoadedImage | LoadFailure:
        """One picture as the model wants it, or why there is none; never raises for a file."""
        quiet_warnings()
        result = self._tried(file, open_picture)
        if isinstance(result, LoadedImage) or result.kind is OutcomeKind.TOO_LARGE:
            return result
        stamp = self._tried(file, lambda data: open_stamp(data, result.reason))
        return stamp if isinstance(stamp, LoadedImage) else result

    def _tried(self, file: FileContent, opening: Callable[[bytes], Opened]) -> LoadedImage | LoadFailure:
        facts: ImageFacts | None = None
        try:
            opened = opening(file.data)
            with opened.image as image:
                exif = opened.exif or read_exif(image)
                facts = opened.facts or image_facts(image.format, image.size, exif)
                self._check_pixels(image.size)
                self._check_pixels((facts.width or 0, facts.height or 0))
                shown = self._by_preview(file, replace(opened, facts=facts, exif=exif))
                return shown or self._loaded(file, opened, exif)
        except Exception as error:  # the one place: decoders raise nearly everything
            _LOG.debug("loading failed: %s", file.uri, exc_info=True)
            as_format = facts.format if facts else None
            kind, reason = explain(error, file.data, self._limits.max_pixels, opened=as_format)
            return LoadFailure(file.image_id, kind, reason, file.digest, facts)

    def _by_preview(self, file: FileContent, opened: Opened) -> LoadedImage | None:
        """The same picture by the small one that the camera put beside it; None if there is none, or if
        anything is wrong with it."""
        preview = open_preview(opened, self._framing.least(opened.image.size))
        if preview is None:
            return None
        try:
            with preview.image:
                loaded = self._loaded(file, preview, opened.exif or {})
        except Exception:  # as above; the picture itself may well be sound
            _LOG.debug("preview not used: %s", file.uri, exc_info=True)
            return None
        return loaded if loaded.note == opened.aside else None

    def _loaded(self, file: FileContent, opened: Opened, exif: Exif) -> LoadedImage:
        image = opened.image
        stored = image.size
        least = self._framing.least(stored)
        extent = shrink(image, least)
        needed = decoding_bytes(image, stored)
        self._check_memory(needed)
        with self._memory.taking(needed):
            picture, damage = decode(opened, least)
            # What a PNG keeps behind its pixels is known only now.
            exif = exif or read_exif(image)
            turn = orientation_of(exif)
            note = _note(damage, opened.aside, turn)
            small = self._resampled(picture, stored, extent, turn, damage)
        rgb = to_rgb(small, image.info.get("icc_profile"))
        turns = TURNS_AFTER_SWAP if swaps_sides(turn) else TURNS
        upright = rgb.transpose(turns[turn]) if turn in turns else rgb
        facts = opened.facts or image_facts(image.format, stored, exif)
        return LoadedImage(file.image_id, file.digest, facts, np.asarray(upright), note)

    def _resampled(
        self,
        picture: Image.Image,
        stored: Size,
        extent: tuple[float, float],
        turn: int,
        damage: Damage | None,
    ) -> Image.Image:
        """What is shown of a decoded picture, of its sound rows alone if it is damaged."""
        kept = damage.kept if damage else 1.0
        sound = stored[0], max(1, round(stored[1] * kept))
        box, size = self._framing.part(sound, turn)
        left, upper, right, lower = scaled(box, sound, (extent[0], extent[1] * kept))
        skipped = extent[1] * (1 - kept) if damage and damage.from_bottom else 0.0
        part = left, upper + skipped, right, min(lower + skipped, extent[1])
        return resample(picture, part, size, self._framing.kernel, _GAP, turn)

    def _check_pixels(self, stored: Size) -> None:
        pixels = stored[0] * stored[1]
        if pixels > self._limits.max_pixels:
            reason = too_many_pixels(pixels, self._limits.max_pixels)
            raise RefusalError(OutcomeKind.TOO_LARGE, f"{stored[0]} x {stored[1]}: {reason}")

    def _check_memory(self, needed: int) -> None:
        if needed > self._memory.total:
            has = f"{self._memory.total / 1e6:.0f} MB (TAGGER_MAX_MEMORY)"
            reason = f"decoding it would take {needed / 1e6:.0f} MB of memory, the limit is {has}"
            raise RefusalError(OutcomeKind.TOO_LARGE, reason)


def _note(damage: Damage | None, aside: str | None, turn: int) -> str | None:
    """What a person should know of a picture that is shown in spite of it.

    Raises:
        RefusalError: too little of it is there.
    """
    if damage is None:
        return aside
    side = missing_side(turn, at_top=damage.from_bottom)
    missing = round(100 * (1 - damage.kept))
    if damage.kept < _LEAST_KEPT:
        kept = "nothing" if damage.kept == 0 else f"no more than {max(1, 100 - missing)}%"
        raise RefusalError(OutcomeKind.CORRUPT, f"{damage.cause}; {kept} of the picture is there")
    if missing:
        what = f"the {side} {missing}% of the picture is missing"
    elif damage.coarse:
        what = "the picture is coarser than it was"
    else:
        what = "next to nothing of the picture is missing"
    note = f"damaged: {damage.cause}; {what}"
    return f"{aside}; {note}" if aside else note
