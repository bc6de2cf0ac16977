"""What a pool does after an error of evalpool itself, so that no job waits for ever."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from evalpool._guard import describe

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool
    from evalpool.backends._pool._pool_worker import PoolWorker

__all__ = ["Recovery"]

HANDED_OVER_WITHIN = 0.01
"""Seconds until jobs that were being handed over during an error are looked for again."""


class Recovery:
    """Makes a pool consistent again. Its methods are called by the thread that does the I/O.

    Attributes:
        uncertain: workers that an error concerned: what they were sent is not known.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.uncertain: set[PoolWorker] = set()

    def recover(self, error: BaseException) -> None:
        """Replace workers that the error concerned, make queues and slots anew, and end jobs that no worker has."""
        pool = self._pool
        uncertain, self.uncertain = self.uncertain, set()
        for worker in uncertain:
            if pool.workers.get(worker.index) is worker:
                text = f"evalpool gave this worker up after an error of its own.\n{describe(error)}"
                pool.staff.discard(worker, text)
        with pool.lock:
            pool.prefetcher.rebuild()
        self._end_lost(error)
        pool.transport.wake()  # the outcomes must be reported even if no worker sends anything

    def fail_all(self, error: BaseException) -> None:
        """Let all jobs fail with the reason, now and later, as the pool cannot continue."""
        pool = self._pool
        pool.broken = f"evalpool gave up all these workers after repeated errors of its own.\n{describe(error)}"
        with pool.lock:
            pool.prefetcher.clear()
            pool.reports = []
        self._end_lost(error)

    def _end_lost(self, error: BaseException) -> None:
        """End the jobs that no worker has, also those that are being handed over now and were lost before that ends."""
        pool = self._pool
        with pool.lock:
            capacity = pool.prefetcher.capacity()
        if pool.broken:
            capacity += pool.port.num_workers
        if pool.port.lost(self._has, capacity, error):
            pool.port.after(HANDED_OVER_WITHIN, pool.command, partial(self._end_lost, error))

    def _has(self) -> set[int]:
        """Return the numbers of all jobs that the pool has."""
        pool = self._pool
        with pool.lock:
            return pool.prefetcher.numbers().union(attempt.job.number for attempt, _ in pool.reports)
