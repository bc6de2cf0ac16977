"""Which caller is which worker of a simulated run, and whom the others wait for.

::

    reserved ── joins ──► member ── leaves ──► vacant ── joins ──► member
                            │                                        ▲
                            └─ dies ─► orphaned until its job ends ──┴─ a successor waits for that
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalpool.errors import TooManyCallers
from evalpool.simulation._caller import Call, Caller
from evalpool.simulation._kernel import NOTHING

__all__ = ["Places"]


class Places:
    """The places of a run's callers, by worker. Under the coordinator's lock."""

    __slots__ = ("brought", "members", "orphaned", "reserved", "successors", "vacant")

    def __init__(self, num_callers: int) -> None:
        self.members: dict[int, Caller] = {}
        self.brought = [0] * num_callers  # evaluations
        self.reserved: dict[int, int] = {}  # workers whose caller is waited for -> the number of their turn
        self.vacant: set[int] = set()  # workers whose caller is not waited for: it has left
        self.orphaned: set[int] = set()  # workers whose caller has died, as long as its job has not ended
        self.successors: dict[int, Caller] = {}  # callers that wait to take over such a worker

    def choose(self, member: Caller, worker: int | None, num_workers: int) -> int:
        """The worker that this caller can be: the one it asks for, or the first that is free.

        Raises:
            TooManyCallers: there is none.
        """
        if worker is None:
            free = self.reserved or self.vacant or self.orphaned
            if not free:
                raise TooManyCallers(
                    f"A caller too many: {member.name} calls an objective of n_workers={num_workers} that "
                    f"has as many callers: {self._names()}. Set n_workers to the number of threads or processes that "
                    "call."
                )
            return min(free)
        if worker not in self.reserved and worker not in self.vacant and worker not in self.orphaned:
            taken = self.members.get(worker) or self.successors[worker]
            raise TooManyCallers(
                f"Worker {worker} is {taken.name} already; {member.name} needs a worker_index of its own."
            )
        return worker

    def inherit(self, worker: int) -> Caller | None:
        """The last job of a caller that has died has ended: who is this worker now?"""
        self.orphaned.discard(worker)
        successor = self.successors.pop(worker, None)
        if successor is None:
            self.vacant.add(worker)
        else:
            self.members[worker] = successor
        return successor

    def leave(self, member: Caller) -> bool:
        """A caller is gone; False if it had no place of its own: it was refused, has gone already, or was waiting."""
        if self.successors.get(member.worker) is member:
            del self.successors[member.worker]
            self.orphaned.add(member.worker)
        if self.members.get(member.worker) is not member:
            return False
        del self.members[member.worker]
        return True

    def all_have_gone(self) -> bool:
        """Were there callers, and is none left?"""
        return bool(self.vacant) and not self.members and not self.successors

    def everybody(self) -> Iterator[Caller]:
        """All that are here, those included that wait to take over a worker."""
        yield from self.members.values()
        yield from self.successors.values()

    def awaited(self, now: float, waiting: Mapping[int, Call], calls: Mapping[int, Call]) -> str:
        """Whom everybody waits for.

        Args:
            now: on the monotonic clock.
            waiting, calls: those that wait for a reply, and all, by job.
        """
        reasons = []
        if self.reserved:
            which = ", ".join(map(str, sorted(self.reserved)))
            reasons.append(f"worker {which} of {len(self.brought)} never came, {len(self.members)} did")
        for worker, member in sorted(self.members.items()):
            if member.job in waiting or member.job == NOTHING:
                continue
            if member.job in calls:
                reasons.append(f"worker {worker} ({member.name}) is still evaluating")
            else:
                thinks = now - member.thinks_since
                reasons.append(f"worker {worker} ({member.name}) has brought no result for {thinks:.1f} s")
        return "; ".join(reasons) or "nobody is missing"

    def _names(self) -> str:
        return "; ".join(f"worker {worker} is {member.name}" for worker, member in sorted(self.members.items()))
