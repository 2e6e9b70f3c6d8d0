"""Photos made for tests and benchmarks: small, of real subjects, each with bytes of its own."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples" / "photos"


def distinct_jpegs(folder: Path, number: int, size: tuple[int, int]) -> list[Path]:
    """``number`` JPEGs of ``size`` pixels, since equal bytes are tagged only once.

    A comment segment behind the start marker makes the bytes differ, and not the picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(folder / "master.jpg", size)
    paths = [folder / f"{index:06d}.jpg" for index in range(number)]
    for index, path in enumerate(paths):
        jpeg = pictures[index % len(pictures)]
        path.write_bytes(jpeg[:2] + b"\xff\xfe\x00\x0a%08d" % index + jpeg[2:])
    return paths


def commented_jpeg(path: Path, comment: str) -> Path:
    """A small JPEG with a comment; decoders that tests spoil obey it."""
    Image.new("RGB", (120, 90), (200, 120, 40)).save(path, comment=comment.encode())
    return path


def _pictures(master: Path, size: tuple[int, int]) -> list[bytes]:
    found = []
    for source in sorted(EXAMPLES.glob("*.jpg")):
        if "truncated" in source.name:
            continue
        with Image.open(source) as image:
            image.convert("RGB").resize(size).save(master, quality=88)
        found.append(master.read_bytes())
    master.unlink()
    return found
