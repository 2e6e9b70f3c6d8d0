"""What a device decodes is the picture that the CPU's loader makes, and is what it calls sound.

TorchCodec's side for the CPU stands for the GPU where there is none: all but its kernels is the same.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from tagger.loading import PillowLoader, handed_over
from tagger.loading.device import DeviceDecoder, resampling
from tagger.values import EncodedImage, FileContent, Limits, LoadedImage, LoadFailure, Preprocessing
from tests.corpus.build import corpus
from tests.photos import EXAMPLES
from tests.torch_threads import one_thread  # noqa: F401 -- a fixture for all tests here
from tests.unit.loading.conftest import (
    PREPROCESSING,
    Load,
    Pixels,
    difference,
    file_of,
    loaded,
    picture,
    saved,
)
from tests.unit.loading.profiles import DISPLAY_P3, matrix_profile

pytest.importorskip("torchcodec", reason="the extra gpu is not installed")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST = 200_000_000
PLAIN = Preprocessing(256, 224, "bilinear", (127.0,) * 3, (128.0,) * 3)


def given(data: bytes, most: int = MOST) -> EncodedImage | None:
    return handed_over(file_of(data), Limits(), most)


def sure(data: bytes) -> EncodedImage:
    image = given(data)
    assert image is not None
    return image


def by_device(decoder: DeviceDecoder, image: EncodedImage) -> Pixels:
    (pixels,) = decoder.decode([image])
    assert pixels is not None
    return np.asarray(pixels.cpu())


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def decoder() -> DeviceDecoder:
    return DeviceDecoder(PREPROCESSING, DEVICE)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("size", [(180, 120), (61, 333), (57, 64), (803, 601)])
@pytest.mark.parametrize("want", [PREPROCESSING, PLAIN], ids=["bicubic", "bilinear"])
def test_it_is_the_same_picture(want: Preprocessing, size: tuple[int, int], options: dict[str, int]) -> None:
    """However it is turned: within one level, or a few at an edge where the CPU's loader shrinks it
    while decoding, or where a GPU smooths colours otherwise."""
    here, there = PillowLoader(want), DeviceDecoder(want, DEVICE)
    most = 1 if DEVICE == "cpu" and min(size) < 4 * want.resize else 8
    for orientation in range(1, 9):
        data = saved(picture(*size), "JPEG", quality=92, exif=turned(orientation), **options)
        expected = here.load(file_of(data))
        assert isinstance(expected, LoadedImage) and isinstance(expected.pixels, np.ndarray)
        image = sure(data)
        found = by_device(there, image)
        assert np.abs(found.astype(int) - expected.pixels).max() <= most
        assert (image.image_id, image.digest, image.facts, image.note) == (
            expected.image_id,
            expected.digest,
            expected.facts,
            expected.note,
        )


def test_photos_are_the_same() -> None:
    """At a size at which the CPU's loader does not shrink them while decoding."""
    sent, here, there = 0, PillowLoader(PLAIN), DeviceDecoder(PLAIN, DEVICE)
    for photo in sorted(EXAMPLES.glob("*.jpg")):
        image = given(photo.read_bytes())
        if image is not None:
            sent += 1
            expected = here.load(file_of(photo.read_bytes()))
            assert isinstance(expected, LoadedImage) and isinstance(expected.pixels, np.ndarray)
            assert difference(by_device(there, image), expected.pixels) < (0.5 if DEVICE == "cpu" else 1.5)
    assert sent > 15


def test_grey_is_grey(decoder: DeviceDecoder, load: Load) -> None:
    data = saved(picture().convert("L"), "JPEG", exif=turned(6))
    found = by_device(decoder, sure(data))
    assert difference(found, loaded(load(data)).pixels) < 1
    assert np.array_equal(found[..., 0], found[..., 2])


def test_a_large_photo_needs_no_cheap_step_first(decoder: DeviceDecoder, load: Load) -> None:
    """The CPU's loader shrinks it while decoding, which comes to nearly the same."""
    data = saved(picture(4000, 3000), "JPEG", quality=90)
    assert difference(by_device(decoder, sure(data)), loaded(load(data)).pixels) < 1


def test_weights_keep_a_flat_picture_flat() -> None:
    for length, start, end, size in [(100, 0.0, 100.0, 56), (30, 3.3, 21.7, 224), (1, 0.0, 1.0, 7)]:
        for kernel in ("bilinear", "bicubic"):
            first, last, weights = resampling(length, start, end, size, kernel)
            assert 0 <= first < last <= length and weights.shape == (size, last - first)
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_what_is_refused_is_refused_alone(decoder: DeviceDecoder) -> None:
    images = [sure(saved(picture(90 + index, 80), "JPEG")) for index in range(9)]
    broken = replace(images[4], data=images[4].data[:-200])
    other_size = replace(images[7], size=(images[7].size[0] + 1, 80))
    found = decoder.decode([*images[:4], broken, *images[5:7], other_size, images[8]])
    assert [pixels is None for pixels in found] == [index in (4, 7) for index in range(9)]
    for pixels, image in zip(found, images, strict=True):
        if pixels is not None:
            assert np.array_equal(pixels.cpu(), by_device(decoder, image))


