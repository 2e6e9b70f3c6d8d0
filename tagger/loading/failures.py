"""The one place where whatever a decoder raises becomes an outcome and a reason.

Pillow and the libraries under it raise a dozen kinds of exception, often with a message meant for
their own authors. A person gets a sentence: what is wrong with the file, and the decoder's word in
brackets where it says more.

- ``corrupt``: the bytes claim to be a picture and cannot be shown.
- ``unsupported``: never was a picture, or is one of a kind that no decoder here reads.
- ``too_large``: more pixels, or more memory to decode, than is allowed.
"""

from __future__ import annotations

import re
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from tagger.loading.magic import Signature, is_blank, looks_like_text, signature_of
from tagger.values import OutcomeKind

NOT_ENOUGH_MEMORY = "there is not enough memory to decode it"

_ENDS_EARLY = re.compile(
    r"truncat|unexpected end|not enough|end of file|reached eof|incomplete|only got|too short|"
    r"requires a buffer|insufficient",
    re.IGNORECASE,
)
_NO_DECODER = re.compile(
    r"unsupported|not (yet )?supported|cannot handle|unimplemented|not implemented|unknown (?!filter)|"
    r"no (such )?decoder|not been built|decoder .* not available|unable to determine|not one of the allowed",
    re.IGNORECASE,
)
_BOMB = re.compile(r"\((\d+) pixels\)")
# libheif has a limit of its own on pixels, which it looks at before Pillow can.
_OVER_ITS_LIMIT = re.compile(r"exceeds the maximum image size")
# Pillow's wording for "something went wrong", and Python's own, which tell a person nothing.
_SAYS_NOTHING = re.compile(
    r"cannot identify|not identified|[Dd]ecoder error|broken data stream|unknown error|broken PNG|"
    r"cannot load|unpack|invalid literal|could not convert|out of range|object|argument|operand|codec can't|"
    r"encountered in|null character|_|b['\"]"
)
_WORD = re.compile(r"[^\W\d_]{2,}")


class RefusalError(Exception):
    """This room's own refusal: the outcome and the reason are known where it is raised."""

    def __init__(self, kind: OutcomeKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def explain(error: Exception, data: bytes, max_pixels: int, *, opened: str | None) -> tuple[OutcomeKind, str]:
    """The outcome and the reason for an exception met while decoding ``data``.

    ``opened`` is the format as which it was opened, None if it failed before that.
    """
    if isinstance(error, RefusalError):
        return error.kind, error.reason
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        found = _BOMB.search(str(error))
        return OutcomeKind.TOO_LARGE, too_many_pixels(int(found[1]) if found else None, max_pixels)
    if isinstance(error, MemoryError):
        return OutcomeKind.TOO_LARGE, NOT_ENOUGH_MEMORY
    signature = signature_of(data)
    if opened is None and (signature is None or signature.decoder not in Image.OPEN):
        return _never_a_picture(data, signature)
    cause = _cause(error, data, signature)
    if _OVER_ITS_LIMIT.search(cause):
        return OutcomeKind.TOO_LARGE, too_many_pixels(None, max_pixels)
    return _broken(signature.name if signature else opened or "image", cause)


def too_many_pixels(pixels: int | None, limit: int) -> str:
    """The reason of a picture over the limit; ``pixels`` is None when only that is known."""
    counted = f"{pixels / 1e6:.0f} megapixels" if pixels is not None else "too many pixels"
    return f"{counted}, the limit is {limit / 1e6:.4g} megapixels (TAGGER_MAX_PIXELS)"


def cause_of(error: Exception, *, zeros: bool) -> str:
    """What is wrong with the data of a picture of which something can still be shown; ``zeros``: the
    file goes on behind them, with nothing but zeros."""
    if not _ENDS_EARLY.search(str(error)):
        return "its data is broken"
    return "the rest of the file is zeros" if zeros else "the file ends early"


def _never_a_picture(data: bytes, signature: Signature | None) -> tuple[OutcomeKind, str]:
    if signature is not None and signature.package is not None:
        return OutcomeKind.UNSUPPORTED, f"{signature.name}: `pip install {signature.package}` to tag it"
    if signature is not None and signature.picture:
        article = "an" if signature.name.startswith(("SVG", "Open")) else "a"
        return OutcomeKind.UNSUPPORTED, f"{article} {signature.name} picture, which no decoder here reads"
    if signature is not None:
        return OutcomeKind.UNSUPPORTED, f"not an image: it looks like {signature.name}"
    if is_blank(data):
        return (
            OutcomeKind.CORRUPT,
            "the file holds nothing but zeros; the copy or the disk it is from is broken",
        )
    kind = "text" if looks_like_text(data) else "no format that is known here"
    return OutcomeKind.UNSUPPORTED, f"not an image: it looks like {kind}"


def _cause(error: Exception, data: bytes, signature: Signature | None) -> str:
    """What the decoder itself said; Pillow's ``open`` keeps that to itself, so it is asked again."""
    if isinstance(error, UnidentifiedImageError) and signature is not None and signature.decoder:
        try:
            Image.OPEN[signature.decoder][0](BytesIO(data), "")
        except Exception as cause:  # whatever it is, its words are what is wanted
            return _words(cause)
        return ""
    return _words(error)


def _words(error: Exception) -> str:
    # A KeyError or IndexError says which key; that is of no use to anybody.
    return "" if isinstance(error, LookupError) else str(error)


def _broken(name: str, cause: str) -> tuple[OutcomeKind, str]:
    detail = _cleaned(cause)
    if _ENDS_EARLY.search(cause):
        return OutcomeKind.CORRUPT, f"broken {name}: the file ends early"
    if _NO_DECODER.search(cause):
        return OutcomeKind.UNSUPPORTED, f"a kind of {name} that no decoder here reads{detail}"
    return OutcomeKind.CORRUPT, f"broken {name}: its data makes no picture{detail}"


def _cleaned(cause: str) -> str:
    """The decoder's words in brackets, short, printable, and only where they say something."""
    words = "".join(letter if letter.isprintable() else " " for letter in cause).strip()
    if len(_WORD.findall(words)) < 2 or _SAYS_NOTHING.search(words):
        return ""
    return f" ({words[:120]})"
