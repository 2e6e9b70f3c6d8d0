"""``tagger doctor``: is all well here, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, settings_of
from tagger.cli.output import out, print_json

_STYLES = {"ok": "green", "note": "yellow", "fault": "bold red"}


def doctor(context: typer.Context, db: DbOption = None, as_json: JsonOption = False) -> None:
    """Check database, broker, roots, devices, weights and codecs, and say how to mend each."""
    from tagger.library.doctor import Health, examine

    findings = []
    for finding in examine(settings_of(context, db)):
        findings.append(finding)
        if not as_json:
            mark = Text(f"{finding.health.value:>5}  ", style=_STYLES[finding.health.value])
            out.print(mark + Text(f"{finding.subject}: {finding.said}"), soft_wrap=True)
            if finding.mend:
                out.print(Text(f"       to mend: {finding.mend}", style="bold"), soft_wrap=True)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.health is Health.ILL for finding in findings):
        raise typer.Exit(1)
