"""What one image may cost: pixels and memory, before anything is decoded, over all threads."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tagger.loading import PillowLoader
from tagger.loading.budget import Budget
from tagger.values import Limits, LoadedImage, OutcomeKind
from tests.unit.loading.conftest import PREPROCESSING, Load, failed, file_of, loaded, picture, saved


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size and holds a few rows."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


def resized(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


def canvas_of_16384(webp: bytes) -> bytes:
    """An animation whose frames are small and whose canvas is as large as the format allows."""
    start = webp.index(b"VP8X") + 12
    return webp[:start] + b"\xff\x3f\0\xff\x3f\0" + webp[start + 6 :]


SIDES = (187, 131)
BOMBS = {
    "PNG": png_header(50_000, 50_000),
    "PNG of the largest size": png_header(2**31 - 1, 2**31 - 1),
    "JPEG": resized(
        saved(picture(*SIDES), "JPEG"), struct.pack(">HH", 131, 187), struct.pack(">HH", 60_000, 60_000)
    ),
    "GIF": saved(picture(*SIDES), "GIF").replace(
        struct.pack("<HH", 187, 131), struct.pack("<HH", 60_000, 60_000)
    ),
    "BMP": resized(
        saved(picture(*SIDES), "BMP"), struct.pack("<II", 187, 131), struct.pack("<II", 60_000, 60_000)
    ),
    "PPM": b"P6 60000 60000 255\n" + bytes(1000),
    "QOI": b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 3, 0) + bytes(100),
    "TIFF": saved(picture(*SIDES), "TIFF", compression="tiff_deflate")
    .replace(struct.pack("<HHIHH", 256, 4, 1, 187, 0), struct.pack("<HHII", 256, 4, 1, 60_000))
    .replace(struct.pack("<HHIHH", 256, 3, 1, 187, 0), struct.pack("<HHIHH", 256, 3, 1, 60_000, 0))
    .replace(struct.pack("<HHIHH", 257, 3, 1, 131, 0), struct.pack("<HHIHH", 257, 3, 1, 60_000, 0)),
    "WebP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    "WebP in motion": canvas_of_16384(
        saved(Image.new("RGB", SIDES), "WEBP", save_all=True, append_images=[picture(*SIDES)])
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header(load: Load, name: str) -> None:
    began = time.process_time()
    result = failed(load(BOMBS[name]))
    assert result.kind is OutcomeKind.TOO_LARGE
    assert "limit is 200 megapixels (TAGGER_MAX_PIXELS)" in result.reason
    assert time.process_time() - began < 2


def test_the_limit_is_on_pixels_and_exact() -> None:
    data = saved(picture(120, 100), "PNG")
    assert isinstance(PillowLoader(PREPROCESSING, Limits(max_pixels=12_000)).load(file_of(data)), LoadedImage)
    result = failed(PillowLoader(PREPROCESSING, Limits(max_pixels=11_999)).load(file_of(data)))
    assert result.kind is OutcomeKind.TOO_LARGE
    assert result.reason.startswith("120 x 100")
    assert result.facts is not None
    assert (result.facts.width, result.facts.height) == (120, 100)


def test_pictures_up_to_the_limit_are_loaded_though_pillow_would_warn(load: Load) -> None:
    image = Image.new("1", (13_000, 15_000), 1)  # 195 megapixels
    result = loaded(load(saved(image, "TIFF", compression="group4")))
    assert result.pixels.min() == 255


def test_an_icon_cannot_hold_a_bomb(load: Load) -> None:
    inner = png_header(60_000, 60_000)
    icon = (
        struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner
    )
    result = failed(load(icon))
    assert result.kind is OutcomeKind.TOO_LARGE


def test_what_takes_too_much_memory_to_decode_is_refused() -> None:
    loader = PillowLoader(PREPROCESSING, Limits(max_memory=4_000_000))
    small, large = (saved(picture(side, side), "PNG") for side in (900, 1100))
    assert isinstance(loader.load(file_of(small)), LoadedImage)
    result = failed(loader.load(file_of(large)))
    assert result.kind is OutcomeKind.TOO_LARGE
    assert "5 MB of memory, the limit is 4 MB" in result.reason


def test_a_large_jpeg_needs_little_memory_and_a_progressive_one_more() -> None:
    loader = PillowLoader(PREPROCESSING, Limits(max_memory=3_000_000))
    plain, progressive = (saved(picture(1600, 1200), "JPEG", progressive=value) for value in (False, True))
    assert isinstance(loader.load(file_of(plain)), LoadedImage)
    assert failed(loader.load(file_of(progressive))).kind is OutcomeKind.TOO_LARGE


def test_threads_share_one_loader_and_get_their_own_pictures(loader: PillowLoader) -> None:
    colours = [(step * 5, 255 - step * 5, step * 3) for step in range(50)]
    kinds = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "HEIF")
    data = [saved(Image.new("RGB", (300, 200), colour), kinds[at % 6]) for at, colour in enumerate(colours)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda at: loader.load(file_of(data[at], at)), [*range(50)] * 4))
    for at, result in enumerate(results):
        assert isinstance(result, LoadedImage)
        assert result.image_id == at % 50
        assert np.abs(result.pixels.reshape(-1, 3).mean(axis=0) - colours[at % 50]).max() < 8


def test_memory_is_shared_out_over_threads() -> None:
    budget, taken, most = Budget(10), [0], [0]
    lock = threading.Lock()

    def work(amount: int) -> None:
        with budget.taking(amount):
            with lock:
                taken[0] += amount
                most[0] = max(most[0], taken[0])
            time.sleep(0.002)
            with lock:
                taken[0] -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [1, 7, 3, 10, 2, 5, 4, 6] * 10))
    assert 7 <= most[0] <= 10
    assert taken[0] == 0


def test_a_large_image_is_not_overtaken_for_ever() -> None:
    budget = Budget(10)
    order: list[str] = []
    first_is_in, large_waits = threading.Event(), threading.Event()

    def first() -> None:
        with budget.taking(5):
            first_is_in.set()
            large_waits.wait(5)
            time.sleep(0.05)
            order.append("first")

    def large() -> None:
        first_is_in.wait(5)
        large_waits.set()
        with budget.taking(10):
            order.append("large")

    def small() -> None:
        large_waits.wait(5)
        time.sleep(0.02)
        with budget.taking(1):
            order.append("small")

    with ThreadPoolExecutor(3) as pool:
        for work in (first, large, small):
            pool.submit(work)
    assert order == ["first", "large", "small"]


def test_memory_comes_back_after_a_failure() -> None:
    budget = Budget(10)
    for _ in range(3):
        with pytest.raises(RuntimeError), budget.taking(10):
            raise RuntimeError
    with pytest.raises(ValueError, match="11"), budget.taking(11):
        pass
    with budget.taking(10):
        pass
