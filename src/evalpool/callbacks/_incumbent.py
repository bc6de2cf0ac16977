"""The incumbent of a search, its best job so far, with counts; for logger, progress bar and early stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evalpool._checks import as_float
from evalpool._text import brief
from evalpool.outcomes import JobStatus

if TYPE_CHECKING:
    from evalpool.jobs._hypervolume import Front
    from evalpool.jobs._job import Job

__all__ = ["Incumbent", "is_evaluation"]

MAX_SHOWN_OBJECTIVES = 3
"""With more objectives an exact hypervolume can take seconds, which is too slow for a progress bar."""


def is_evaluation(job: Job[Any]) -> bool:
    """Whether this job evaluated its configuration: a cancelled one did not."""
    return job.status is not JobStatus.CANCELLED


class Incumbent:
    """Counts evaluations and failures and keeps the best; constant cost per job with one objective.

    With several objectives the best is the front of those that no other dominates; its size is
    `hypervolume`, with respect to the worst value seen of each objective. A job that a stopper ended early counts
    as an evaluation, and its objective, a partial one, is never the best.

    Args:
        minimize: whether smaller objectives are better.
    """

    def __init__(self, *, minimize: bool = False) -> None:
        self.minimize = minimize
        self.evaluations = 0
        self.failures = 0
        self.stopped_early = 0
        self.best: float | None = None
        """The largest objective, or the smallest; None before the first and with several objectives."""
        self.best_job: str | None = None
        """Its id."""
        self._front: Front | None = None  # from the first job with several objectives on: it needs numpy
        self._worst: tuple[float, ...] | None = None
        self._hypervolume: float | None = None

    def take(self, job: Job[Any]) -> bool:
        """Count a job that was not cancelled; return whether it is better than all before.

        With several objectives: whether it is on the front. Then the hypervolume grows for every reference point below
        all results. The hypervolume with respect to the worst values so far also grows when a job is worse than all
        others, because that reference moves; this is not an improvement.
        """
        self.evaluations += 1
        objective = job.objective
        if job.kind is not None:
            self.failures += 1
            return False
        if job.stopped_early:
            self.stopped_early += 1
            return False
        if isinstance(objective, (int, float)):
            if self.best is None or (objective < self.best if self.minimize else objective > self.best):
                self.best, self.best_job = objective, job.id
                return True
            return False
        if isinstance(objective, tuple) and objective and all(isinstance(value, (int, float)) for value in objective):
            point = tuple(map(as_float, objective))
            return self._take_several(tuple(-value for value in point) if self.minimize else point)
        return False  # the value of a general task is neither good nor bad

    def _take_several(self, objective: tuple[float, ...]) -> bool:
        if self._worst is None or self._front is None:
            from evalpool.jobs._hypervolume import Front

            self._front, self._worst = Front(), objective
        elif len(objective) != len(self._worst):
            return False  # another number of objectives than before: not comparable
        worst = tuple(map(min, self._worst, objective))
        if worst != self._worst:
            self._worst = worst
            self._hypervolume = None
        if not self._front.add(objective):
            return False
        self._hypervolume = None
        return True

    @property
    def hypervolume(self) -> float | None:
        """The hypervolume of the front, with respect to the worst value of each objective; None with one objective.

        It is computed again if the front changed, which is slow with more than three objectives.
        """
        if self._worst is None or self._front is None:
            return None
        if self._hypervolume is None:
            from evalpool.jobs._hypervolume import hypervolume

            self._hypervolume = hypervolume(self._front.points, self._worst)
        return self._hypervolume

    def summary(self) -> dict[str, str]:
        """The best so far as name -> text: the objective, the hypervolume, or the size of the front."""
        if self.best is not None:
            return {"best": brief(self.best)}
        if self._worst is None or self._front is None:
            return {}
        if len(self._worst) <= MAX_SHOWN_OBJECTIVES:
            return {"hypervolume": f"{self.hypervolume:.5g}"}
        return {"front": f"{len(self._front.points)} points"}
