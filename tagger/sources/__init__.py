"""Where images live: the roots that may be read, the scan of a folder, the bytes of one file.

Nothing here knows what an image is; a file is a name, a size, a time and bytes. The parts:

- :mod:`tagger.sources.roots`: what may be read, and the one URI of a path or address and back;
- :mod:`tagger.sources.scan`: a folder as a stream of found, refused and skipped entries;
- :mod:`tagger.sources.look`: one file, without its bytes;
- :mod:`tagger.sources.patience`: waiting for a file system, and no longer than one should;
- :mod:`tagger.sources.read`: the bytes of one file and their digest, or the one reason why not;
- :mod:`tagger.sources.addresses`: places on servers; :mod:`tagger.sources.web` reads those on the
  web, :mod:`tagger.sources.objects` those that fsspec opens.
"""

from tagger.sources.addresses import LONGEST, Address, is_address
from tagger.sources.events import Found, Refused, ScanEvent, Skipped, Stretch, Unlisted
from tagger.sources.look import look
from tagger.sources.names import SkipReason, name_of, printable
from tagger.sources.patience import Whereabouts, answer, make_contact, patiently
from tagger.sources.read import prepare, read
from tagger.sources.roots import (
    OutsideRootsError,
    RemoteRoot,
    Root,
    Roots,
    RootState,
    quote_path,
    resolved,
    root_state,
)
from tagger.sources.scan import ScanOptions, scan

__all__ = [
    "LONGEST",
    "Address",
    "Found",
    "OutsideRootsError",
    "Refused",
    "RemoteRoot",
    "Root",
    "RootState",
    "Roots",
    "ScanEvent",
    "ScanOptions",
    "SkipReason",
    "Skipped",
    "Stretch",
    "Unlisted",
    "Whereabouts",
    "answer",
    "is_address",
    "look",
    "make_contact",
    "name_of",
    "patiently",
    "prepare",
    "printable",
    "quote_path",
    "read",
    "resolved",
    "root_state",
    "scan",
]
