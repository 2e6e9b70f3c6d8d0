"""``worker`` and ``beat``: processes that tag what others enqueue; ``enqueue``.

The one place that reaches the Celery application, and lazily: one machine needs none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tagger.cli.options import DbOption, JsonOption, open_library, roots_of, settings_of
from tagger.cli.output import errors, escaped, name_of, out, plural, print_json
from tagger.errors import SettingsError
from tagger.values import EngineName, Precision

if TYPE_CHECKING:
    from tagger.library.filling import Filled
    from tagger.settings import Settings
    from tagger.store.session import Database
    from worker.supervisor import Post


def worker(
    context: typer.Context,
    gpus: Annotated[
        str,
        typer.Option(
            help="A process for each GPU: `all`, or numbers such as 0,2; `none`: one on the CPU. "
            "`auto` is all GPUs that there are, else the CPU."
        ),
    ] = "auto",
    engine: Annotated[EngineName | None, typer.Option(help="The runtime. Default: auto.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Arithmetic. Default: auto.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Images loaded at one time, by all processes together."),
    ] = None,
    db: DbOption = None,
) -> None:
    """Tag what is enqueued, here or anywhere, until told to stop (TERM, Ctrl-C).

    Needs TAGGER_BROKER_URL, TAGGER_DATABASE_URL and TAGGER_ROOTS, the same on all machines.
    """
    settings = settings_of(context, db, engine=engine, precision=precision, threads=threads)
    _require(settings)
    raise typer.Exit(_supervise(_worker_posts(settings, _devices(gpus)), settings))


def beat(context: typer.Context, db: DbOption = None) -> None:
    """Keep the workers' queue topped up, free what the dead held, begin jobs at their times.

    One is enough, and a second by mistake does no harm. Jobs: TAGGER_SCAN_CRON, TAGGER_REINDEX_CRON.
    """
    settings = settings_of(context, db)
    _require(settings)
    raise typer.Exit(_supervise([_post("beat", 0, _environment(settings))], settings))


def enqueue(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Photos or folders, or URIs of them, beneath TAGGER_ROOTS.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FILE", help="Read more from a file, one a line; - is standard input."
        ),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="They end in NUL there, as `find -print0` writes.")
    ] = False,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Add to the unfinished run of this name, or begin it.")
    ] = None,
    bulk: Annotated[
        bool, typer.Option("--bulk", help="Bulk work: after everything else, and in its hours.")
    ] = False,
    model: Annotated[str | None, typer.Option(help="Model to tag with. Default: the live one.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try again what failed before, though it is unchanged.")
    ] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have photos tagged by the workers. Enqueuing the same twice does nothing twice."""
    settings = settings_of(context, db, model=model)
    if not paths and source is None:
        raise typer.BadParameter("name photos or folders, or --from FILE")
    _require_roots(settings)
    from tagger.library.filling import Ask, fill
    from tagger.store.runs import RunKind

    roots = roots_of(settings)
    items = tuple(_absolute(path) for path in paths or ())
    ask = Ask(RunKind.ENQUEUE, settings.model, run, bulk, items, retry_failed=retry_failed)
    with open_library(settings, create=True) as database:
        filled = fill(database, ask, roots, stream=_lines(source, null))
        sent = send_first(database, settings, bulk)
    if as_json:
        print_json(_as_json(filled))
    else:
        _print_filled(filled, sent)
    if filled.bad_items:
        raise typer.Exit(4)


def queue_depths(settings: Settings) -> dict[str, int]:
    """How many messages wait in each queue; raises :class:`BrokerUnavailable`."""
    from worker.app import make_app
    from worker.producers import CeleryQueue

    return CeleryQueue(make_app(settings)).depths()


# -- processes ------------------------------------------------------------------------------


def _require(settings: Settings) -> None:
    """What every process would else complain of."""
    if settings.broker_url is None:
        raise SettingsError("no broker is set: TAGGER_BROKER_URL=redis://host:6379/0, the same everywhere")
    _require_roots(settings)


def _require_roots(settings: Settings) -> None:
    if not settings.roots:
        raise SettingsError("no roots are set: TAGGER_ROOTS=photos=/mnt/photos, by the same name everywhere")
    unnamed = [root.path for root in roots_of(settings).items if root.name is None]
    if unnamed:
        errors.print(
            Text(
                f"warning: {unnamed[0]} has no name: hosts that mount it elsewhere do not find its images, "
                f"and those enqueued by a name are others (TAGGER_ROOTS=photos={unnamed[0]})",
                style="yellow",
            )
        )


def _devices(gpus: str) -> list[str]:
    """What each process may see of the GPUs (``CUDA_VISIBLE_DEVICES``)."""
    if gpus == "none":
        return [""]
    if gpus in ("all", "auto"):
        found = _gpus()
        if not found and gpus == "all":
            raise SettingsError(
                "no GPU can be used here (`tagger doctor` says why): --gpus none takes the CPU"
            )
        return found or [""]
    numbers = [number.strip() for number in gpus.split(",")]
    if not all(number.isdigit() for number in numbers):
        raise typer.BadParameter("all, none, auto, or numbers such as 0,2", param_hint="--gpus")
    return numbers


