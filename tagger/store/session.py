"""Connections and transactions: what differs between SQLite and PostgreSQL stands here.

A :class:`Database` gives two kinds of transaction. ``reading()`` never waits for a writer;
``writing()`` on SQLite begins IMMEDIATE, since a transaction that reads first and writes later
can find its snapshot stale, which no busy timeout cures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import psutil
from sqlalchemy import Connection, Engine, Select, create_engine, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import DatabaseError as DBDatabaseError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tagger.errors import DatabaseError, DatabaseUnavailable, masked
from tagger.store.bulk import driven, fetched
from tagger.store.schema import Base

Columns = TypeVarTuple("Columns")
T = TypeVar("T")

BUSY_SECONDS = 60
"""How long SQLite waits for another writer before it gives up."""

POOL_SECONDS = 600
"""How long one of many threads waits for one of the few connections."""

PATIENCE_SECONDS = 600
"""How long work in progress waits for a database that is away: a restart, a failover, a full disk."""

_CONFLICTS = ("40P01", "40001")
"""SQLSTATE of a deadlock and of a failed serialisation: the transaction is to be done again."""

_PASSING = ("25006", "53", "57")
"""SQLSTATE, or its class: only to be read for now (a failover, a full disk), short of disk or memory or
connections, ended by an operator."""

_PUNCTUAL: dict[str, Any] = {
    "options": "-c idle_in_transaction_session_timeout=15s -c lock_timeout=60s -c jit=off",
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""For PostgreSQL. Who stops in the midst of a transaction (a frozen machine, a sleeping laptop) would hold
its locks for ever, and with them everybody else: the server ends its session, and fencing its work. Who
waits for a lock begins anew; a connection that has gone silent is given up. Nothing is compiled for a
question: the server would do so by what all rows would cost, when the first thousand are wanted."""

_NETWORK = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "9p", "fuse.sshfs", "webdav"}
"""File systems on which SQLite's WAL must not be used: it needs memory shared between processes."""


@dataclass(frozen=True, slots=True)
class Database:
    """One database, by its SQLAlchemy engine. ``patience`` is how many seconds work waits for it while it is
    away."""

    engine: Engine
    patience: float = PATIENCE_SECONDS

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded default."""
        return self.engine.dialect.name == "sqlite"

    @property
    def url(self) -> str:
        """The address without its password."""
        url = self.engine.url.set(drivername=self.engine.url.get_backend_name())  # as people write it
        return url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a server."""
        place = self.engine.url.database
        return Path(place) if self.is_sqlite and place else None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees the same from its first statement to its last: a page
        that is put together from several is of one version, whatever is promoted meanwhile."""
        with _translated(self), self.engine.connect() as connection:
            options = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
            yield connection.execution_options(tagger_reads=True, **options)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes; committed at the end, rolled back on any exception."""
        with _translated(self), self.engine.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a writing transaction, and again while the database is away or others are in
        its way; what it returns.

        ``work`` may be done twice even after it was committed, if the connection broke in between: it
        is to be such that this does no harm. Raises :class:`DatabaseUnavailable` after
        :attr:`patience`.
        """

        def once() -> T:
            with self.writing() as connection:
                return work(connection)

        return _patient(once, self.patience)

    def read(self, question: Callable[[Connection], T]) -> T:
        """Ask in a reading transaction, again while the database is away; raises as :meth:`write`."""

        def once() -> T:
            with self.reading() as connection:
                return question(connection)

        return _patient(once, self.patience)

    def inquiry(self) -> Inquiry:
        """A way to ask many small questions, one after the other."""
        return Inquiry(self)

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """One connection held over several writing transactions, which the caller begins."""
        with _translated(self), self.engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


class Inquiry:
    """Small questions, one after the other, put to the driver itself on a connection that is kept: no
    transaction goes on between two of them. Some six times as quick as :meth:`Database.read`. For one
    thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._driver: Any = database.engine.dialect.loaded_dbapi
        self._connection: Any = None

    def __call__(self, question: str, *before: object, **values: Any) -> Sequence[tuple[Any, ...]]:
        """The rows that answer ``question``; for its form and the other arguments see
        :func:`tagger.store.bulk.driven`. Asks again while the database is away; raises as
        :meth:`Database.read`."""
        sql, parameters = driven(self._database.is_sqlite, question, *before, **values)
        try:
            return self._ask(sql, parameters)
        except self._driver.Error:  # the slow way knows what to make of it
            self.close()
            return self._database.read(lambda connection: fetched(connection, sql, parameters))

    def _ask(self, sql: str, parameters: tuple[object, ...]) -> Sequence[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = self._connect()
        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, parameters)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
            return rows
        finally:
            cursor.close()

    def _connect(self) -> Any:
        """No transaction is begun by either driver; PostgreSQL is kept from plans that read whole tables."""
        pooled = self._database.engine.raw_connection()
        connection: Any = pooled.dbapi_connection
        pooled.detach()  # it is as no other is, and goes to nobody else
        if not self._database.is_sqlite:
            connection.autocommit = True
            connection.execute("SET enable_seqscan = off")
        return connection

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def open_database(place: str) -> Database:
    """Open the database at an SQLAlchemy URL, or at a path for SQLite; nothing is created yet.

    Raises :class:`DatabaseError` for a place that makes no sense.
    """
    url = _parse(place)
    if url.get_backend_name() == "sqlite":
        return Database(_sqlite(url))
    if url.get_backend_name() == "postgresql":
        patience = {"pool_pre_ping": True, "pool_timeout": POOL_SECONDS}
        return Database(create_engine(url, connect_args=_PUNCTUAL, **patience))
    raise DatabaseError(f"{url.get_backend_name()} is not supported: use a sqlite or postgresql URL")


