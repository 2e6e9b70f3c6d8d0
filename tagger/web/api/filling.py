"""What a wish became: a run, and how many images it wants. For all that fill runs."""

from __future__ import annotations

from typing import Self

from tagger.library import filling
from tagger.library.filling import Ask
from tagger.web.api.parameters import Answer
from tagger.web.errors import Stopping
from tagger.web.site import Site


class Filled(Answer):
    """A run, and what it was filled with."""

    run: int
    model: str
    wanted: int
    """So many images more are the run's to do."""
    files: int
    """So many were found, of which"""
    new: int
    changed: int
    unchanged: int
    vanished: int
    refused: int
    skipped: dict[str, int]
    """Files that are no images by their names, by kind."""
    warnings: list[str]

    @classmethod
    def of(cls, filled: filling.Filled) -> Self:
        """Made from what the library says."""
        tally = filled.tally
        return cls(
            run=filled.run_id,
            model=filled.model,
            wanted=filled.wanted,
            files=tally.files,
            new=tally.new,
            changed=tally.changed,
            unchanged=tally.unchanged,
            vanished=tally.vanished,
            refused=tally.refused,
            skipped=dict(filled.skipped),
            warnings=filled.warnings,
        )


def fill(site: Site, ask: Ask) -> filling.Filled:
    """Open a run and fill it. Raises as :func:`tagger.library.filling.fill`; and :class:`Stopping` when the
    server ends meanwhile: then workers fill the rest."""

    def watch(filled: filling.Filled) -> None:
        if site.stopping():
            raise Stopping(f"the server ends; workers add what is left to run {filled.run_id}")

    return filling.fill(site.database, ask, site.roots, watch=watch)
