"""A simulated search: the loop of `simulate`, with jobs that are evaluated in this thread, or by an evaluator.

::

    LocalSearch       run-function called in this thread, as soon as its job starts in virtual time
    EvaluatorSearch   each job a job of an evaluator, on its backend, with its callbacks and its storage

The kernel orders both in the same way, so both have the same trace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evalpool.callbacks._base import stops_search
from evalpool.errors import BadArgument, SimulationError
from evalpool.jobs._job import Job
from evalpool.jobs._options import submission
from evalpool.outcomes import Outcome
from evalpool.search._asktell import Asked
from evalpool.simulation._checkpoints import Configurations
from evalpool.simulation._kernel import NOTHING, Kernel
from evalpool.simulation._loop import NO_JOB, Key, Loop, Proposals
from evalpool.simulation._result import JobColumns, SimulationResult
from evalpool.simulation._seconds import check_overhead
from evalpool.simulation._simulated import SimulatedEvaluator

__all__ = ["EvaluatorSearch", "SimulatedSearch"]

STANDSTILL = 100_000
"""How many consecutive jobs may end at the same virtual time, if only the virtual clock can end the search."""

Declared = Callable[[int, int], float]


class SimulatedSearch(Loop):
    """One run of `simulate`, with checked arguments.

    Args:
        kernel: a new one.
        overhead: as in `simulate`.
        fidel_key: the name of the fidelity for continuation; None for no continuation.
        batch_size: as in `simulate`.
        runtime: as in `simulate`.
        endless: whether only the virtual clock can end this search.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        overhead: str | Declared,
        fidel_key: str | None,
        batch_size: int | None,
        runtime: str | Callable[[Any, Any], Any],
        endless: bool,
    ) -> None:
        super().__init__(kernel, Configurations(), batch_size, uses_cpu=overhead == "cpu")
        self._overhead = overhead
        self._fidel_key = fidel_key
        self._runtime = runtime
        self._runtime_key = runtime if isinstance(runtime, str) else "runtime"
        self._endless = endless
        self._standstill, self._seen = 0, 0.0  # jobs that ended since the clock last moved; the time of that move
        self._diary = JobColumns()
        self._asked: dict[int, Asked] = {}

    def run(self, optimizer: Any) -> SimulationResult:
        """Run until the search is over."""
        self._take(optimizer)
        self._run()
        return self._result(self._kernel.trace)

    def _result(self, rows: Callable[[], Any]) -> SimulationResult:
        over = "search_stopped" if self._stopped else self._kernel.over
        again, lives = list(self._kernel._trace.again), self._kernel._lives
        lost = frozenset() if lives is None else frozenset(lives.lost)
        return SimulationResult(rows, self._diary, self._kernel.ended, over or "", again, lost)

    def _charge(self, wall: float, cpu: float, batch: int | None) -> float:
        overhead = self._overhead
        if overhead == "none":
            return 0.0
        if callable(overhead):
            return overhead(len(self._diary.configurations), len(self._diary.told))
        return cpu if overhead == "cpu" else wall

    def _fidelity(self, asked: Asked) -> int | None:
        return None

    def _key(self, asked: Asked) -> Key:
        name = self._fidel_key
        if name is None:
            return super()._key(asked)
        if asked.fidels is not None and asked.fidels.keys() != {name}:
            raise BadArgument(
                f"Continuation uses one fidelity, fidel_key={name!r}, but ask() returned the fidels {asked.fidels!r}. "
                "Let it return only that one, and put others into the configuration."
            )
        return self._configurations.identify(asked.configuration, name, asked.config_id)

    def _note(self, job: int, asked: Asked, before: float, after: float, wall: float) -> None:
        diary = self._diary
        self._asked[job] = asked
        diary.configurations.append(asked.configuration)
        diary.ask_start.append(before)
        diary.measured.append(wall)
        diary.known.append(len(diary.told))

    def _ended(self, job: int, outcome: Outcome, known: Callable[[int, Outcome], Job[Any]]) -> None:
        """Tell the optimiser a job's outcome; `known` makes the job, for optimisers that take one."""
        self._diary.told.append(job)
        self._diary.objectives.append(outcome.objective)
        if outcome.kind is not None:
            self._diary.first_failure = self._diary.first_failure or outcome
            self._failed(job, outcome)
        if self._wants_job:
            self._tell(known(job, outcome), self._asked.pop(job), None)
        else:
            output = {"objective": outcome.objective} if outcome.output is None else outcome.output
            self._tell(NO_JOB, self._asked.pop(job), {**output, self._runtime_key: self._kernel.charged(job)})
        if self._endless:
            self._look_at_the_clock(self._kernel.end_of(job))

    def _failed(self, job: int, outcome: Outcome) -> None:
        """Nothing: an evaluator says which of its jobs failed."""

    def _look_at_the_clock(self, time: float) -> None:
        """Raise if virtual time does not move in a search that only virtual time can end. Single jobs may take none."""
        self._standstill = 0 if time > self._seen else self._standstill + 1
        self._seen = max(time, self._seen)
        if self._standstill > STANDSTILL:
            raise SimulationError(
                f"{STANDSTILL} jobs in a row took no virtual time, at {time!r} s, so max_time will never "
                "be reached. Let the run-function return its runtime, or give max_evals."
            )


