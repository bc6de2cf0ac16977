"""A simulated search whose jobs are evaluated in this thread, as soon as they start in virtual time.

::

    single steps    any search: `Kernel.poll`, `ask`, `finish`
    `drive`         no overhead, no continuation, and a runtime under a key: the commonest search, in few calls

Both have the same trace, and tell the same; tests compare them.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from evalpool._clock import perf_counter
from evalpool.errors import SimulationError
from evalpool.evaluator._first_failures import FirstFailures
from evalpool.evaluator._settings import IMMUTABLE, check_configuration, is_text
from evalpool.jobs._job import Job, PastJob
from evalpool.jobs._options import NO_OPTIONS
from evalpool.outcomes import FailureKind, JobStatus, Outcome, Worker
from evalpool.search._asktell import Asked
from evalpool.simulation._drive import drive, fail
from evalpool.simulation._kernel import INF, Kernel, Verdict, over_limit
from evalpool.simulation._loop import NO_JOB
from evalpool.simulation._runtimes import judged, runtime_of, timestamps
from evalpool.simulation._search import SimulatedSearch
from evalpool.simulation._seconds import check_runtime
from evalpool.worker._call import SEED_NUMBER, Task
from evalpool.worker._in_turn import caller
from evalpool.worker._results import TOO_LARGE, standardise

__all__ = ["LocalSearch"]

BLOCK = 4096


class _Judged(dict[str, Any]):
    """The runtime of a job, for the kernel, with its outcome. Other jobs have a plain dict: what they returned."""

    outcome: Outcome


class LocalSearch(SimulatedSearch):
    """A search whose jobs are evaluated in this thread."""

    def __init__(self, kernel: Kernel, run_function: Callable[..., Any], seed: int, **settings: Any) -> None:
        super().__init__(kernel, **settings)
        self._seed = seed
        self._task = Task(run_function, {}, "simulated", "hpo", seed)
        self._task.lets_interrupts_through = True
        self._worker = Worker("serial", socket.gethostname(), os.getpid())
        self._failures = FirstFailures(())
        self._outcomes: dict[int, Outcome] = {}
        self._limits: dict[int, float] = {}  # of jobs with their own time limit

    def _note(self, job: int, asked: Asked, before: float, after: float, wall: float) -> None:
        super()._note(job, asked, before, after, wall)
        # A copy, as an evaluator makes one, because the optimiser may change its dict later.
        self._diary.configurations[job] = check_configuration(asked.configuration)

    def _asynchronous(self) -> None:
        if self._overhead == "none" and self._fidel_key is None and isinstance(self._runtime, str):
            self._drive(self._runtime)
        else:
            super()._asynchronous()

    def _drive(self, where: str) -> None:
        """Do the same in the kernel's own loop, for the commonest kind of search. It is three times as fast, because it
        does the work of `_ask`, `_note`, `_evaluate` and `_complete` in few calls, and makes no outcome, no job and no
        `Asked` that nobody looks at. Tests compare both.
        """
        diary, clock, limits = self._diary, perf_counter, self._limits
        configurations = diary.configurations
        # As lists, because it takes four times as long to append to an array.
        told, known, measured = [], [], []  # type: list[int], list[int], list[float]
        propose, read, references = self._optimizer.optimizer.ask, self._optimizer.read, sys.getrefcount
        call = caller(self._task, NOWHERE, self._worker)
        names: Any = None  # of the last configuration: they mostly repeat, and are checked once
        since = clock()  # when the last evaluation ended: from then on the optimiser learns and decides
        value: Any = {}  # what a run-function returned
        unshared = references(value)  # as in `caller`: by the same expression, of a variable of the same kind

        def ask() -> Any:
            nonlocal names
            answer = propose()
            measured.append(clock() - since)
            known.append(len(told))
            asked: Any = answer
            if type(answer) is tuple and len(answer) == 3:
                asked, fidels, number = answer
                if fidels is not None or number is not None:
                    asked = answer
            if type(asked) is not dict:
                asked = read(answer)
                configurations.append(self._copy(asked, len(configurations)))
            elif [*asked] == names:
                for item in asked.values():
                    if type(item) is not float and type(item) not in IMMUTABLE:
                        configurations.append(check_configuration(asked))
                        break
                else:
                    configurations.append(asked.copy())
            else:
                copied = check_configuration(asked)
                configurations.append(copied)
                names = [*copied] if is_text(map(type, copied)) else None
            return asked

        def run(asked: Any) -> dict[str, Any]:
            nonlocal since, value
            value = call(len(configurations) - 1, configurations[-1])
            results: dict[str, Any]
            if type(value) is dict and "metadata" not in value and not limits:
                try:
                    runtime, objective = value[where], value["objective"]
                except KeyError:
                    runtime = objective = None
                kind = type(objective)
                if (
                    type(runtime) is float
                    and 0.0 <= runtime < INF
                    and (
                        (kind is float and objective - objective == 0.0)  # not for inf and NaN
                        or (kind is int and -TOO_LARGE < objective < TOO_LARGE)
                    )
                ):
                    # A copy, because the run-function may change its dict later, if it kept it.
                    results = value if references(value) == unshared else value.copy()
                    since = clock()
                    return results
            results = self._judge(len(configurations) - 1, value, where)
            since = clock()
            return results

        diary.told = told  # type: ignore[assignment]
        drive(self._kernel, ask, run, self._teller(told), runtime=where)
        diary.told, diary.known, diary.measured = _column("q", told), _column("q", known), _column("d", measured)
        # A decision takes no time here, so it begins when its job does.
        diary.ask_start = _column("d", self._kernel.starts())

    def _teller(self, told: list[int]) -> Callable[[int, Any, Any], None]:
        """Return what `drive` calls for each job that ended."""
        kernel, objectives, endless = self._kernel, self._diary.objectives, self._endless
        by_name: Any = self._optimizer.tell_by_name
        pair: Any = self._optimizer.tell_pair
        direct = by_name is not None or pair is not None

        def tell(job: int, asked: Any, results: dict[str, Any]) -> None:
            if direct and type(results) is dict and type(asked) is dict:
                objective = results["objective"]
                told.append(job)
                objectives.append(objective)
                if pair is None:
                    by_name(eval_config=asked, results=results, fidels=None, config_id=None)
                else:
                    pair(asked, objective)
                if endless:
                    self._look_at_the_clock(kernel.end_of(job))
            else:
                self._asked[job] = Asked(asked, asked) if type(asked) is dict else asked
                self._ended(job, self._outcome_of(results), self._job)

        return tell

    def _copy(self, asked: Asked, job: int) -> dict[str, Any]:
        """Return a copy of a proposal's configuration, and note what else the proposal says of its job."""
        if asked.config_id is not None:
            self._key(asked)  # checks that the config_id stands for one configuration, also without continuation
        if asked.options.job_timeout:
            self._limits[job] = asked.options.job_timeout
        return check_configuration(asked.configuration)

    def _judge(self, job: int, value: Any, where: str) -> _Judged:
        """Return the results of a job that the loop does not understand at a glance."""
        outcome = value if type(value) is Outcome else standardise(value, "hpo", None, 0.0, 0.0, self._worker)
        runtime = runtime_of(where, NO_JOB, outcome)
        charged, limit = check_runtime(runtime), self._limits.get(job)
        verdict = None
        if isinstance(charged, str):
            verdict = Verdict(FailureKind.INVALID_OUTPUT, charged)
        elif limit is not None and charged > limit:
            verdict, runtime = over_limit(charged, limit), limit
        if outcome.kind is None and verdict is not None:
            outcome = judged(outcome, verdict)
        if outcome.kind is not None:
            fail(self._kernel, job)
        results = _Judged({where: runtime})
        results.outcome = outcome
        return results

    def _outcome_of(self, results: dict[str, Any]) -> Outcome:
        if isinstance(results, _Judged):
            return results.outcome
        return Outcome(JobStatus.DONE, results["objective"], results, worker=self._worker)

    def _evaluate(self, job: int) -> None:
        kernel, extra, seed = self._kernel, None, job
        if self._fidel_key is not None:
            checkpoint = kernel.resumed(job)
            if checkpoint is not None and checkpoint.seed is not None:
                seed = checkpoint.seed
                extra = {SEED_NUMBER: seed}
        outcome, runtime = self._call(job, extra)
        verdict = kernel.finish(job, runtime, failed=outcome.kind is not None, seed=seed)
        self._outcomes[job] = outcome if verdict is None else judged(outcome, verdict)

    def _call(self, job: int, extra: dict[str, Any] | None = None) -> tuple[Outcome, Any]:
        """Return the outcome of a job, and the runtime that it declares."""
        outcome = self._task.call(job, 1, self._diary.configurations[job].copy(), NOWHERE, extra, self._worker)
        runtime = self._runtime
        return outcome, runtime_of(runtime, self._job(job, outcome) if callable(runtime) else NO_JOB, outcome)

    def _failed(self, job: int, outcome: Outcome) -> None:
        self._failures.tell(str(job), outcome)

    def _complete(self, job: int) -> None:
        outcome = self._outcomes.pop(job)
        self._ended(job, outcome, self._job)

    def _job(self, number: int, outcome: Outcome) -> Job[Any]:
        """Make the job that an evaluator would return."""
        facts = self._kernel.facts(number)
        submitted = facts["virtual_submit"]
        job = PastJob(None, None, "simulated", number, self._diary.configurations[number], "hpo", submitted)
        job._base_seed = self._seed
        if (options := self._asked[number].options) is not NO_OPTIONS:
            job.options = options
        job._outcome, job._status, job.attempts = outcome, outcome.status, 1
        job._history = {**facts, **timestamps(facts, submitted, max(facts["virtual_end"], self._kernel.clock))}
        return job


def _column(typecode: str, values: Sequence[float]) -> array[Any]:
    """Return an array of numbers. The array itself would parse them one by one, which takes five times as long."""
    column = array(typecode)
    for first in range(0, len(values), BLOCK):
        block = values[first : first + BLOCK]
        column.frombytes(struct.pack(f"{len(block)}{typecode}", *block))
    return column


class _Nowhere:
    """The channel of jobs without an evaluator: there are no callbacks, stopper or storage."""

    def record(self, number: int, attempt: int, budget: float, objective: Any, runtime: Any = None) -> None:
        """Ignore an intermediate result; only an evaluator has callbacks and stoppers."""

    def stopped(self, number: int, attempt: int) -> bool:
        return False

    def must_end(self, number: int, attempt: int) -> bool:
        return False

    def storage(self) -> Any:
        raise SimulationError("This search has no storage: simulate(..., storage=MemoryStorage()) gives it one.")


NOWHERE = _Nowhere()
