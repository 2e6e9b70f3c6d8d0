"""With a device to decode, each image still has one result and its own, and what is refused is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tagger.loading import PillowLoader
from tagger.metering import Silent, Stage
from tagger.sources import Roots, read
from tagger.supervision import AbandonedError, DeviceLoaders, Loaders, Setup, device
from tagger.values import (
    EncodedImage,
    FileContent,
    ImageRef,
    Limits,
    LoadedImage,
    LoadFailure,
    OutcomeKind,
    Preprocessing,
)
from tests.photos import EXAMPLES

PREPROCESSING = Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3)
SIZE = (96, 80)
PIXELS = 96 * 80

Result = LoadedImage | LoadFailure | None


@dataclass
class Decoder:
    """Fills a picture with its image's number, and notes what it was given; refuses ``refused``."""

    refused: frozenset[int] = frozenset()
    may_begin: threading.Event = field(default_factory=threading.Event)
    has_begun: threading.Event = field(default_factory=threading.Event)
    groups: list[list[EncodedImage]] = field(default_factory=list)
    name: str = "test"

    def decode(self, images: Sequence[EncodedImage]) -> list[torch.Tensor | None]:
        self.has_begun.set()
        self.may_begin.wait(60)
        self.groups.append(list(images))
        return [self._decoded(image) for image in images]

    def _decoded(self, image: EncodedImage) -> torch.Tensor | None:
        if image.image_id in self.refused:
            return None
        return torch.full((56, 56, 3), image.image_id, dtype=torch.uint8)


