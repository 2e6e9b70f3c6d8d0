"""What the sections of a benchmark have in common: how much, the photos, and who takes part."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path

from tests.benchmarks import photos, public
from tests.benchmarks.counting import new_count
from tests.benchmarks.product import Product
from tests.benchmarks.report import Spread, rate
from tests.benchmarks.turns import Contender, Running, by_turns

TAG, TIMM = "tagger tag", "timm"


@dataclass(frozen=True, slots=True)
class Setting:
    """How much is measured."""

    images: int
    large_images: int
    warm: int = 1000
    """Images of `tagger tag` before its first turn, on small photos."""
    process_images: int = 1000
    process_rounds: int = 3
    rounds: int = 4
    turn: float = 9.0
    large_turn: float = 6.0
    """With photos of 12 megapixels, of which there are few."""
    trial_rounds: int = 3
    trial_turn: float = 1.5
    filled: int = 200_000
    """Images that a database has before a run that is to show what its size costs."""


def usual_images(cores: int) -> int:
    """As many small photos as the turns of a machine with so many cores need."""
    return max(5000, 2500 * cores)


def usual_large_images(cores: int) -> int:
    """The same with 12 megapixels, of which 100 take 0.3 GB."""
    return 200 * cores


def quick(cores: int) -> Setting:
    """Shows that all of it runs, and no more. Outcomes are committed by 512 or every two seconds, so that
    fewer photos would be through before a turn was."""
    return Setting(max(2000, 1000 * cores), max(200, 100 * cores), 20, 100, 1, 2, 1.0, 1.0, 1, 0.5, 2_000)


@dataclass(frozen=True, slots=True)
class Photos:
    """A folder to load from, and how many are in it."""

    folder: Path
    number: int


@dataclass(frozen=True, slots=True)
class Race:
    """Images a second of each contender, and what a reader must know."""

    rates: dict[str, Spread]
    notes: list[str]


@dataclass
class Bench:
    """One run: the photos, the product, and what the sections have in common."""

    setting: Setting
    product: Product
    store: Path
    """Where made photos are kept."""
    own: Path | None = None
    """A user's own photos instead of the small ones."""
    trials: list[dict[str, float]] = field(default_factory=list)
    """Images a second of all that was tried, for the record."""
    _numbers: Iterator[int] = field(default_factory=count)

    def tell(self, words: str) -> None:
        """Say how far it is, to people who wait."""
        print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)

    # -- photos ---------------------------------------------------------------------------------

    @cached_property
    def small(self) -> Photos:
        """Those of 500 x 375, or the user's own."""
        if self.own is None:
            self.tell(f"{self.setting.images:,} photos of 500 x 375, in {self.store}")
            return Photos(photos.made(self.store, photos.SMALL, self.setting.images), self.setting.images)
        found = photos.jpegs(self.own)[: self.setting.images]
        if not found:
            sys.exit(f"{self.own} has no JPEGs in RGB")
        return Photos(photos.linked(self.product.folder / "own", found), len(found))

    @cached_property
    def few(self) -> Photos:
        """The first of the small ones, for whole processes."""
        chosen = sorted(self.small.folder.iterdir())[: self.setting.process_images]
        return Photos(photos.linked(self.product.folder / "few", chosen), len(chosen))

    @cached_property
    def large(self) -> Photos:
        """Those of 12 megapixels."""
        self.tell(f"{self.setting.large_images:,} photos of 12 megapixels, in {self.store}")
        folder = photos.made(self.store, photos.LARGE, self.setting.large_images)
        return Photos(folder, self.setting.large_images)

    # -- contenders -----------------------------------------------------------------------------

    def loop(self, name: str, kind: str, variant: str, where: Photos) -> Contender:
        """One of :mod:`tests.benchmarks.contenders`."""
        return Contender(name, lambda: self._looping(kind, variant, where))

    @contextmanager
    def _looping(self, kind: str, variant: str, where: Photos) -> Iterator[Running]:
        place = self.product.folder / f"count-{next(self._numbers)}"
        counted = new_count(place)
        command = [*self.command(kind, variant, where), "--count", str(place)]
        with self.product.started(command, self.product.environment(), counted.total) as running:
            yield running

    def command(self, kind: str, variant: str, where: Photos) -> list[str]:
        """Of a contender's process."""
        command = [sys.executable, "-m", "tests.benchmarks.contenders", kind, variant, str(where.folder)]
        return [*command, "--threads", str(self.product.threads), "--cache", str(self.product.cache)]

    def tagging(self, where: Photos, warm: int = 1) -> Contender:
        """`tagger tag` into a new SQLite file."""
        product = self.product
        return Contender(TAG, lambda: product.tagging(where.folder, product.new_sqlite(), where.number), warm)

    def timm(self, dtype: str, where: Photos) -> Contender:
        """The reference."""
        return self.loop(f"{TIMM} {dtype}", "timm", dtype, where)

    # -- what is the fastest ----------------------------------------------------------------------

    @cached_property
    def fastest_small_loading(self) -> Contender:
        """Of the public ways to load, by a trial."""
        return self._fastest(self._public_loadings(self.small))

    @cached_property
    def fastest_large_loading(self) -> Contender:
        """The same with 12 megapixels."""
        return self._fastest(self._public_loadings(self.large))

    @cached_property
    def fastest_forward(self) -> Contender:
        """Of the public engines and their settings."""
        return self._fastest(self._public_engines(public.forwards()))

    @cached_property
    def fastest_int8_forward(self) -> Contender | None:
        """Of the product's int8 in the public engine; None where the product does not take int8."""
        engines = self._public_engines(public.int8_forwards())
        return self._fastest(engines) if engines else None

    def _public_engines(self, configurations: Iterable[str]) -> list[Contender]:
        return [
            self.loop(f"public engine: {configuration}", "public-forward", configuration, self.small)
            for configuration in configurations
        ]

    def _public_loadings(self, where: Photos) -> list[Contender]:
        return [
            self.loop(f"public loading: {name}, {kind}", f"public-{kind}", name, where)
            for name in public.loaders()
            for kind in ("threads", "processes")
        ]

    def _fastest(self, candidates: Sequence[Contender]) -> Contender:
        """By a short trial of all, and a longer one of the best three."""
        turn = self.setting.trial_turn
        best = self._ranked(candidates, 2, turn)[:3]
        winner = self._ranked(best, self.setting.trial_rounds, 2 * turn)[0]
        self.tell(f"the fastest is {winner.name}")
        return winner

    def _ranked(self, candidates: Sequence[Contender], rounds: int, turn: float) -> list[Contender]:
        """Anew, those that run here, the fastest first."""
        fresh = [Contender(each.name, each.start) for each in candidates]
        by_turns(fresh, rounds, turn, self.tell, optional=True)
        rates = {each.name: rate(each.turns).overall for each in fresh if each.turns}
        self.trials.append(rates)
        ran = [each for each in candidates if each.name in rates]
        return sorted(ran, key=lambda each: -rates[each.name])

    def race(self, contenders: Sequence[Contender], turn: float | None = None) -> Race:
        """All by turns, and none with turns of another race."""
        contenders = [Contender(each.name, each.start, each.warm) for each in contenders]
        by_turns(contenders, self.setting.rounds, turn or self.setting.turn, self.tell)
        through = [each.name for each in contenders if any(turn.ran_out for turn in each.turns)]
        notes = [
            f"{name} was through with all photos before a turn was: it needs more of them (`--images`, "
            "`--large-images`), for its rate has the end of a run in it."
            for name in through
        ]
        return Race({each.name: rate(each.turns) for each in contenders}, notes)
