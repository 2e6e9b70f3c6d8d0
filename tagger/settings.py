"""Everything that can be set from outside, typed, read once at the edge and passed in.

Each field is an environment variable with the prefix ``TAGGER_`` (``TAGGER_DATABASE_URL``); the
command line's options win over it. No other module reads the environment.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, time
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from platformdirs import user_cache_path, user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tagger.errors import SettingsError, masked
from tagger.values import Decoding, EngineName, Limits, Precision


class Settings(BaseSettings):
    """The settings; a frozen value. Raise nothing here: use :func:`load_settings`."""

    # TAGGER_THREADS= in a compose file means: not set.
    model_config = SettingsConfigDict(
        env_prefix="TAGGER_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    database_url: str | None = Field(
        default=None,
        description="Where tags go: a URL, or a path for SQLite. Default: a file in the data folder.",
    )
    broker_url: str | None = Field(default=None, description="The Celery broker, for many machines.")
    visibility_timeout: float = Field(
        default=3600.0,
        allow_inf_nan=False,
        description="Seconds after which the broker gives a message that nobody acknowledged to another.",
    )
    scan_cron: str | None = Field(
        default=None, description="When beat scans the roots: a cron expression. Default: never."
    )
    reindex_cron: str | None = Field(
        default=None,
        description="When beat looks for what is missing, changed, or worth a retry. Default: never.",
    )
    bulk_hours: Annotated[tuple[time, time] | None, NoDecode] = Field(
        default=None,
        description="When bulk work may run, by the local clock: 22:00-06:00. Default: always.",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65_000, description="Where Prometheus finds metrics; 0 is nowhere."
    )
    token: SecretStr | None = Field(
        default=None,
        description="What `tagger serve` wants to hear before it answers: 16 characters at least.",
    )
    proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("127.0.0.1", "::1"),
        description="The reverse proxies before `tagger serve`, whose word on who asks is believed.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How workers and beat write their log."
    )
    roots: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Folders that may be read, separated by commas, optionally named: photos=/mnt/x.",
    )
    model: str | None = Field(
        default=None, description="The model to tag with. Default: the live one, else efficientnet-lite0."
    )
    engine: EngineName = Field(
        default="auto", description="The runtime: CUDA where there is a GPU, else OpenVINO."
    )
    precision: Precision = Field(
        default="auto", description="Arithmetic of the forward pass; auto asks the processor."
    )
    decoding: Decoding = Field(
        default="auto", description="Where JPEGs are decoded: auto is the GPU, if the engine runs on one."
    )
    device_pixels: int = Field(
        default=200_000_000,
        ge=1,
        description="Decoded pixels that may lie on the GPU at one time; larger JPEGs are not sent there.",
    )
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Images loaded at one time, and threads that compute. Default: one a core.",
    )
    max_bytes: int = Field(
        default=Limits().max_bytes, ge=1, le=2**40, description="Larger files are too_large; in bytes."
    )
    max_pixels: int = Field(
        default=Limits().max_pixels, ge=1, description="Pictures of more pixels are too_large."
    )
    max_memory: int = Field(
        default=Limits().max_memory,
        ge=1_000_000,
        le=2**40,
        description="Memory that decoding may take at one time; a picture that needs more is too_large.",
    )
    max_seconds: float = Field(
        default=Limits().max_seconds,
        gt=0,
        le=86_400,
        description="Loading that takes longer is stopped: timeout, or unreadable if reading does.",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("tagger", appauthor=False),
        description="Where the default SQLite file lies, and models of your own.",
    )
    models_dir: Path | None = Field(
        default=None,
        description="Models of your own (`tagger models add`). Default: models in the data folder.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("tagger", appauthor=False),
        description="Networks in the engine's own form, and thumbnails; may be emptied at any time.",
    )
    thumbnail_bytes: int = Field(
        default=1_000_000_000,
        ge=0,
        description="Thumbnails that are kept, in bytes; those that nobody looks at go first. 0 keeps none.",
    )

    @field_validator("roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        """A JSON list for names with commas in them, else a comma-separated line."""
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return tuple(json.loads(value))
        return tuple(item.strip() for item in value.split(",") if item.strip())

    @field_validator("proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",")) if isinstance(value, str) else value

    @field_validator("proxies")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ip_network(each)
            except ValueError as fault:
                raise ValueError(f"{fault}; addresses or networks such as 10.0.0.5,172.18.0.0/16") from fault
        return value

    @field_validator("bulk_hours", mode="before")
    @classmethod
    def _split_hours(cls, value: object) -> object:
        if not isinstance(value, str) or not value:
            return value or None
        begin, dash, end = value.partition("-")
        if not dash:
            raise ValueError("two times with a dash between them, such as 22:00-06:00")
        return begin.strip(), end.strip()

    @field_validator("bulk_hours")
    @classmethod
    def _is_span(cls, value: tuple[time, time] | None) -> tuple[time, time] | None:
        if value is not None and any(moment.tzinfo is not None for moment in value):
            raise ValueError("times of the local clock, without a zone")
        if value is not None and value[0] == value[1]:
            raise ValueError("two different times; without any, bulk work always runs")
        return value

    @field_validator("broker_url")
    @classmethod
    def _is_broker(cls, value: str | None) -> str | None:
        """Looked at here, since kombu has no word for what is wrong with an address."""
        if value is not None:
            try:
                parts = urlsplit(value)
                host = parts.hostname if parts.port != 0 else None
            except ValueError as fault:
                raise ValueError(f"{fault}; such as redis://:password@host:6379/0") from fault
            if parts.scheme not in ("redis", "rediss") or not host:
                raise ValueError("no address of a Redis or Valkey, such as redis://:password@host:6379/0")
        return value

    @field_validator("token")
    @classmethod
    def _is_token(cls, value: SecretStr | None) -> SecretStr | None:
        """Of letters that any header and any form can carry as they are."""
        if value is not None and not re.fullmatch(r"[!-~]{16,1000}", value.get_secret_value()):
            raise ValueError(
                "16 letters, digits and signs at least, no blanks; `openssl rand -hex 24` makes one"
            )
        return value

    @field_validator("scan_cron", "reindex_cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                CronSim(value, datetime.now())
            except CronSimError as fault:
                raise ValueError(f"no cron expression ({fault}); five fields such as 30 2 * * *") from fault
        return value

    @property
    def limits(self) -> Limits:
        """The limits on one image."""
        return Limits(self.max_bytes, self.max_pixels, self.max_memory, self.max_seconds)

    def is_bulk_hour(self, moment: time) -> bool:
        """Whether bulk work may run at this time of the local day."""
        if self.bulk_hours is None:
            return True
        begin, end = self.bulk_hours
        if begin <= end:
            return begin <= moment < end
        return moment >= begin or moment < end  # over midnight

    @property
    def cores(self) -> int:
        """The threads, as set; else the cores that this process may use, which a container may cut down."""
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.threads or available or 1

    @property
    def own_models(self) -> Path:
        """The folder of one's own models: as set, else in the data folder."""
        return self.models_dir or self.data_dir / "models"

    @property
    def database(self) -> str:
        """The database's URL or path: as set, else the SQLite file in the data folder."""
        return self.database_url or str(self.data_dir / "tagger.db")


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment; ``overrides`` that are not None win.

    Raises :class:`SettingsError` naming each variable that cannot be used.
    """
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except (ValidationError, ValueError) as fault:
        raise SettingsError(_readable(fault)) from fault


def _readable(fault: ValueError) -> str:
    if not isinstance(fault, ValidationError):
        return f"the settings cannot be read: {fault}"
    lines = [
        f"TAGGER_{str(error['loc'][0]).upper()}={_told(error['loc'][0], error['input'])}: {error['msg']}"
        for error in fault.errors()
    ]
    return "settings that cannot be used: " + "; ".join(lines)


def _told(name: int | str, value: object) -> str:
    """A value for a message; nothing of what is secret."""
    return "***" if name == "token" else masked(repr(value))
