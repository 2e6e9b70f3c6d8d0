"""What a device decodes is not decoded here: the file is judged, and handed on as it is stored.

The judge stands in the loading process, with the CPU's loader beside it: what is not plainly whole,
small enough and of usual colours is loaded there, by the one policy for all.
"""

from __future__ import annotations

from tagger.loading.colour import changes_colours
from tagger.loading.decode import decoding_bytes, open_picture
from tagger.loading.facts import image_facts, orientation_of, read_exif
from tagger.loading.jpeg import PlainJpeg, plain_jpeg
from tagger.loading.quiet import quiet_warnings
from tagger.values import EncodedImage, FileContent, Limits

# Held in memory by the process of the engine while it waits for the device, as dozens of others
# are; a 50-megapixel photo has 15 MB.
_MOST_BYTES = 16_000_000


def handed_over(file: FileContent, limits: Limits, most_pixels: int) -> EncodedImage | None:
    """The image for a device to decode; None when it is to be loaded here, whatever comes of that.

    Args:
        most_pixels: what the device may decode at one time; for 0 nothing is handed over.
    """
    plain = plain_jpeg(file.data) if most_pixels and file.size <= _MOST_BYTES else None
    if plain is None:
        return None
    pixels = plain.size[0] * plain.size[1]
    if pixels > min(most_pixels, limits.max_pixels):
        return None
    quiet_warnings()
    try:
        return _encoded(file, plain, limits)
    except Exception:  # decoders raise nearly everything; the loader will say it in a person's words
        return None


def _encoded(file: FileContent, plain: PlainJpeg, limits: Limits) -> EncodedImage | None:
    opened = open_picture(file.data)
    with opened.image as image:
        stored = image.size
        if stored != plain.size or opened.facts is not None:
            return None
        if changes_colours(image.info.get("icc_profile"), image.mode):
            return None
        exif = read_exif(image)
        facts = image_facts(image.format, stored, exif)
        if decoding_bytes(image, stored) > limits.max_memory:
            return None  # too large for the CPU, and so for all
    return EncodedImage(
        file.image_id, file.digest, facts, plain.data, stored, orientation_of(exif), opened.aside
    )