def now(connection: Connection) -> datetime:
    """This moment, in UTC, by the database's own clock where hosts may differ (PostgreSQL)."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return moment.astimezone(UTC)


def exclusive(connection: Connection, key: int) -> None:
    """Let one transaction at a time go on from here; the others wait for its end (PostgreSQL).

    ``key`` is any number that stands for what is guarded. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key})")


def only_one(connection: Connection, key: int) -> bool:
    """Whether this transaction is the only one that guards ``key``, to its end; none waits.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({key})").scalar_one())


def locked(
    connection: Connection, statement: Select[*Columns], of: type[Base], *, skip: bool = False
) -> Select[*Columns]:
    """``statement`` holding the rows of table ``of`` to the end of the transaction (PostgreSQL).

    ``skip`` passes over rows that others hold instead of waiting. SQLite holds the whole file.
    """
    if connection.dialect.name == "sqlite":
        return statement
    return statement.with_for_update(of=of, skip_locked=skip)


def _parse(place: str) -> URL:
    if "://" not in place:
        return URL.create("sqlite", database=str(_absolute(place)))
    try:
        url = make_url(place)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as fault:
        raise DatabaseError(
            f"{masked(repr(place))} is no database address: use sqlite:////path/to/file.db, a path, "
            "or postgresql://user:password@host/name"
        ) from fault
    return url


def _absolute(place: str) -> Path:
    try:
        return Path(place).expanduser().absolute()
    except (OSError, RuntimeError) as fault:  # the folder one stands in was removed; no home is known
        raise DatabaseError(f"{place} leads nowhere from here ({fault}): name a whole path") from fault


def _sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise DatabaseError("an SQLite database in memory would be lost at the end: name a file")
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, pool_timeout=POOL_SECONDS)
    journal = "DELETE" if _on_network(Path(url.database)) else "WAL"

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver begins nothing; _begin does
        if connection.execute("PRAGMA journal_mode").fetchone()[0].upper() != journal:
            connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=NORMAL")  # safe against kill in WAL; one fsync a checkpoint
        connection.execute("PRAGMA wal_autocheckpoint=4000")  # 16 MB: what is written often, once for four
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-65536")  # 64 MB: inner index pages stay in memory

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("tagger_reads")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _on_network(file: Path) -> bool:
    folder = os.path.realpath(file.parent)
    mounts = [
        disk for disk in psutil.disk_partitions(all=True) if Path(folder).is_relative_to(disk.mountpoint)
    ]
    nearest = max(mounts, key=lambda disk: len(disk.mountpoint), default=None)
    return nearest is not None and nearest.fstype.lower() in _NETWORK


def _patient(attempt: Callable[[], T], seconds: float) -> T:
    with suppress(DatabaseUnavailable):  # as a rule it is there, and no loop need be set up
        return attempt()
    return Retrying(
        retry=retry_if_exception_type(DatabaseUnavailable),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        stop=stop_after_delay(seconds),
        reraise=True,
    )(attempt)


@contextmanager
def _translated(database: Database) -> Iterator[None]:
    """Say what a person can do about a database that does not answer."""
    try:
        yield
    except OperationalError as fault:
        raise _explained(database, fault) from fault
    except DBAPIError as fault:
        # SQLite's plain DatabaseError: the file is no database, or its pages make no sense.
        if database.is_sqlite and type(fault) is DBDatabaseError:
            raise DatabaseError(
                f"{database.path} is no SQLite database, or a damaged one ({fault.orig}): name another file, "
                "or go back to a copy made by `tagger db backup`"
            ) from fault
        if (getattr(fault.orig, "sqlstate", None) or "").startswith(_PASSING):
            database.engine.dispose()  # other connections may lead to the same place
            raise DatabaseUnavailable(
                f"the database at {database.url} takes nothing now: {fault.orig}"
            ) from fault
        if fault.connection_invalidated:
            raise DatabaseUnavailable(f"the database at {database.url} went away: {fault.orig}") from fault
        raise


def _explained(database: Database, fault: OperationalError) -> DatabaseError:
    said = " ".join(str(fault.orig).split())
    if getattr(fault.orig, "sqlstate", None) in _CONFLICTS:
        return DatabaseUnavailable(f"two transactions were in each other's way: {said}")
    if "readonly" in said:
        return DatabaseError(f"{database.path} may not be written: change its permissions, or name another")
    if "unable to open" in said:
        return DatabaseError(f"{database.path} cannot be opened: is its folder there, and may it be written?")
    if "already exists" in said:
        return DatabaseError(f"{database.url} holds tables of another program: name an empty database")
    if "locked" in said:
        return DatabaseUnavailable(f"{database.path} is busy: another process has been writing for too long")
    mend = next((mend for words, mend in _TO_MEND.items() if words in said), _ELSE)
    said = said.partition("Is the server running")[0].strip()  # a question that ours asks too
    return DatabaseUnavailable(f"the database at {database.url} does not answer: {said}; {mend}")


_TO_MEND = {
    "authentication failed": "are user and password right (in the address, or PGUSER and PGPASSWORD)?",
    "no password supplied": "the address lacks the password (or PGPASSWORD)",
    "does not exist": "make it first (CREATE ROLE, CREATE DATABASE), or correct the address",
    "no pg_hba.conf entry": "its pg_hba.conf must let this machine in",
    "too many clients": "raise its max_connections, or run fewer workers",
}
"""By words of PostgreSQL's: what a person can do."""
_ELSE = "is it running, and is the address right?"
