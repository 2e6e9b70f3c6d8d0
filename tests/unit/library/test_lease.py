"""A lease's heartbeat goes on whatever it meets."""

from __future__ import annotations

import time

import pytest

from tagger.errors import DatabaseUnavailable
from tagger.library.lease import Lease
from tagger.store import ledger
from tagger.store.session import Database


def _until_leases(database: Database, seconds: float = 10.0) -> int:
    deadline = time.monotonic() + seconds
    while not (found := len(database.read(ledger.leases))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_the_heartbeat_outlives_what_nobody_foresaw(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "LEASE_SECONDS", 0.4)
    renew, beats = ledger.renew_lease, []

    def failing(*arguments: object) -> bool:
        beats.append(1)
        if len(beats) < 4:
            raise ZeroDivisionError
        return renew(*arguments)  # type: ignore[arg-type]

    with Lease(sqlite) as lease:
        first = lease.id
        monkeypatch.setattr(ledger, "renew_lease", failing)
        sqlite.write(lambda connection: ledger.close_lease(connection, first))  # somebody took it back
        assert _until_leases(sqlite) == 1
        assert len(beats) >= 4 and lease.id != first


def test_a_database_that_takes_nothing_for_now_is_waited_for(postgresql: Database) -> None:
    """A failover to a standby, or a managed database whose disk is full."""
    name = postgresql.engine.url.database
    with postgresql.writing() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgresql.engine.dispose()
    with pytest.raises(DatabaseUnavailable, match="takes nothing now"), postgresql.writing() as connection:
        ledger.open_lease(connection, ledger.Owner("host", 1, 0.0))
    with postgresql.writing() as connection:
        connection.exec_driver_sql("SET TRANSACTION READ WRITE")
        connection.exec_driver_sql(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    postgresql.engine.dispose()
    assert postgresql.write(lambda connection: ledger.open_lease(connection, ledger.Owner("host", 1, 0.0)))