def _gpus() -> list[str]:
    """The GPUs that can be used, asked in another process: this one is to stay small."""
    ask = (
        "from tagger.engines import describe_devices as d;"
        "print(sum(device.kind == 'cuda' and device.usable for device in d()))"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    number = int(answer.stdout or 0)
    return visible.split(",")[:number] if visible else [str(gpu) for gpu in range(number)]


def _worker_posts(settings: Settings, devices: list[str]) -> list[Post]:
    """One for each device; they share the cores."""
    posts = []
    for number, device in enumerate(devices):
        environment = _environment(settings) | {
            "CUDA_VISIBLE_DEVICES": device,
            "TAGGER_THREADS": str(max(1, settings.cores // len(devices))),
        }
        posts.append(_post("worker", number, environment))
    return posts


def _post(role: str, number: int, environment: dict[str, str]) -> Post:
    from worker.supervisor import Post

    command = [sys.executable, "-m", "worker.node", role, str(number)]
    return Post(f"{role} {number}", command, environment)


_MALLOC = {"MALLOC_ARENA_MAX": "2"}
"""For glibc, so that a process which runs for months keeps its size: threads come and go with each chunk,
and each would leave a heap of its own half used."""


def _environment(settings: Settings) -> dict[str, str]:
    """This process's own, with what the command line said: arguments can be seen by all users."""
    told = {
        "TAGGER_DATABASE_URL": settings.database,
        "TAGGER_ENGINE": settings.engine,
        "TAGGER_PRECISION": settings.precision,
    }
    return {**_MALLOC, **os.environ, **told}


def _supervise(posts: list[Post], settings: Settings) -> int:
    from worker import logs
    from worker.supervisor import Supervisor

    logs.configure(settings.log_format)
    return Supervisor(posts).run()


# -- enqueuing ------------------------------------------------------------------------------


def _absolute(path: str) -> str:
    """A path of the command line may begin where one stands; a URI is what it is."""
    from tagger.sources import is_address

    if path.startswith(("/", "root://", "file://")) or is_address(path):
        return path
    return str(Path.cwd() / Path(path).expanduser())


def _lines(source: str | None, null: bool) -> Iterator[str]:
    """Paths from a file, as they are: a name may be any bytes."""
    if source is None:
        return
    end = b"\0" if null else b"\n"
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as file:
            rest = b""
            while part := file.read(65536):
                *whole, rest = (rest + part).split(end)
                yield from (_absolute(os.fsdecode(line)) for line in whole if line)
            if rest:
                yield _absolute(os.fsdecode(rest))
    except OSError as fault:
        raise SettingsError(f"{source} cannot be read: {fault.strerror}") from fault


def send_first(database: Database, settings: Settings, bulk: bool) -> str:
    """After the rows: the first messages; what came of it, for a person."""
    in_hours = settings.is_bulk_hour(datetime.now().time())
    if bulk and not in_hours:
        return "Bulk work waits for its hours (TAGGER_BULK_HOURS)."
    if settings.broker_url is None:
        return (
            "No broker is set here (TAGGER_BROKER_URL): beat, which has one, hands this out. "
            "Without workers, the next `tagger tag` of the same places sees to it."
        )
    from tagger.library.dispatch import BrokerUnavailable, dispatch
    from worker.app import make_app
    from worker.producers import CeleryQueue

    try:
        sent = dispatch(database, CeleryQueue(make_app(settings)), bulk=in_hours)
    except BrokerUnavailable as fault:
        return f"{str(fault).rstrip('.')}. Nothing is lost: beat or a worker hands this out when it is back."
    if not sent.workers:
        return "No worker is alive yet: `tagger worker` starts one."
    return f"{plural(sent.workers, 'worker')} at work. `tagger status --watch` shows how far it is."


def _print_filled(filled: Filled, sent: str) -> None:
    tally = filled.tally
    for warning in filled.warnings:
        errors.print(f"warning: {escaped(warning)}", style="yellow")
    parts = [f"{tally.new:,} new", f"{tally.changed:,} changed", f"{tally.unchanged:,} known"]
    parts += [f"{tally.refused:,} refused"] if tally.refused else []
    out.print(f"Found {plural(tally.files, 'file')}: {', '.join(parts)}.")
    for refused in filled.refused:
        out.print(
            Text(f"  refused: {name_of(refused.uri)}: {refused.reason}", style="yellow"), soft_wrap=True
        )
    for bad in filled.bad:
        errors.print(Text(f"  left out: {escaped(bad.item)}: {escaped(bad.reason)}", style="yellow"))
    if filled.bad_items > len(filled.bad):
        errors.print(f"  {filled.bad_items:,} were left out in all", style="yellow")
    wanted = f"{plural(filled.wanted, 'image')} more" if filled.wanted else "nothing more"
    out.print(f"Run {filled.run_id} wants {wanted} from {filled.model}.")
    out.print(sent, style="dim")


def _as_json(filled: Filled) -> dict[str, object]:
    tally = filled.tally
    return {
        "run": filled.run_id,
        "model": filled.model,
        "wanted": filled.wanted,
        "files": tally.files,
        "new": tally.new,
        "changed": tally.changed,
        "unchanged": tally.unchanged,
        "vanished": tally.vanished,
        "refused": tally.refused,
        "skipped": dict(filled.skipped),
        "left_out": filled.bad_items,
        "left_out_first": [{"item": bad.item, "reason": bad.reason} for bad in filled.bad],
        "warnings": filled.warnings,
    }
