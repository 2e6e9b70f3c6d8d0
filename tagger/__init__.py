"""Tagger: batch image tagging into SQL.

The library and its command line. The use cases stand in :mod:`tagger.library`, each a function;
importing this package alone loads neither torch nor SQLAlchemy.
"""

from importlib.metadata import version

__version__ = version("tagger")
