"""One file by its URI, without reading it: its size and time, or why it cannot be an image."""

from __future__ import annotations

import os
from pathlib import Path

from tagger.errors import SourceError
from tagger.sources.addresses import Address
from tagger.sources.events import Found, Refused
from tagger.sources.faults import RefusedError, fault_of
from tagger.sources.read import without_links
from tagger.sources.regular import NotRegularError, refuse_special
from tagger.sources.remote import look_at
from tagger.sources.roots import Roots
from tagger.values import OutcomeKind


def look(uri: str, roots: Roots, *, follow_links: bool = False) -> Found | Refused:
    """What stands at ``uri`` (as :meth:`Roots.canonical` gives it) at the moment.

    A web server is not asked: size and time are None. A folder is refused as ``unsupported``. Never
    raises for what is wrong with the place; blocks for as long as its file system or server does.
    """
    try:
        place = roots.place_of(uri)
        if isinstance(place, Address):
            return look_at(place, uri)
        return _file(uri, place if follow_links else without_links(place, roots))
    except SourceError as error:
        return Refused(uri, OutcomeKind.OUTSIDE, str(error))
    except RefusedError as refusal:
        return Refused(uri, refusal.kind, refusal.reason)


def _file(uri: str, path: Path) -> Found | Refused:
    try:
        facts = os.stat(path)  # noqa: PTH116 -- as everywhere in this room
        refuse_special(facts.st_mode)
    except NotRegularError as error:
        return Refused(uri, OutcomeKind.UNSUPPORTED, str(error))
    except OSError as error:
        return Refused(uri, *fault_of(error, path))
    return Found(uri, facts.st_size, facts.st_mtime_ns)
