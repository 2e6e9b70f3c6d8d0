"""Everything that can be set from outside, typed, read once at the edge and passed in.

Each field is an environment variable with the prefix ``TAGGER_`` (``TAGGER_DATABASE_URL``); the
command line's options win over it. No other module reads the environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from platformdirs import user_cache_path, user_data_path
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tagger.errors import SettingsError
from tagger.values import EngineName, Limits, Precision


class Settings(BaseSettings):
    """The settings; a frozen value. Raise nothing here: use :func:`load_settings`."""

    model_config = SettingsConfigDict(env_prefix="TAGGER_", frozen=True, extra="ignore")

    database_url: str | None = Field(
        default=None,
        description="Where tags go: a URL, or a path for SQLite. Default: a file in the data folder.",
    )
    broker_url: str | None = Field(default=None, description="The Celery broker, for many machines.")
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
        description="Where the default SQLite file lies.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: user_cache_path("tagger", appauthor=False),
        description="Networks in the engine's own form; may be emptied at any time.",
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

    @field_validator("database_url", "broker_url", "model", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """``TAGGER_DATABASE_URL=`` in a compose file means: not set."""
        return None if value == "" else value

    @property
    def limits(self) -> Limits:
        """The limits on one image."""
        return Limits(self.max_bytes, self.max_pixels, self.max_memory, self.max_seconds)

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
        f"TAGGER_{str(error['loc'][0]).upper()}={error['input']!r}: {error['msg']}"
        for error in fault.errors()
    ]
    return "settings that cannot be used: " + "; ".join(lines)
