"""What is broken: salvaged or corrupt by one policy, and a reason that a person understands."""

from __future__ import annotations

import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tagger.loading import PillowLoader
from tagger.values import LoadedImage, OutcomeKind
from tests.unit.loading.conftest import (
    PREPROCESSING,
    Load,
    difference,
    expected,
    failed,
    file_of,
    loaded,
    picture,
    saved,
)

ROW_BY_ROW = [
    ("JPEG", {"quality": 90}),
    ("PNG", {}),
    ("BMP", {}),
    ("GIF", {"interlace": 0}),
    ("TIFF", {}),
    ("PPM", {}),
    ("TGA", {}),
]


def noisy(width: int = 240, height: int = 200) -> Image.Image:
    """A picture that does not compress, so that bytes stand for rows."""
    noise = np.random.default_rng(1).integers(-30, 30, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(picture(width, height)) + noise, 1, 254).astype(np.uint8))


def missing(note: str | None) -> int:
    """The per cent that a note says are missing."""
    assert note is not None
    match = re.search(r"(\d+)% of the picture is missing", note)
    return int(match[1]) if match else 0


@pytest.mark.parametrize(("kind", "options"), ROW_BY_ROW)
@pytest.mark.parametrize("share", [0.97, 0.8, 0.65])
def test_most_of_a_picture_is_a_picture(
    load: Load, kind: str, options: dict[str, object], share: float
) -> None:
    image = noisy()
    data = saved(image, kind, **options)
    result = loaded(load(data[: int(len(data) * share)]))
    assert result.note is not None
    assert result.note.startswith("damaged: the file ends early")
    assert abs(missing(result.note) - 100 * (1 - share)) <= 9, "JPEG comes in steps of sixteen rows"
    kept = round(image.height * (1 - missing(result.note) / 100))
    upside_down = "upper" in result.note
    assert upside_down == (kind in ("BMP", "TGA") and missing(result.note) > 0)
    sound = (0, image.height - kept, image.width, image.height) if upside_down else (0, 0, image.width, kept)
    assert difference(result.pixels, expected(image.crop(sound))) < 12
    assert (result.facts.width, result.facts.height) == image.size


