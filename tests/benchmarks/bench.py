"""How fast, beside the limit of the hardware and beside what people write by hand: `make bench`.

All that is compared runs by turns on the same photos (:mod:`tests.benchmarks.turns`). The sections:

- ``small``: `tagger tag` to the limit of the fastest public loading and forward pass; our own of both
- ``reference``: `tagger tag` and a loop on timm, steady
- ``stack``: `tagger tag` into SQLite and PostgreSQL, and a worker behind a broker
- ``processes``: whole processes over 1,000 photos, start included
- ``large``: photos of 12 megapixels
- ``startup``: time to the first tag, `tagger --help`, peak memory, a run over unchanged photos
- ``stages``: where the seconds of a run go, and the database's share

What belongs to the limit: 1 / (1 / loading + 1 / forward) images a second, as both share the cores.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from subprocess import Popen, run

from tagger.settings import load_settings
from tests.benchmarks import machine, photos, public
from tests.benchmarks.counting import new_count
from tests.benchmarks.product import REPOSITORY, Product
from tests.benchmarks.report import (
    Figure,
    Report,
    Section,
    Spread,
    limit,
    pairwise,
    plot,
    rate,
    ratio,
    write_between,
)
from tests.benchmarks.servers import broker_server, postgres_server
from tests.benchmarks.turns import Contender, Running, by_turns, end

OUR_LOADING, OUR_FORWARD = "tagger: loading", "tagger: engine"
TAG, TIMM = "tagger tag", "timm"


@dataclass(frozen=True, slots=True)
class Setting:
    """How much is measured."""

    images: int = 5000
    large_images: int = 300
    warm: int = 1000
    """Images of `tagger tag` before its first turn, on small photos."""
    process_images: int = 1000
    process_rounds: int = 3
    rounds: int = 4
    turn: float = 9.0
    trial_rounds: int = 2
    trial_turn: float = 2.0


QUICK = Setting(200, 24, 20, 100, 1, 2, 2.0, 1, 1.0)
"""Shows that all of it runs, and no more."""


@dataclass(frozen=True, slots=True)
class Photos:
    """A folder to load from, and how many are in it."""

    folder: Path
    number: int


@dataclass
class Bench:
    """One run: the photos, the product, and what the sections have in common."""

    setting: Setting
    product: Product
    store: Path
    """Where made photos are kept."""
    own: Path | None = None
    """A user's own photos instead of the small ones."""
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
        with (self.product.folder / f"{place.name}.log").open("wb") as log:
            process = Popen(command, env=self.product.environment(), stdout=log, stderr=log)
            try:
                yield Running(process, counted.total)
            finally:
                end(process)

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
        return self._fastest(
            [
                self.loop(f"public engine: {configuration}", "public-forward", configuration, self.small)
                for configuration in public.forwards()
            ]
        )

    def _public_loadings(self, where: Photos) -> list[Contender]:
        return [
            self.loop(f"public loading: {name}, {kind}", f"public-{kind}", name, where)
            for name in public.loaders()
            for kind in ("threads", "processes")
        ]

    def _fastest(self, candidates: list[Contender]) -> Contender:
        by_turns(candidates, self.setting.trial_rounds, self.setting.trial_turn)
        rates = {contender.name: rate(contender.turns).overall for contender in candidates}
        for name, images in sorted(rates.items(), key=lambda item: -item[1]):
            self.tell(f"trial: {name}: {images:,.1f} images/s")
        winner = max(candidates, key=lambda contender: rates[contender.name])
        return Contender(winner.name, winner.start)

    def race(self, contenders: Sequence[Contender]) -> dict[str, Spread]:
        """All by turns; images a second of each."""
        by_turns(contenders, self.setting.rounds, self.setting.turn, self.tell)
        for contender in contenders:
            if any(turn.ran_out for turn in contender.turns):
                self.tell(f"{contender.name} was through before its turn was: give it more --images")
        return {contender.name: rate(contender.turns) for contender in contenders}