def test_memory_that_ends_is_a_reason_to_take_fewer() -> None:
    """A device that holds two pictures decodes all the same; one that holds none refuses each."""
    from tagger.loading.device import torchcodec_on

    calls: list[int] = []
    fits = 2

    def decode(files: list[bytes]) -> list[torch.Tensor]:
        calls.append(len(files))
        if len(files) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return torchcodec_on(torch.device(DEVICE))(files)

    images = [sure(saved(picture(90 + index, 80), "JPEG")) for index in range(8)]
    decoder = DeviceDecoder(PREPROCESSING, DEVICE, decode)
    assert all(pixels is not None for pixels in decoder.decode(images))
    assert calls == [8, 4, 2, 2, 4, 2, 2]
    fits = 0
    assert decoder.decode(images[:2]) == [None, None]


def test_what_is_beside_the_picture_is_not_sent(decoder: DeviceDecoder, load: Load) -> None:
    """EXIF least of all: a decoder might turn the picture too."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    comment = b"a comment of a certain length" * 20
    data = saved(picture(), "JPEG", exif=turned(8), icc_profile=profile, comment=comment)
    image = sure(data + b"a trailer, as phones write it")
    assert len(image.data) < len(data) - len(profile) - len(comment)
    assert image.data.endswith(b"\xff\xd9") and b"Exif" not in image.data
    assert image.orientation == 8
    assert difference(by_device(decoder, image), loaded(load(data)).pixels) < 1


def test_the_first_picture_of_several_is_sent(decoder: DeviceDecoder, load: Load) -> None:
    data = saved(picture(), "MPO", save_all=True, append_images=[picture(60, 50)])
    image = sure(data)
    assert image.facts.format == "MPO" and len(image.data) < len(data)
    assert difference(by_device(decoder, image), loaded(load(data)).pixels) < 1


def _cmyk() -> bytes:
    return saved(picture().convert("CMYK"), "JPEG")


def _rgb() -> bytes:
    return saved(picture(), "JPEG", keep_rgb=True)


def _patched(position: int, value: int) -> bytes:
    """A JPEG with another byte in its frame header, counted from the marker."""
    data = bytearray(saved(picture(), "JPEG"))
    data[data.index(b"\xff\xc0") + position] = value
    return bytes(data)


SOUND = saved(picture(), "JPEG")

KEPT = {
    "no JPEG": saved(picture(), "PNG"),
    "nothing": b"",
    "only a start": b"\xff\xd8\xff",
    "inks": _cmyk(),
    "RGB": _rgb(),
    "another profile": saved(picture(), "JPEG", icc_profile=matrix_profile(DISPLAY_P3, 2.2)),
    "cut off": SOUND[:-200],
    "without its end": SOUND[:-2],
    "zeros at the end": SOUND[:-1000] + bytes(1000),
    "12 bits": _patched(4, 12),
    "a height that comes later": _patched(6, 0),
    "arithmetic coding": _patched(1, 0xC9),
    "two components": _patched(9, 2),
    "an odd sampling": _patched(11, 0x31),
    "a segment over the end": SOUND[:4] + b"\xff\xff" + SOUND[6:],
    "a stray byte between segments": SOUND[:20] + b"x" + SOUND[20:],
}


@pytest.mark.parametrize("data", KEPT.values(), ids=KEPT.keys())
def test_what_is_not_plain_is_kept(data: bytes) -> None:
    assert given(data) is None


def test_what_is_too_large_for_the_device_or_the_limits_is_kept() -> None:
    pixels = 180 * 120
    assert given(SOUND, most=pixels) is not None
    assert given(SOUND, most=pixels - 1) is None
    assert given(SOUND, most=0) is None
    assert handed_over(file_of(SOUND), Limits(max_pixels=pixels - 1), MOST) is None
    assert handed_over(file_of(SOUND), Limits(max_memory=pixels), MOST) is None


def test_trailing_zeros_behind_a_whole_picture_are_no_loss(decoder: DeviceDecoder, load: Load) -> None:
    padded = SOUND + bytes(4096)
    assert loaded(load(padded)).note is None
    assert difference(by_device(decoder, sure(padded)), loaded(load(padded)).pixels) < 1


def test_loaders_agree_on_the_corpus() -> None:
    """What the device shows of odd, broken and hostile JPEGs, the CPU's loader shows too, and says the
    same of; all that is refused or kept goes to that loader anyway."""
    here, there = PillowLoader(PREPROCESSING), DeviceDecoder(PREPROCESSING, DEVICE)
    shown = refused = 0
    for case in corpus(400):
        image = given(case.data)
        if image is None:
            continue
        (pixels,) = there.decode([image])
        if pixels is None:
            refused += 1
            continue
        result: LoadedImage | LoadFailure = here.load(file_of(case.data))
        assert isinstance(result, LoadedImage), f"{case.name}: {result}"
        assert (result.note, result.facts) == (image.note, image.facts), case.name
        shown += 1
    assert shown > 50 and refused > 0


def test_the_file_is_not_changed_by_sending_it() -> None:
    file = FileContent(3, "file:///b.jpg", SOUND, b"d" * 32)
    image = handed_over(file, Limits(), MOST)
    assert image is not None
    assert (image.image_id, image.digest, image.pixels) == (3, b"d" * 32, 180 * 120)
    with Image.open(io.BytesIO(image.data)) as again:
        assert again.size == image.size
