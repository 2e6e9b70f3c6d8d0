"""The exception tree. Each class says whether trying again can help (``transient``).

The message is a sentence for a person: what was wrong, and what to do. A fault of one *image* is
no exception but a value (:class:`tagger.values.LoadFailure`); these are for what stops a command.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

_PASSWORDS: Final = (
    # Brokers and databases are also named with a / or an @ in the password: up to the last @, then.
    re.compile(r"(?<!http)(?<!https)(://[^\s:@/]*):\S{0,300}@"),
    # An image at https://host:8080/a@b has none.
    re.compile(r"(://[^\s:@/]*):[^\s/]*@"),
)
_KEYWORD: Final = re.compile(r"(\bpassword\s*=\s*)(?:'[^']*'|[^\s'&,;)]+)", re.IGNORECASE)
"""As libpq is told, and quotes it."""


class TaggerError(Exception):
    """Anything Tagger itself reports; never raised bare."""

    transient: ClassVar[bool] = False


class NotFound(TaggerError):
    """What was asked for is not in this database."""


class SettingsError(TaggerError):
    """A setting or an argument cannot be used as given."""


class SourceError(TaggerError):
    """A place where images should be cannot be used."""


class DatabaseError(TaggerError):
    """The database refuses what is asked: wrong place, wrong version, unknown row."""


class DatabaseMissing(DatabaseError):
    """There is no database at that place yet."""


class DatabaseUnavailable(DatabaseError):
    """The database does not answer, or is busy beyond patience."""

    transient = True


class ModelError(TaggerError):
    """A model cannot be used: unknown, twice registered, or its labels do not fit."""


class WeightsError(ModelError):
    """The weights are not here, or are not the ones that they should be."""


class TrainingError(TaggerError):
    """There is nothing to learn from, or not in the way that was asked for."""


class TaxonomyError(TaggerError):
    """The mapping from labels to tags is broken or does not cover a model."""


class EngineError(TaggerError):
    """A runtime cannot be used on this machine, or failed on a batch."""


class LoadingError(TaggerError):
    """The processes that load images cannot be started or kept on this machine."""


class OutOfMemory(EngineError):
    """The device has no memory for a batch of this size; a smaller one may fit."""

    transient = True


def masked(text: str) -> str:
    """The text with ``***`` for the passwords in it: ``redis://user:***@host``."""
    if "://" in text:
        for pattern in _PASSWORDS:
            text = pattern.sub(r"\1:***@", text)
    return _KEYWORD.sub(r"\1***", text)