# -- sections ---------------------------------------------------------------------------------------


def small(bench: Bench) -> Section:
    """The whole to the limit of what is public."""
    where = bench.small
    loading, forward = bench.fastest_small_loading, bench.fastest_forward
    whole_decode = bench.loop("Pillow, whole picture resized", "public-processes", "Pillow whole", where)
    rates = bench.race(
        [
            loading,
            forward,
            bench.tagging(where, bench.setting.warm),
            bench.loop(OUR_LOADING, "our-loading", "-", where),
            bench.loop(OUR_FORWARD, "our-forward", "-", where),
            whole_decode,
        ]
    )
    of_public = limit(rates[loading.name], rates[forward.name])
    of_ours = limit(rates[OUR_LOADING], rates[OUR_FORWARD])
    return Section(
        "small",
        f"Small photos, {_size(bench)}",
        rates,
        {"limit of the public": of_public, "limit of our own": of_ours},
        [
            Figure("`tagger tag` to the limit of the fastest public", ratio(rates[TAG], of_public), 0.92),
            Figure("`tagger tag` to the limit of its own parts", ratio(rates[TAG], of_ours)),
            Figure("our loading to the fastest public", ratio(rates[OUR_LOADING], rates[loading.name])),
            Figure("our engine to the fastest public", ratio(rates[OUR_FORWARD], rates[forward.name])),
            Figure(
                "our loading to Pillow with the whole picture resized",
                ratio(rates[OUR_LOADING], rates[whole_decode.name]),
                2.0,
            ),
        ],
    )


def reference(bench: Bench) -> Section:
    """Steady, beside timm."""
    where, dtypes = bench.small, _dtypes()
    contenders = [bench.timm(dtype, where) for dtype in dtypes]
    rates = bench.race([bench.tagging(where, bench.setting.warm), *contenders])
    return Section(
        "reference",
        "Steady, beside a loop on timm",
        rates,
        figures=[
            Figure(
                f"`tagger tag` to timm {dtype}, steady", ratio(rates[TAG], rates[f"{TIMM} {dtype}"]), wanted
            )
            for dtype, wanted in zip(dtypes, (7.0, 3.5), strict=False)
        ],
        notes=_without_bf16(),
    )


def stack(bench: Bench) -> Section:
    """SQLite, PostgreSQL, and the way through Celery and Redis."""
    where, product, warm = bench.small, bench.product, bench.setting.warm
    with postgres_server() as server, broker_server() as broker:

        def tag() -> AbstractContextManager[Running]:
            return product.tagging(where.folder, product.new_postgres(server), where.number)

        def work() -> AbstractContextManager[Running]:
            return product.working(where.folder, product.new_postgres(server), where.number, broker)

        into_postgres = Contender("tagger tag, PostgreSQL", tag, warm)
        worker = Contender("tagger worker, broker and PostgreSQL", work, warm)
        rates = bench.race([bench.tagging(where, warm), into_postgres, worker])
    return Section(
        "stack",
        "SQLite, PostgreSQL, and a worker behind a broker",
        rates,
        figures=[
            Figure("worker to `tagger tag` into SQLite", ratio(rates[worker.name], rates[TAG])),
            Figure("`tagger tag` into PostgreSQL to SQLite", ratio(rates[into_postgres.name], rates[TAG])),
        ],
    )


