"""Warns once when an evaluator has had no worker for ten seconds, and says what it waits for.

A search whose workers do not start looks like one whose jobs are long: it waits silently. Mostly the reason is outside
of this program: another program uses the cluster's CPUs, a file system is slow, ranks are busy elsewhere. So the pool
logs what it knows as a warning, and continues to wait.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from evalpool._log import get_logger

if TYPE_CHECKING:
    from evalpool.backends._pool._pool import Pool

__all__ = ["NO_WORKER_FOR", "Shortage"]

logger = get_logger()

NO_WORKER_FOR = 10.0
"""Seconds without a worker after which the warning is logged."""

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


class Shortage:
    """The warning of one pool. Any thread may call the methods; there is no cost per job."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._times = 0  # how often a shortage began or ended; an older timer is recognised by its number
        self._said = False
        _pools.add(pool)

    def begin(self) -> None:
        """Note that no worker takes jobs."""
        self._times += 1
        if not self._said:
            self._pool.port.after(NO_WORKER_FOR, self._look, self._times)

    def end(self) -> None:
        """Note that a worker takes jobs."""
        self._times += 1

    def _look(self, times: int) -> None:
        pool = self._pool
        if self._said or times != self._times or pool.stopping or pool.broken:
            return
        self._said = True
        logger.warning(
            "%s of search %s has had no worker for %g s, and its jobs wait. %s",
            pool.port.name,
            pool.port.search_id,
            NO_WORKER_FOR,
            pool.launcher.describe_shortage(),
        )

    def others(self) -> list[Pool]:
        """Return the other open pools of this process with the same class of launcher."""
        kind = type(self._pool.launcher)
        return [
            pool
            for pool in list(_pools)
            if type(pool.launcher) is kind and pool is not self._pool and not pool.stopping
        ]
