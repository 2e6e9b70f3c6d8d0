"""Small images are loaded by the handful, and still none of them can tell."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from PIL import Image

from tagger.loading import Found, PillowLoader
from tagger.metering import Silent, Stage
from tagger.sources import Roots, read
from tagger.supervision import AbandonedError, Loaders, Setup
from tagger.supervision.errands import Line
from tagger.supervision.messages import HANDFUL, SMALL
from tagger.values import FileContent, ImageRef, Limits, LoadedImage, LoadFailure, OutcomeKind, Preprocessing
from tests.photos import commented_jpeg, distinct_jpegs

BAD_DECODERS = Path(__file__).parents[2] / "bad_decoders"
PREPROCESSING = Preprocessing(64, 56, "bicubic", (127.0,) * 3, (128.0,) * 3)


@pytest.fixture(autouse=True)
def bad_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import what this process would."""
    monkeypatch.syspath_prepend(BAD_DECODERS)


@dataclass
class Client:
    """Wants all but ``unwanted``, and keeps what it is told."""

    unwanted: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)
    questions: int = 0
    through: SimpleQueue[tuple[int, Found | BaseException]] = field(default_factory=SimpleQueue)

    def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
        self.questions += 1
        self.asked += [ref.image_id for ref, _ in found]
        return [ref.image_id not in self.unwanted for ref, _ in found]

    def done(self, ref: ImageRef, result: Found) -> None:
        self.through.put((ref.image_id, result))

    def failed(self, ref: ImageRef, fault: BaseException) -> None:
        self.through.put((ref.image_id, fault))

    def results(self, images: int) -> dict[int, Found | BaseException]:
        """So many of them; none comes twice."""
        results: dict[int, Found | BaseException] = {}
        for _ in range(images):
            number, result = self.through.get(timeout=60)
            assert number not in results
            results[number] = result
        return results


@dataclass
class Notes(Silent):
    """How many images were told of, by stage, and how many seconds."""

    images: dict[Stage, int] = field(default_factory=dict)
    seconds: dict[Stage, float] = field(default_factory=dict)

    def spent(self, stage: Stage, seconds: float, images: int = 1) -> None:
        self.images[stage] = self.images.get(stage, 0) + images
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass
class Bench:
    """Loading processes, and the handfuls that they were given."""

    folder: Path
    loaders: Loaders
    handfuls: list[int]
    notes: Notes
    deaths: list[int]

    def refs(self, paths: Sequence[Path]) -> list[ImageRef]:
        roots = Roots().adding([self.folder])
        return [ImageRef(number, roots.uri_of(p), os.path.getsize(p)) for number, p in enumerate(paths)]  # noqa: PTH202

    def expected(self, ref: ImageRef) -> LoadedImage:
        file = read(ref, Roots().adding([self.folder]))
        assert isinstance(file, FileContent)
        loaded = PillowLoader(PREPROCESSING).load(file)
        assert isinstance(loaded, LoadedImage)
        return loaded

    def load(
        self, refs: Sequence[ImageRef], client: Client | None = None
    ) -> dict[int, Found | BaseException]:
        client = client or Client()
        self.loaders.submit(refs, client)
        return client.results(len(refs))

    def check(self, refs: Sequence[ImageRef], results: dict[int, Found | BaseException]) -> None:
        """Each has its own picture, the same as one that is loaded here."""
        for ref in refs:
            found, expected = results[ref.image_id], self.expected(ref)
            assert isinstance(found, LoadedImage), found
            assert (found.image_id, found.digest, found.facts) == (
                ref.image_id,
                expected.digest,
                expected.facts,
            )
            assert np.array_equal(found.pixels, expected.pixels)


Start = Callable[..., Bench]


@contextmanager
def _bench(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limits: Limits | None = None, processes: int = 1
) -> Iterator[Bench]:
    handfuls: list[int] = []
    take = Line.take

    def noted(self: Line):  # type: ignore[no-untyped-def]
        taken = take(self)
        handfuls.append(len(taken))
        return taken

    monkeypatch.setattr(Line, "take", noted)
    deaths: list[int] = []
    notes = Notes()
    setup = Setup(Roots().adding([folder]), limits or Limits(), PREPROCESSING)
    with Loaders(setup, processes, lambda ref: deaths.append(ref.image_id), meter=notes) as loaders:
        yield Bench(folder, loaders, handfuls, notes, deaths)


def test_small_images_come_by_the_handful_each_with_its_own_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(distinct_jpegs(tmp_path, 2 * HANDFUL, (300, 200)))
        client = Client()
        bench.check(refs, bench.load(refs, client))
    assert bench.handfuls[:2] == [HANDFUL, HANDFUL]
    assert client.questions == 2 and sorted(client.asked) == list(range(2 * HANDFUL))
    images = 2 * HANDFUL
    assert bench.notes.images == {Stage.WAIT: images, Stage.READ: images, Stage.LOAD: images}
    assert all(seconds > 0 for seconds in bench.notes.seconds.values())