def processes(bench: Bench) -> Section:
    """Whole processes, one after the other, several times."""
    where, dtypes = bench.few, _dtypes()
    names = [TAG, *(f"{TIMM} {dtype}" for dtype in dtypes)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(bench.setting.process_rounds):
        seconds[TAG].append(bench.product.tag(where.folder, bench.product.new_sqlite()))
        for dtype in dtypes:
            seconds[f"{TIMM} {dtype}"].append(_seconds_of_timm(bench, dtype, where))
        for name in names:
            bench.tell(f"process {number + 1}: {name}: {seconds[name][-1]:.1f} s")
    took = {name: pairwise(found) for name, found in seconds.items()}
    return Section(
        "processes",
        f"Whole processes over {where.number:,} small photos, start included",
        {name: pairwise([where.number / each for each in found]) for name, found in seconds.items()},
        figures=[
            Figure(
                f"timm {dtype} to `tagger tag`, seconds of the whole process",
                pairwise(list(ratio(took[f"{TIMM} {dtype}"], took[TAG]).by_round)),
                wanted,
            )
            for dtype, wanted in zip(dtypes, (6.0, 3.0), strict=False)
        ],
        notes=_without_bf16(),
        more={"seconds": seconds},
    )


def large(bench: Bench) -> Section:
    """12 megapixels: loading is nearly all there is."""
    where = bench.large
    loading, forward = bench.fastest_large_loading, bench.fastest_forward
    reference = bench.timm("float32", where)
    rates = bench.race(
        [
            loading,
            forward,
            bench.tagging(where),
            bench.loop(OUR_LOADING, "our-loading", "-", where),
            bench.loop(OUR_FORWARD, "our-forward", "-", where),
            reference,
        ]
    )
    of_public = limit(rates[loading.name], rates[forward.name])
    of_ours = limit(rates[OUR_LOADING], rates[OUR_FORWARD])
    return Section(
        "large",
        "Photos of 12 megapixels, 4000 x 3000",
        rates,
        {"limit of the public": of_public, "limit of our own": of_ours},
        [
            Figure(
                "12 MP: our loading to the fastest public",
                ratio(rates[OUR_LOADING], rates[loading.name]),
                0.9,
            ),
            Figure("12 MP: `tagger tag` to the limit of its own parts", ratio(rates[TAG], of_ours), 0.92),
            Figure("12 MP: `tagger tag` to the limit of the fastest public", ratio(rates[TAG], of_public)),
            Figure("12 MP: `tagger tag` to timm float32, steady", ratio(rates[TAG], rates[reference.name])),
        ],
        [
            f"Only {where.number:,} files, as 5,000 would take some 17 GB: `tagger tag` is started anew, "
            "with a new database, when it has too few left for a turn; its first outcomes are not counted."
        ],
    )


def startup(bench: Bench) -> Section:
    """What a person waits for, and what a machine must have."""
    product, where, repeat = bench.product, bench.few, range(bench.setting.process_rounds)
    helped = pairwise([product.seconds("--help") for _ in range(2 * len(repeat) + 1)])
    first = pairwise([product.first_tag(where.folder) for _ in repeat])
    database = product.new_sqlite()
    product.tag(where.folder, database)
    again = pairwise([product.tag(where.folder, database) for _ in repeat])
    small = pairwise([product.peak_of_tag(where.folder) / 1e9])
    large = pairwise([product.peak_of_tag(bench.large.folder) / 1e9])
    return Section(
        "startup",
        "Start and memory",
        figures=[
            Figure("time to the first tag, warm caches", first, at_most=4.0, unit="s"),
            Figure("`tagger --help`", helped, at_most=0.4, unit="s"),
            Figure(f"second run over {where.number:,} unchanged photos", again, unit="s"),
            Figure("peak memory of all processes, small photos", small, at_most=1.5, unit="GB"),
            Figure("peak memory of all processes, 12 MP", large, at_most=1.5, unit="GB"),
        ],
    )


def stages(bench: Bench) -> Section:
    """Where the seconds go; see :mod:`tests.benchmarks.metered`."""
    runs = [bench.product.metered(bench.few.folder) for _ in range(bench.setting.process_rounds)]
    shares = [sum(found["database"].values()) / found["seconds"] for found in runs]
    cores = bench.product.threads
    computing = [sum(found["database, computing"].values()) / found["seconds"] / cores for found in runs]
    return Section(
        "stages",
        "Where the seconds go",
        figures=[
            Figure("seconds in the database to seconds of the run", pairwise(shares), at_most=0.05),
            Figure("processor time in the database to all of the cores'", pairwise(computing)),
        ],
        notes=[_stage_words(runs[0])],
        more={"runs": runs},
    )


SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "small": small,
    "reference": reference,
    "stack": stack,
    "processes": processes,
    "large": large,
    "startup": startup,
    "stages": stages,
}
"""In this order. Whoever measures something else adds a function here that makes a section of it."""


