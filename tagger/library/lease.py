"""This process's hold on the images that it has claimed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from tagger.errors import DatabaseUnavailable
from tagger.store import ledger, outcomes, owners, runs
from tagger.store.ledger import Report, Role
from tagger.store.session import Database

if TYPE_CHECKING:
    from sqlalchemy import Connection

log = logging.getLogger(__name__)

T = TypeVar("T")


class Lease:
    """A lease, renewed in the background for as long as the block lasts, then handed back.

    ``report`` is asked at each renewal what a worker has to tell of itself; ``lost`` is told when the
    lease had run out, and is another by now.
    """

    def __init__(
        self,
        database: Database,
        role: Role = Role.TAG,
        name: str | None = None,
        report: Callable[[], Report | None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._role = role
        self._name = name
        self._report = report
        self._lost = lost
        self._stop = threading.Event()
        self._replacing = threading.Lock()
        self._beat = threading.Thread(target=self._renew, name="tagger-lease", daemon=True)
        self.id = self._open()

    def __enter__(self) -> Lease:
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._beat.join()
        self._database.write(lambda connection: ledger.hand_back(connection, self.id))

    def under(self, work: Callable[[Connection, int], T]) -> T:
        """Do ``work`` in a transaction in which the lease, by its id, is certainly held.

        One that was taken back meanwhile (the machine slept) is replaced first.
        """

        def held(connection: Connection) -> tuple[T] | None:
            lease_id = self.id
            return (work(connection, lease_id),) if ledger.renew_lease(connection, lease_id) else None

        while (done := self._database.write(held)) is None:
            self._replace()
        return done[0]

    def let_go(self) -> int:
        """Give back what is claimed and was not done; how much that was."""
        return self._database.write(lambda connection: ledger.let_go(connection, self.id))

    def tell(self) -> None:
        """Renew it now, so that others see the report; raises :class:`DatabaseUnavailable`."""
        self._beat_once()

    def _open(self) -> int:
        owner = owners.this_process()
        return self._database.write(
            lambda connection: ledger.open_lease(connection, owner, self._role, self._name)
        )

    def _replace(self) -> None:
        with self._replacing:  # the heartbeat and a claim may find it gone at one time
            gone = self.id
            if not self._database.write(lambda connection: ledger.renew_lease(connection, gone)):
                self.id = self._open()
                self._lost()

    def _renew(self) -> None:
        while not self._stop.wait(ledger.LEASE_SECONDS / 4):
            # A database that is away for a moment is asked again at the next beat; one that stays
            # away stops the run where it writes its results.
            try:
                self._beat_once()
            except DatabaseUnavailable as fault:
                log.info("the lease could not be renewed: %s", fault)
            except Exception:  # whatever it is, the next beat must come
                log.exception("the lease could not be renewed")

    def _beat_once(self) -> None:
        with self._database.writing() as connection:
            held = ledger.renew_lease(connection, self.id, self._report())
        if not held:
            # The machine slept for too long: what this lease held is another's by now, and its
            # results will be turned away. Claim under a new one from here on.
            self._replace()


def free_dead(database: Database) -> None:
    """Take back what dead processes of this host, and silent ones of others, still hold."""

    def work(connection: Connection) -> None:
        dead = [lease for lease, owner in ledger.leases(connection) if owners.is_dead(owner)]
        for lease in {*dead, *ledger.expired_leases(connection)}:
            ledger.close_lease(connection, lease)
        outcomes.quarantine(connection, ledger.poison(connection))

    database.write(work)
    database.write(runs.close_finished)  # apart: who joins a run must not wait for what is held here
