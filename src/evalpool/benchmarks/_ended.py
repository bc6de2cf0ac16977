"""How evaluations of a simulated search ended, and which of them can be the best."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from evalpool.callbacks._base import Callback
from evalpool.jobs._job import Job

if TYPE_CHECKING:
    from evalpool.benchmarks._benchmark import Benchmark
    from evalpool.simulation._result import SimulationResult

__all__ = ["Ended", "is_full"]


def is_full(job: int, result: SimulationResult, benchmark: Benchmark, early: Set[int]) -> bool:
    """Whether an evaluation can be the best: it was at the highest fidelity, and no stopper ended it.

    Args:
        job: its number.
        early: the numbers of those that a stopper ended, `Ended.early`.
    """
    if job in early:
        return False
    fidelity = benchmark.fidelity
    if fidelity is None:
        return True
    level = result.configurations[job].get(fidelity.name)
    return level is None or fidelity.check(level) == fidelity.high


class Ended(Callback):
    """A callback that notes what a result of `simulate` does not say of evaluations: how they ended.

    Args:
        tells_failures: whether failures need not be logged.

    Attributes:
        early: the numbers of those that a stopper ended: what they reached is never the best.
        attempts: by number, how many attempts each had.
    """

    def __init__(self, *, tells_failures: bool = False) -> None:
        self.tells_failures = tells_failures
        self.early: set[int] = set()
        self.attempts: dict[int, int] = {}

    def on_done(self, job: Job[object]) -> None:
        self.attempts[job.number] = job.attempts
        if job.stopped_early:
            self.early.add(job.number)