@dataclass
class Notes(Silent):
    """How many images were told of, by stage."""

    images: dict[Stage, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        with self.lock:
            self.images[stage] = self.images.get(stage, 0) + images


@dataclass
class Bench:
    """Loaders over a folder with a device, and threads to call them."""

    roots: Roots
    loaders: DeviceLoaders
    decoder: Decoder
    pool: ThreadPoolExecutor
    notes: Notes

    def start(self, photos: Sequence[Path]) -> list[Future[Result]]:
        return [self.pool.submit(self.load, number, photo) for number, photo in enumerate(photos)]

    def start_behind_one(self, photos: Sequence[Path]) -> list[Future[Result]]:
        """The decoder has the first in hand, alone, and all others wait in line."""
        first = self.start(photos[:1])
        assert self.decoder.has_begun.wait(60)
        others = self.start(photos[1:])
        while self.loaders.waiting < len(others):
            threading.Event().wait(0.01)
        return first + others

    def load(self, number: int, photo: Path, wanted: Callable[[bytes], bool] | None = None) -> Result:
        ref = ImageRef(number, self.roots.uri_of(photo))
        return self.loaders.load(ref, wanted or (lambda digest: True))

    def expected(self, photo: Path) -> Result:
        file = read(ImageRef(0, self.roots.uri_of(photo)), self.roots)
        return PillowLoader(PREPROCESSING).load(file) if isinstance(file, FileContent) else file


@contextmanager
def bench(folder: Path, decoder: Decoder | None = None, pixels: int = 10 * PIXELS) -> Iterator[Bench]:
    decoder, notes = decoder or Decoder(), Notes()
    roots = Roots().adding([folder, EXAMPLES])
    setup = Setup(roots, Limits(), PREPROCESSING)
    with (
        Loaders(setup, 2, lambda ref: None, meter=notes) as inner,
        DeviceLoaders(inner, [decoder], pixels, meter=notes) as loaders,
        ThreadPoolExecutor(loaders.room) as pool,
    ):
        try:
            yield Bench(roots, loaders, decoder, pool, notes)
        finally:
            decoder.may_begin.set()
            loaders.abandon()


def jpegs(folder: Path, number: int) -> list[Path]:
    """Of one size, each of a colour of its own."""
    paths = [folder / f"{index:03d}.jpg" for index in range(number)]
    for index, path in enumerate(paths):
        Image.new("RGB", SIZE, (3 * index, 100, 255 - 2 * index)).save(path, quality=95)
    return paths


def image(result: Result) -> LoadedImage:
    assert isinstance(result, LoadedImage), result
    return result


def test_pixels_are_each_images_own(tmp_path: Path) -> None:
    with bench(tmp_path) as it:
        it.decoder.may_begin.set()
        results = [image(future.result(60)) for future in it.start(jpegs(tmp_path, 50))]
    for number, result in enumerate(results):
        assert result.image_id == number
        assert isinstance(result.pixels, torch.Tensor) and int(result.pixels[0, 0, 0]) == number
        assert result.loader == "test" and result.facts.format == "JPEG"
    assert it.notes.images == {Stage.WAIT: 50, Stage.READ: 50, Stage.DEVICE: 50}


def test_what_is_refused_is_loaded_as_without_a_device(tmp_path: Path) -> None:
    photos = jpegs(tmp_path, 12)
    with bench(tmp_path, Decoder(refused=frozenset({3, 8}))) as it:
        it.decoder.may_begin.set()
        results = [image(future.result(60)) for future in it.start(photos)]
        for number, (result, photo) in enumerate(zip(results, photos, strict=True)):
            expected = image(it.expected(photo))
            assert (result.image_id, result.digest) == (number, expected.digest)
            if number in (3, 8):
                assert isinstance(result.pixels, np.ndarray) and result.loader is None
                assert np.array_equal(result.pixels, expected.pixels)
            else:
                assert isinstance(result.pixels, torch.Tensor)


def test_what_is_no_plain_jpeg_never_meets_the_device(tmp_path: Path) -> None:
    names = ("african_elephants_cmyk.jpg", "african_elephants_truncated_file.jpg", "denali.webp")
    with bench(tmp_path) as it:
        it.decoder.may_begin.set()
        for name in names:
            result, expected = image(it.load(1, EXAMPLES / name)), image(it.expected(EXAMPLES / name))
            assert isinstance(result.pixels, np.ndarray) and np.array_equal(result.pixels, expected.pixels)
            assert result.note == expected.note
        missing = it.load(2, tmp_path / "none.jpg")
        assert isinstance(missing, LoadFailure) and missing.kind is OutcomeKind.MISSING
    assert it.decoder.groups == []


def test_groups_grow_while_the_device_is_busy_and_hold_so_many_pixels(tmp_path: Path) -> None:
    with bench(tmp_path, pixels=7 * PIXELS + 1) as it:
        futures = it.start_behind_one(jpegs(tmp_path, 30))
        it.decoder.may_begin.set()
        assert all(isinstance(future.result(60), LoadedImage) for future in futures)
    sizes = [len(group) for group in it.decoder.groups]
    assert sum(sizes) == 30 and max(sizes) == 7
    assert sum(size == 7 for size in sizes) >= 4


def test_an_image_larger_than_the_device_may_hold_is_not_sent_there(tmp_path: Path) -> None:
    (photo,) = jpegs(tmp_path, 1)
    with bench(tmp_path, pixels=PIXELS - 1) as it:
        it.decoder.may_begin.set()
        assert isinstance(image(it.load(1, photo)).pixels, np.ndarray)
    assert it.decoder.groups == []


def test_what_is_not_wanted_is_not_decoded(tmp_path: Path) -> None:
    (photo,) = jpegs(tmp_path, 1)
    seen: list[bytes] = []
    with bench(tmp_path) as it:
        it.decoder.may_begin.set()
        assert it.load(1, photo, lambda digest: bool(seen.append(digest))) is None
    assert len(seen) == 1 and it.decoder.groups == []
    assert it.notes.images == {Stage.WAIT: 1, Stage.READ: 1}


def test_a_file_that_changes_before_it_is_loaded_after_all_is_left_for_later(tmp_path: Path) -> None:
    """Nobody was asked whether the new bytes are wanted."""
    (photo,) = jpegs(tmp_path, 1)
    with bench(tmp_path, Decoder(refused=frozenset({0}))) as it:
        (future,) = it.start([photo])
        it.decoder.has_begun.wait(60)
        Image.new("RGB", SIZE, "red").save(photo)
        it.decoder.may_begin.set()
        failure = future.result(60)
    assert isinstance(failure, LoadFailure) and failure.kind is OutcomeKind.UNREADABLE
    assert "changed" in failure.reason and failure.digest is None


def test_a_decoder_that_breaks_is_told_to_whoever_waits(tmp_path: Path) -> None:
    class Broken(Decoder):
        def decode(self, images: Sequence[EncodedImage]) -> list[torch.Tensor | None]:
            raise RuntimeError("the device is gone")

    with bench(tmp_path, Broken()) as it:
        for future in it.start(jpegs(tmp_path, 3)):
            with pytest.raises(RuntimeError, match="the device is gone"):
                future.result(60)


def test_files_that_wait_hold_so_many_bytes_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = jpegs(tmp_path, 12)
    monkeypatch.setattr(device, "WAITING_BYTES", 3 * max(photo.stat().st_size for photo in photos))
    with bench(tmp_path) as it:
        first = it.start(photos[:1])
        assert it.decoder.has_begun.wait(60)
        others = it.start(photos[1:])
        while it.loaders.waiting < 3:
            threading.Event().wait(0.01)
        threading.Event().wait(0.3)  # the processes are through with some more by now
        assert it.loaders.waiting < 6
        it.decoder.may_begin.set()
        assert all(isinstance(future.result(60), LoadedImage) for future in first + others)


def test_giving_up_ends_those_that_wait(tmp_path: Path) -> None:
    with bench(tmp_path, pixels=PIXELS) as it:
        futures = it.start_behind_one(jpegs(tmp_path, 4))
        it.loaders.abandon()
        it.decoder.may_begin.set()
        ended = [future.exception(60) for future in futures]
    assert sum(isinstance(fault, AbandonedError) for fault in ended) == 3
