"""Examining the machine: database, broker, devices, weights, codecs; and how to mend each."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import psutil

from tagger import models
from tagger.engines import describe_devices, openvino
from tagger.errors import EngineError, TaggerError, WeightsError, masked
from tagger.library.decoding import INSTALL, device_of, probed
from tagger.library.survey import places_of, shown
from tagger.loading import readable_formats, resize, turbo
from tagger.models import ModelSpec, PackagedWeights, weights
from tagger.settings import Settings
from tagger.sources import Roots, RootState, root_state
from tagger.store import migrate
from tagger.store.session import Database, open_database
from tagger.supervision import Loaders, Setup
from tagger.values import EngineName, ImageRef

LOW_DISK = 1 << 30
"""Bytes free below which a growing database is in danger."""


class Health(StrEnum):
    """What an examination found."""

    WELL = "ok"
    NOTE = "note"
    """Works, but one would want to know."""
    ILL = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined; ``mend`` says what to do about it."""

    subject: str
    health: Health
    said: str
    mend: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything, one finding after another; nothing is changed on the machine."""
    parts: list[tuple[str, Callable[[Settings], Iterator[Finding]]]] = [
        ("database", _database),
        ("broker", _broker),
        ("roots", _roots),
        ("devices", _devices),
        ("model", _model),
        ("engine", _engine),
        ("weights", _weights),
        ("codecs", _codecs),
        ("decoding", _decoding),
        ("loading", _loading),
        ("folders", _folders),
    ]
    for subject, part in parts:
        try:
            yield from part(settings)
        except TaggerError as fault:
            yield Finding(subject, Health.ILL, str(fault))


def _database(settings: Settings) -> Iterator[Finding]:
    database = open_database(settings.database)
    try:
        if database.path is not None and not database.path.exists():
            yield Finding(
                "database", Health.NOTE, f"{database.path} is not there yet", "tagger tag PATH makes it"
            )
            return
        migrate.check(database)
        yield Finding("database", Health.WELL, f"{database.url} answers, version {migrate.NEWEST}")
        if database.path is not None:
            yield from _sqlite(database, database.path)
    finally:
        database.close()


def _sqlite(database: Database, path: Path) -> Iterator[Finding]:
    with database.reading() as connection:
        verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if verdict != "ok":
        yield Finding(
            "database",
            Health.ILL,
            f"{path} is damaged: {verdict}",
            "go back to a copy made by `tagger db backup`, or delete the file and tag again",
        )
    if journal != "wal":
        yield Finding(
            "database",
            Health.NOTE,
            f"{path} is on a network file system: one process at a time, and slowly",
            "move it to a local disk (--db), or use PostgreSQL",
        )
    free = shutil.disk_usage(path.parent).free
    if free < LOW_DISK:
        yield Finding("database", Health.ILL, f"{free >> 20} MB are free at {path.parent}", "make room")


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.broker_url is None:
        yield Finding("broker", Health.WELL, "none is set, and one machine needs none")
        return
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    place = masked(settings.broker_url)
    try:
        with Redis.from_url(
            settings.broker_url, socket_connect_timeout=3, socket_timeout=3, retry=Retry(NoBackoff(), 0)
        ) as broker:
            broker.ping()
            policy = broker.info("memory").get("maxmemory_policy", "noeviction")
    except (RedisError, OSError, ValueError) as fault:
        mend = "start it, or correct TAGGER_BROKER_URL (redis://:password@host:6379/0)"
        yield Finding("broker", Health.ILL, f"{place} does not answer: {fault}", mend)
        return
    if policy == "noeviction":
        yield Finding("broker", Health.WELL, f"{place} answers")
    else:
        mend = "set maxmemory-policy noeviction: the work is sent again, but producers' messages are not"
        yield Finding("broker", Health.NOTE, f"{place} throws messages away when it is full ({policy})", mend)


def _roots(settings: Settings) -> Iterator[Finding]:
    roots = Roots.parse(settings.roots)
    for place in places_of(roots):
        state = root_state(place)
        if state is RootState.PRESENT:
            yield Finding("roots", Health.WELL, f"{shown(place)} can be read")
        else:
            yield Finding(
                "roots", Health.ILL, f"{shown(place)} is {state}", "mount it, or correct TAGGER_ROOTS"
            )


def _devices(settings: Settings) -> Iterator[Finding]:
    for device in describe_devices():
        health = Health.WELL if device.usable else Health.NOTE
        yield Finding("devices", health, f"{device.name}; {device.note}")
    memory = psutil.virtual_memory()
    yield Finding(
        "devices",
        Health.WELL if memory.available > 1 << 30 else Health.NOTE,
        f"{memory.available / (1 << 30):.1f} GB of {memory.total / (1 << 30):.1f} GB memory available",
        "" if memory.available > 1 << 30 else "close something: tagging takes about 1 GB",
    )


def _model(settings: Settings) -> Iterator[Finding]:
    name = settings.model
    if name is None:
        yield Finding("model", Health.WELL, f"the live one of the database, else {models.DEFAULT}")
    elif name in models.names():
        yield Finding("model", Health.WELL, f"{name}, by TAGGER_MODEL")
    else:
        mend = f"correct TAGGER_MODEL: {', '.join(models.names())}"
        yield Finding("model", Health.ILL, f"there is none called {name!r}", mend)


def _engine(settings: Settings) -> Iterator[Finding]:
    fault = _engine_fault(settings.engine)
    if fault is None:
        yield Finding("engine", Health.WELL, settings.engine)
    else:
        mend = "correct TAGGER_ENGINE: auto takes what can run here"
        yield Finding("engine", Health.ILL, f"{settings.engine} cannot run here: {fault}", mend)


def _engine_fault(name: EngineName) -> str | None:
    if name == "openvino":
        try:
            openvino.runtime()
        except EngineError as fault:
            return str(fault)
    if name == "cuda":
        found = [device for device in describe_devices() if device.kind == "cuda"]
        if not any(device.usable for device in found):
            return "; ".join(device.note for device in found) or "no NVIDIA driver was found"
    return None


def _weights(settings: Settings) -> Iterator[Finding]:
    for spec in models.all_specs():
        try:
            path = weights.locate(spec.weights)
        except WeightsError as fault:
            if isinstance(spec.weights, PackagedWeights):  # others are downloaded when they are wanted
                yield Finding("weights", Health.ILL, f"{spec.name}: {fault}")
            continue
        yield _digest(spec, path)


def _digest(spec: ModelSpec, path: Path) -> Finding:
    try:
        weights.check(spec.weights, path)
    except (WeightsError, OSError):
        mend = weights.how(spec.weights)
        return Finding("weights", Health.ILL, f"{spec.name}: {path} is not the published file", mend)
    return Finding("weights", Health.WELL, f"{spec.name}: here, digest right")


def _codecs(settings: Settings) -> Iterator[Finding]:
    formats = readable_formats()
    yield Finding("codecs", Health.WELL, "reads " + ", ".join(sorted(formats)))
    for kind, package in (("camera RAW", "rawpy"), ("JPEG XL", "pylibjxl")):
        if find_spec(package) is None:
            yield Finding("codecs", Health.NOTE, f"does not read {kind}", f"pip install {package}")
        else:
            yield Finding("codecs", Health.WELL, f"reads {kind}, with {package}")
    for task, package, works in (
        ("JPEGs are decoded", "simplejpeg", turbo.works()),
        ("pictures are resampled", "cykooz.resizer", resize.works()),
    ):
        if works:
            yield Finding("codecs", Health.WELL, f"{task} by {package}")
        else:
            slow = f"{task} by Pillow itself, which takes longer"
            yield Finding("codecs", Health.NOTE, slow, f"pip install --upgrade {package}")
    missing = sorted({"JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"} - set(formats))
    if missing:
        mend = "pip install --force-reinstall pillow pillow-heif"
        yield Finding("codecs", Health.ILL, f"cannot read {', '.join(missing)}", mend)


def _decoding(settings: Settings) -> Iterator[Finding]:
    """Who decodes JPEGs. The decoder of a device is asked for a picture."""
    gpu = settings.engine in ("auto", "cuda") and any(
        device.kind == "cuda" and device.usable for device in describe_devices()
    )
    device = "cuda" if gpu else device_of(settings.engine)
    if settings.decoding == "cpu" or (settings.decoding == "auto" and not gpu):
        yield Finding("decoding", Health.WELL, "JPEGs are decoded on the CPU")
        return
    try:
        if device is None:
            raise EngineError(f"the engine {settings.engine} takes no pixels that lie on a device")
        name = probed(models.get(models.DEFAULT).preprocessing, device).name
        yield Finding("decoding", Health.WELL, f"plain JPEGs are decoded on the device, by {name}")
    except EngineError as fault:
        if settings.decoding == "auto":
            yield Finding("decoding", Health.NOTE, f"JPEGs are decoded on the CPU: {fault}", INSTALL)
        else:
            mend = "correct TAGGER_DECODING: auto takes what can decode here"
            yield Finding("decoding", Health.ILL, f"JPEGs cannot be decoded on the device: {fault}", mend)


def _loading(settings: Settings) -> Iterator[Finding]:
    """A process that loads is started as a run does it, and asked for a file that is not there."""
    limits, spec = settings.limits, models.get(models.DEFAULT)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Loaders(Setup(Roots().adding([folder]), limits, spec.preprocessing), 1, lambda ref: None) as loaders,
    ):
        loaders.load(ImageRef(0, (Path(folder) / "none.jpg").as_uri()), lambda digest: True)
    yield Finding(
        "loading",
        Health.WELL,
        f"a process that loads images starts in {time.monotonic() - began:.1f} s; one image may take "
        f"{limits.max_seconds:g} s, {limits.max_bytes / 1e6:.0f} MB, {limits.max_pixels / 1e6:.0f} "
        f"megapixels and {limits.max_memory / 1e6:.0f} MB to decode",
    )


def _folders(settings: Settings) -> Iterator[Finding]:
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.cache_dir):
            yield Finding(
                "folders", Health.WELL, f"networks in the engine's own form are kept in {settings.cache_dir}"
            )
    except OSError as fault:
        yield Finding(
            "folders",
            Health.ILL,
            f"{settings.cache_dir} cannot be written: {fault.strerror}",
            "set TAGGER_CACHE_DIR to a folder of yours",
        )
