"""Says once when an evaluator has had no worker for ten seconds, and what it waits for.

A search whose workers do not come looks like one whose jobs are long: it waits in silence. The reasons are outside
of this program as a rule: another program has the cluster's CPUs, a file system is slow, ranks are busy elsewhere. So
the pool says what it knows, as a warning, and goes on waiting.
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
"""Seconds."""

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


class Shortage:
    """Of one pool. Any thread may call; costs nothing per job."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._times = 0  # that it began or ended: a look that is due finds out by this that it is pointless
        self._said = False
        _pools.add(pool)

    def begin(self) -> None:
        """There is no worker that takes jobs."""
        self._times += 1
        if not self._said:
            self._pool.port.after(NO_WORKER_FOR, self._look, self._times)

    def end(self) -> None:
        """There is one."""
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
        """The other pools with such a launcher that are in use in this process."""
        kind = type(self._pool.launcher)
        return [
            pool
            for pool in list(_pools)
            if type(pool.launcher) is kind and pool is not self._pool and not pool.stopping
        ]
