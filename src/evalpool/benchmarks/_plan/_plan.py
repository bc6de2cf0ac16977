"""`plan`: how many workers a search can feed, before any of them is paid for."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from evalpool._checks import check_number, check_numbers, check_real, check_seconds
from evalpool._clock import perf_counter
from evalpool.benchmarks._plan._planned_runs import Load, Planned, planned
from evalpool.benchmarks._plan._runtime_draws import RuntimeDraws
from evalpool.benchmarks._plan._search_times import Cost, SearchTimes
from evalpool.errors import BadArgument, MissingExtra
from evalpool.evaluator._evaluator import Evaluator
from evalpool.simulation._worker_model import WorkerModel, check_worker_model

__all__ = ["Plan", "PlanRow", "measured_dispatch", "plan"]

ENOUGH = 0.95
"""Workers are enough if the evaluations per second are this share of the most that any number of workers reaches."""
CLOSE = 1.01
"""A smaller batch is as good if its makespan, or its number of evaluations, is within this factor of the best."""
MULTIPLES = (1, 2, 4, 8, 16)
"""Batch sizes that are tried, in proposals per worker."""
LEAST_BATCHES = 10
"""Of a search in batches: with fewer it hardly learns, so larger batches are not tried."""
MOST_JOBS, MOST_STEPS = 200_000, 40_000
"""Of one simulated run, when the number of useful workers is looked for; and if workers fail, which takes longer."""


class PlanRow(NamedTuple):
    """The prediction for one number of workers.

    Attributes:
        workers, evaluations, makespan, utilisation, thinking, lost: of all searches together, which propose for each
            idle worker at once; see `Plan.rows`.
        batch_size: the best size of synchronous batches, of each search; None if no batches were asked for.
        batch_evaluations, batch_makespan, batch_utilisation: the same of a search in such batches.
    """

    workers: int
    evaluations: int
    makespan: float
    utilisation: float
    thinking: float
    lost: int
    batch_size: int | None
    batch_evaluations: int | None
    batch_makespan: float | None
    batch_utilisation: float | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `plan` predicts. `str` gives a table; `evalpool.analysis.plot_plan` draws it.

    Attributes:
        rows: one for each number of workers, named tuples: ``workers``, ``evaluations``, ``makespan`` in seconds,
            ``utilisation`` (busy time / (workers x makespan), where jobs that run at the end count up to it) and
            ``thinking`` (the share of the time that the search spends in its decisions); ``lost``, the attempts whose
            worker was lost, which count neither as busy time nor as evaluations; and
            ``batch_size``, ``batch_evaluations``, ``batch_makespan`` and ``batch_utilisation`` of a search in batches
            of the best size, None if no batches were asked for.
        useful_workers: the fewest workers that reach 95 % of the evaluations per second that any number reaches;
            more hardly help. None: still more would help than could be simulated.
        limit: what the useful workers are limited by: ``"search"``, which then thinks most of the time;
            ``"evaluations"``, of which there are too few for more workers; ``"time"``, in which no evaluation ends;
            ``"workers"``, which are lost before any evaluation ends; or None.
        searches: how many search at the same time.
        dispatch: seconds to bring a job to a worker and its result back.
        runtime: mean seconds of the runtimes that were drawn.
        extrapolated: whether a run had more results than the search's times were measured for.
    """

    rows: list[PlanRow]
    useful_workers: int | None
    limit: str | None
    searches: int
    dispatch: float
    runtime: float
    extrapolated: bool

    def to_dataframe(self) -> Any:
        """Return the rows as a `pandas.DataFrame`. Raises `MissingExtra` without pandas."""
        try:
            import pandas
        except ImportError as error:
            raise MissingExtra.of("Data frames need pandas", "pandas") from error
        return pandas.DataFrame(self.rows, columns=PlanRow._fields)

    def __str__(self) -> str:
        header = ["workers", "evaluations", "makespan", "busy", "thinking", "lost"]
        header += ["batch", "batch makespan", "batch busy"]
        cells = [header] + [_cells(row) for row in self.rows]
        if all(row.batch_size is None for row in self.rows):
            cells = [line[:6] for line in cells]
        if not any(row.lost for row in self.rows):
            cells = [line[:5] + line[6:] for line in cells]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join([*lines, self.advice])

    @property
    def advice(self) -> str:
        """One sentence on the number of useful workers."""
        if self.limit == "time":
            return "No evaluation ends within the time."
        if self.limit == "workers":
            return "No evaluation ends: each is lost with its worker."
        if self.useful_workers is None:
            return "More workers help beyond all numbers that were simulated."
        why = {"search": "the search cannot feed more", "evaluations": "there are too few evaluations for more"}
        because = f": {why[self.limit]}" if self.limit else ""
        help_ = "workers hardly help" if self.useful_workers > 1 else "worker hardly helps"
        return f"More than {self.useful_workers:,} {help_}{because}."