class EvaluatorSearch(SimulatedSearch):
    """A search whose jobs are those of an evaluator in simulated time.

    Args:
        kernel: a new one; it becomes the evaluator's.
        evaluator: a new one.
    """

    def __init__(self, kernel: Kernel, evaluator: SimulatedEvaluator, **settings: Any) -> None:
        super().__init__(kernel, **settings)
        self._evaluator = evaluator
        self._timeline = evaluator._timeline
        self._timeline.kernel = kernel
        self._watchers = evaluator.callbacks
        self._jobs: dict[int, Job[Any]] = {}

    def run(self, optimizer: Any) -> SimulationResult:
        self._take(optimizer)
        with self._timeline.lock:
            submit_to_kernel = self._timeline.submit_to_kernel
            try:
                self._run()
            finally:
                self._timeline.submit_to_kernel = submit_to_kernel
            rows = self._kernel.trace_until_now()  # before what is left is cancelled
        return self._result(rows)

    def _enter(self, asked: Asked, overhead: float, key: Key) -> int:
        kernel, timeline = self._kernel, self._timeline
        at = kernel.decision
        assert at is not None
        timeline.moment = at + check_overhead(overhead)  # the end of the decision, when the job is submitted
        timeline.submit_to_kernel = lambda job: kernel.ask(overhead, *key, job.options)
        try:
            (job,) = self._evaluator.submit([submission(asked.configuration, asked.options)])
        finally:
            timeline.moment = None
        number = kernel.num_submitted - 1
        self._jobs[number] = job
        return number

    def _enter_batch(self, proposals: Proposals) -> Sequence[int]:
        kernel = self._kernel
        keys, first = iter(proposals), kernel.num_submitted
        self._timeline.submit_to_kernel = lambda job: kernel.submit(*next(keys)[1], job.options)
        jobs = self._evaluator.submit([submission(asked.configuration, asked.options) for asked, _ in proposals])
        numbers = range(first, first + len(jobs))
        self._jobs.update(zip(numbers, jobs, strict=True))
        return numbers

    def _run_batch(self) -> list[int]:
        kernel = self._kernel
        ended: list[int] = []
        while (answer := kernel.step()) != NOTHING:
            self._timeline.happened(answer)
            if answer >= 0:
                ended.append(answer)
        return ended

    def _note(self, job: int, asked: Asked, before: float, after: float, wall: float) -> None:
        super()._note(job, asked, before, after, wall)
        self._diary.configurations[job] = self._jobs[job].args  # the evaluator's copy

    def _evaluate(self, job: int) -> None:
        if not self._timeline.start(job):
            raise SimulationError(
                f"There is no resource to lend to job {self._jobs[job].id}, and a job that was asked for must start "
                f"at once. Give the queue as many resources as {self._evaluator.num_workers} workers need."
            )

    def _meanwhile(self, answer: int) -> None:
        self._timeline.happened(answer)

    def _complete(self, job: int) -> None:
        timeline = self._timeline
        if not timeline.is_given_back(job):  # the jobs of a batch have been delivered already
            timeline.happened(job)
        timeline.give_back()
        ended = self._jobs.pop(job)
        assert ended._outcome is not None
        self._ended(job, ended._outcome, lambda number, outcome: ended)
        if self._watchers and stops_search(self._watchers):
            self._stopped = True
