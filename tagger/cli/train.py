"""``tagger train``: a model of one's own labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import bar, errors, out, plural, print_json, sparkline, table
from tagger.values import EngineName

if TYPE_CHECKING:
    from tagger.library.training.examples import Given
    from tagger.library.training.order import Equipment, Order
    from tagger.library.training.train import Trained
    from tagger.settings import Settings
    from tagger.store.session import Database
    from tagger.training.fitting import Epoch

Half = Literal["auto", "f32", "bf16", "f16"]  # those of Manner, whose room takes long to import
Vary = Literal["photo", "text", "none"]

LABELS = 40


def train(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR|CSV]",
            help="A folder with a folder of photos for each label, or a CSV file with the columns image and "
            "label. Left out with --verdicts.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the model.")] = ...,  # type: ignore[assignment]
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Learn what people have confirmed in the database.")
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="TAG", help="With --verdicts: only these tags. Default: all confirmed."
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="DIR|CSV", help="Photos to measure with, which nothing is learned from."),
    ] = None,
    many: Annotated[
        bool, typer.Option("--multi-label", help="A photo may have several labels, or none.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="MODEL", help="Begin with this model's weights. Default: efficientnet-lite0."
        ),
    ] = None,
    scratch: Annotated[
        str | None,
        typer.Option(metavar="NETWORK", help="Begin with nothing: lenet, cifar10-cnn, resnet18, ..."),
    ] = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Go on learning with all layers; slow without a GPU.")
    ] = False,
    vocabulary: Annotated[
        str | None, typer.Option(help="Versions of one vocabulary replace each other. Default: the name.")
    ] = None,
    vary: Annotated[Vary, typer.Option(help="How photos are varied: text is never mirrored.")] = "photo",
    held_out: Annotated[
        float, typer.Option(min=0.05, max=0.9, help="So many of the photos are kept from learning (0-1).")
    ] = 0.2,
    least: Annotated[int, typer.Option(min=2, help="Labels with fewer photos are left out.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Decides all that is left to chance.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="So often through all photos, at most.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="So many epochs without a lower loss end it.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=1e-8, max=1.0, help="The learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, max=4096, help="Photos in a step.")] = None,
    precision: Annotated[
        Half, typer.Option(help="Mixed precision where all layers learn. Default: where the device has it.")
    ] = "auto",
    engine: Annotated[EngineName | None, typer.Option(help="The runtime. Default: auto.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Default: all cores.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, though an earlier run was cut off.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on your own labels; it becomes a version that tags beside all others.

    `tagger train birds --name birds`, where birds/robin and birds/wren hold photos. Cut off, the same
    command goes on where it was. A report with all figures lies beside the model.
    """
    if (source is None) != verdicts:
        raise typer.BadParameter("name a folder or a CSV file, or say --verdicts", param_hint="DIR")
    if tag and not verdicts:
        raise typer.BadParameter("goes with --verdicts", param_hint="--tag")
    if base and scratch:
        raise typer.BadParameter(
            "a network begins with a model's weights or with nothing", param_hint="--scratch"
        )
    if fine_tune and scratch:
        raise typer.BadParameter("all layers learn anyway with --scratch", param_hint="--fine-tune")
    settings = settings_of(context, db, engine=engine, threads=threads)
    from tagger.library.training.order import Manner, Order

    manner = Manner(
        base=base,
        scratch=scratch,
        fine_tune=fine_tune,
        many=many,
        vary=vary,
        share=held_out,
        least=least,
        seed=seed,
        epochs=epochs,
        patience=patience,
        rate=rate,
        batch=batch,
        half=precision,
    )
    with open_library(settings, create=not verdicts) as database:
        given = _given(database, settings, source, tuple(tag or ()), many)
        order = Order(name, given, manner, _equipment(settings), _tests(settings, test), vocabulary, fresh)
        trained = _run(database, order, visible=not as_json)
    if as_json:
        print_json(_as_json(trained))
    else:
        _print(trained)


def _given(
    database: Database, settings: Settings, source: Path | None, tags: tuple[str, ...], many: bool
) -> Given:
    from tagger.library.training import examples

    if source is None:
        return examples.from_verdicts(database, roots_of(settings), tags, many=many)
    return examples.from_path(source, roots_of(settings))


def _tests(settings: Settings, test: Path | None) -> Given | None:
    from tagger.library.training import examples

    return None if test is None else examples.from_path(test, roots_of(settings))


def _equipment(settings: Settings) -> Equipment:
    from tagger.library.training.order import Equipment

    return Equipment(
        settings.own_models, settings.cache_dir, settings.cores, settings.engine, settings.limits
    )


def _run(database: Database, order: Order, *, visible: bool) -> Trained:
    from tagger.library.training.train import train as use_case

    try:
        with _watching(visible) as watch:
            return use_case(database, order, watch)
    except KeyboardInterrupt:
        errors.print("Interrupted: the same command goes on from here.", style="yellow")
        raise typer.Exit(130) from None


