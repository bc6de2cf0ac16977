"""Notices that the process of another rank of this host has ended, for launchers that do not.

If a rank dies, its launcher should end all others. A launcher that knows of the end only because the rank's connection
closes (MPICH's) waits for ever if a process that the rank has forked has that connection open, and one that ends
nothing (`srun --no-kill`, `mpiexec -disable-auto-cleanup`) leaves ranks that wait for the dead one. A pidfd becomes
readable at the end of its process, whoever has its files.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

from evalpool._descriptors import can_read
from evalpool._guard import guarded_act
from evalpool._log import get_logger

__all__ = ["LAUNCHER_WITHIN", "RankWatch"]

logger = get_logger()

LAUNCHER_WITHIN = 5.0
"""Seconds in which the launcher may end all ranks itself."""


class RankWatch:
    """From its construction until `stop`, calls `on_end` if one of the processes has ended and nothing happened.

    Args:
        pids: rank and process id of each, as this process sees them.
        on_end: called with a rank, in a thread of ours, `LAUNCHER_WITHIN` seconds after its end.
    """

    def __init__(self, pids: Iterable[tuple[int, int]], on_end: Callable[[int], object]) -> None:
        self._on_end = on_end
        self._over = threading.Event()
        self._ranks: dict[int, int] = {}  # by pidfd
        self._wakes = self._wake = -1
        pids = list(pids)
        if not pids:
            return
        try:
            self._wakes, self._wake = os.pipe()
            for rank, pid in pids:
                self._ranks[os.pidfd_open(pid)] = rank
            guarded_act("evalpool-mpi-watch", "The thread that notices dead ranks", self._watch).start()
        except (OSError, AttributeError, RuntimeError) as error:
            # An old kernel, another system, no free descriptor, no thread: most launchers notice a death themselves.
            logger.debug("Dead ranks are not noticed: %s", error)
            self.stop()
            self._close()

    def stop(self) -> None:
        """End the watch. One thread at a time; a second call does nothing."""
        self._over.set()
        wake, self._wake = self._wake, -1
        if wake >= 0:
            os.close(wake)

    def _watch(self) -> None:
        try:
            ended = [self._ranks[fd] for fd in can_read(self._wakes, *self._ranks, timeout=None) if fd in self._ranks]
            if ended and not self._over.wait(LAUNCHER_WITHIN):
                self._on_end(ended[0])
        finally:
            self._close()

    def _close(self) -> None:
        """Close what the thread uses, in that thread: the number of a closed descriptor may soon be another file's."""
        while self._ranks:
            os.close(self._ranks.popitem()[0])
        if self._wakes >= 0:
            os.close(self._wakes)