@pytest.mark.parametrize(("kind", "options"), ROW_BY_ROW)
@pytest.mark.parametrize("share", [0.4, 0.2, 0.05])
def test_a_scrap_of_a_picture_is_corrupt(
    load: Load, kind: str, options: dict[str, object], share: float
) -> None:
    data = saved(noisy(), kind, **options)
    result = failed(load(data[: int(len(data) * share)]))
    assert result.kind is OutcomeKind.CORRUPT
    assert "early" in result.reason or "broken" in result.reason


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF", "HEIF", "BMP", "JPEG2000", "MPO"]
)
def test_no_length_of_a_file_is_a_surprise(load: Load, kind: str) -> None:
    data = saved(noisy(90, 70), kind)
    lengths = {0, 1, 2, 3, 8, 12, 16, 40, len(data) - 1, *range(1, len(data), max(1, len(data) // 60))}
    for length in sorted(lengths - {0}):
        result = load(data[:length])
        if isinstance(result, LoadedImage):
            # Containers may end in padding, or in an index that a first picture does not need.
            assert result.note is not None or difference(result.pixels, loaded(load(data)).pixels) == 0
        else:
            assert failed(result).kind in (OutcomeKind.CORRUPT, OutcomeKind.UNSUPPORTED)


def test_a_jpeg_without_its_end_marker_is_all_there(load: Load) -> None:
    data = saved(picture(), "JPEG")
    result = loaded(load(data[:-2]))
    assert result.note == "damaged: the file ends early; next to nothing of the picture is missing"
    assert difference(result.pixels, loaded(load(data)).pixels) < 1


def test_a_progressive_jpeg_is_taken_as_coarse_as_it_is(load: Load) -> None:
    data = saved(noisy(), "JPEG", quality=90, progressive=True)
    result = loaded(load(data[: len(data) // 2]))
    assert result.note is not None
    assert missing(result.note) == 0
    assert difference(result.pixels, expected(noisy())) < 14


@pytest.mark.parametrize(
    ("orientation", "side"),
    [
        (1, "lower"),
        (2, "lower"),
        (3, "upper"),
        (4, "upper"),
        (5, "right"),
        (6, "left"),
        (7, "left"),
        (8, "right"),
    ],
)
def test_the_note_names_the_side_that_a_person_sees(load: Load, orientation: int, side: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(noisy(), "JPEG", quality=90, exif=exif)
    assert f"the {side} " in (loaded(load(data[: int(len(data) * 0.7)])).note or "")


def test_all_scales_of_a_jpeg_judge_alike(load: Load) -> None:
    data = saved(noisy(1200, 1000), "JPEG", quality=90)
    for share in (0.75, 0.55):
        result = loaded(load(data[: int(len(data) * share)]))
        assert abs(missing(result.note) - 100 * (1 - share)) <= 9, "JPEG comes in steps of sixteen rows"
    assert failed(load(data[: int(len(data) * 0.45)])).kind is OutcomeKind.CORRUPT


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "HEIF"])
def test_formats_that_are_all_or_nothing(load: Load, kind: str) -> None:
    data = saved(noisy(), kind)
    assert failed(load(data[: int(len(data) * 0.9)])).kind is OutcomeKind.CORRUPT


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def interlaced_png(image: Image.Image) -> bytes:
    """Adam7, which Pillow reads and does not write."""
    pixels = np.asarray(image)
    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    rows = [row for y, x, down, across in passes for row in pixels[y::down, x::across]]
    header = struct.pack(">IIBBBBB", *image.size, 8, 2, 0, 0, 1)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_interlaced_pictures_are_all_or_nothing(load: Load) -> None:
    for data in (interlaced_png(noisy()), saved(noisy(), "GIF", interlace=1)):
        loaded(load(data))
        assert failed(load(data[: int(len(data) * 0.7)])).kind is OutcomeKind.CORRUPT


def with_chunk(data: bytes, extra: bytes) -> bytes:
    """A PNG with something between its header (8 + 25 bytes) and the rest."""
    return data[:33] + extra + data[33:]


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(100_000_000))),
        chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?",
        chunk(b"iCCP", b"profile\0\7rubbish"),
        chunk(b"pHYs", b"\0"),
    ],
    ids=["text bomb", "profile bomb", "xmp bomb", "broken checksum", "unknown compression", "short chunk"],
)
def test_what_stands_beside_a_picture_does_not_cost_it(load: Load, extra: bytes) -> None:
    data = saved(picture(), "PNG")
    result = loaded(load(with_chunk(data, extra)))
    assert np.array_equal(result.pixels, loaded(load(data)).pixels)
    assert result.note is None or result.note.startswith("damaged:")
    late = data[:-12] + extra + data[-12:]
    assert np.array_equal(loaded(load(late)).pixels, result.pixels)


def test_a_jpeg_with_a_broken_index_of_further_pictures_is_a_jpeg(load: Load) -> None:
    data = bytearray(saved(picture(), "MPO", save_all=True, append_images=[picture()]))
    index = data.index(b"MPF\0")
    data[index + 8 : index + 40] = b"\xff" * 32
    assert difference(loaded(load(bytes(data))).pixels, expected(picture())) < 6


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_broken_exif_is_no_reason_to_refuse(load: Load, kind: str) -> None:
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\xff" * 40
    data = saved(picture(), kind) if kind == "TIFF" else saved(picture(), kind, exif=exif)
    if kind == "TIFF":
        # An entry that points behind the end, in place of the resolution.
        data = data.replace(struct.pack("<HHI", 282, 5, 1), struct.pack("<HHII", 282, 5, 1 << 20, 0)[:8])
    assert loaded(load(data)).facts.taken_at is None


NOT_IMAGES = {
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n": "PDF",
    b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0": "ZIP",
    b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom": "video",
    b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01": "video",
    b"ID3\x04\0\0\0\0\0\0": "sound",
    b"<!DOCTYPE html><html><body>404 Not Found</body></html>": "web page",
    b"\x7fELF\x02\x01\x01\0": "program",
    b"Dear diary, today I took no photos at all.\n": "text",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG",
    b"\x93\x1c\x77\x05" * 40: "no format",
}


@pytest.mark.parametrize(("data", "word"), NOT_IMAGES.items(), ids=NOT_IMAGES.values())
def test_what_is_no_picture_is_called_what_it_is(load: Load, data: bytes, word: str) -> None:
    result = failed(load(data + b"\0" * 64 if word != "text" else data))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert word in result.reason


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"x", "text"),
        (b"x\n", "text"),
        (b"hi\r\n", "text"),
        (b"hello text\n", "text"),
        (b"\ta\n\nb\n", "text"),
        ("grüße\n".encode(), "text"),
        ("写真".encode("utf-8-sig"), "text"),
        (b"\x93\x1c\x77", "no format that is known here"),
        (b"\xe4\xff\xfe\n", "no format that is known here"),
        (b"hi\x07\n", "no format that is known here"),
    ],
)
def test_a_few_bytes_are_text_if_they_can_be_read(load: Load, data: bytes, word: str) -> None:
    assert failed(load(data)).reason == f"not an image: it looks like {word}"