def _cells(row: PlanRow) -> list[str]:
    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.1f} %"

    batch = ["", "", ""]
    if row.batch_size is not None:
        batch = [f"{row.batch_size:,}", f"{row.batch_makespan:,.1f} s", percent(row.batch_utilisation)]
    own = [f"{row.workers:,}", f"{row.evaluations:,}", f"{row.makespan:,.1f} s"]
    return [*own, percent(row.utilisation), percent(row.thinking), f"{row.lost:,}", *batch]


def plan(
    times: SearchTimes | Cost,
    runtimes: Any = None,
    *,
    workers: int | Iterable[int] = (1, 8, 64, 512),
    max_evals: int | None = None,
    max_time: float | None = None,
    searches: int = 1,
    shared: bool = True,
    dispatch: float | str = 0.0,
    worker_model: WorkerModel | None = None,
    retries: int = 0,
    batch_sizes: int | Sequence[int] | None = None,
    repeats: int = 5,
    seed: int = 0,
) -> Plan:
    """Predict how busy a search keeps its workers, how long it takes, and how many workers are of use.

    Each prediction is a run in simulated time with the rules of `simulate`: a decision for an idle worker begins when
    that worker is idle and the search has made its last decision; it learns what ended until then, and proposes.

    >>> from evalpool.benchmarks import plan
    >>> found = plan(0.5, 10.0, workers=[1, 10, 40], max_evals=400, batch_sizes=())
    >>> [(row.workers, round(row.utilisation, 2)) for row in found.rows]
    [(1, 0.95), (10, 0.94), (40, 0.48)]
    >>> found.useful_workers, found.limit
    (20, 'search')

    Args:
        times: of the search: `SearchTimes`, or only the seconds of a proposal.
        runtimes: of the evaluations: seconds; a `RuntimeModel`; a `Benchmark`, at configurations drawn at random; a
            `evalpool.simulation.Distribution`; a list of seconds, taken in random order, again and again; a function of
            a `random.Random`, such as ``lambda rng: rng.lognormvariate(4, 0.5)``; or jobs that ran, or a table of
            runtimes, as for `recorded_runtimes`. None: those of the first evaluations with which the search was
            measured, at most `max_evals`.
        workers: for how many workers to predict.
        max_evals: the search ends with this many evaluations, of all searches together.
        max_time: seconds after which it ends; give this or `max_evals`.
        searches: so many search at the same time, each with its share of the workers, as with `distributed`.
        shared: whether each search also learns the results of the others, and thinks as long as all results cost.
        dispatch: seconds to bring a job to a worker and its result back, added to each proposal; or the name of a
            method, such as ``"process"``, to measure it now on this machine.
        worker_model: how workers start, crash and are taken away, as for `simulate`; None: they are there from 0 on for
            ever. Time in which a worker starts, is away, or runs an attempt that is lost, is not busy. Each search and
            each repeat has draws of its own.
        retries: how often an evaluation is run again whose worker was lost.
        batch_sizes: sizes of synchronous batches to try, of each search. None: from one to sixteen proposals per
            worker, but at least ten batches. Empty: no batches. The best is the smallest whose makespan (or number of
            evaluations, with `max_time`) is within 1 % of the best.
        repeats: each prediction is the mean over this many draws of the runtimes. If a search ends with few
            evaluations for each worker, one late and long job changes much.
        seed: of the runtimes that are drawn.

    Raises:
        BadArgument: an argument has a wrong type or value, there are fewer workers than searches, or retries are given
            without a `worker_model`, so that nothing would be run again.
    """
    if (max_evals is None) == (max_time is None):
        raise BadArgument(f"max_evals is {max_evals!r} and max_time is {max_time!r}; give one of them.")
    searches = check_number("searches", searches, 1)
    numbers = check_numbers("workers", workers, searches)
    sizes = None if batch_sizes is None else _sizes(batch_sizes)
    if max_time is not None and check_seconds("max_time", max_time) is None:
        raise BadArgument(f"max_time is {max_time!r}; give seconds, after which the search ends.")
    cost = measured_dispatch(dispatch) if isinstance(dispatch, str) else check_real("dispatch", dispatch, least=0.0)
    times = times if isinstance(times, SearchTimes) else SearchTimes(times)
    if runtimes is None and times.runtimes:
        runtimes = times.runtimes[:max_evals]
    load = Load(
        times=times,
        runtimes=RuntimeDraws(runtimes, check_number("seed", seed, 0)),
        max_evals=None if max_evals is None else check_number("max_evals", max_evals, 1),
        max_time=check_seconds("max_time", max_time),
        searches=searches,
        shared=shared,
        dispatch=cost,
        worker_model=check_worker_model(worker_model),
        retries=check_number("retries", retries, 0),
    )
    if load.retries and load.worker_model is None:
        raise BadArgument(
            f"retries is {retries!r} without a worker_model, so no worker is lost and nothing is run again; give both, "
            "or neither."
        )
    loads = [load, *(load.again(number, seed + number) for number in range(1, check_number("repeats", repeats, 1)))]
    rows = [_row(loads, number, sizes) for number in numbers]
    useful, limit = _useful_workers(load)
    most = max(row.evaluations for row in rows)
    return Plan(rows, useful, limit, searches, cost, load.runtimes.mean(), _beyond_measured(load, most))


