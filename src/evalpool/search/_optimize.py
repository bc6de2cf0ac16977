"""The asynchronous ask-and-tell loop: it keeps the workers busy and tells each result as it arrives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from evalpool._checks import check_number, check_seconds
from evalpool._log import get_logger
from evalpool.callbacks import Callback
from evalpool.callbacks._base import stops_search
from evalpool.errors import BadArgument, JobError, MaximumJobsSpawnReached
from evalpool.evaluator._evaluator import Evaluator
from evalpool.jobs._job import Job
from evalpool.jobs._options import submission
from evalpool.outcomes import FailureKind, JobStatus
from evalpool.search._asktell import Asked, AskTell

__all__ = ["optimize"]

logger = get_logger()


def optimize(
    evaluator: Evaluator,
    optimizer: Any,
    max_evals: int | None = None,
    timeout: float | None = None,
    *,
    max_pending: int | None = None,
) -> list[Job[Any]]:
    """Evaluate what an optimiser asks for, as many at a time as there are workers, and tell it the results.

    A result is told as soon as it arrives, and all known results are told before the next proposal is asked for. The
    loop ends when `max_evals` evaluations are done, when `timeout` is spent, or when a callback has set its
    `search_stopped`; in the last two cases running jobs are cancelled and not told. The evaluator stays open.

    Jobs that were submitted or restored before count as evaluations and are told when they arrive. So after
    `Evaluator.resume` a search ends with `max_evals` evaluations altogether. Results of other clients of the
    same search are told, too, but neither counted nor returned; for a common limit use
    `Evaluator.set_maximum_num_jobs_submitted`, which also ends the loop.

    An interrupt (Ctrl-C) cancels running jobs and is raised at once; gathered jobs are in the callbacks' tables and in
    the storage. An exception of the optimiser is raised after running jobs were cancelled and gathered. The evaluator
    can be used after both.

    Args:
        evaluator: of any backend.
        optimizer: an object with `ask` and `tell`, such as `RandomSearch` or `OptunaOptimizer`. ``ask()``
            returns a configuration, or ``(configuration, fidels)``, or ``(configuration, fidels,
            config_id)``, with a `Submission` or a dict as configuration. `tell` has one of the forms
            ``tell(job)``, ``tell(configuration, objective)`` and ``tell(eval_config, results, *, fidels,
            config_id)``, recognised by its signature.
        max_evals: how many evaluations, failures included.
        timeout: seconds; the smaller of this and what is left of the evaluator's own `timeout` counts.
        max_pending: how many jobs wait or run at a time; the number of workers if None. With more jobs the workers do
            not wait while the optimiser thinks, but each proposal is made with that many results unknown.

    >>> from evalpool import Evaluator, RandomSearch
    >>> with Evaluator.create(lambda job: -((job["x"] - 3) ** 2), method="thread") as evaluator:
    ...     jobs = optimize(evaluator, RandomSearch({"x": (0, 9)}, seed=0), max_evals=20)
    >>> max(job.objective for job in jobs)
    0

    Returns:
        the evaluations in the order in which they were told.

    Raises:
        BadArgument: an argument has a wrong type or value, or nothing would ever end the search.
    """
    if not isinstance(evaluator, Evaluator):
        raise BadArgument(
            f"evaluator is {evaluator!r} of type {type(evaluator).__name__}; give an Evaluator: "
            "optimize(Evaluator.create(run_function, method='process'), optimizer, max_evals=100)."
        )
    if max_evals is not None:
        max_evals = check_number("max_evals", max_evals, 1)
    if max_pending is not None:
        max_pending = check_number("max_pending", max_pending, 1)
    seconds = check_seconds("timeout", timeout)
    limited = max_evals is not None or seconds is not None or evaluator.time_left is not None
    if not limited and not any(map(_can_stop, evaluator.callbacks)):
        raise BadArgument(
            "Nothing would end this search: give max_evals, timeout, or the evaluator a callback such as "
            "SearchEarlyStopping() (a class of your own declares `search_stopped = False`)."
        )
    loop = _Run(evaluator, AskTell(optimizer), max_evals, max_pending)
    if max_evals is not None:
        _announce(evaluator, max_evals)
    with _time_budget(evaluator, seconds):
        return loop.run()


class _Run:
    """One run of `optimize`."""

    def __init__(self, evaluator: Evaluator, asktell: AskTell, max_evals: int | None, max_pending: int | None) -> None:
        self._evaluator = evaluator
        self._callbacks = evaluator.callbacks
        self._asktell = asktell
        self._max_evals = max_evals
        self._max_pending = max_pending
        self._out: dict[str, tuple[Job[Any], Asked]] = {}
        self._told: list[Job[Any]] = []
        self._capped = False

    def run(self) -> list[Job[Any]]:
        try:
            self._take(self._evaluator.gather("BATCH", 1, timeout=0))  # what a resumed search had finished
            while self._step():
                pass
            for job in self._cancel():
                self._tell(job)
        except Exception:
            with contextlib.suppress(JobError):  # on_error="raise": the first exception is the one to see
                self._cancel()
            raise
        except BaseException:
            # An interrupt: stop all running jobs, but do not wait for them; the next gather or close returns them. All
            # jobs, because the interrupt may have come between the submission of one and our note of it.
            self._evaluator._stops.end_all(FailureKind.CANCELLED, "the search was interrupted")
            raise
        return self._told

    def _step(self) -> bool:
        """Ask for one job if one more may be submitted, then take finished ones; False when the search has ended."""
        free = self._free()
        if free > 0:
            asked = self._asktell.ask()
            try:
                (job,) = self._evaluator.submit([submission(asked.configuration, asked.options)])
            except MaximumJobsSpawnReached:
                self._capped = True
                return True
            self._out[job.id] = (job, asked)
        elif self._outstanding() == 0:
            return False
        # If more may be submitted, do not wait: take what has finished, so that the next proposal knows it.
        self._take(self._evaluator.gather("BATCH", 1, timeout=0 if free > 1 else None))
        return not stops_search(self._callbacks)

    def _outstanding(self) -> int:
        return self._evaluator.num_jobs_submitted - self._evaluator.num_jobs_gathered

    def _free(self) -> int:
        """How many jobs may be submitted now."""
        if self._capped or self._evaluator.time_left == 0:
            return 0
        outstanding = self._outstanding()
        free = (self._max_pending or self._evaluator.num_workers) - outstanding
        if self._max_evals is not None:
            free = min(free, self._max_evals - len(self._told) - outstanding)
        return free

    def _take(self, jobs: list[Job[Any]]) -> None:
        out_of_time = self._evaluator.time_left == 0
        for job in jobs:
            if out_of_time and job.status is JobStatus.CANCELLED:
                self._out.pop(job.id, None)
            else:
                self._tell(job)
        for job in self._evaluator.gather_other_jobs_done():
            self._asktell.tell(job)

    def _tell(self, job: Job[Any]) -> None:
        _, asked = self._out.pop(job.id, (None, None))
        self._told.append(job)
        self._asktell.tell(job, asked)

    def _cancel(self) -> list[Job[Any]]:
        """Cancel the jobs of this loop and wait until they have ended; return those that finished nevertheless."""
        self._evaluator.cancel([job for job, _ in self._out.values()])
        finished: list[Job[Any]] = []
        waiting = set(self._out)
        while waiting and (jobs := self._evaluator.gather("BATCH", 1)):
            for job in jobs:
                waiting.discard(job.id)
                if job.status is not JobStatus.CANCELLED:
                    finished.append(job)
        return finished


@contextlib.contextmanager
def _time_budget(evaluator: Evaluator, seconds: float | None) -> Iterator[None]:
    """Inside the block, the evaluator has this time budget, on its own clock, which may be a virtual one."""
    left = evaluator.time_left
    if seconds is None or (left is not None and left <= seconds):
        yield
        return
    evaluator.timeout = seconds
    try:
        yield
    finally:
        rest = evaluator.time_left or 0.0
        evaluator.timeout = None if left is None else left - (seconds - rest)


def _can_stop(callback: Any) -> bool:
    """Whether a callback declares that it may stop the search, by an attribute of its own, not that of `Callback`."""
    own = [cls for cls in type(callback).__mro__ if cls is not Callback]
    return "search_stopped" in getattr(callback, "__dict__", ()) or any("search_stopped" in vars(cls) for cls in own)


def _announce(evaluator: Evaluator, max_evals: int) -> None:
    """Tell callbacks that show progress, and programs that watch the storage, how many evaluations there will be."""
    search = evaluator._search  # if the search was begun before, the program that began it has recorded this
    if search.begun and search.others_write:
        evaluator.storage.store_search_value(evaluator.search_id, "max_evals", max_evals)
    for callback in evaluator.callbacks:
        if callable(getattr(callback, "set_max_evals", None)):
            try:
                callback.set_max_evals(max_evals)
            except Exception:
                logger.exception("%s.set_max_evals raised; the search goes on.", type(callback).__name__)