def _dtypes() -> list[str]:
    return ["float32", "bfloat16"] if public.computes_bf16() else ["float32"]


def _without_bf16() -> list[str]:
    if public.computes_bf16():
        return []
    return [
        "timm in bf16 is left out: this processor has no instructions for it, and emulates it very slowly."
    ]


def _size(bench: Bench) -> str:
    return "the user's own" if bench.own else "500 x 375"


def _seconds_of_timm(bench: Bench, dtype: str, where: Photos) -> float:
    began = time.monotonic()
    run(bench.command("timm", dtype, where), env=bench.product.environment(), check=True, cwd=REPOSITORY)
    return time.monotonic() - began


def _stage_words(found: dict[str, object]) -> str:
    def listed(name: str) -> str:
        seconds = found[name]
        assert isinstance(seconds, dict)
        return ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())

    return (
        f"Seconds by stage over {found['images']} images in {found['seconds']:.1f} s, summed over the "
        f"threads that wait in each: {listed('stages')}. In the database: {listed('database')}; of that "
        f"computing: {listed('database, computing')}."
    )


# -- the command ------------------------------------------------------------------------------------


def main() -> None:
    """Measure, write and print."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # who is stopped is ended too
    setting = QUICK if options.quick else _setting(options)
    with tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        bench = Bench(setting, Product(Path(folder), options.threads), options.photos, options.folder)
        before, others = machine.described(options.threads), machine.Others()
        began = time.monotonic()
        _warm_up(bench)
        sections = [_measured(SECTIONS[name], name, bench) for name in options.only]
        facts = {
            "photos": f"{setting.images:,} small, {setting.large_images:,} of 12 megapixels",
            "turns": f"{setting.rounds} rounds of {setting.turn:g} s",
            "processor time taken by others on the host": others.taken(),
            "the run took": f"{(time.monotonic() - began) / 60:.0f} minutes",
        }
    _write(Report(before, facts, sections), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, default=list(SECTIONS), metavar="SECTION,...")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few photos, short turns")
    usual = Setting()
    parser.add_argument("--images", type=int, default=usual.images, help="small photos")
    parser.add_argument("--large-images", type=int, default=usual.large_images)
    parser.add_argument("--rounds", type=int, default=usual.rounds)
    parser.add_argument("--turn", type=float, default=usual.turn, help="seconds of one turn")
    parser.add_argument("--threads", type=int, default=load_settings().cores)
    place = Path(tempfile.gettempdir()) / "tagger-bench-photos"
    parser.add_argument("--photos", type=Path, default=place, help="where made photos are kept for next time")
    parser.add_argument("--folder", type=Path, help="your own JPEGs instead of the small ones")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where JSON, Markdown and plot go")
    parser.add_argument("--markdown", type=Path, help="a page to write the tables into, between its marks")
    return parser.parse_args()


def _setting(options: argparse.Namespace) -> Setting:
    return Setting(options.images, options.large_images, rounds=options.rounds, turn=options.turn)


def _names(words: str) -> list[str]:
    names = words.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def _warm_up(bench: Bench) -> None:
    """The network is converted, and everything read once."""
    bench.product.tag(bench.few.folder, bench.product.new_sqlite())


def _measured(measure: Callable[[Bench], Section], name: str, bench: Bench) -> Section:
    bench.tell(f"-- {name}")
    return measure(bench)


def _write(report: Report, options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(report.as_json())
    (options.out / "bench.md").write_text(report.as_markdown())
    plot(report, options.out / "bench.png")
    if options.markdown:
        write_between(options.markdown, report.as_markdown())
        plot(report, options.markdown.with_suffix(".png"))
    print(report.as_markdown())


if __name__ == "__main__":
    main()
