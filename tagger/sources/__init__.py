"""Where images live: the roots that may be read, the scan of a folder, the bytes of one file.

Nothing here knows what an image is; a file is a name, a size, a time and bytes. The parts:

- :mod:`tagger.sources.roots`: what may be read, and the URI of a path and back;
- :mod:`tagger.sources.scan`: a folder as a stream of found, refused and skipped entries;
- :mod:`tagger.sources.patience`: waiting for a file system, and no longer than one should;
- :mod:`tagger.sources.read`: the bytes of one file and their digest, or the one reason why not.
"""

from tagger.sources.names import SkipReason, printable
from tagger.sources.patience import Whereabouts, answer, make_contact, patiently
from tagger.sources.read import read
from tagger.sources.roots import OutsideRootsError, Root, Roots, RootState, resolved, root_state
from tagger.sources.scan import Found, Refused, ScanEvent, ScanOptions, Skipped, Unlisted, scan

__all__ = [
    "Found",
    "OutsideRootsError",
    "Refused",
    "Root",
    "RootState",
    "Roots",
    "ScanEvent",
    "ScanOptions",
    "SkipReason",
    "Skipped",
    "Unlisted",
    "Whereabouts",
    "answer",
    "make_contact",
    "patiently",
    "printable",
    "read",
    "resolved",
    "root_state",
    "scan",
]
