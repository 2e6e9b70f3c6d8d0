"""``.taggerignore``: files and folders that a person wants left out, in git's own pattern language.

One such file may stand in any folder; it speaks for that folder and all beneath, an inner one
overrides an outer one, and what lies in an ignored folder cannot be brought back, as with
``.gitignore`` (https://git-scm.com/docs/gitignore).
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from dataclasses import dataclass

from pathspec import GitIgnoreSpec

from tagger.errors import SourceError
from tagger.sources.regular import NotRegularError, open_regular

IGNORE_FILE = ".taggerignore"

# A hand-written list is never this long; whatever is, is no such list.
_LARGEST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class IgnoreRules:
    """The patterns of one ``.taggerignore``, and the rules of the folders above it."""

    base: str
    spec: GitIgnoreSpec
    outer: IgnoreRules | None

    def ignores(self, path: str, *, folder: bool) -> bool:
        """Whether the innermost rule that speaks of ``path`` (absolute, beneath) leaves it out."""
        rules: IgnoreRules | None = self
        while rules is not None:
            below = path[len(rules.base) + 1 :] + ("/" if folder else "")
            verdict = rules.spec.check_file(below).include
            if verdict is not None:
                return verdict
            rules = rules.outer
        return False


def rules_in(folder: str, outer: IgnoreRules | None) -> IgnoreRules | None:
    """The rules that hold in ``folder``: its own file's over ``outer``.

    Raises:
        SourceError: there is a file, and it cannot be read, is UTF-16, or has a line that is no
            pattern. The folder must then be left alone, since a person may have wanted it so.
    """
    path = f"{folder.rstrip('/')}/{IGNORE_FILE}"
    try:
        os.lstat(path)
    except OSError:
        # None there; or the folder is closed or gone, which its own listing will say.
        return outer
    try:
        lines = _lines(path)
    except (OSError, NotRegularError) as error:
        raise SourceError(f"its {IGNORE_FILE} cannot be read: {_cause(error)}") from error
    return IgnoreRules(folder.rstrip("/"), _spec(lines), outer)


def rules_above(top: str, folder: str) -> IgnoreRules | None:
    """The rules of all folders from ``top`` down to, and without, ``folder``.

    Raises:
        SourceError: as :func:`rules_in`.
    """
    rules: IgnoreRules | None = None
    above = [folder]
    while above[-1] != top and above[-1] != os.sep:
        above.append(os.path.dirname(above[-1]))  # noqa: PTH120 -- strings, as in the whole of the scan
    for place in reversed(above[1:]):
        rules = rules_in(place, rules)
    return rules


def _lines(path: str) -> list[str]:
    with open_regular(path) as file:
        text = file.read(_LARGEST)
    # Editors of Windows put a mark in front, which would be taken for a part of the first pattern.
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(f"its {IGNORE_FILE} is UTF-16, in which no line is a pattern: save it as UTF-8")
    return os.fsdecode(text.removeprefix(codecs.BOM_UTF8)).splitlines()


def _spec(lines: Sequence[str]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise SourceError(f"its {IGNORE_FILE} has a line that is no pattern: {error}") from error


def _cause(error: Exception) -> str:
    return (error.strerror or "unknown") if isinstance(error, OSError) else str(error)
