"""What is no picture, though it lies among them or is called one."""

from __future__ import annotations

import io
import zipfile

from tagger.values import OutcomeKind
from tests.corpus.case import BROKEN, Allowed, Case
from tests.corpus.containers import saved
from tests.corpus.sound import picture

_UNSUPPORTED = frozenset({OutcomeKind.UNSUPPORTED})
_CORRUPT = frozenset({OutcomeKind.CORRUPT})

_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
_BILLION_LAUGHS = (
    f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "ha">{_LAUGHS}]>'
    '<svg xmlns="http://www.w3.org/2000/svg"><text>&l9;</text></svg>'
)


def others_cases() -> tuple[Case, ...]:
    """Documents, archives, programs, text and nothing at all, most of them called .jpg."""
    made: dict[str, tuple[bytes, Allowed]] = {
        "nothing.jpg": (b"", BROKEN),
        "one-byte.jpg": (b"\xff", BROKEN),
        "start-of-a-jpeg.jpg": (b"\xff\xd8\xff", _CORRUPT),
        "zeros.jpg": (bytes(100_000), _CORRUPT),
        "ones.jpg": (b"\xff" * 10_000, BROKEN),
        "every-byte.png": (bytes(range(256)) * 10, BROKEN),
        "text.jpg": (b"Dear diary, today I took no photos at all.\n" * 20, _UNSUPPORTED),
        "page.jpg": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", _UNSUPPORTED),
        "svg.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", _UNSUPPORTED),
        "laughs.svg": (_BILLION_LAUGHS.encode(), _UNSUPPORTED),
        "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", _UNSUPPORTED),
        "archive.jpg": (_archive_of_zeros(), _UNSUPPORTED),
        "program.png": (b"\x7fELF\x02\x01\x01" + bytes(200), _UNSUPPORTED),
        "video.heic": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500), _UNSUPPORTED),
        "script.gif": (b"#!/bin/sh\nrm -rf /nowhere\n" * 10, _UNSUPPORTED),
        "postscript.jpg": (saved(picture(), "EPS"), _UNSUPPORTED),
        "postscript-loop.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n", _UNSUPPORTED),
    }
    return tuple(Case(f"other-{name}", data, allowed, whole=False) for name, (data, allowed) in made.items())


def _archive_of_zeros() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20_000_000))
    return packed.getvalue()
