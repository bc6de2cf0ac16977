"""The runs of a plan: a search of declared think times and runtimes on so many workers, in simulated time.

Single proposals run in the kernel's own loop; batches, and workers that fail, by its single steps. A plan needs no
proposals, so nothing else runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from evalpool.benchmarks._plan._planned_steps import Steps
from evalpool.benchmarks._plan._runtime_draws import RuntimeDraws
from evalpool.benchmarks._plan._search_times import SearchTimes, cost_of
from evalpool.errors import BadArgument
from evalpool.simulation._distribution import Distribution
from evalpool.simulation._drive import drive
from evalpool.simulation._kernel import Kernel
from evalpool.simulation._worker_model import WorkerModel

__all__ = ["Load", "Planned", "planned"]

MOST_EVALUATIONS = 2_000_000
"""Of one search in a limited time, as 11 000 workers make in three hours with jobs of a minute. More would mean jobs of
next to no time."""


class Planned(NamedTuple):
    """What a run is predicted to do.

    Attributes:
        workers: of all searches.
        evaluations: that ended, without those whose last attempt was lost.
        makespan: seconds until the last of them ended; with a time limit, that.
        utilisation: busy time / (workers x makespan), 0.0 to 1.0; of jobs that run at the end, the part before counts.
            Attempts whose worker was lost do not count.
        thinking: the share of the time that a search spends in its decisions, 0.0 to 1.0.
        lost: attempts whose worker was lost.
    """

    workers: int
    evaluations: int
    makespan: float
    utilisation: float
    thinking: float
    lost: int


@dataclasses.dataclass(frozen=True)
class Load:
    """What is the same for all numbers of workers; see `plan`."""

    times: SearchTimes
    runtimes: RuntimeDraws
    max_evals: int | None
    max_time: float | None
    searches: int
    shared: bool
    dispatch: float
    worker_model: WorkerModel | None = None
    retries: int = 0

    def again(self, number: int, seed: int) -> Load:
        """The same with other draws: of the runtimes from this seed, of what happens to workers by the number."""
        runtimes, model = self.runtimes.again(seed), _reseeded(self.worker_model, number * self.searches)
        return dataclasses.replace(self, runtimes=runtimes, worker_model=model)


def planned(load: Load, workers: int, batch_size: int | None = None) -> Planned:
    """Predict one run.

    Several searches are alike, so each counts as many results of every other one as it has of its own.

    Args:
        load: the search.
        workers: of all searches together; each gets as many, or one more.
        batch_size: synchronous batches of each search; None: one proposal for each idle worker.
    """
    ended, lost, span, thought = 0, 0, 0.0 if load.max_time is None else load.max_time, 0.0
    jobs: list[tuple[float, float]] = []
    for search in range(load.searches):
        own_workers, own_evals = _part(workers, search, load.searches), load.max_evals
        if own_evals is not None:
            own_evals = _part(own_evals, search, load.searches)
            if not own_evals:
                continue
        run = _Run(load, search, own_workers, own_evals)
        spans, told, makespan = run.run(batch_size)
        jobs += spans
        ended += told
        lost += run.lost
        thought += run.thought
        if load.max_time is None:
            span = max(span, makespan)
    if not span:
        return Planned(workers, ended, span, 0.0, 0.0, lost)
    busy = min(1.0, _busy(jobs, span) / (workers * span))
    return Planned(workers, ended, span, busy, min(1.0, thought / (load.searches * span)), lost)


def _reseeded(model: WorkerModel | None, by: int) -> WorkerModel | None:
    """The same model with other draws. Two searches have different workers, though both number them from 0."""
    if model is None:
        return None

    def part(one: Distribution | None) -> Distribution | None:
        return one and dataclasses.replace(one, seed=one.seed + by)

    return WorkerModel(
        start_delay=part(model.start_delay),
        crash=model.crash,
        crash_seed=model.crash_seed + by,
        preempted_after=part(model.preempted_after),
        away=part(model.away),
    )


def _part(whole: int, number: int, parts: int) -> int:
    return whole // parts + (number < whole % parts)


def _busy(jobs: Iterable[tuple[float, float]], span: float) -> float:
    """The seconds of (start, end) that lie before `span`."""
    return math.fsum(min(end, span) - start for start, end in jobs if start < span)


Ran = tuple["list[tuple[float, float]]", int, float]
"""(start, end) of each job that started and was not lost, how many gave a result, and when the last job ended."""


class _Run:
    """One of the searches, once."""

    def __init__(self, load: Load, search: int, workers: int, evals: int | None) -> None:
        self._load, self._search, self._workers = load, search, workers
        self._endless = evals is None
        self._limit = MOST_EVALUATIONS if evals is None else evals
        self._others = load.searches if load.shared else 1
        self.thought = 0.0
        self.lost = self._failed = 0

    def run(self, batch_size: int | None) -> Ran:
        load, runtimes, step, first = self._load, self._load.runtimes, self._load.searches, self._search
        kernel = Kernel(
            self._workers,
            max_submits=self._limit,
            max_time=load.max_time,
            worker_model=_reseeded(load.worker_model, first),
        )
        decision = self._decisions(1 if batch_size is None else batch_size)
        if batch_size is None and load.worker_model is None:
            numbers = iter(range(first, first + self._limit * step, step))
            drive(
                kernel,
                lambda: next(numbers),
                lambda number: (runtimes(number),),
                lambda job, number, results: None,
                runtime=0,
                overhead=decision,
            )
            spans = [(start, start + kernel.charged(job)) for job, start in enumerate(kernel.starts())]
        else:
            steps = Steps(kernel, lambda job: runtimes(first + step * job), decision, load.retries)
            if batch_size is None:
                steps.asynchronous()
            else:
                steps.batches(batch_size)
            spans, self.lost, self._failed = steps.spans(), steps.lost, steps.failed
        self._check_count(kernel.num_submitted)
        return spans, kernel.num_completed - self._failed, kernel.ended

    def _decisions(self, size: int) -> Callable[[int, int], float]:
        """The seconds of each decision for `size` proposals: it learns what ended since the last, proposes, submits."""
        times, dispatch, others = self._load.times, self._load.dispatch, self._others
        ask, tell = cost_of("ask", times.ask), cost_of("tell", times.tell)
        more = ask if times.ask_more is None else cost_of("ask_more", times.ask_more)
        limit, heard = self._limit, 0

        def decision(asked: int, told: int) -> float:
            nonlocal heard
            known = told * others
            count = min(size, limit - asked)
            seconds = ask(known) + dispatch * count
            if told > heard:
                seconds += (told - heard) * others * tell(known)
                heard = told
            if count > 1:
                seconds += (count - 1) * more(known)
            self.thought += seconds
            return seconds

        return decision

    def _check_count(self, submitted: int) -> None:
        if self._endless and submitted >= MOST_EVALUATIONS:
            raise BadArgument(
                f"More than {MOST_EVALUATIONS:,} evaluations would begin within max_time={self._load.max_time!r} s on "
                f"{self._workers} workers; give max_evals instead, or longer runtimes."
            )
