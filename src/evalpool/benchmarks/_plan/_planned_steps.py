"""A planned run by single steps of the kernel: synchronous batches, and workers that fail.

It evaluates as `simulate` does with retries, but a job is only its number and its runtime, so it costs a fifth of that.
"""

from __future__ import annotations

from collections.abc import Callable

from evalpool.errors import BadArgument
from evalpool.simulation._kernel import ASK, NOTHING, RETRIED, Kernel
from evalpool.simulation._losses import lost
from evalpool.simulation._seconds import check_overhead

__all__ = ["Steps"]

MOST_ATTEMPTS = 10_000
"""Of one job: if so many are lost, all would be."""


class Steps:
    """One run.

    Args:
        kernel: a new one.
        runtime: of a job, by its number.
        decision: the seconds of one, from how many jobs were asked for and have ended.
        retries: how often a job is run again whose worker was lost.

    Attributes:
        lost: how many attempts were lost with their workers.
        failed: how many of these were the last ones of their jobs.
    """

    def __init__(
        self,
        kernel: Kernel,
        runtime: Callable[[int], float],
        decision: Callable[[int, int], float],
        retries: int,
    ) -> None:
        self._kernel, self._runtime, self._decision, self._retries = kernel, runtime, decision, retries
        self._again: dict[int, int] = {}  # job -> how many of its attempts were or will be lost
        self._losing: set[int] = set()  # jobs whose last attempt was or will be lost
        self.lost = self.failed = 0

    def asynchronous(self) -> None:
        """One proposal for each idle worker."""
        kernel = self._kernel
        while (answer := kernel.poll()) != NOTHING:
            if answer == ASK:
                self._begin(kernel.ask(self._decision(kernel.num_submitted, kernel.num_completed)))
            else:
                self._happened(answer)

    def batches(self, size: int) -> None:
        """So many proposals at once; the next ones when all of them have ended."""
        kernel = self._kernel
        while count := min(size, kernel.room):
            kernel.advance(kernel.clock + check_overhead(self._decision(kernel.num_submitted, kernel.num_completed)))
            for _ in range(count):
                kernel.submit()
            self._start()
            while (answer := kernel.step()) != NOTHING:
                self._happened(answer)
        kernel.conclude()

    def spans(self) -> list[tuple[float, float]]:
        """(start, end) of each job that has run or runs, of its last attempt, without those that are lost."""
        kernel, losing = self._kernel, self._losing
        found = []
        for job, start in enumerate(kernel.starts()):
            charged = kernel.charged(job)
            if charged == charged and job not in losing:  # it is NaN as long as the job waits
                found.append((start, start + charged))
        return found

    def _happened(self, answer: int) -> None:
        """A job has ended, for good or to be run again; or a worker is there."""
        failed = answer in self._losing
        self.failed += failed
        self.lost += failed or answer == RETRIED
        self._start()

    def _start(self) -> None:
        """Start the jobs that wait and can start."""
        kernel = self._kernel
        while (job := kernel.startable()) >= 0:
            kernel.start()
            self._begin(job)

    def _begin(self, job: int) -> None:
        seconds = self._runtime(job)
        retry = False
        if lost(self._kernel, job, seconds) is None:
            self._losing.discard(job)
        else:
            self._losing.add(job)
            before = self._again.get(job, 0)
            retry = before < self._retries
            self._again[job] = before + 1
            if before >= MOST_ATTEMPTS:
                raise BadArgument(
                    f"An evaluation of {seconds!r} s was lost {before:,} times, with {self._kernel.worker_model!r}: "
                    "give fewer retries, or times in the unit of the runtimes."
                )
        self._kernel.finish(job, seconds, retry=retry)