@pytest.mark.parametrize("size", [1, 10, 5000, 1_000_000])
def test_nothing_but_zeros_is_a_broken_copy(load: Load, size: int) -> None:
    result = failed(load(bytes(size)))
    assert result.kind is OutcomeKind.CORRUPT
    assert "zeros" in result.reason


@pytest.mark.parametrize(
    "start",
    [
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"II*\0",
        b"\0\0\0\x18ftypheic",
        b"RIFF\0\1\0\0WEBPVP8 ",
    ],
)
def test_a_picture_that_only_begins_is_corrupt(load: Load, start: bytes) -> None:
    for rest in (b"", b"\0" * 100, b"\xff" * 100, bytes(range(256))):
        result = failed(load(start + rest))
        assert result.kind is OutcomeKind.CORRUPT


def test_kinds_of_known_formats_that_no_decoder_reads_are_unsupported(load: Load) -> None:
    jpeg = bytearray(saved(picture(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 4] = 12  # bits in a sample
    result = failed(load(bytes(jpeg)))
    assert result.kind is OutcomeKind.UNSUPPORTED
    assert "12-bit" in result.reason


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_any_bytes_have_one_outcome(data: bytes) -> None:
    failed(PillowLoader(PREPROCESSING).load(file_of(data)))


CORPUS = {
    kind: saved(picture(60, 40), kind)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "WEBP")
}


@given(st.sampled_from(sorted(CORPUS)), st.data())
@settings(deadline=None, max_examples=300)
def test_any_mutation_has_one_outcome(kind: str, data: st.DataObject) -> None:
    content = bytearray(CORPUS[kind])
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    result = PillowLoader(PREPROCESSING).load(file_of(bytes(content)))
    if isinstance(result, LoadedImage):
        loaded(result)
    else:
        failed(result)


def test_nothing_reaches_the_terminal(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    tiff = saved(noisy(), "TIFF", compression="tiff_deflate")
    middle = len(tiff) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tiff[:middle] + b"\xff" * 50 + tiff[middle + 50 :])
        load(saved(picture(), "JPEG", exif=b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\xff" * 40))
        palette = Image.new("P", (40, 40))
        palette.info["transparency"] = b"\0\1"
        load(saved(palette, "PNG"))
    assert capfd.readouterr() == ("", "")


def test_reasons_hold_no_bytes_that_a_terminal_would_act_on(load: Load) -> None:
    for kind in CORPUS:
        content = CORPUS[kind][:12] + b"\x1b[2J\x07" * 40
        result = load(content)
        if not isinstance(result, LoadedImage):
            assert result.reason.isprintable()
