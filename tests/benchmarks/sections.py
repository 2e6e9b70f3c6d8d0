"""The sections of a benchmark: each measures some things together, and makes a section of the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from subprocess import run
from typing import Any

from tests.benchmarks import public
from tests.benchmarks.course import TAG, TIMM, Bench, Photos
from tests.benchmarks.made import fill_anew
from tests.benchmarks.report import Figure, Section, Spread, limit, ratio, repeated
from tests.benchmarks.servers import broker_server, postgres_server
from tests.benchmarks.turns import Contender, Running

OUR_LOADING, OUR_FORWARD = "tagger: loading", "tagger: engine"
WITH_INT8 = "limit of the public with our int8 in OpenVINO's own queue"


def small(bench: Bench) -> Section:
    """The whole to the limit of what is public."""
    where = bench.small
    loading, forward = bench.fastest_small_loading, bench.fastest_forward
    in_int8 = bench.fastest_int8_forward
    whole_decode = bench.loop("Pillow, whole picture resized", "public-processes", "Pillow whole", where)
    race = bench.race(
        [
            loading,
            forward,
            *([in_int8] if in_int8 else []),
            bench.tagging(where, bench.setting.warm),
            bench.loop(OUR_LOADING, "our-loading", "-", where),
            bench.loop(OUR_FORWARD, "our-forward", "-", where),
            whole_decode,
        ]
    )
    rates = race.rates
    of_public = limit(rates[loading.name], rates[forward.name])
    of_ours = limit(rates[OUR_LOADING], rates[OUR_FORWARD])
    limits = {"limit of the public": of_public, "limit of our own": of_ours}
    figures = [Figure("`tagger tag` to the limit of the fastest public", ratio(rates[TAG], of_public), 0.92)]
    if in_int8:
        limits[WITH_INT8] = limit(rates[loading.name], rates[in_int8.name])
        figures.append(Figure(f"`tagger tag` to the {WITH_INT8}", ratio(rates[TAG], limits[WITH_INT8]), 0.92))
    figures += [
        Figure("`tagger tag` to the limit of its own parts", ratio(rates[TAG], of_ours)),
        Figure("our loading to the fastest public", ratio(rates[OUR_LOADING], rates[loading.name])),
        Figure("our engine to the fastest public", ratio(rates[OUR_FORWARD], rates[forward.name])),
        Figure(
            "our loading to Pillow with the whole picture resized",
            ratio(rates[OUR_LOADING], rates[whole_decode.name]),
            2.0,
        ),
    ]
    return Section(
        "small",
        f"Small photos, {_size(bench)}",
        rates,
        limits,
        figures,
        race.notes,
        {"trials": bench.trials},
    )


def reference(bench: Bench) -> Section:
    """Steady, beside timm."""
    where, dtypes = bench.small, _dtypes()
    contenders = [bench.timm(dtype, where) for dtype in dtypes]
    race = bench.race([bench.tagging(where, bench.setting.warm), *contenders])
    rates = race.rates
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
        notes=[*_without_bf16(), *race.notes],
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
        race = bench.race([bench.tagging(where, warm), into_postgres, worker])
    rates = race.rates
    return Section(
        "stack",
        "SQLite, PostgreSQL, and a worker behind a broker",
        rates,
        figures=[
            Figure("worker to `tagger tag` into SQLite", ratio(rates[worker.name], rates[TAG])),
            Figure("`tagger tag` into PostgreSQL to SQLite", ratio(rates[into_postgres.name], rates[TAG])),
        ],
        notes=race.notes,
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
    took = {name: repeated(found) for name, found in seconds.items()}
    return Section(
        "processes",
        f"Whole processes over {where.number:,} small photos, start included",
        {name: repeated([where.number / each for each in found]) for name, found in seconds.items()},
        figures=[
            Figure(
                f"timm {dtype} to `tagger tag`, seconds of the whole process",
                repeated(list(ratio(took[f"{TIMM} {dtype}"], took[TAG]).by_round)),
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
    race = bench.race(
        [
            loading,
            forward,
            bench.tagging(where),
            bench.loop(OUR_LOADING, "our-loading", "-", where),
            bench.loop(OUR_FORWARD, "our-forward", "-", where),
            reference,
        ],
        bench.setting.large_turn,
    )
    rates = race.rates
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
            "with a new database, when it has too few left for a turn; its first outcomes are not counted.",
            *race.notes,
        ],
    )


def startup(bench: Bench) -> Section:
    """What a person waits for, and what a machine must have."""
    product, where, repeat = bench.product, bench.few, range(bench.setting.process_rounds)
    helped = repeated([product.seconds("--help") for _ in range(2 * len(repeat) + 1)])
    first = repeated([product.first_tag(where.folder) for _ in repeat])
    database = product.new_sqlite()
    product.tag(where.folder, database)
    again = repeated([product.tag(where.folder, database) for _ in repeat])
    small = repeated([product.peak_of_tag(where.folder) / 1e9])
    large = repeated([product.peak_of_tag(bench.large.folder) / 1e9])
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
    with postgres_server() as server:
        fresh: dict[str, Callable[[], str]] = {
            "SQLite": bench.product.new_sqlite,
            "PostgreSQL": partial(bench.product.new_postgres, server),
        }
        rounds = range(bench.setting.process_rounds)
        runs = {name: [_metered(bench, new()) for _ in rounds] for name, new in fresh.items()}
        filled = {name: new() for name, new in fresh.items()}
        bench.tell(f"{bench.setting.filled:,} images as rows, in both databases")
        fill_anew(list(filled.values()), bench.setting.filled)
        later = {name: [_metered(bench, place)] for name, place in filled.items()}
    before = f"{bench.setting.filled:,} images there before"
    figures = [Figure(f"{SHARE}, {name}", _shares(runs[name]), at_most=0.05) for name in fresh]
    figures += [Figure(f"{SHARE}, {name}, {before}", _shares(later[name])) for name in fresh]
    figures += [
        Figure(f"processor time in the database to all of the cores', {name}", _computing(bench, runs[name]))
        for name in fresh
    ]
    return Section(
        "stages",
        "Where the seconds go",
        figures=figures,
        notes=[_stage_words(name, found[0]) for name, found in runs.items()],
        more={"runs": runs, "filled": later},
    )


SHARE = "seconds in the database to seconds of the run"


def _metered(bench: Bench, database: str) -> dict[str, Any]:
    return bench.product.metered(bench.small.folder, database)


def _shares(runs: Sequence[Mapping[str, Any]]) -> Spread:
    return repeated([sum(found["database"].values()) / found["seconds"] for found in runs])


def _computing(bench: Bench, runs: Sequence[Mapping[str, Any]]) -> Spread:
    """By the client's threads: what a server computes is in the other figure alone."""
    cores = bench.product.threads
    return repeated([sum(found["database, computing"].values()) / found["seconds"] / cores for found in runs])


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
    run(bench.command("timm", dtype, where), env=bench.product.environment(), check=True)
    return time.monotonic() - began


def _stage_words(database: str, found: Mapping[str, Any]) -> str:
    def listed(name: str) -> str:
        return ", ".join(f"{stage} {value:.1f}" for stage, value in found[name].items())

    return (
        f"Into {database}: seconds by stage over {found['images']} images in {found['seconds']:.1f} s, "
        f"summed over the threads that wait in each: {listed('stages')}. "
        f"In the database: {listed('database')}; of that computing: {listed('database, computing')}."
    )
