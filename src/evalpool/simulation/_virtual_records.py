"""The intermediate results of jobs, shown at the virtual times at which they happen.

::

    record()   in real time     recorded: it is kept; a job that is run again stops at the record that ended it
               its real end     arrived: the job's points are its records, or the curve that it returned
                                mark: each gets a time between the job's virtual start and its end
               a point's time   next: it is shown to the stopper, which may end the job here
                                cut: a job that returned its curve has said what it returns if it is stopped here; a
                                job that recorded has not, and is run once more, up to this record
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from evalpool.errors import BadArgument
from evalpool.outcomes import FailureKind, Outcome
from evalpool.simulation._curves import PlacedPoint, Point, cut_at, place, points_of, wrong
from evalpool.simulation._kernel import Verdict
from evalpool.simulation._runtimes import judged
from evalpool.simulation._seconds import check_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from evalpool.evaluator._watching import Watching
    from evalpool.jobs._job import Job
    from evalpool.simulation._checkpoints import Checkpoint
    from evalpool.simulation._kernel import Kernel

__all__ = ["VirtualRecords"]


class VirtualRecords:
    """The intermediate results of an evaluator's jobs. One thread at a time calls the methods; any thread may call
    `recorded`.

    Args:
        curve: the key of the output that holds a job's learning curve; or None.
    """

    def __init__(self, curve: str | None) -> None:
        self._curve = curve
        self._recorded: dict[int, list[Point]] = {}  # by job number; so are the next three
        self._points: dict[int, list[Point]] = {}  # of evaluated jobs, until their end is known
        self._returned: dict[int, Outcome] = {}  # what jobs whose points are a curve returned
        self._truncated: dict[int, int] = {}  # the last record of jobs that are run again
        self._to_come: dict[int, deque[PlacedPoint]] = {}  # by the kernel's number: points whose time has not come

    def recorded(self, number: int, budget: float, objective: Any, runtime: Any = None) -> bool:
        """Keep a record of job `number`; return whether the job shall stop now. Any thread.

        The stopper is asked later, at the record's virtual time.
        """
        records = self._recorded.setdefault(number, [])
        records.append(Point(budget, objective, runtime))
        last = self._truncated.get(number)
        return last is not None and len(records) >= last

    def arrived(self, job: Job[Any], outcome: Outcome, watching: Watching) -> Outcome:
        """Take the points of an attempt that was evaluated; return its outcome, a failure if they are wrong."""
        points = self._recorded.pop(job.number, None)
        error = None
        try:
            if not points and watching.hears and (points := points_of(outcome, self._curve)):
                self._returned[job.number] = outcome
            if points:
                error = wrong(points)
        except BadArgument as bad:
            error = str(bad)
        if error is not None:
            return judged(outcome, Verdict(FailureKind.INVALID_OUTPUT, error)) if outcome.kind is None else outcome
        if points and watching.records:
            self._points[job.number] = points
        return outcome

    def mark(self, kernel: Kernel, number: int, job: Job[Any], runtime: Any, resumed: Checkpoint | None) -> None:
        """Set marks at the times of a job's points, when its end is known.

        Args:
            kernel: has finished the job.
            number: the kernel's.
            job: the job.
            runtime: that it declared.
            resumed: what it continues.
        """
        points = self._points.pop(job.number, None)
        if not points:
            return
        charged, total = kernel.charged(number), check_runtime(runtime)
        if isinstance(total, str):
            total = charged if resumed is None else resumed.total + charged
        placed = place(points, kernel.start_of(number), charged, total, resumed)
        self._to_come[number] = deque(placed)
        for point in placed:
            kernel.mark(number, point.time)

    def next(self, number: int) -> PlacedPoint | None:
        """Return the next point of a job, whose virtual time has come; None if the job was stopped before."""
        left = self._to_come.get(number)
        return left.popleft() if left else None

    def cut(
        self, number: int, job: Job[Any], at: PlacedPoint, runtime: str | Callable[[Any, Any], Any]
    ) -> Outcome | None:
        """End the job at the point that was shown last; return its outcome, or None if it is to be run again for that.

        Args:
            number: the kernel's.
            job: the job.
            at: the point.
            runtime: where its runtime is; see `runtime_of`.
        """
        self._to_come.pop(number, None)
        whole = self._returned.get(job.number)
        if whole is not None and self._curve is not None:
            return cut_at(whole, self._curve, runtime, at, job.job_type)
        self._truncated[job.number] = at.number
        return None

    def is_truncated(self, job: Job[Any]) -> bool:
        """Whether the job is being run again."""
        return job.number in self._truncated

    def untruncate(self, job: Job[Any]) -> bool:
        """Note that a job need not be run again any more; False if it was not truncated."""
        return self._truncated.pop(job.number, None) is not None

    def forget(self, number: int, job: Job[Any]) -> None:
        """Drop everything about a job that is delivered."""
        self._to_come.pop(number, None)
        for by_number in (self._recorded, self._points, self._returned, self._truncated):
            by_number.pop(job.number, None)
