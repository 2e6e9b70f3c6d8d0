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
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tagger.settings import load_settings
from tests.benchmarks import machine
from tests.benchmarks.course import Bench, Setting, quick, usual_images, usual_large_images
from tests.benchmarks.product import Product
from tests.benchmarks.report import Report, Section, plot, write_between
from tests.benchmarks.sections import SECTIONS
from tests.benchmarks.turns import EndedError


def main() -> None:
    """Measure, write and print; the exit code says whether all was measured."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # who is stopped is ended too
    sys.exit(run(options(sys.argv[1:])))


def run(options: argparse.Namespace) -> int:
    """Measure, write and print; the exit code."""
    setting = _setting(options)
    with tempfile.TemporaryDirectory(prefix="tagger-bench-") as folder:
        bench = Bench(setting, Product(Path(folder), options.threads), options.photos, options.folder)
        before, others = machine.described(options.threads), machine.Others()
        began = time.monotonic()
        _warm_up(bench)
        sections = [_measured(name, bench) for name in options.only]
        facts = {
            "photos": f"{setting.images:,} small, {setting.large_images:,} of 12 megapixels",
            "turns": f"{setting.rounds} rounds of {setting.turn:g} s",
            "processor time taken by others on the host": others.taken(),
            "the run took": f"{(time.monotonic() - began) / 60:.0f} minutes",
        }
    report = Report(before, facts, sections)
    return write(trial(report) if options.quick else report, options)


def trial(report: Report) -> Report:
    """The same as it is shown after `--quick`."""
    facts = {"a trial (`--quick`)": "no figure of it means anything", **report.setting}
    return Report(report.machine, facts, [section.without_verdicts() for section in report.sections])


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """What is to be measured, and where it goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, default=list(SECTIONS), metavar="SECTION,...")
    parser.add_argument("--quick", action="store_true", help="does it run? Few photos, short turns")
    parser.add_argument("--images", type=int, help="small photos; the default grows with the cores")
    parser.add_argument("--large-images", type=int, help="photos of 12 megapixels; the same")
    parser.add_argument("--rounds", type=int, help="turns of each contender")
    parser.add_argument("--turn", type=float, help="seconds of one turn")
    parser.add_argument("--threads", type=int, default=load_settings().cores)
    place = Path(tempfile.gettempdir()) / "tagger-bench-photos"
    parser.add_argument("--photos", type=Path, default=place, help="where made photos are kept for next time")
    parser.add_argument("--folder", type=Path, help="your own JPEGs instead of the small ones")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where JSON, Markdown and plot go")
    parser.add_argument("--markdown", type=Path, help="a page to write the tables into, between its marks")
    found = parser.parse_args(arguments)
    if found.quick and found.markdown:
        parser.error("--quick has no figures for a page: leave --markdown out")
    return found


def _setting(options: argparse.Namespace) -> Setting:
    cores = options.threads
    usual = quick(cores) if options.quick else Setting(usual_images(cores), usual_large_images(cores))
    turn = options.turn or usual.turn
    return replace(
        usual,
        images=options.images or usual.images,
        large_images=options.large_images or usual.large_images,
        rounds=options.rounds or usual.rounds,
        turn=turn,
        large_turn=turn * usual.large_turn / usual.turn,
    )


def _names(words: str) -> list[str]:
    names = words.split(",")
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: there are {', '.join(SECTIONS)}")
    return [name for name in SECTIONS if name in names]


def _warm_up(bench: Bench) -> None:
    """The network is converted, and everything read once."""
    bench.product.tag(bench.few.folder, bench.product.new_sqlite())


def _measured(name: str, bench: Bench) -> Section:
    """What went wrong in one section costs no other."""
    bench.tell(f"-- {name}")
    try:
        return SECTIONS[name](bench)
    except EndedError as fault:
        why = str(fault)
    except Exception as fault:
        traceback.print_exc()
        why = f"{fault} ({type(fault).__name__})"
    bench.tell(f"not measured: {why}")
    return Section(name, f"Section {name}", unmeasured=why)


def write(report: Report, options: argparse.Namespace) -> int:
    """Write and print; 0, or 1 where a section could not be measured. Then only the JSON is written, since a
    page with a part of the figures would pass for a whole one. A missed bound is no error."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bench.json").write_text(report.as_json())
    print(report.as_markdown())
    lacking = [section for section in report.sections if section.unmeasured]
    for section in lacking:
        print(f"{section.name} was not measured: {section.unmeasured}", file=sys.stderr)
    if lacking:
        return 1
    (options.out / "bench.md").write_text(report.as_markdown())
    plot(report, options.out / "bench.png")
    if options.markdown:
        write_between(options.markdown, report.as_markdown())
        plot(report, options.markdown.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    main()