# -- while it runs --------------------------------------------------------------------------


class _Watch:
    """Draws what is done at the moment, and below each other the epochs that are through."""

    def __init__(self, bars: Progress, *, quiet: bool) -> None:
        self._bars = bars
        self._quiet = quiet
        self._stage = ""
        self._task = bars.add_task("Beginning", total=None, note="")
        self._right: list[float] = []
        self._told = 0.0

    def stage(self, words: str, total: int) -> None:
        """Another step; where no bar is seen, a line for it."""
        if words != self._stage and not self._bars.console.is_terminal and not self._quiet:
            errors.print(f"{words} ({total:,}) ...", style="dim")
        self._stage = words
        self._bars.reset(self._task, description=words, total=total, note=self._curve)

    def advanced(self, done: int) -> None:
        """Some more parts."""
        self._bars.update(self._task, completed=done)

    def epoch(self, epoch: Epoch, most: int) -> None:
        """The learning curve goes on."""
        self._right.append(epoch.right)
        self._bars.update(self._task, note=self._curve)
        # A last layer has hundreds of epochs of milliseconds.
        if not self._quiet and time.monotonic() - self._told >= (
            0.5 if self._bars.console.is_terminal else 5.0
        ):
            self._told = time.monotonic()
            self._bars.console.print(
                f"epoch {epoch.number:>3}/{most}  loss {epoch.loss:.4f}  held out {epoch.held_out_loss:.4f}  "
                f"right {epoch.right:.1%}{'  best so far' if epoch.best else ''}",
                style="dim" if not epoch.best else None,
            )

    @property
    def _curve(self) -> str:
        """The share named right, epoch by epoch, as far as a line has room for."""
        if not self._right:
            return ""
        drawn = self._right[-30:]
        low, high = min(drawn), max(drawn)
        low = low if high > low else 0.0
        return f"{sparkline(drawn, low, high)} {self._right[-1]:.1%} right"


@contextmanager
def _watching(visible: bool) -> Iterator[_Watch]:
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=errors,
        transient=True,
        disable=not (visible and errors.is_terminal),
    )
    with bars:
        yield _Watch(bars, quiet=not visible)


# -- at the end -----------------------------------------------------------------------------


def _print(trained: Trained) -> None:
    summary, measures = trained.summary, trained.summary.measures
    listing = table("Label", "Photos", "Precision", "Recall", "", numbers=["Photos", "Precision", "Recall"])
    worst = sorted(measures.labels, key=lambda label: (label.recall is None, label.recall or 0.0))
    for label in worst[:LABELS]:
        listing.add_row(
            Text(label.label),
            f"{label.pictures:,}",
            _percent(label.precision),
            _percent(label.recall),
            bar(label.recall or 0.0),
        )
    out.print(listing)
    if len(worst) > LABELS:
        out.print(f"and {len(worst) - LABELS:,} labels with a higher recall", style="dim")
    for reason, listed in summary.left_out.items():
        errors.print(f"note: {reason}: {_some(listed)}", style="yellow")
    if summary.doubtful:
        doubtful = [
            f"{each['uri']} ({each['truth']}, or {each['said']}?)" for each in trained.figures["doubtful"]
        ]
        errors.print(f"note: labels to look at: {_some(doubtful)}", style="yellow")
    if measures.confusion is not None and not {"other", "others", "none"} & set(summary.names):
        errors.print(
            "note: it names one of its labels for every photo, also for those that show none of them; a "
            "folder called other, with photos of all sorts, takes these",
            style="yellow",
        )
    right = measures.right
    said = "named right" if measures.confusion is not None else "with just the right labels"
    out.print(
        f"{trained.spec.name} learned {plural(len(summary.names), 'label')} from "
        f"{plural(summary.learned, 'photo')} in {summary.seconds:.0f} s. Of {right.of:,} others "
        f"{right.value:.1%} are {said} (95 %: {right.low:.1%} to {right.high:.1%}); "
        f"its confidence is off by {measures.after.error:.3f} on average, before calibration "
        f"{measures.before.error:.3f}."
    )
    out.print(f"Report: {trained.page}", soft_wrap=True)
    out.print(f"Next: `tagger tag PATH --model {trained.spec.name}`{_waits(trained)}.", style="dim")


def _some(listed: Sequence[str], at_most: int = 3) -> str:
    """The first of many, and how many more the report has."""
    from tagger.training.report import readable

    more = f", and {len(listed) - at_most:,} more in the report" if len(listed) > at_most else ""
    return f"{len(listed):,}: {'; '.join(map(readable, listed[:at_most]))}{more}"


def _waits(trained: Trained) -> str:
    model = trained.model
    return "" if model.live else f", then `tagger models promote {model.name}`: another version is live"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _as_json(trained: Trained) -> dict[str, object]:
    return {
        "model": trained.model.name,
        "live": trained.model.live,
        "report": str(trained.page),
        **trained.figures,
    }
