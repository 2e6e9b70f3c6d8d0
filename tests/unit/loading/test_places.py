"""Where a picture was taken, from every format, and nothing from nonsense."""

from __future__ import annotations

import math

import pytest
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from tagger.loading.facts import position
from tests.unit.loading.conftest import Load, failed, loaded, picture, saved
from tests.unit.loading.places import PARIS, place_exif

NOWHERE = (None, None)


def with_place(place: dict[int, object], kind: str = "JPEG") -> bytes:
    return saved(picture(), kind, exif=place_exif(place))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF", "MPO"])
def test_the_place_is_read_from_every_format(load: Load, kind: str) -> None:
    facts = loaded(load(with_place(PARIS, kind))).facts
    assert (facts.latitude, facts.longitude) == (48.8583333, 2.2945)


@pytest.mark.parametrize(("north", "sign"), [("N", 1), ("S", -1)])
@pytest.mark.parametrize(("east", "turn"), [("E", 1), ("W", -1)])
def test_hemispheres(north: str, sign: int, east: str, turn: int) -> None:
    assert position(place((48.0, 30.0, 0.0), north, (2.0, 15.0, 0.0), east)) == (sign * 48.5, turn * 2.25)


def place(
    latitude: object = (48.0, 51.0, 30.0),
    north: object = "N",
    longitude: object = (2.0, 0.0, 0.0),
    east: object = "E",
) -> dict[int, object]:
    return {
        Base.GPSInfo: {
            GPS.GPSLatitude: latitude,
            GPS.GPSLatitudeRef: north,
            GPS.GPSLongitude: longitude,
            GPS.GPSLongitudeRef: east,
        }
    }


@pytest.mark.parametrize(
    "written",
    [
        (IFDRational(97, 2), IFDRational(0, 1), IFDRational(0, 1)),
        (48.0, 30.0),
        (48.5,),
        48.5,
        (48, 29, 60),
        (IFDRational(48), IFDRational(3000, 100), IFDRational(0, 100)),
    ],
)
def test_the_ways_in_which_programs_write_an_angle(written: object) -> None:
    assert position(place(latitude=written)) == (48.5, 2.0)


@pytest.mark.parametrize("ref", ["N\0", b"N\0", "n", "North"])
def test_the_ways_in_which_programs_write_a_hemisphere(ref: object) -> None:
    assert position(place(latitude=(48.5,), north=ref)) == (48.5, 2.0)


@pytest.mark.parametrize(
    "nonsense",
    [
        (IFDRational(0, 0), IFDRational(0, 0), IFDRational(0, 0)),
        (IFDRational(48, 1), IFDRational(30, 1), IFDRational(0, 0)),
        (IFDRational(48, 0), 0.0, 0.0),
        (91.0, 0.0, 0.0),
        (90.0, 0.0, 1.0),
        (48.0, 61.0, 0.0),
        (48.0, 0.0, 3600.0),
        (-48.0, 0.0, 0.0),
        (math.nan, 0.0, 0.0),
        (math.inf, 0.0, 0.0),
        (48.0, 0.0, 0.0, 0.0),
        (),
        ("48", "north", None),
        "48 30 0",
        b"\x30\x1e\0",
        None,
    ],
)
def test_nonsense_is_no_place(nonsense: object) -> None:
    assert position(place(latitude=nonsense)) == NOWHERE


@pytest.mark.parametrize("ref", ["", "X", "E", None, 7, "\0"])
def test_without_a_hemisphere_there_is_no_place(ref: object) -> None:
    assert position(place(north=ref)) == NOWHERE


def test_a_longitude_goes_to_180() -> None:
    assert position(place(longitude=(180.0, 0.0, 0.0), east="W")) == (48.8583333, -180.0)
    assert position(place(longitude=(180.0, 0.0, 1.0))) == NOWHERE


def test_cameras_without_a_fix_write_zeros() -> None:
    zero = (0.0, 0.0, 0.0)
    assert position(place(latitude=zero, longitude=zero)) == NOWHERE
    assert position(place(latitude=zero)) == (0.0, 2.0), "the equator is a place"


@pytest.mark.parametrize("directory", [None, 7, b"GPS", "", {}])
def test_a_directory_that_is_none(directory: object) -> None:
    assert position({Base.GPSInfo: directory}) == NOWHERE
    assert position({}) == NOWHERE


def test_a_broken_directory_of_places_costs_only_itself(load: Load) -> None:
    exif = Image.Exif()
    exif[Base.DateTime] = "2019:07:20 16:05:09"
    exif.get_ifd(IFD.GPSInfo).update(PARIS)
    data = exif.tobytes()
    pointer = data.index(b"\x88\x25") if b"\x88\x25" in data else data.index(b"\x25\x88")
    broken = data[: pointer + 8] + b"\xff\xff\xff\xf0" + data[pointer + 12 :]
    facts = loaded(load(saved(picture(), "JPEG", exif=broken))).facts
    assert facts.taken_at == "2019-07-20T16:05:09"
    assert (facts.latitude, facts.longitude) == NOWHERE


def test_a_place_is_known_of_pictures_that_are_not_shown(load: Load) -> None:
    data = with_place(PARIS)
    scan = data.index(b"\xff\xda")
    result = failed(load(data[: scan + (len(data) - scan) // 4]))
    assert result.facts is not None
    assert result.facts.latitude == 48.8583333