def _sizes(given: Any) -> list[int]:
    """Sizes of batches; none of an empty sequence."""
    return [] if isinstance(given, Sequence) and not given else check_numbers("batch_sizes", given, 1)


def _row(loads: list[Load], workers: int, sizes: list[int] | None) -> PlanRow:
    load = loads[0]
    single = _mean([planned(one, workers) for one in loads])
    each = max(1, workers // load.searches)
    if sizes is None:
        most = max(each, single.evaluations // load.searches // LEAST_BATCHES)
        sizes = [each * multiple for multiple in MULTIPLES if each * multiple <= most]
    if not sizes:
        return PlanRow(*single, None, None, None, None)
    runs = {size: planned(load, workers, size) for size in sorted(sizes)}
    best = max(map(_speed, runs.values()))
    size = next(size for size, run in runs.items() if _speed(run) * CLOSE >= best)
    batch = _mean([runs[size], *(planned(one, workers, size) for one in loads[1:])])
    return PlanRow(*single, size, batch.evaluations, batch.makespan, batch.utilisation)


def _mean(runs: list[Planned]) -> Planned:
    means = Planned(*(statistics.fmean(values) for values in zip(*runs, strict=True)))  # type: ignore[arg-type]
    return means._replace(workers=round(means.workers), evaluations=round(means.evaluations), lost=round(means.lost))


def _speed(run: Planned) -> float:
    """Evaluations per second."""
    return run.evaluations / run.makespan if run.makespan else 0.0


def _useful_workers(load: Load) -> tuple[int | None, str | None]:
    """The fewest workers of which more hardly help, and why: double them until it is seen, then halve the interval."""
    most = MOST_JOBS if load.worker_model is None else MOST_STEPS
    runs = {load.searches: planned(load, load.searches)}
    workers, best = load.searches, _speed(runs[load.searches])
    while True:
        if load.max_evals is not None and workers >= load.max_evals:
            break
        if load.max_evals is None and 2 * max(workers, runs[workers].evaluations + runs[workers].lost) > most:
            return None, None if best else _why_none_ends(runs.values())
        before, workers = _speed(runs[workers]), 2 * workers
        if load.max_evals is not None:
            workers = max(load.searches, min(workers, load.max_evals))
        runs[workers] = planned(load, workers)
        best = max(best, _speed(runs[workers]))
        if _speed(runs[workers]) < before * (1.0 + (1.0 - ENOUGH) / 2):
            break
    if not best and not any(run.evaluations for run in runs.values()):
        return None, _why_none_ends(runs.values())
    high = min(number for number, run in runs.items() if _speed(run) >= ENOUGH * best)
    low = max([number for number in runs if number < high], default=load.searches - 1)
    while high - low > 1:
        middle = (low + high) // 2
        runs[middle] = planned(load, middle)
        if _speed(runs[middle]) >= ENOUGH * best:
            high = middle
        else:
            low = middle
    return high, "search" if runs[high].thinking > 0.5 else "evaluations"


def _why_none_ends(runs: Iterable[Planned]) -> str:
    return "workers" if any(run.lost for run in runs) else "time"


def _beyond_measured(load: Load, evaluations: int) -> bool:
    known = evaluations if load.shared else evaluations // load.searches
    costs = (load.times.ask, load.times.tell, load.times.ask_more)
    return any(known > getattr(cost, "measured", known) for cost in costs)


def measured_dispatch(method: str, jobs: int = 200) -> float:
    """Measure what it takes to bring an empty job to a worker and its result back; return the median, in seconds.

    Args:
        method: as for `Evaluator.create`, such as ``"thread"`` or ``"process"``.
        jobs: how many are run, one after the other.

    Raises:
        BadArgument: there is no such method.
    """
    check_number("jobs", jobs, 1)
    with Evaluator.create(_nothing, method=method, method_kwargs={"num_workers": 1}) as evaluator:
        took = []
        for _ in range(jobs + 1):  # the first starts the worker
            began = perf_counter()
            evaluator.submit([{"x": 0}])
            evaluator.gather("ALL")
            took.append(perf_counter() - began)
    return sorted(took[1:])[jobs // 2]


def _nothing(job: Any) -> float:
    return 0.0
