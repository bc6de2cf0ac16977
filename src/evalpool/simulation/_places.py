"""Which caller is which worker of a simulated run, and which callers the others wait for.

::

    reserved ── joins ──► caller ── leaves ──► vacant ── joins ──► caller; finished, if there are no jobs for it
                            │                                        ▲
                            └─ dies ─► orphaned until its job ends ──┘  a successor waits for that
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalpool.errors import TooManyCallers
from evalpool.simulation._caller import Call, Caller
from evalpool.simulation._kernel import NOTHING

__all__ = ["Places"]


class Places:
    """The workers of a run, and their callers. Under the coordinator's lock."""

    __slots__ = ("brought", "callers", "finished", "orphaned", "reserved", "successors", "vacant")

    def __init__(self, num_callers: int) -> None:
        self.callers: dict[int, Caller] = {}
        self.brought = [0] * num_callers  # by worker, the number of its evaluations
        self.reserved: dict[int, int] = {}  # workers whose caller has not come yet -> the number of their first job
        self.vacant: set[int] = set()  # workers whose caller has left; no caller waits for them
        self.finished: set[int] = set()  # workers whose caller has left after the end of the run for it
        self.orphaned: set[int] = set()  # workers whose caller has died, until their job has ended
        self.successors: dict[int, Caller] = {}  # callers that wait to take over an orphaned worker

    def choose(self, caller: Caller, worker: int | None, num_workers: int) -> int:
        """Return the worker for a new caller: the one it asks for, or the first free one.

        Raises:
            TooManyCallers: that worker, or every worker, has a caller.
        """
        if worker is None:
            free = self.reserved or self.vacant or self.orphaned or self.finished
            if not free:
                raise TooManyCallers(
                    f"There is one caller too many: {caller.name} calls an objective with n_workers={num_workers}, "
                    f"which has that many callers already: {self._names()}. Set n_workers to the number of threads or "
                    "processes that call it."
                )
            return min(free)
        if not any(worker in places for places in (self.reserved, self.vacant, self.orphaned, self.finished)):
            taken = self.callers.get(worker) or self.successors[worker]
            raise TooManyCallers(
                f"Worker {worker} is {taken.name} already; {caller.name} needs a worker_index of its own."
            )
        return worker

    def inherit(self, worker: int) -> Caller | None:
        """Return the next caller of an orphaned worker whose job has ended; None if there is none yet."""
        self.orphaned.discard(worker)
        successor = self.successors.pop(worker, None)
        if successor is None:
            self.vacant.add(worker)
        else:
            self.callers[worker] = successor
        return successor

    def leave(self, caller: Caller) -> bool:
        """Remove a caller; False if it was no worker: it was refused, had left already, or was a waiting successor."""
        if self.successors.get(caller.worker) is caller:
            del self.successors[caller.worker]
            self.orphaned.add(caller.worker)
        if self.callers.get(caller.worker) is not caller:
            return False
        del self.callers[caller.worker]
        return True

    def all_have_gone(self) -> bool:
        """Whether there were callers and all have left."""
        return bool(self.vacant) and not self.callers and not self.successors

    def everybody(self) -> Iterator[Caller]:
        """Yield all callers, including successors that wait to take over a worker."""
        yield from self.callers.values()
        yield from self.successors.values()

    def awaited(self, now: float, waiting: Mapping[int, Call], calls: Mapping[int, Call]) -> str:
        """Return a text that says which callers all others wait for.

        Args:
            now: by the monotonic clock.
            waiting, calls: the calls that wait for a reply, and all calls, by job.
        """
        reasons = []
        if self.reserved:
            which = ", ".join(map(str, sorted(self.reserved)))
            reasons.append(f"worker {which} of {len(self.brought)} never came, {len(self.callers)} did")
        for worker, caller in sorted(self.callers.items()):
            if caller.job in waiting or caller.job == NOTHING:
                continue
            if caller.job in calls:
                reasons.append(f"worker {worker} ({caller.name}) is still evaluating")
            else:
                thinks = now - caller.thinks_since
                reasons.append(f"worker {worker} ({caller.name}) has brought no result for {thinks:.1f} s")
        return "; ".join(reasons) or "no caller is missing"

    def _names(self) -> str:
        return "; ".join(f"worker {worker} is {caller.name}" for worker, caller in sorted(self.callers.items()))
