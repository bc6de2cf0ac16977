"""The kernel for callers that are the workers: each decides, calls, waits, and decides again.

::

    release ──► the caller of that job is idle: turn ──► it thinks, and calls ──► place ─► it runs ─► finish
       ▲                                                                                                │
       └────────────────────── its end is the earliest that is possible ◄───────────────────────────────┘

A turn is the time from a caller's becoming idle to its next call. It has the number of the job that the caller will
bring. That job counts as one of unknown end since the caller became idle, so nothing that it could still precede is
released. Numbers are given in the order in which callers become idle, as in an ask-and-tell loop. So numbers, and the
seeds that derive from them, do not depend on which caller is faster in real time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Container
from heapq import heappushpop
from typing import Any, TypeVar

from evalpool.errors import SimulationError
from evalpool.simulation._checkpoints import Checkpoint
from evalpool.simulation._kernel import INF, NAN, NOTHING, Kernel
from evalpool.simulation._seconds import check_overhead
from evalpool.simulation._trace import LOST

__all__ = ["CallerKernel"]

Self = TypeVar("Self", bound="CallerKernel")


class CallerKernel(Kernel):
    """As `Kernel`, but equal ends of different callers are ordered by worker."""

    __slots__ = ("_blank", "_turn_of", "_turns")

    def __init__(self, num_workers: int, **settings: Any) -> None:
        super().__init__(num_workers, **settings)
        self._by_caller = True
        self._turn_of = [-1] * num_workers  # worker -> the number of its turn or job
        self._turns: deque[int] = deque()  # of callers that are deciding, in the order in which they became idle
        self._blank: set[int] = set()  # numbers of turns that have not become jobs

    def turn(self, worker: int) -> int:
        """Begin a turn of the worker's caller; return the number of the job that it will bring.

        `NOTHING` if the run is over, or if the worker became idle at `max_time` or later.
        """
        since = self._since[worker]
        if since >= self._max_time or self.over:
            return NOTHING
        job = self._new(worker, NAN)
        self._turn_of[worker] = job
        self._blank.add(job)
        self._turns.append(job)
        self._await(job, since, worker)
        return job

    def arrive(self, worker: int) -> int:
        """As `turn`, for a caller that replaces one that left: it is idle from the current time on."""
        if self._since[worker] < self.clock:
            self._since[worker] = self.clock
        return self.turn(worker)

    def next_turn(self, called: Collection[int]) -> int:
        """Return a turn whose caller has called and which can be placed now; `NOTHING` if there is none.

        With serial sampling, decisions are made one after the other, in the order of turns.
        """
        turns, blank, unknown = self._turns, self._blank, self._open
        while turns and (turns[0] not in blank or turns[0] not in unknown):
            turns.popleft()  # placed out of order, with parallel sampling, or cancelled
        if self._serial:
            return turns[0] if turns and turns[0] in called else NOTHING
        return next(iter(called), NOTHING)

    def place(self, job: int, overhead: float) -> tuple[float, float]:
        """Place a call whose decision took `overhead` seconds; return when the decision began and the job starts."""
        seconds = check_overhead(overhead)
        worker = self._trace.worker[job]
        at = self._since[worker]
        if self._serial:
            if at < self._decided:
                at = self._decided
            self._turns.popleft()
        start = at + seconds
        if start < self.clock:
            start = self.clock  # `defer` let others pass this caller by its real think time
        if self._serial:
            self._decided = start
        elif len(self._turns) > 4 * self.num_workers:  # they accumulate behind a turn that lasts long
            self._turns = deque(turn for turn in self._turns if turn in self._blank and turn in self._open)
        self._blank.discard(job)
        self.num_submitted += 1
        self._trace.start[job] = start
        self._await(job, start, worker)
        return at, start

    @property
    def decided(self) -> float:
        """When the last decision ended, with serial sampling; 0 before the first, and with parallel sampling."""
        return self._decided

    def claimable(self) -> int:
        """Return a placed job that may `claim`, because nothing can happen before its start any more; or `NOTHING`."""
        if not self._open:
            return NOTHING
        first = self._first_bound()
        if first[2] in self._blank or (self._ends and self._ends[0] < first):
            return NOTHING
        return first[2]

    def claim(self, job: int, key: str, fidelity: int) -> Checkpoint | None:
        """Return the checkpoint that a placed job resumes, or None."""
        self._claim(job, key, fidelity, self._trace.start[job])
        return self.resumed(job)

    def defer(self, job: int, bound: float) -> None:
        """Note that a job of unknown end cannot end before `bound`, because its caller is still deciding."""
        if bound > self._open[job]:
            self._await(job, bound, self._trace.worker[job])

    def blocker(self) -> tuple[float, int] | None:
        """Return the earliest known end and the job of unknown end that delays its release; None if there is none."""
        if not self._ends or not self._open:
            return None
        return self._ends[0][0], self._first_bound()[2]

    def release(self) -> int:
        """Release the next job that has ended; return its number, `WAIT` or `NOTHING`, as `step`."""
        if self.over:
            return NOTHING
        answer = self._next(self._max_time)
        if answer == NOTHING and (self._ends or self._open):
            self.over = "max_time"
        return answer

    def exchange(self, job: int, overhead: float, runtime: float) -> tuple[float, float, int, int] | None:
        """Do `place`, `finish`, `release` and `turn` at once, for the one caller that all others wait for.

        This is what nearly all calls need: while this job runs, the ends of all others are known.

        Returns:
            When the decision began and the job starts, the job that was released, and that of its caller's next turn.
            None if anything is special: another caller is deciding or running, the run may end by this, a job failed,
            or there are checkpoints. Nothing has changed then.
        """
        unknown, blank, trace, ends = self._open, self._blank, self._trace, self._ends
        if len(unknown) != 1 or job not in unknown or job not in blank or self._end_statuses or self._stale:
            return None
        worker = trace.worker[job]
        at = self._since[worker]
        if self._serial and at < self._decided:
            at = self._decided
        start = at + overhead
        if start < self.clock:
            start = self.clock
        end = start + runtime
        completed = self.num_completed + 1
        if (
            not (0.0 <= overhead < INF and 0.0 <= runtime < INF and end < self._max_time)
            or completed == self._max_evals
            or self.over
            or not self._plain
        ):
            return None
        blank.discard(job)
        if self._serial:
            self._decided = start
        trace.start[job], trace.charged[job] = start, runtime
        self.num_submitted += 1
        first, worker, _ = heappushpop(ends, (end, worker, worker))
        if self.clock < first:
            self.clock = first
        self._since[worker] = self.ended = first
        self.num_completed = completed
        released = self._turn_of[worker]
        turn = self._turn_of[worker] = self._new(worker, NAN)
        blank.add(turn)
        self._turns.clear()  # all others are outdated
        self._turns.append(turn)
        del unknown[job]
        unknown[turn] = first
        self._bounds[:] = [(first, worker, turn)]
        return at, start, released, turn

    def is_censored(self, job: int) -> bool:
        """Whether it is known that a placed job will end too late to be reported."""
        earliest = self._open.get(job)
        return (self._trace.end(job) if earliest is None else earliest) > self._max_time

    def cancel(self, job: int) -> None:
        """Remove the job of a caller that left during its decision or its job: that job never ends."""
        if self._open.pop(job, None) is None:
            raise SimulationError(f"Job {job} has ended or its runtime is known; it cannot be cancelled.")
        self._unclaim(job)
        if job not in self._blank:
            self._trace.statuses[job] = LOST

    def idle_since(self, worker: int) -> float:
        """Return when a worker last became idle."""
        return self._since[worker]

    def state(self) -> dict[str, Any]:
        turns = [turn for turn in self._turns if turn in self._blank and turn in self._open]
        return {**super().state(), "turn_of": list(self._turn_of), "turns": turns, "blank": sorted(self._blank)}

    @classmethod
    def restore(cls: type[Self], state: dict[str, Any]) -> Self:
        kernel = super().restore(state)
        kernel._turn_of, kernel._turns = list(state["turn_of"]), deque(state["turns"])
        kernel._blank = set(state["blank"])
        return kernel

    # Equal ends are ordered by worker, and a worker has one job at a time.

    def _rank(self, job: int) -> int:
        return self._trace.worker[job]

    def _job_of(self, rank: int) -> int:
        return self._turn_of[rank]

    def _freed(self, rank: int, worker: int) -> int:
        return self._turn_of[worker]

    def _unused(self) -> Container[int]:
        return self._blank
