"""Tagger: batch image tagging into SQL.

The library and its command line. The use cases stand in :mod:`tagger.library`, each a function;
importing this package alone loads neither torch nor SQLAlchemy.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """``__version__``, read when it is asked for: what reads it takes long to import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tagger")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