def test_who_waits_for_work_has_an_equal_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _bench(tmp_path, monkeypatch, processes=3) as bench:
        refs = bench.refs(distinct_jpegs(tmp_path, HANDFUL, (300, 200)))
        while bench.loaders._line._idle < 3:
            time.sleep(0.01)
        bench.check(refs, bench.load(refs))
    # Not all for the first; what is left then is shared by those who are still idle, or again.
    share = -(-HANDFUL // 3)
    assert bench.handfuls[0] == share and max(bench.handfuls) == share


def test_one_that_is_slow_is_not_loaded_by_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes three seconds, and what was in hand with it is given to another process meanwhile."""
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    commented_jpeg(photos[2], "take three seconds")
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(photos)
        bench.check(refs, bench.load(refs))
    assert bench.handfuls[:HANDFUL] == [HANDFUL] + [1] * (HANDFUL - 1)
    assert bench.deaths == []


def test_a_decoder_that_scribbles_on_shared_memory_harms_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    commented_jpeg(photos[4], "scribble and abort")
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(photos)
        results = bench.load(refs)
        bench.check(refs[:4] + refs[5:], results)
    quarantined = results[4]
    assert isinstance(quarantined, LoadFailure) and quarantined.kind is OutcomeKind.QUARANTINED


def test_what_is_large_or_of_unknown_size_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(distinct_jpegs(tmp_path, 4, (300, 200)))
        odd = [
            ImageRef(0, refs[0].uri, SMALL + 1),
            ImageRef(1, refs[1].uri),
            ImageRef(2, refs[2].uri, refs[2].size, deaths=1),
            refs[3],
        ]
        bench.check(refs, bench.load(odd))
    assert bench.handfuls[:4] == [1, 1, 1, 1]


def test_what_is_not_wanted_is_not_loaded_and_what_is_wrong_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = distinct_jpegs(tmp_path, 5, (300, 200))
    photos[1].write_text("this is no picture at all")
    photos[2] = commented_jpeg(photos[2], "abort")
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(photos)
        photos[3].unlink()
        results = bench.load(refs, Client(unwanted=frozenset({2})))
        bench.check([refs[0], refs[4]], results)
    unsupported, missing = results[1], results[3]
    assert isinstance(unsupported, LoadFailure) and unsupported.kind is OutcomeKind.UNSUPPORTED
    assert isinstance(missing, LoadFailure) and missing.kind is OutcomeKind.MISSING
    assert results[2] is None and bench.deaths == []
    # Nothing is loaded of what is not wanted, and nothing of what is not there.
    assert bench.notes.images == {Stage.WAIT: 5, Stage.READ: 5, Stage.LOAD: 3}


def test_one_that_kills_harms_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    commented_jpeg(photos[3], "abort")
    with _bench(tmp_path, monkeypatch) as bench:
        refs, client = bench.refs(photos), Client()
        results = bench.load(refs, client)
        bench.check(refs[:3] + refs[4:], results)
    quarantined = results[3]
    assert isinstance(quarantined, LoadFailure) and quarantined.kind is OutcomeKind.QUARANTINED
    assert "3 times" in quarantined.reason and "SIGABRT" in quarantined.reason
    assert bench.deaths == [3, 3], "told before each new try"
    assert sorted(client.asked) == list(range(HANDFUL)), "asked once, though all are tried again"


def test_one_that_hangs_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one process is waited for aside, and what else it had in hand is loaded by another."""
    photos = distinct_jpegs(tmp_path, HANDFUL + 3, (300, 200))
    commented_jpeg(photos[2], "sleep")
    with _bench(tmp_path, monkeypatch, Limits(max_seconds=1000)) as bench:
        refs, client = bench.refs(photos), Client()
        bench.loaders.submit(refs, client)
        bench.check(refs[:2] + refs[3:], client.results(len(refs) - 1))
        bench.loaders.abandon()
        assert isinstance(client.results(1)[2], AbandonedError)


@pytest.mark.parametrize("seconds", [1.0, 4.0], ids=["before it is slow", "after"])
def test_one_that_hangs_for_too_long_is_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    commented_jpeg(photos[5], "spin")
    with _bench(tmp_path, monkeypatch, Limits(max_seconds=seconds)) as bench:
        refs = bench.refs(photos)
        results = bench.load(refs)
        bench.check(refs[:5] + refs[6:], results)
    late = results[5]
    assert isinstance(late, LoadFailure) and late.kind is OutcomeKind.TIMEOUT and late.digest is not None


def test_a_share_that_does_not_answer_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    photos[4] = photos[4].rename(tmp_path / "never-answers.jpg")
    with _bench(tmp_path, monkeypatch, Limits(max_seconds=4.0)) as bench:
        refs = bench.refs(photos)
        results = bench.load(refs)
        bench.check(refs[:4] + refs[5:], results)
    unread = results[4]
    assert isinstance(unread, LoadFailure) and unread.kind is OutcomeKind.UNREADABLE and unread.digest is None


def test_what_needs_more_than_one_of_a_handful_may_have_is_loaded_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file that is a large picture; and one that has grown since it was scanned."""
    photos = distinct_jpegs(tmp_path, HANDFUL, (300, 200))
    Image.new("RGB", (3000, 3000), "red").save(photos[1], "PNG")
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(photos)
        with photos[6].open("ab") as file:
            file.write(bytes(SMALL))
        results = bench.load(refs)
        bench.check(refs, results)
    assert bench.handfuls[0] == HANDFUL and bench.handfuls.count(1) == 2
    assert bench.deaths == []


def test_a_question_that_fails_fails_those_it_was_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Client):
        def wanted(self, found: Sequence[tuple[ImageRef, bytes]]) -> Sequence[bool]:
            raise LookupError("the database is gone")

    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(distinct_jpegs(tmp_path, HANDFUL, (300, 200)))
        assert all(isinstance(each, LookupError) for each in bench.load(refs, Broken()).values())
        bench.check(refs, bench.load(refs))


def test_what_two_clients_want_is_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Client(), Client()
    with _bench(tmp_path, monkeypatch) as bench:
        refs = bench.refs(distinct_jpegs(tmp_path, 6, (300, 200)))
        bench.loaders.submit(refs[:3], one)
        bench.loaders.submit(refs[3:], other)
        bench.check(refs[:3], one.results(3))
        bench.check(refs[3:], other.results(3))
    assert sorted(one.asked) == [0, 1, 2] and sorted(other.asked) == [3, 4, 5]
