"""Says once when an evaluator has had no worker for ten seconds, and what it waits for.

A search whose workers do not come looks like one whose jobs are long: it waits in silence. The reasons are outside
of this program as a rule: another program has the cluster's CPUs, a file system is slow, ranks are busy elsewhere. So
the pool says what it knows, as a warning, and goes on waiting.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from evalpool._log import get_logger

if TYPE_CHECKING:
    from evalpool.backends._pool._ahead import Ahead

__all__ = ["NO_WORKER_FOR", "Shortage"]

logger = get_logger()

NO_WORKER_FOR = 10.0
"""Seconds."""

_pools: weakref.WeakSet[Ahead] = weakref.WeakSet()


class Shortage:
    """Of one pool. Any thread may call; costs nothing per job."""

    def __init__(self, pool: Ahead) -> None:
        self._pool = pool
        self._times = 0  # that it began or ended: a look that is due finds out by this that it is pointless
        self._said = False
        _pools.add(pool)

    def begin(self) -> None:
        """There is no worker that takes jobs."""
        self._times += 1
        if not self._said:
            self._pool._owner._watchdog.after(NO_WORKER_FOR, self._look, self._times)

    def end(self) -> None:
        """There is one."""
        self._times += 1

    def _look(self, times: int) -> None:
        pool = self._pool
        if self._said or times != self._times or pool._stopping or pool._hopeless:
            return
        self._said = True
        logger.warning(
            "%s of search %s has had no worker for %g s, and its jobs wait. %s",
            type(pool._owner).__name__,
            pool._owner._search_id,
            NO_WORKER_FOR,
            pool._describe_shortage(),
        )

    def others(self) -> list[Any]:
        """The other pools of this kind that are in use in this process."""
        mine = self._pool._owner
        return [
            pool
            for pool in list(_pools)
            if type(pool) is type(self._pool) and pool._owner is not mine and not pool._stopping
        ]
