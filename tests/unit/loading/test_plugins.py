"""Whoever installs a decoder wants it used; those that Pillow brings are used by name alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

from tagger.loading import readable_formats
from tagger.values import OutcomeKind
from tests.unit.loading.conftest import Load, failed, loaded, picture, saved


class Blank(ImageFile):
    """A format whose files are one word and are all of one colour."""

    format = "BLANK"
    format_description = "a page of one colour"

    def _open(self) -> None:
        assert self.fp is not None
        if self.fp.read(5) != b"blank":
            raise SyntaxError("no blank page")
        self._size, self._mode = (30, 20), "RGB"
        self.tile = [("nonsense", (0, 0, 30, 20), 0, None)]  # type: ignore[list-item]

    def load(self) -> object:  # type: ignore[override]
        self.tile = []
        self._im = Image.new("RGB", self.size, (10, 200, 30)).im
        return Image.Image.load(self)


@pytest.fixture
def plugin() -> Iterator[None]:
    Image.register_open("BLANK", Blank, lambda start: start.startswith(b"blank"))
    yield
    del Image.OPEN["BLANK"]
    Image.ID.remove("BLANK")


def test_a_plugin_from_elsewhere_is_used(load: Load, plugin: None) -> None:
    result = loaded(load(b"blank"))
    assert result.facts.format == "BLANK"
    assert result.pixels[0, 0].tolist() == [10, 200, 30]
    assert readable_formats()[-1] == "BLANK", "after all that are named"


def test_without_it_there_is_no_such_format(load: Load) -> None:
    assert failed(load(b"blank")).kind is OutcomeKind.UNSUPPORTED
    assert "BLANK" not in readable_formats()


def test_what_pillow_brings_is_used_by_name_alone(load: Load, plugin: None) -> None:
    left_out = {"EPS", "IPTC", "WMF", "MPEG", "GRIB", "HDF5", "BUFR"}
    assert left_out & set(Image.OPEN), "Pillow has registered them"
    assert not left_out & set(readable_formats())
    assert failed(load(saved(picture(), "EPS"))).kind is OutcomeKind.UNSUPPORTED
