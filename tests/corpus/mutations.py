"""Ways in which a sound file is broken: by disks, by networks, by programs, and on purpose.

Each takes the bytes and a random generator, and gives other bytes; the same seed gives the same.
Some know how a file is put together, so that they get past the first check of a decoder.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from tests.corpus.containers import PNG, png_chunk

Mutation = Callable[[bytes, Random], bytes]

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_NUMBERS = (("B", 0xFF), ("<H", 0xFFFF), (">H", 0xFFFF), ("<I", 0xFFFFFFFF), (">I", 0xFFFFFFFF))
_MAGICS = (
    b"\xff\xd8\xff\xe0", PNG, b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"8BPS\0\1", b"RIFF\0\0\0\0WEBP",
    b"\0\0\0\x1cftypheic", b"\0\0\0\x1cftypavif", b"\0\0\0\x0cjP  \r\n\x87\n", b"\0\0\1\0\1\0", b"%PDF",
    b"PK\3\4",
)  # fmt: skip
# How a file begins, and what each of its parts begins with (roughly: nothing is parsed here).
_DIVIDERS = (
    (re.compile(rb"\x89PNG"), re.compile(rb"(?s)\0...(?:[A-Z]{4}|[a-z][A-Z]{2}[A-Za-z])")),
    (re.compile(rb"\xff\xd8"), re.compile(rb"\xff[\xc0-\xfe]")),
    (re.compile(rb"RIFF"), re.compile(rb"VP8[ LX]|ALPH|ANI[MF]|ICCP|EXIF|XMP ")),
    (re.compile(rb"(?s)....(ftyp|jP  )"), re.compile(rb"(?s)\0...(?:[a-z]{3}[a-z0-9 ]|[mi][a-z]{2}[A-Z1])")),
    (re.compile(rb"GIF8"), re.compile(rb"!\xf9|!\xff|,\0")),
)
# Where headers are: what stands there decides more than what stands in the pixels.
_HEAD = 256


def mutated(data: bytes, random: Random) -> bytes:
    """The file broken in one to three ways."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = random.choice(MUTATIONS)(data, random)
    return data


def flipped_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 40)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flipped_bits_in_the_head(data: bytes, random: Random) -> bytes:
    return flipped_bits(data[:_HEAD], random) + data[_HEAD:]


def zeroed_run(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + bytes(end - start) + data[end:]


def noisy_run(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + random.randbytes(end - start) + data[end:]


def cut_off(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def cut_off_near_an_end(data: bytes, random: Random) -> bytes:
    few = random.randint(1, 64)
    return data[:few] if random.random() < 0.3 else data[:-few]


def missing_middle(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def repeated_run(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.randint(1, 4) + data[end:]


def extreme_number(data: bytes, random: Random) -> bytes:
    """A number of the header at its least or most, in any width and either order of bytes."""
    layout, most = random.choice(_NUMBERS)
    number = struct.pack(layout, random.choice(_EXTREMES) & most)
    at = random.randrange(max(1, min(_HEAD, len(data) - len(number))))
    return data[:at] + number + data[at + len(number) :]


def trailing_rubbish(data: bytes, random: Random) -> bytes:
    return data + random.randbytes(random.choice((1, 100, 3000)))


def leading_rubbish(data: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((1, 2, 100))) + data


def another_magic(data: bytes, random: Random) -> bytes:
    magic = random.choice(_MAGICS)
    return magic + data[len(magic) :]


def dropped_part(data: bytes, random: Random) -> bytes:
    return _with_parts(data, random, lambda parts, at: [*parts[:at], *parts[at + 1 :]])


def doubled_part(data: bytes, random: Random) -> bytes:
    return _with_parts(data, random, lambda parts, at: [*parts[: at + 1], *parts[at:]])


def swapped_parts(data: bytes, random: Random) -> bytes:
    other = random.random()
    return _with_parts(data, random, lambda parts, at: _swapped(parts, at, int(other * len(parts))))


def broken_part(data: bytes, random: Random) -> bytes:
    """One part changed, and its checksum made to fit, as whoever means harm would."""
    parts = _parts(data)
    at = random.randrange(len(parts))
    changed = random.choice((flipped_bits, noisy_run, zeroed_run, extreme_number))(parts[at], random)
    return b"".join([*parts[:at], _summed(changed) if data.startswith(PNG) else changed, *parts[at + 1 :]])


def inflated_and_broken(data: bytes, random: Random) -> bytes:
    """The packed pixels of a PNG unpacked, broken, and packed again."""
    found = re.search(rb"(?s)(....)IDAT", data)
    if found is None:
        return noisy_run(data, random)
    start, end = found.end(), found.end() + int.from_bytes(found[1])
    try:
        pixels = zlib.decompress(data[start:end])
    except zlib.error:
        return noisy_run(data, random)
    packed = zlib.compress(mutated_pixels(pixels, random))
    return data[: found.start()] + png_chunk(b"IDAT", packed) + data[end + 4 :]


def mutated_pixels(pixels: bytes, random: Random) -> bytes:
    return random.choice((flipped_bits, noisy_run, cut_off, repeated_run))(pixels, random)


def spliced(one: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one file and the end of another."""
    return one[: random.randint(0, len(one))] + other[random.randint(0, len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (
    flipped_bits,
    flipped_bits_in_the_head,
    zeroed_run,
    noisy_run,
    cut_off,
    cut_off_near_an_end,
    missing_middle,
    repeated_run,
    extreme_number,
    extreme_number,
    trailing_rubbish,
    leading_rubbish,
    another_magic,
    dropped_part,
    doubled_part,
    swapped_parts,
    broken_part,
    broken_part,
    inflated_and_broken,
)


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 4, 16, 100, 512, 5000)))


def _with_parts(
    data: bytes, random: Random, change: Callable[[Sequence[bytes], int], Sequence[bytes]]
) -> bytes:
    parts = _parts(data)
    return b"".join(change(parts, random.randrange(len(parts))))


def _swapped(parts: Sequence[bytes], one: int, other: int) -> list[bytes]:
    changed = list(parts)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def _parts(data: bytes) -> list[bytes]:
    """A file as its own format divides it, else as pieces of 64 bytes; never an empty list."""
    for magic, divider in _DIVIDERS:
        if magic.match(data):
            return _split(data, [match.start() for match in divider.finditer(data)])
    return _split(data, range(0, len(data), 64))


def _split(data: bytes, starts: Sequence[int]) -> list[bytes]:
    edges = sorted({0, *starts, len(data)})
    return [data[start:end] for start, end in pairwise(edges)] or [data]


def _summed(chunk: bytes) -> bytes:
    """A PNG chunk with its length and checksum made right again."""
    return png_chunk(chunk[4:8].ljust(4, b"x"), chunk[8:-4]) if len(chunk) >= 12 else chunk
