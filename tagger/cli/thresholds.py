"""``tagger thresholds``: from which confidence on a score counts as a tag."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, settings_of
from tagger.cli.output import out, plural, print_json, table

app = typer.Typer(
    help="Thresholds by tag: look at them, set them, fit them to verdicts.", no_args_is_help=True
)

_FIRST = "confirm and reject some first"
ModelOption = Annotated[str | None, typer.Option(help="A version by its name. Default: the live ones.")]


@app.command("list")
def list_thresholds(
    context: typer.Context,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[TAG...]", help="Only those of these tags.")
    ] = None,
    model: ModelOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the thresholds of a model version."""
    from tagger.library import thresholds

    with open_library(settings_of(context, db)) as database:
        found = thresholds.listed(database, model)
        wanted = thresholds.named(database, tags) if tags else None
    shown = [each for each in found if wanted is None or each.tag in wanted]
    if as_json:
        print_json([asdict(each) for each in shown])
        return
    listing = table("Tag", "Threshold", "Version", numbers=["Threshold"])
    for each in shown:
        listing.add_row(each.tag, f"{each.threshold:g}", each.model)
    out.print(listing)
    if not shown:
        raise typer.Exit(1)


@app.command("set")
def set_threshold(
    context: typer.Context,
    tag: Annotated[str, typer.Argument(help="The tag, or another word for it.")],
    threshold: Annotated[float, typer.Argument(min=0.0, max=1.0, help="From this confidence on it counts.")],
    model: ModelOption = None,
    db: DbOption = None,
) -> None:
    """Set a tag's threshold. It holds at once, for all photos; none is tagged again."""
    from tagger.library import thresholds

    with open_library(settings_of(context, db)) as database:
        changed = thresholds.change(database, model, tag, threshold)
    for each in changed:
        out.print(f"{each.tag} counts from {threshold:g} on, as {each.model} says it.")


@app.command()
def fit(
    context: typer.Context,
    precision: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="So many of a tag's photos are to be right.")
    ],
    cases: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Only tags of which so many photos have a verdict and a score, and half as many are above. "
            "Default: 20, with --held-out 10.",
        ),
    ] = None,
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out", help="From the photos that a trained model was measured with, not from verdicts."
        ),
    ] = False,
    model: ModelOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be set; set nothing.")] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give each tag the lowest threshold with the wanted precision over what people confirmed or rejected.

    Of a model that was trained here, the photos kept from its learning tell too: --held-out.
    """
    from tagger.library import thresholds

    cases = cases or (10 if held_out else 20)
    with open_library(settings_of(context, db)) as database:
        found = thresholds.fit(database, model, precision, cases, held_out=held_out, dry_run=dry_run)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    numbers = ["Before", "After", "Precision", "Above", "Cases"]
    listing = table("Tag", *numbers, "Version", numbers=numbers)
    for each in found:
        after = Text("stays", style="yellow") if each.after is None else Text(f"{each.after:.3g}")
        right = "-" if each.precision is None else f"{each.precision:.1%}"
        listing.add_row(
            each.tag, f"{each.before:g}", after, right, f"{each.above:,}", f"{each.cases:,}", each.model
        )
    out.print(listing)
    if not found:
        wanted = "held-out photos with a score" if held_out else "photos with both a verdict and a score"
        out.print(f"No tag has {cases} {wanted}: {'--cases asks for fewer' if held_out else _FIRST}.")
        raise typer.Exit(1)
    done = "would be set" if dry_run else "set"
    fitted = sum(each.after is not None for each in found)
    out.print(
        f"{plural(fitted, 'threshold')} {done}; tags with fewer than {cases} cases are left alone. The "
        "precision is that of the cases above; where a threshold stays, above the old one.",
        style="dim",
    )
