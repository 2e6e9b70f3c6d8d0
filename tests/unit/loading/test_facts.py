"""When a picture was taken, in the words of cameras and of forty years of programs."""

from __future__ import annotations

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from tests.unit.loading.conftest import Load, loaded, picture, saved

KINDS = ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"]


def exif_of(camera: dict[int, object], first: dict[int, object] | None = None) -> bytes:
    exif = Image.Exif()
    # Pillow writes nothing at all when the first directory is empty.
    exif.update({Base.Make: "a camera", **(first or {})})
    exif.get_ifd(IFD.Exif).update(camera)
    return exif.tobytes()


def taken(
    load: Load, camera: dict[int, object], first: dict[int, object] | None = None, kind: str = "JPEG"
) -> str | None:
    return loaded(load(saved(picture(), kind, exif=exif_of(camera, first)))).facts.taken_at


@pytest.mark.parametrize("kind", KINDS)
def test_the_time_of_taking_is_read_from_every_format(load: Load, kind: str) -> None:
    camera: dict[int, object] = {
        Base.DateTimeOriginal: "2019:07:20 16:05:09",
        Base.OffsetTimeOriginal: "+02:00",
        Base.SubsecTimeOriginal: "123",
    }
    assert taken(load, camera, kind=kind) == "2019-07-20T16:05:09+02:00"


def test_no_offset_is_invented(load: Load) -> None:
    assert taken(load, {Base.DateTimeOriginal: "2019:07:20 16:05:09"}) == "2019-07-20T16:05:09"


def test_taking_comes_before_digitising_before_changing(load: Load) -> None:
    original: dict[int, object] = {Base.DateTimeOriginal: "2001:01:01 00:00:00"}
    digitised: dict[int, object] = {Base.DateTimeDigitized: "2002:02:02 00:00:00"}
    changed: dict[int, object] = {Base.DateTime: "2003:03:03 00:00:00"}
    assert taken(load, {**original, **digitised}, changed) == "2001-01-01T00:00:00"
    assert taken(load, digitised, changed) == "2002-02-02T00:00:00"
    assert taken(load, {}, changed) == "2003-03-03T00:00:00"
    assert taken(load, {}) is None


def test_each_time_has_its_own_offset(load: Load) -> None:
    camera: dict[int, object] = {
        Base.DateTimeOriginal: "0000:00:00 00:00:00",
        Base.OffsetTimeOriginal: "+05:00",
        Base.DateTimeDigitized: "2002:02:02 10:00:00",
        Base.OffsetTimeDigitized: "-03:30",
    }
    assert taken(load, camera) == "2002-02-02T10:00:00-03:30"


@pytest.mark.parametrize(
    "nonsense",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2021:02:30 10:00:00",
        "2021:13:01 10:00:00",
        "",
        "yesterday",
        "2021",
        "\0",
    ],
)
def test_nonsense_is_no_time(load: Load, nonsense: str) -> None:
    assert taken(load, {Base.DateTimeOriginal: nonsense}) is None


@pytest.mark.parametrize(
    "written",
    ["2019:07:20 16:05:09\0", "2019-07-20 16:05:09", "2019:07:20T16:05:09", " 2019/07/20 16:05:09.50 "],
)
def test_the_ways_in_which_programs_write_a_time(load: Load, written: str) -> None:
    assert taken(load, {Base.DateTimeOriginal: written}) == "2019-07-20T16:05:09"


@pytest.mark.parametrize("offset", ["2:00", "+99:00", "somewhere", "", "   :  "])
def test_nonsense_is_no_offset(load: Load, offset: str) -> None:
    camera: dict[int, object] = {
        Base.DateTimeOriginal: "2019:07:20 16:05:09",
        Base.OffsetTimeOriginal: offset,
    }
    assert taken(load, camera) == "2019-07-20T16:05:09"


def test_greenwich_is_an_offset(load: Load) -> None:
    camera: dict[int, object] = {Base.DateTimeOriginal: "2019:07:20 16:05:09", Base.OffsetTimeOriginal: "Z"}
    assert taken(load, camera) == "2019-07-20T16:05:09+00:00"


def test_a_png_that_keeps_its_facts_behind_its_pixels(load: Load) -> None:
    exif = exif_of({Base.DateTimeOriginal: "2019:07:20 16:05:09"}, {Base.Orientation: 6})
    before = saved(picture(), "PNG", exif=exif)
    start = before.index(b"eXIf") - 4
    length = int.from_bytes(before[start : start + 4], "big") + 12
    behind = before[:start] + before[start + length : -12] + before[start : start + length] + before[-12:]
    one, other = loaded(load(before)), loaded(load(behind))
    assert one.facts == other.facts
    assert one.facts.taken_at == "2019-07-20T16:05:09"
    assert (one.pixels == other.pixels).all()


def xmp(statement: str) -> bytes:
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>'
        f"{statement}</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    ).encode()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize(
    "statement",
    [
        '<rdf:Description exif:DateTimeOriginal="2019-07-20T16:05:09.12+02:00"/>',
        "<photoshop:DateCreated>2019-07-20T16:05:09+02:00</photoshop:DateCreated>",
        "<rdf:Description xmp:CreateDate = '2019-07-20T16:05:09+02:00'/>",
    ],
)
def test_where_exif_is_lost_xmp_states_the_time(load: Load, kind: str, statement: str) -> None:
    facts = loaded(load(with_xmp(kind, xmp(statement)))).facts
    assert facts.taken_at == "2019-07-20T16:05:09+02:00"


def with_xmp(kind: str, packet: bytes) -> bytes:
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        return saved(picture(), "PNG", pnginfo=text)
    if kind == "TIFF":
        return saved(picture(), "TIFF", tiffinfo={700: packet})
    return saved(picture(), kind, xmp=packet)


def test_exif_comes_before_xmp_and_taking_before_making(load: Load) -> None:
    both = xmp("<a xmp:CreateDate='2001-01-01T01:01:01' exif:DateTimeOriginal='2002-02-02T02:02:02'/>")
    exif = exif_of({Base.DateTimeDigitized: "2003:03:03 03:03:03"})
    facts = loaded(load(saved(picture(), "JPEG", xmp=both))).facts
    assert facts.taken_at == "2002-02-02T02:02:02"
    facts = loaded(load(saved(picture(), "JPEG", xmp=both, exif=exif))).facts
    assert facts.taken_at == "2003-03-03T03:03:03"


@pytest.mark.parametrize(
    "statement",
    [
        "<a exif:DateTimeOriginal=''/>",
        "<a exif:DateTimeOriginal='2019'/>",
        "<a xmp:CreateDate='0000-00-00T00:00:00'/>",
    ],
)
def test_nonsense_in_xmp_is_no_time(load: Load, statement: str) -> None:
    assert loaded(load(saved(picture(), "JPEG", xmp=xmp(statement)))).facts.taken_at is None


def test_xmp_is_not_read_as_xml(load: Load) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + at)} "{f"&{chr(97 + at)};" * 10}">' for at in range(20)
    )
    packet = (bomb + "]><a exif:DateTimeOriginal='2019-07-20T16:05:09'>&u;</a>").encode()
    assert loaded(load(saved(picture(), "JPEG", xmp=packet))).facts.taken_at == "2019-07-20T16:05:09"
